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

from selection.scores.interval import Interval, around, paired_task_draws, task_draws

Floats = npt.NDArray[np.floating]
TIES = 64  # orders drawn where scores tie


def _measured(truth: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Truth and score (m,) of the teachers that were measured; a score that does not apply is
    -inf.
    """
    kept = np.isfinite(truth)
    if not kept.any():
        raise ValueError("no teacher of this task has been measured")
    return truth[kept], np.where(np.isfinite(score[kept]), score[kept], -np.inf)


def _ordered(truth: Floats, score: Floats) -> Floats:
    """(draws, m) the truth in the order of the score, best first; as many draws as ties need, the
    draws seeded.
    """
    measured, guess = _measured(truth, score)
    count = len(measured)
    tied = len(np.unique(guess)) < count
    rng = np.random.default_rng(0)
    orders = [rng.permutation(count) for _ in range(TIES)] if tied else [np.arange(count)]
    return np.stack([measured[order[np.argsort(-guess[order], kind="stable")]] for order in orders])


def ordinals(values: Floats) -> Floats:
    """(m,) ranks from 0 upwards in the order of the values, equal where they are equal."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.float64)


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

    measured, guess = _measured(truth, score)
    tau = float(weightedtau(ordinals(measured), ordinals(guess)).statistic)
    return tau if np.isfinite(tau) else 0.0


def ndcg(truth: Floats, score: Floats, k: int = 5) -> float:
    """Discounted gain of the first k over that of the best k, in [0, 1]; a teacher's gain is its
    truth above the worst's.
    """
    from sklearn.metrics import ndcg_score

    measured, guess = _measured(truth, score)
    gains = measured - measured.min()
    if len(gains) < 2 or gains.max() <= 0:  # any order is the best
        return 1.0
    return float(ndcg_score(gains[None], ordinals(guess)[None], k=k))


MEASURES: dict[str, Callable[[Floats, Floats], float]] = {
    "regret@1": lambda truth, score: 100 * regret(truth, score, 1),
    "regret@3": lambda truth, score: 100 * regret(truth, score, 3),
    "weighted_tau": weighted_tau,
    "ndcg@5": ndcg,
}


@dataclass(frozen=True)
class Estimate(Interval):
    """A mean over tasks with its interval; ``below`` is the share of resamples at or under zero."""

    below: float = float("nan")

    @classmethod
    def of(cls, value: float, draws: Floats) -> Estimate:
        """``value`` and what its bootstrap ``draws`` (n,) say of it."""
        held = around(value, draws)
        return cls(
            held.value,
            held.low,
            held.high,
            float((draws <= 0).mean()),
        )


def over_tasks(values: Floats, *, draws: int = 10_000, seed: int = 0) -> Estimate:
    """The mean of ``values`` (T, S) (NaN: not measured), tasks and then seeds drawn again."""
    return Estimate.of(*task_draws(values, draws=draws, seed=seed))


def paired(
    first: Sequence[Sequence[Floats]],
    second: Sequence[Sequence[Floats]],
    *,
    draws: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """By how much the choices of ``first`` beat those of ``second``, in the unit of the hits:
    tasks, seeds and images drawn again.

    Both are [task][seed] -> (n,) how right the student of the chosen teacher was on each held-out
    image (hits in {0, 1}, or a mean of them where teachers tie); the same images in both, so the
    difference is paired at every level.
    """
    differences = [
        [_difference(a, b) for a, b in zip(*seeds, strict=True)]
        for seeds in zip(first, second, strict=True)
    ]
    return Estimate.of(*paired_task_draws(differences, draws=draws, seed=seed))


def _difference(first: Floats, second: Floats) -> Floats:
    difference: Floats = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return difference
