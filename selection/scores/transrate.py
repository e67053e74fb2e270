"""TransRate: coding rate of the features less that of each class."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.probe_data import prepare
from selection.scores.score import Score

DISTORTION = 1e-4


def value(evidence: Evidence) -> float:
    """Nats saved by knowing the class, at least 0 up to rounding."""
    data = prepare(evidence)
    classes = range(len(data.counts))
    rates = [coding_rate(data.features[data.labels == label]) for label in classes]
    return float(coding_rate(data.features) - data.prior @ np.array(rates))


def coding_rate(features: Floats) -> float:
    """Half the log determinant of I + X^T X / (n distortion), from the smaller of the two
    products.
    """
    n, d = features.shape
    values = features.astype(np.float64)
    product = values @ values.T if n <= d else values.T @ values
    product /= n * DISTORTION
    product.flat[:: len(product) + 1] += 1
    return float(np.linalg.slogdet(product)[1]) / 2


TRANSRATE = Score(
    name="transrate",
    meaning=(
        "How much more room this model's features take over all classes than within each; higher"
        " is better; in nats."
    ),
    source=(
        "Huang et al. 2022, arXiv 2106.09362, eq. 5, on centred features of mean squared norm 1."
    ),
    value=value,
)
