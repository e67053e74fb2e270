"""A bootstrap of any statistic of samples or users, in pairs over several students and seeds.

Shapes: n units (samples, or users), k terms of each unit, S seeds, m sides that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from selection.scores.interval import PAIRED_BOOTSTRAPS, Interval, around

if TYPE_CHECKING:
    from selection.evidence import Floats

Terms = npt.NDArray[np.float64]  # (k, n)
# terms (k, n) and weights of the units (n,), at least 0 -> a number
Statistic = Callable[[Terms, "Floats"], float]


class Resampled(NamedTuple):
    """``values`` (m,) of the sides, and (draws, m) of them for other units and other seeds."""

    values: npt.NDArray[np.float64]
    draws: npt.NDArray[np.float64]


def mean(terms: Terms, weights: Floats) -> float:
    """The mean of one term, (1, n), with ``weights`` (n,)."""
    return float(np.average(terms[0], weights=weights))


def root_mean(terms: Terms, weights: Floats) -> float:
    """The root of the mean of one term, (1, n): RMSE of squared errors."""
    return float(np.sqrt(mean(terms, weights)))


def macro_f1(terms: Terms, weights: Floats) -> float:
    """The mean over the classes of F1, of labels and predictions (2, n) in [0, C).

    A class counts that has samples or predictions, as for ``sklearn.metrics.f1_score``.
    """
    labels, predicted = terms.astype(np.int64)
    count = int(terms.max()) + 1
    right = np.bincount(labels, weights * (labels == predicted), count)  # (C,)
    times = np.bincount(labels, weights, count) + np.bincount(predicted, weights, count)
    counts = times > 0
    return float(np.mean(2 * right[counts] / times[counts]))


def resampled(
    statistic: Statistic,
    sides: Sequence[Sequence[Terms]],
    *,
    seed: int = 0,
    draws: int = PAIRED_BOOTSTRAPS,
) -> Resampled:
    """The ``statistic`` of each side, mean over its seeds, and how it moves.

    ``sides`` hold one (k, n) entry a seed each, paired in order. Units are reweighed (Bayesian
    bootstrap, Rubin 1981: no draw loses a rare class) and seeds drawn again, alike for all sides.
    Units of equal terms are drawn together: their weights add up to a gamma variate. A unit with a
    term that is NaN in any run is left out. Raises ``ValueError`` where the sides are not paired,
    or no unit is left.
    """
    shapes = {np.shape(side) for side in sides}
    if len(shapes) > 1:
        raise ValueError(f"terms of shapes {sorted(shapes)} are not paired")
    values = np.asarray(sides, dtype=np.float64)  # (m, S, k, n)
    values = values[..., np.isfinite(values).all(axis=(0, 1, 2))]
    if not values.size:
        raise ValueError("no sample or user has a term that is a number")
    distinct, counts = np.unique(values.reshape(-1, values.shape[-1]), axis=1, return_counts=True)
    values = distinct.reshape(*values.shape[:-1], -1)
    seeds, rng = values.shape[1], np.random.default_rng(seed)
    moved = np.empty((draws, len(sides)))
    for draw in range(draws):
        drawn_seeds = rng.integers(seeds, size=seeds)
        weights = rng.standard_gamma(counts.astype(np.float64))
        moved[draw] = _over_seeds(statistic, values, weights)[:, drawn_seeds].mean(axis=1)
    whole = _over_seeds(statistic, values, counts.astype(np.float64)).mean(axis=1)
    return Resampled(whole, moved)


def statistic_interval(statistic: Statistic, terms: Terms) -> Interval:
    """The ``statistic`` of one run's ``terms`` (k, n) with its 95 % interval over other units."""
    moved = resampled(statistic, [[terms]])
    return around(float(moved.values[0]), moved.draws[:, 0])


def _over_seeds(
    statistic: Statistic,
    values: Floats,
    weights: Floats,
) -> npt.NDArray[np.float64]:
    """(m, S) the statistic of ``values`` (m, S, k, n) with ``weights`` (n,)."""
    return np.array([[statistic(terms, weights) for terms in side] for side in values])
