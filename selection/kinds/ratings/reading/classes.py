"""The classes of ratings: their values in order, or ten quantiles of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_VALUES = 10  # distinct ratings that are classes of their own; of more there are 10 quantiles
_FEWEST = 2  # training ratings of a class
IMPLICIT_NAMES = ("not chosen", "chosen")


class RatingClasses(NamedTuple):
    """C classes in ascending order.

    names   of the classes
    values  (C,) the rating that each stands for
    labels  (n,) in [0, C), -1 where there is no rating
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    labels: Ints


def rating_classes(
    ratings: Floats, train: npt.NDArray[np.bool_], warnings: list[str]
) -> RatingClasses:
    """The classes of ``ratings`` (n,), NaN where there is none; quantiles are those of ``train``.

    A value with fewer than two training ratings counts as its neighbour.
    """
    rated = np.isfinite(ratings)
    values, bins = np.unique(ratings[rated], return_inverse=True)
    learnt = ratings[rated & train]
    if len(values) > MOST_VALUES:
        edges = np.unique(np.quantile(learnt, np.linspace(0, 1, MOST_VALUES + 1)[1:-1]))
        bins = np.searchsorted(edges, ratings[rated], side="right")
    labels = np.full(len(ratings), -1)
    labels[rated] = bins
    counts = np.bincount(labels[rated & train], minlength=int(bins.max()) + 1)
    kept = np.flatnonzero(counts >= _FEWEST)
    if not len(kept):
        return RatingClasses((), (), labels)
    nearest = np.abs(np.arange(len(counts))[:, None] - kept).argmin(1)  # (bins,)
    labels[rated] = nearest[bins]
    if len(values) <= MOST_VALUES:
        _say_merged(values, counts, kept[nearest], warnings)
        return RatingClasses(tuple(map(_written, values[kept])), _rounded(values[kept]), labels)
    inside = [ratings[train & (labels == label)] for label in range(len(kept))]
    names = tuple(_range(members) for members in inside)
    return RatingClasses(names, _rounded(np.array([part.mean() for part in inside])), labels)


def _say_merged(values: Floats, counts: Ints, kept: Ints, warnings: list[str]) -> None:
    merged = [
        f"{_written(value)} as {_written(values[kept[place]])}"
        for place, value in enumerate(values)
        if kept[place] != place
    ]
    if merged:
        warnings.append(
            f"ratings with fewer than two training pairs count as their neighbours:"
            f" {', '.join(merged)}"
        )


def _written(value: float) -> str:
    return f"{value:.6g}"


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(float(_written(value)) for value in values)


def _range(members: Floats) -> str:
    low, high = (f"{value:.4g}" for value in (members.min(), members.max()))
    return low if low == high else f"{low} to {high}"
