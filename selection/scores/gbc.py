"""Overlap of the classes as Gaussians, by the Bhattacharyya coefficient."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.label_geometry import squared_distances
from selection.scores.probe_data import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum

DIMENSIONS = 64


def value(evidence: Evidence) -> float:
    """Minus the summed overlap of all ordered pairs of classes, in [-C (C - 1), 0]."""
    data = prepare(evidence)
    points = spectrum(data.features).coordinates[:, :DIMENSIONS]  # (N, d)
    d = max(points.shape[1], 1)
    means = data.one_hot.T @ points / data.counts[:, None]  # (C, d)
    deviations = np.square(points - means[data.labels]).sum(axis=1)  # (N,)
    variances = data.one_hot.T @ deviations / (data.counts * d)  # (C,)
    variances = np.maximum(variances, 1e-8)
    mixed = (variances[:, None] + variances) / 2  # (C, C)
    geometric = np.sqrt(variances[:, None] * variances)
    of_means = squared_distances(means, means) / (8 * mixed)
    distances = of_means + d / 2 * np.log(mixed / geometric)
    overlap = np.exp(-distances)
    return float(np.trace(overlap) - overlap.sum())


GBC = Score(
    name="gbc",
    meaning=(
        "How little your classes overlap in this model's features; higher is better, 0 is the"
        " most; no unit."
    ),
    source=(
        "Pandy et al. 2022, arXiv 2111.12780, eq. 4, spherical covariances on 64 principal"
        " components."
    ),
    value=value,
)
