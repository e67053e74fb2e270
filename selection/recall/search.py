"""Recall: the label spaces nearest to a task's classes, without looking at all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from selection.recall.label_index import Costs, Ints, LabelIndex, Vectors

_NAMES = 1_024  # nearest names of each class, R; faiss takes as long for fewer
_FIRST_TOUCHED = 16  # spaces priced at once at first, then as many as before
_MOST_TOUCHED = 0.05  # share of the spaces; once as many are priced, all others are at once
_SLACK = 2e-5  # bounds the float32 errors of two costs, each a mean of sums of 128 products


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
        The spaces that were priced, ascending; all others are farther by their lower bound.
    total : int
        How many spaces have a permitted model.
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
    Kusner et al. 2015). One faiss search gives the R = 1,024 nearest names of each class. They
    bound the cost of every space from below (ours): in class j by the nearest of these names that
    the space has, or by the distance of the R-th name where it has none. Spaces are priced exactly
    in the order of their bounds, in batches that double, until the next bound exceeds the cost of
    the k-th model. Where a twentieth of the spaces does not suffice (a task whose classes nobody
    has a name for), all that the bounds leave are priced at once: brute force, after the search.

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
    if k < 1:
        raise ValueError(f"k = {k}; expected at least 1")
    models = _models_per_space(index, models)
    shares = _shares(len(classes), prior)
    bounds = np.zeros(len(models), np.float32)
    if k < models.sum():
        bounds = _lower_bounds(index, classes, shares)
    order = np.flatnonzero(models)
    order = order[np.argsort(bounds[order], kind="stable")]
    price = partial(index.costs, classes=classes, shares=shares)
    costs = _price_in_order(
        order,
        bounds[order],
        models[order],
        k,
        price,
    )
    touched = order[: len(costs)]
    limit = _kth_cost(costs, models[touched], k) + _SLACK
    near = np.sort(touched[costs <= limit])
    exact = price(near).round(9)  # so that rounding does not order equal costs
    kth_cost = _kth_cost(exact, models[near], k)
    nearest = np.argsort(exact, kind="stable")
    nearest = nearest[exact[nearest] <= kth_cost]
    return NearestSpaces(
        spaces=near[nearest],
        costs=exact[nearest],
        touched=np.sort(touched),
        total=len(order),
    )


def _models_per_space(index: LabelIndex, models: Ints | None) -> Ints:
    """(S,) how many permitted models each space has: ``models``, checked, or all of the index."""
    if models is None:
        is_permitted = np.ones(len(index.ids), np.bool_)
        return index.models_per_space(is_permitted)
    if models.shape != (index.spaces.shape[0],):
        raise ValueError(f"models of shape {models.shape} for {index.spaces.shape[0]} label spaces")
    return models


def _price_in_order(
    order: Ints,
    bounds: Vectors,
    models: Ints,
    k: int,
    price: Callable[..., Costs],
) -> Costs:
    """The costs of the first of the spaces ``order`` (s,), up to where no bound is low enough.

    ``bounds`` (s,) ascend; ``models`` (s,) are how many models the spaces have.
    """
    costs = np.zeros(0)
    end = len(order)
    while len(costs) < end:
        done = len(costs)
        stop = end
        if done < _MOST_TOUCHED * len(order):
            stop = min(end, done + max(_FIRST_TOUCHED, done))
        prices = price(order[done:stop], dtype=np.float32)
        costs = np.concatenate([costs, prices])
        limit = _kth_cost(costs, models[:stop], k) + _SLACK
        end = int(np.searchsorted(bounds, limit, side="right"))
    return costs


def _shares(count: int, prior: npt.ArrayLike | None) -> Costs:
    shares = np.ones(count)
    if prior is not None:
        shares = np.asarray(prior, np.float64)
    is_valid = count > 0 and shares.shape == (count,) and (shares >= 0).all()
    if not is_valid or not shares.sum() > 0:
        raise ValueError(f"{count} classes with the prior {shares}; expected a share >= 0 a class")
    return np.asarray(shares / shares.sum())


def _lower_bounds(index: LabelIndex, classes: Vectors, shares: Costs) -> Vectors:
    """What each space (S,) costs at least, given the nearest names of each class."""
    names, distances = index.nearest_names(classes, _NAMES + 1)  # (C, R + 1)
    weights = shares.astype(np.float32)
    bounds = np.zeros(index.spaces.shape[0], np.float32)  # (S,)
    for weight, near, distance in zip(
        weights,
        names,
        distances,
        strict=True,
    ):
        spaces, places = index.spaces_with(near[:-1])
        least = np.full(len(bounds), distance[-1])  # (S,)
        np.minimum.at(least, spaces, distance[places])
        bounds += weight * least
    return bounds


def _kth_cost(costs: Costs, models: Ints, k: int) -> float:
    """The cost of the k-th nearest model, given ``models`` a space; infinite if there are fewer."""
    spaces = np.arange(len(costs))
    if len(costs) > k:  # each has a model at least, so the k nearest spaces suffice
        spaces = np.argpartition(costs, k)[:k]
    order = spaces[np.argsort(costs[spaces])]
    place = int(np.searchsorted(np.cumsum(models[order]), k))
    if place == len(order):
        return np.inf
    return float(costs[order[place]])
