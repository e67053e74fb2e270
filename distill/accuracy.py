"""Accuracies with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.interval import Interval

Hits = npt.NDArray[np.bool_]


def accuracy(hits: Hits, *, z: float = 1.96) -> Interval:
    """The share of right answers ``hits`` (n,), with Wilson's 95 % interval: how other test images would have come out."""
    n = len(hits)
    if not n:
        raise ValueError("an accuracy needs at least one image")
    p = float(np.mean(hits))
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return Interval(p, min(max(low, 0.0), p), max(min(high, 1.0), p))


def hits(results: Mapping[str, Any], split: str) -> Hits:
    """(n,) which images of ``split`` a run got right, from its ``results.json``."""
    right: Hits = np.asarray(results[split]["predicted"]) == np.asarray(results[split]["labels"])
    return right


def gain(mine: Sequence[Hits], control: Sequence[Hits], *, seed: int = 0, draws: int = 2_000) -> Interval:
    """How much more often ``mine`` is right than ``control``, on the same images, with a 95 % interval.

    One (n,) entry a seed on both sides, paired in order. Images and seeds are both resampled (a hierarchical bootstrap),
    so the interval holds for other images and other seeds; with one seed for other images only.
    """
    difference = np.stack([a.astype(float) - b.astype(float) for a, b in zip(mine, control, strict=True)])  # (S, n)
    return Interval(*_percentiles(float(difference.mean()), resampled(difference, seed=seed, draws=draws)))


def resampled(values: npt.NDArray[np.floating], *, seed: int = 0, draws: int = 2_000) -> npt.NDArray[np.float64]:
    """(draws,) means of ``values`` (S, n) with seeds and images drawn again."""
    rng = np.random.default_rng(seed)
    found = np.empty(draws)
    seeds, images = values.shape
    for i in range(draws):
        over_seeds = values[rng.integers(seeds, size=seeds)].mean(0)  # (n,)
        found[i] = over_seeds[rng.integers(images, size=images)].mean()
    return found


def recovered(student: Sequence[Hits], plain: Sequence[Hits], teacher: Hits, *, seed: int = 0,
              draws: int = 2_000) -> Interval | None:
    """(student - plain) / (teacher - plain): the share of the gap that distillation closed, with a 95 % interval.

    None where the teacher's lead over plain has no interval above zero: the quotient would mean nothing.
    """
    lead = gain([teacher] * len(plain), plain, seed=seed, draws=draws)
    if lead.low <= 0:
        return None
    stacked = np.stack([np.stack([s, p, teacher]).astype(float) for s, p in zip(student, plain, strict=True)])  # (S, 3, n)
    rng = np.random.default_rng(seed)
    seeds, _, images = stacked.shape
    found = np.empty(draws)
    for i in range(draws):
        some = stacked[rng.integers(seeds, size=seeds)].mean(0)  # (3, n)
        s, p, t = some[:, rng.integers(images, size=images)].mean(1)
        found[i] = (s - p) / max(t - p, 1e-9)
    s, p, t = stacked.mean((0, 2))
    return Interval(*_percentiles(float((s - p) / (t - p)), found))


def _percentiles(value: float, draws: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5]))
    return value, min(low, value), max(high, value)


def points(interval: Interval, *, sign: bool = False) -> str:
    """``interval`` of shares in [0, 1] as text, in per cent (of a difference: in points)."""
    plus = "+" if sign else ""
    value, low, high = (100 * v for v in (interval.value, interval.low, interval.high))
    return f"{value:{plus}.1f} ({low:{plus}.1f} to {high:{plus}.1f})"
