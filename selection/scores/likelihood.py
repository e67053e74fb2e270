"""Costs of the classes, of whatever scale, as log probabilities of the label."""

from __future__ import annotations

import numpy as np

from selection.evidence import Floats
from selection.scores.probe_data import ProbeData

FLATTEST, SHARPEST, HALVINGS = 0.0, 10.0, 12  # base-2 logarithms of the sharpness


def information_gains(costs: Floats, data: ProbeData) -> Floats:
    """(N,) nats log p(y_n | x_n) - log prior(y_n) by `log_probabilities`, for costs W (N, C).

    Written out: s times what a shuffled label costs less what the true one costs, where "costs" is
    the soft minimum -log sum_j prior_j exp(-s W_nj) / s, which for small s is the mean. 0 says
    nothing; log C is the most for equal priors.
    """
    posterior = data.of_true_class(log_probabilities(costs, data))
    gains: Floats = posterior - np.log(data.prior[data.labels])
    return gains


def log_probabilities(costs: Floats, data: ProbeData) -> Floats:
    """(N, C) log p(j | x_n) with p(j | x) proportional to prior_j exp(-s W_nj), for costs W (N, C).

    The sharpness s in [1, 1024] is the one that makes the true labels likeliest, so scale and
    temperature of the costs cancel. The log-likelihood is concave in s, so halving the interval by
    the sign of its slope finds the maximum.
    """
    true_costs = data.of_true_class(costs)[:, None]
    gaps = costs.astype(np.float64) - true_costs  # (N, C)
    excess = gaps - gaps.min(axis=1, keepdims=True)  # at least 0, so nothing overflows
    low, high = FLATTEST, SHARPEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        weights = data.prior * np.exp(-(2**middle) * excess)
        slopes = (weights * gaps).sum(axis=1) / weights.sum(axis=1)  # (N,)
        if slopes.mean() > 0:
            low = middle
        else:
            high = middle
    sharpness = 2 ** ((low + high) / 2)
    exponents = -sharpness * excess
    totals = (data.prior * np.exp(exponents)).sum(axis=1, keepdims=True)
    posterior: Floats = np.log(data.prior) + exponents - np.log(totals)
    return posterior
