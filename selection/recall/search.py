"""Recall: the label spaces nearest to a task's classes, without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from selection.recall.label_index import Costs, Ints, LabelIndex, Vectors

# names of a class that are followed, at most 1,024: faiss takes as long to find fewer
_DEPTHS = (0, *(2**power for power in range(11)))
_FIRST_SPACES = 64  # spaces read before the first are priced, then each time twice as many
_MOST_TOUCHED = 0.1  # share of the label spaces; beyond it one product for all of them is faster
_SLACK = 1e-5  # bounds the float32 error of a cost, a mean of sums of 128 products

_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(frozen=True, eq=False)
class NearestSpaces:
    """The label spaces up to the one that holds the k-th nearest model, and what finding them took.

    Parameters
    ----------
    spaces : (s,) int64
        Rows of ``LabelIndex.spaces``, nearest first; equal costs in the order of rows.
    costs : (s,) float64
        Their RWMD in [0, 2], lower is nearer.
    touched : (t,) int64
        The spaces that were priced, ascending.
    total : int
        How many spaces have a permitted model; ``touched`` is all of these where the bound failed.
    """

    spaces: Ints
    costs: Costs
    touched: Ints
    total: int


def nearest_spaces(
    index: LabelIndex,
    classes: Vectors,
    *,
    k: int,
    prior: npt.ArrayLike | None = None,
    models: Ints | None = None,
) -> NearestSpaces:
    """The label spaces that hold the ``k`` models nearest to a task, exactly.

    RWMD(L) = sum_j pi_j min_{i in L} (1 - cos(name_i, class_j)) is the transport cost between label
    space L and the task when the teacher's class prior is free (relaxed word mover's distance,
    Kusner et al. 2015). A space that has none of the R nearest names of class j costs at least r_j
    there, the distance of the next name. Spaces that have one are touched: they are priced exactly,
    and R doubles, class by class, until sum_j pi_j r_j, the bound of all others, exceeds the cost
    of the k-th model (the stop rule is ours). Where this would touch more than a tenth of the
    spaces, or follow more than 1,024 names of every class, all spaces are priced at once instead.

    Parameters
    ----------
    index : LabelIndex
    classes : (C, E) float32
        Unit rows, the embedded names of the task's classes.
    k : int
        How many models are wanted; every space as near as the last of them is returned.
    prior : (C,) array_like, optional
        The share of each class in the task, in any unit. Default: all the same.
    models : (S,) int64, optional
        How many permitted models each space has. Default: all of the index.

    Raises
    ------
    ValueError
        For no class, ``k`` below 1, a prior of another shape, negative or all zero, or ``models``
        of another shape.
    """
    if models is None:
        models = index.models_per_space(np.ones(len(index.ids), np.bool_))
    if models.shape != (index.spaces.shape[0],):
        raise ValueError(f"models of shape {models.shape} for {index.spaces.shape[0]} label spaces")
    if k < 1:
        raise ValueError(f"k = {k}; expected at least 1")
    query = _Query(index, classes, _shares(len(classes), prior), models, k)
    touched, costs = query.touch()
    near = touched[costs <= query.kth_cost(touched, costs) + 2 * _SLACK]
    exact = index.costs(near, classes, query.shares).round(9)  # where equal costs are equal
    order = np.argsort(exact, kind="stable")
    order = order[exact[order] <= query.kth_cost(near, exact)]
    return NearestSpaces(near[order], exact[order], touched, int(np.count_nonzero(models)))


def _shares(count: int, prior: npt.ArrayLike | None) -> Costs:
    shares = np.ones(count) if prior is None else np.asarray(prior, np.float64)
    if count < 1 or shares.shape != (count,) or (shares < 0).any() or not shares.sum() > 0:
        raise ValueError(f"{count} classes with the prior {shares}; expected a share >= 0 a class")
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True, eq=False)
class _Query:
    index: LabelIndex
    classes: Vectors  # (C, E)
    shares: Costs  # (C,), sum 1
    models: Ints  # (S,)
    k: int

    def touch(self) -> tuple[Ints, Costs]:
        """Spaces (t,) that surely hold the k nearest models, ascending, and their float32 costs."""
        has_model = self.models > 0
        if self.k >= self.models.sum():
            return self._price(has_model)
        names, bounds, reads = self._lists()
        kth_cost, enough = np.inf, _FIRST_SPACES
        for levels in _doublings(bounds, reads):
            bound, read = _at(bounds, levels).sum(), _at(reads, levels).sum()
            if bound <= kth_cost and read < enough:
                continue
            enough = 2 * read
            followed = [row[: _DEPTHS[level]] for row, level in zip(names, levels, strict=True)]
            is_touched = has_model & self.index.spaces_with_any(np.concatenate(followed))
            if np.count_nonzero(is_touched) > _MOST_TOUCHED * np.count_nonzero(has_model):
                break
            touched, costs = self._price(is_touched)
            kth_cost = self.kth_cost(touched, costs) + 2 * _SLACK
            if bound > kth_cost:
                return touched, costs
        return self._price(has_model)

    def _lists(self) -> tuple[Ints, Costs, Ints]:
        """Each class's nearest names (C, R), and what following ``_DEPTHS`` (L,) of them gives.

        That is the class's part (C, L) of the bound, and how many spaces (C, L) these names have.
        """
        names, distances = self.index.nearest_names(self.classes, _DEPTHS[-1] + 1)
        depths = [depth for depth in _DEPTHS if depth < names.shape[1]]
        bounds = np.asarray(self.shares[:, None] * distances[:, depths])
        reads = np.cumsum(self.index.spaces_per_name(names), axis=1)  # of one name more than depth
        reads = np.concatenate([np.zeros((len(names), 1), reads.dtype), reads], axis=1)
        return names, bounds, reads[:, depths]

    def _price(self, is_chosen: npt.NDArray[np.bool_]) -> tuple[Ints, Costs]:
        spaces = np.flatnonzero(is_chosen)
        return spaces, self.index.costs(spaces, self.classes, self.shares, dtype=np.float32)

    def kth_cost(self, spaces: Ints, costs: Costs) -> float:
        """The cost of the k-th nearest model of ``spaces``; infinite where they have fewer."""
        order = np.argsort(costs, kind="stable")
        models_so_far = np.cumsum(self.models[spaces[order]])
        place = int(np.searchsorted(models_so_far, self.k))
        return float(costs[order[place]]) if place < len(order) else np.inf


def _doublings(bounds: Costs, reads: Ints) -> Iterator[Ints]:
    """Levels (C,) of ``_DEPTHS``: each time one more class follows twice as many names.

    It is the class in which the bound then rises most for each further space read, so that a name
    that half of the zoo has ("dog") is mostly never followed.
    """
    gains = np.diff(bounds) / np.maximum(np.diff(reads), 1)  # (C, L - 1)
    gains = np.pad(gains, ((0, 0), (0, 1)), constant_values=-np.inf)  # the last level is the end
    levels = np.zeros(len(bounds), np.int64)
    for _ in range(len(bounds) * (bounds.shape[1] - 1)):
        levels[_at(gains, levels).argmax()] += 1
        yield levels


def _at(table: npt.NDArray[_Number], levels: Ints) -> npt.NDArray[_Number]:
    return table[np.arange(len(table)), levels]
