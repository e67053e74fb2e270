"""Accuracies with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.scores.interval import Interval

Hits = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def hits(results: Mapping[str, Any], split: str) -> Hits:
    """(n,) which images of ``split`` a run got right, from its ``results.json``."""
    right: Hits = np.asarray(results[split]["predicted"]) == np.asarray(results[split]["labels"])
    return right


def accuracy(hits: Hits) -> Interval:
    """The share of right answers ``hits`` (n,), with Wilson's 95 % interval: how other test images
    would have come out.
    """
    from scipy.stats import binomtest

    if not len(hits):
        raise ValueError("an accuracy needs at least one image")
    found = binomtest(int(np.sum(hits)), len(hits)).proportion_ci(method="wilson")
    return _interval(float(np.mean(hits)), found.low, found.high)


def gain(mine: Sequence[Hits], control: Sequence[Hits]) -> Interval:
    """How much more often ``mine`` is right than ``control``, on the same images, with a 95 %
    interval.

    One (n,) entry a seed on both sides, paired in order. Images and seeds are both resampled (a
    hierarchical bootstrap), so the interval holds for other images and other seeds; with one seed
    for other images only.
    """
    difference = np.stack(
        [a.astype(float) - b.astype(float) for a, b in zip(mine, control, strict=True)]
    )  # (S, n)
    return _interval(float(difference.mean()), *np.percentile(resampled(difference), [2.5, 97.5]))


def resampled(values: Floats, *, seed: int = 0, draws: int = 2_000) -> Floats:
    """(draws, ...) means of ``values`` (S, ..., n) with seeds and images drawn again."""
    rng = np.random.default_rng(seed)
    found = np.empty((draws, *values.shape[1:-1]))
    seeds, images = values.shape[0], values.shape[-1]
    for i in range(draws):
        over_seeds = values[rng.integers(seeds, size=seeds)].mean(0)  # (..., n)
        found[i] = over_seeds[..., rng.integers(images, size=images)].mean(-1)
    return found


def recovered(student: Sequence[Hits], plain: Sequence[Hits], teacher: Hits) -> Interval | None:
    """(student - plain) / (teacher - plain): the share of the gap that distillation closed, with a
    95 % interval.

    None where the teacher's lead over plain has no interval above zero: the quotient would mean
    nothing.
    """
    if gain([teacher] * len(plain), plain).low <= 0:
        return None
    stacked = np.stack(
        [np.stack([s, p, teacher]).astype(float) for s, p in zip(student, plain, strict=True)]
    )  # (S, 3, n)
    s, p, t = resampled(stacked).T
    low, high = np.percentile((s - p) / np.maximum(t - p, 1e-9), [2.5, 97.5])
    s, p, t = stacked.mean((0, 2))
    return _interval(float((s - p) / (t - p)), low, high)


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(value, min(float(low), value), max(float(high), value))


def points(interval: Interval, *, sign: bool = False) -> str:
    """``interval`` of shares in [0, 1] as text, in per cent (of a difference: in points)."""
    plus = "+" if sign else ""
    value, low, high = (100 * v for v in (interval.value, interval.low, interval.high))
    return f"{value:{plus}.1f} ({low:{plus}.1f} to {high:{plus}.1f})"
