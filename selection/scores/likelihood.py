"""Costs of the classes, of whatever scale, as nats about the label."""

from __future__ import annotations

import numpy as np

from selection.evidence import Floats
from selection.scores.prepared import Prepared

FLATTEST, SHARPEST, HALVINGS = 0.0, 10.0, 12  # base-2 logarithms of the sharpness


def nats(costs: Floats, ready: Prepared) -> Floats:
    """(N,) log p(y_n | x_n) - log prior(y_n) with the p of ``answers``, for costs W (N, C).

    Written out: s times what a shuffled label costs less what the true one costs, where "costs" is
    the soft minimum -log sum_j prior_j exp(-s W_nj) / s, which for small s is the mean. 0 says
    nothing; log C is the most for equal priors.
    """
    found: Floats = answers(costs, ready)[np.arange(len(costs)), ready.labels] - np.log(
        ready.prior[ready.labels]
    )
    return found


def answers(costs: Floats, ready: Prepared) -> Floats:
    """(N, C) log p(j | x_n) with p(j | x) proportional to prior_j exp(-s W_nj), for costs W (N, C).

    The sharpness s in [1, 1024] is the one that makes the true labels likeliest, so scale and
    temperature of the costs cancel. The log-likelihood is concave in s, so halving the interval by
    the sign of its slope finds the maximum.
    """
    rows = np.arange(len(costs))
    own = costs[rows, ready.labels]
    gaps = costs.astype(np.float64) - own[:, None]  # (N, C)
    low, high = FLATTEST, SHARPEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = _weights(gaps, 2**middle, ready)
        slope = float(((weights * gaps).sum(axis=1) / weights.sum(axis=1)).mean())
        low, high = (middle, high) if slope > 0 else (low, middle)
    sharpness = 2 ** ((low + high) / 2)
    joint = np.log(ready.prior) - sharpness * (gaps - gaps.min(axis=1, keepdims=True))
    found: Floats = joint - np.log(_weights(gaps, sharpness, ready).sum(axis=1, keepdims=True))
    return found


def _weights(gaps: Floats, sharpness: float, ready: Prepared) -> Floats:
    """(N, C) prior_j exp(-s gap_nj), times a factor of the row's own that keeps them from
    overflowing.
    """
    weights: Floats = ready.prior * np.exp(-sharpness * (gaps - gaps.min(axis=1, keepdims=True)))
    return weights
