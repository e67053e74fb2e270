"""How good a choice by a score is, held to the truth: on one task, and over tasks with intervals.

Letters: T tasks, S seeds, M teachers. Truth and score of one task are (M,), higher is better; NaN
in the truth is a cell that was not measured or left out, and the teacher is passed over; NaN in a
score (it does not apply) comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
TIES = 64  # orders drawn where scores tie


def _ordered(truth: Floats, score: Floats) -> Floats:
    """(draws, m) the truth in the order of the score, best first; as many draws as ties need, the
    draws seeded.
    """
    kept = np.isfinite(truth)
    true, guess = truth[kept], np.where(np.isfinite(score[kept]), score[kept], -np.inf)
    if len(true) == 0:
        raise ValueError("no teacher of this task has been measured")
    tied = len(np.unique(guess)) < len(guess)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(true)) for _ in range(TIES)] if tied else [np.arange(len(true))]
    return np.stack([true[order[np.argsort(-guess[order], kind="stable")]] for order in orders])


def regret(truth: Floats, score: Floats, k: int = 1) -> float:
    """What is lost by trusting the score: the best truth less the best among its first k, in the
    truth's unit, >= 0.
    """
    ordered = _ordered(truth, score)
    return float((ordered.max(axis=1) - ordered[:, :k].max(axis=1)).mean())


def choice(truth: Floats, score: Floats) -> float:
    """The truth of the teacher that the score puts first (the mean over those that tie)."""
    return float(_ordered(truth, score)[:, 0].mean())


def weighted_tau(truth: Floats, score: Floats) -> float:
    """Vigna's weighted Kendall correlation in [-1, 1], the good teachers counting most; 0 where the
    score is constant.
    """
    from scipy.stats import weightedtau

    kept = np.isfinite(truth)
    guess = score[kept].copy()
    known = np.isfinite(guess)
    guess[~known] = (guess[known].min() - 1) if known.any() else 0.0
    found = float(weightedtau(_ranks(truth[kept]), _ranks(guess)).statistic)
    return found if np.isfinite(found) else 0.0


def _ranks(values: Floats) -> Floats:
    """Numbers in the order of the values, equal where they are equal: weightedtau's own ranks need
    no scale.
    """
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.float64)


def ndcg(truth: Floats, score: Floats, k: int = 5) -> float:
    """Discounted gain of the first k over that of the best k, in [0, 1]; a teacher's gain is its
    truth above the worst's.
    """
    ordered = _ordered(truth, score)
    gains = ordered - ordered.min()
    k = min(k, gains.shape[1])
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = float(np.sort(gains[0])[::-1][:k] @ discount)
    return float((gains[:, :k] @ discount).mean() / best) if best > 0 else 1.0


MEASURES: dict[str, Callable[[Floats, Floats], float]] = {
    "regret@1": lambda truth, score: 100 * regret(truth, score, 1),
    "regret@3": lambda truth, score: 100 * regret(truth, score, 3),
    "weighted_tau": weighted_tau,
    "ndcg@5": ndcg,
}


@dataclass(frozen=True)
class Estimate:
    """``value`` with a 95 % interval; ``below`` the share of resamples under zero, for
    differences.
    """

    value: float
    low: float
    high: float
    below: float = float("nan")


def over_tasks(values: Floats, *, draws: int = 10_000, seed: int = 0) -> Estimate:
    """The mean of ``values`` (T, S) (NaN: not measured), resampling tasks, then seeds within
    each.
    """
    rng = np.random.default_rng(seed)
    rows = [row[np.isfinite(row)] for row in np.atleast_2d(values)]
    rows = [row for row in rows if len(row)]
    resampled = np.stack(
        [row[rng.integers(0, len(row), (draws, len(row)))].mean(axis=1) for row in rows]
    )  # (T, draws)
    picked = rng.integers(0, len(rows), (draws, len(rows)))
    means = resampled[picked, np.arange(draws)[:, None]].mean(axis=1)
    return _estimate(float(np.mean([row.mean() for row in rows])), means)


def paired(
    first: Sequence[Sequence[Floats]],
    second: Sequence[Sequence[Floats]],
    *,
    draws: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """By how much the choices of ``first`` beat those of ``second``, in the unit of the hits:
    tasks, seeds and images resampled.

    Both are [task][seed] -> (n,) how right the student of the chosen teacher was on each held-out
    image (hits in {0, 1}, or a mean of them where teachers tie); the same images in both, so the
    difference is paired at every level.
    """
    rng = np.random.default_rng(seed)
    means = []
    for tasks in zip(first, second, strict=True):
        seeds = []
        for one, two in zip(*tasks, strict=True):
            difference = np.asarray(one, dtype=np.float64) - np.asarray(two, dtype=np.float64)
            spread = difference.std() / np.sqrt(
                len(difference)
            )  # the mean of many resampled images is normal
            seeds.append(difference.mean() + spread * rng.normal(size=draws))
        stacked = np.stack(seeds)  # (S, draws)
        means.append(
            stacked[rng.integers(0, len(stacked), (len(stacked), draws)), np.arange(draws)].mean(
                axis=0
            )
        )
    table = np.stack(means)  # (T, draws)
    resampled = table[rng.integers(0, len(table), (len(table), draws)), np.arange(draws)].mean(
        axis=0
    )
    value = np.mean(
        [
            np.mean([np.mean(one) - np.mean(two) for one, two in zip(*tasks, strict=True)])
            for tasks in zip(first, second, strict=True)
        ]
    )
    return _estimate(float(value), resampled)


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(value, float(low), float(high), float((draws <= 0).mean()))
