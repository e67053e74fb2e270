"""Overlap of the classes as Gaussians, by the Bhattacharyya coefficient."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.prepared import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum

DIMENSIONS = 64


def value(evidence: Evidence) -> float:
    """Minus the summed overlap of all ordered pairs of classes, in [-C (C - 1), 0]."""
    ready = prepare(evidence)
    placed = spectrum(ready.features).coordinates[:, :DIMENSIONS]  # (N, r)
    d = max(placed.shape[1], 1)
    counts = ready.counts[:, None]
    means = ready.one_hot.T @ placed / counts  # (C, r)
    within = np.square(placed - means[ready.labels])
    variances = (ready.one_hot.T @ within.sum(axis=1, keepdims=True) / counts)[:, 0] / d  # (C,)
    variances = np.maximum(variances, 1e-8)
    mixed = (variances[:, None] + variances[None]) / 2
    gaps = np.square(means[:, None] - means[None]).sum(axis=2)
    distance = gaps / (8 * mixed) + d / 2 * np.log(
        mixed / np.sqrt(variances[:, None] * variances[None])
    )
    overlap = np.exp(-distance)
    return float(np.trace(overlap) - overlap.sum())


GBC = Score(
    name="gbc",
    value=value,
    terms=None,
    needs=(),
    source=(
        "Pandy et al. 2022, arXiv 2111.12780, eq. 4, spherical covariances on 64 principal"
        " components."
    ),
)
