"""Entropic optimal transport in NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selection.evidence import Floats

SHARPNESS = 0.05  # eps as a share of the largest cost


class Plan(NamedTuple):
    """``plan`` (I, J) with the exact marginals, its transport ``cost`` <plan, M>, and the entropic
    ``objective``.
    """

    plan: Floats
    cost: float
    objective: float


def sinkhorn(
    source: Floats, target: Floats, cost: Floats, *, eps: float | None = None, rounds: int = 100
) -> Plan:
    """Minimise <P, M> + eps KL(P | source target^T) over plans from ``source`` (I,) to ``target``
    (J,), both of sum 1.

    Log-domain iterations (Cuturi 2013) of ``cost`` M (I, J) >= 0, ``eps`` in the unit of the cost
    (default 0.05 of the largest); the last plan is rounded onto the marginals (Altschuler 2017,
    algorithm 2), so its cost is never less than the exact transport. Adding eps (H(source) +
    H(target)) turns the objective into <P, M> - eps H(P).
    """
    rows, columns = np.flatnonzero(source > 0), np.flatnonzero(target > 0)
    p, q = np.asarray(source[rows], dtype=np.float64), np.asarray(target[columns], dtype=np.float64)
    inner = np.asarray(cost, dtype=np.float64)[np.ix_(rows, columns)]
    width = SHARPNESS * float(inner.max()) if eps is None else eps
    found = np.zeros(cost.shape)
    if width <= 0:  # all costs are equal to zero
        found[np.ix_(rows, columns)] = np.outer(p, q)
        return Plan(found, 0.0, 0.0)
    log_p, log_q = np.log(p)[:, None], np.log(q)
    kernel = -inner / width
    right: Floats = np.zeros(len(columns))
    for _ in range(rounds):
        left = -_log_sum(kernel + (right + log_q), axis=1)
        right = -_log_sum(kernel + (left[:, None] + log_p), axis=0)
    plan = _rounded(np.exp(kernel + left[:, None] + right + log_p + log_q), p, q)
    found[np.ix_(rows, columns)] = plan
    spent = float((plan * inner).sum())
    entropy = float((plan * (np.log(np.maximum(plan, 1e-300)) - log_p - log_q)).sum())
    return Plan(found, spent, spent + width * entropy)


def self_transport(sources: Floats, cost: Floats, *, eps: float, rounds: int = 20) -> Floats:
    """(n,) entropic objective of each row of ``sources`` (n, I) against itself, for a symmetric
    ``cost`` (I, I).

    The symmetric fixed point f = (f - eps log K (p exp(f / eps))) / 2 of Feydy et al. 2019, sec.
    3.1, for all rows in one product a round. Not in the log domain: ``eps`` must be no less than a
    hundredth of the largest cost.
    """
    used = np.flatnonzero(sources.sum(axis=0) > 0)
    masses, inner = sources[:, used], cost[np.ix_(used, used)]
    if float(inner.max()) > 100 * eps:
        raise ValueError(f"eps {eps} is under a hundredth of the largest cost {float(inner.max())}")
    kernel = np.exp(-inner / eps).astype(masses.dtype)
    scaling = np.ones_like(masses)
    for _ in range(rounds):
        scaling = np.sqrt(scaling / np.maximum((masses * scaling) @ kernel, 1e-30))
    found: Floats = 2 * eps * (masses * np.log(scaling)).sum(axis=1)
    return found


def _log_sum(values: Floats, *, axis: int) -> Floats:
    top = values.max(axis=axis, keepdims=True)
    found: Floats = np.log(np.exp(values - top).sum(axis=axis)) + np.squeeze(top, axis)
    return found


def _rounded(plan: Floats, source: Floats, target: Floats) -> Floats:
    """The nearest plan with exactly these marginals: shrink what is over, spread what is
    missing.
    """
    plan = plan * np.minimum(source / np.maximum(plan.sum(axis=1), 1e-300), 1)[:, None]
    plan = plan * np.minimum(target / np.maximum(plan.sum(axis=0), 1e-300), 1)
    short, thin = source - plan.sum(axis=1), target - plan.sum(axis=0)
    missing = float(short.sum())
    found: Floats = plan + np.outer(short, thin) / missing if missing > 0 else plan
    return found
