"""Recall: the label spaces nearest to a task's classes, without looking at all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from selection.evidence import Floats
from selection.label_index import Ints, LabelIndex

_DEPTH = 1_024  # names of each class that are looked up at first; faiss takes no longer for them than for sixteen
_FIRST = 64  # postings that are read before the first look at the bound
_SLACK = 1e-5  # more than float32 can be wrong by in a sum of 128 products
_EXACT = 20_000  # pairs that are multiplied in float64 at once
_FEW = 256  # with so few spaces there is nothing to save


@dataclass(frozen=True, eq=False)
class Recalled:
    """``spaces`` (n,) and their ``costs`` (n,) float64, the lowest first, equal costs by the number of the space.

    All spaces are there whose cost is at most that of the one that holds the k-th model, and no other. ``touched`` (t,)
    are the spaces that the search reached through label names, of ``total`` that hold a model at all.
    """

    spaces: Ints
    costs: npt.NDArray[np.float64]
    touched: Ints
    total: int


class Recall:
    """A ``LabelIndex`` that can be searched; loading it takes a moment, a query milliseconds.

    RWMD(L) = sum_j pi_j min_{i in L} (1 - cos(name_i, class_j)): the transport cost between label space L and the task
    when the teacher's class prior is free (relaxed word mover's distance, Kusner et al. 2015), in [0, 2], lower is
    nearer. Exact: a space that no looked-up name of class j leads to costs at least r_j there, the distance of the
    nearest name that was not followed, and the search goes on until sum_j pi_j r_j exceeds the k-th lowest cost. Which
    names are followed, and how far in each class, is ours: those first that raise this bound most for each space they
    lead to, so that names that half of the zoo has ("dog") are mostly never followed.
    """

    def __init__(self, index: LabelIndex) -> None:
        import faiss

        self.index = index
        self._names = faiss.IndexFlatIP(index.vectors.shape[1])
        self._names.add(np.ascontiguousarray(index.vectors, dtype=np.float32))

    def nearest(
        self, classes: Floats, *, k: int, prior: npt.NDArray[np.floating] | None = None, models: Ints | None = None
    ) -> Recalled:
        """The spaces that hold the ``k`` models nearest to ``classes`` (C, E), whose unit rows the index's encoder made.

        ``prior`` (C,) is the share of each class in the task, uniform where unknown; ``models`` (S,) counts the models of
        each space that may be taken (default: all of the index). Raises ``ValueError`` for wrong shapes or no class.
        """
        index = self.index
        shares = np.full(len(classes), 1.0) if prior is None else np.asarray(prior, np.float64)
        if len(classes) < 1 or shares.shape != (len(classes),) or not shares.sum() > 0 or (shares < 0).any() or k < 1:
            raise ValueError(f"{len(classes)} classes with a prior of shape {shares.shape} and k = {k}")
        counts = index.counts()[:-1] if models is None else models
        if counts.shape != (len(index.spaces),):
            raise ValueError(f"counts of {counts.shape} for {len(index.spaces)} label spaces")
        search = _Search(index, np.asarray(classes, np.float32), shares / shares.sum(), counts, k)
        there = np.flatnonzero(counts > 0)
        if len(there) <= _FEW or counts.sum() <= k:
            search.touch_all(there)
        else:
            self._follow(search)
        spaces, costs = search.finish()
        return Recalled(spaces, costs, search.reached(), len(there))

    def _follow(self, search: _Search) -> None:
        """Look names up and follow them until the bound says that nothing nearer can be found; else twice as many."""
        depth = min(_DEPTH, len(self.index.names))
        while True:
            similarity, names = self._names.search(search.classes, depth)  # (C, depth), nearest first
            distances = np.maximum(1 - similarity, 0)
            search.begin()
            if search.follow(distances, names) or depth == len(self.index.names):
                return
            depth = min(2 * depth, len(self.index.names))


@dataclass
class _Search:
    """One query: what was reached (T spaces so far), how near each class is known to be, and what costs are known."""

    index: LabelIndex
    classes: Floats  # (C, E)
    shares: npt.NDArray[np.float64]  # (C,), sum 1
    counts: Ints  # (S,) models
    k: int
    slot: npt.NDArray[np.int32] = field(init=False)  # (S,) place among the reached, or -1
    spaces: npt.NDArray[np.int32] = field(init=False)  # (T,)
    near: Floats = field(init=False)  # (T, C) distance of the nearest name that was followed
    cost: npt.NDArray[np.float64] = field(init=False)  # (T,), inf while unknown
    name_row: npt.NDArray[np.int32] = field(init=False)  # (n,) row of `distance`, or -1
    distance: Floats = field(init=False)  # (rows, C)

    def __post_init__(self) -> None:
        self.slot = np.full(len(self.index.spaces), -1, np.int32)
        self.spaces = np.zeros(0, np.int32)
        self.near = np.zeros((0, len(self.classes)), np.float32)
        self.cost = np.zeros(0)
        self.name_row = np.full(len(self.index.names), -1, np.int32)
        self.distance = np.zeros((0, len(self.classes)), np.float32)

    # --- reaching ------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Deeper lists are followed from their start; what is known stays known."""
        self.near[:] = np.inf

    def touch_all(self, spaces: Ints) -> None:
        self._reach(spaces.astype(np.int32))
        self._price(np.arange(len(self.spaces)))

    def follow(self, distances: Floats, names: Ints) -> bool:
        """Follow the looked-up names (C, R); whether the bound was met: every space not reached is farther."""
        radius = distances[:, 0].astype(np.float64)  # (C,) no name that was not followed is nearer
        read, limit = 0, _FIRST
        for step in _steps(distances, self.index.holders.lengths(names), self.shares):
            radius[step.of] = distances[step.of, min(step.end, distances.shape[1] - 1)]
            read += self._follow_names(names[step.of, step.begin : step.end], step.of, distances[step.of, step.begin : step.end])
            enough = float(self.shares @ radius) > self.kth() + _SLACK
            if enough or read >= limit:
                limit = 2 * read
                self._price(self._promising(radius)[: max(self.k, 128)])
                if float(self.shares @ radius) > self.kth() + _SLACK:
                    break
        self._price_promising(radius)
        return float(self.shares @ radius) > self.kth() + _SLACK

    def _follow_names(self, names: Ints, of: int, distances: Floats) -> int:
        """Reach the spaces that have one of ``names`` (d,), which lie at ``distances`` (d,) from class ``of``."""
        held, _ = self.index.holders.take(names)
        far = np.repeat(distances, self.index.holders.lengths(names))
        there = self.counts[held] > 0
        held, far = held[there], far[there]
        self._reach(np.unique(held[self.slot[held] < 0]))
        np.minimum.at(self.near, (self.slot[held], of), far)
        return len(held)

    def _reach(self, spaces: npt.NDArray[np.int32]) -> None:
        self.slot[spaces] = np.arange(len(self.spaces), len(self.spaces) + len(spaces))
        self.spaces = np.concatenate([self.spaces, spaces])
        self.near = np.concatenate([self.near, np.full((len(spaces), len(self.classes)), np.inf, np.float32)])
        self.cost = np.concatenate([self.cost, np.full(len(spaces), np.inf)])

    def reached(self) -> Ints:
        return np.sort(self.spaces).astype(np.int64)

    # --- costs ---------------------------------------------------------------------------------------------------

    def kth(self) -> float:
        """The cost of the space that holds the k-th nearest model of those whose costs are known; inf with fewer."""
        known = np.flatnonzero(np.isfinite(self.cost))
        order = known[np.argsort(self.cost[known], kind="stable")]
        held = np.cumsum(self.counts[self.spaces[order]])
        place = int(np.searchsorted(held, min(self.k, int(self.counts.sum()))))
        return float(self.cost[order[place]]) if place < len(order) else np.inf

    def _promising(self, radius: npt.NDArray[np.float64]) -> Ints:
        """The reached spaces whose cost is unknown and may be among the lowest, by its lower bound."""
        open_ = np.flatnonzero(np.isinf(self.cost))
        least = np.minimum(self.near[open_], radius) @ self.shares
        order = np.argsort(least, kind="stable")
        return open_[order[least[order] <= self.kth() + _SLACK]]

    def _price_promising(self, radius: npt.NDArray[np.float64]) -> None:
        while len(left := self._promising(radius)):
            self._price(left[: max(self.k, 128)])

    def _price(self, slots: Ints) -> None:
        """Find the costs of these reached spaces, in float32."""
        if not len(slots):
            return
        rows, starts = self._rows(self.spaces[slots])
        self.cost[slots] = np.minimum.reduceat(self.distance[rows], starts, axis=0) @ self.shares

    def _rows(self, spaces: npt.NDArray[np.int32]) -> tuple[Ints, Ints]:
        """The rows of ``distance`` of the spaces' names, end to end, and where each space starts; new names are added."""
        names, starts = self.index.spaces.take(spaces)
        new = np.unique(names[self.name_row[names] < 0])
        self.name_row[new] = np.arange(len(self.distance), len(self.distance) + len(new))
        self.distance = np.concatenate([self.distance, 1 - self.index.vectors[new] @ self.classes.T])
        return self.name_row[names].astype(np.int64), starts

    def finish(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        """The spaces up to the k-th model and their costs in float64, in which equal costs are equal."""
        near = np.flatnonzero(self.cost <= self.kth() + 2 * _SLACK)
        near = near[np.argsort(self.spaces[near])]
        self.cost[:] = np.inf
        self.cost[near] = self._exact(self.spaces[near]).round(9)
        near = near[self.cost[near] <= self.kth()]
        order = near[np.argsort(self.cost[near], kind="stable")]
        return self.spaces[order].astype(np.int64), self.cost[order]

    def _exact(self, spaces: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """(n,) costs in float64: of the names of a space only those that float32 finds nearest need the long sum."""
        if not len(spaces):
            return np.zeros(0)
        names, starts = self.index.spaces.take(spaces)
        rows, _ = self._rows(spaces)
        owner = np.repeat(np.arange(len(spaces)), self.index.spaces.lengths(spaces))
        least = np.minimum.reduceat(self.distance[rows], starts, axis=0)  # (n, C)
        which, of = np.nonzero(self.distance[rows] <= least[owner] + _SLACK)
        exact = np.full(least.shape, np.inf)
        for begin in range(0, len(which), _EXACT):
            some, its = which[begin : begin + _EXACT], of[begin : begin + _EXACT]
            products = self.index.vectors[names[some]].astype(np.float64) * self.classes[its].astype(np.float64)
            np.minimum.at(exact, (owner[some], its), 1 - products.sum(axis=1))
        return np.asarray(exact @ self.shares)


@dataclass(frozen=True)
class _Step:
    """Follow names ``begin`` ... ``end`` - 1 of class ``of``; ``worth`` is the rise of the bound for each space reached."""

    of: int
    begin: int
    end: int
    worth: float


def _steps(distances: Floats, lengths: Ints, shares: npt.NDArray[np.float64]) -> list[_Step]:
    """In which order to follow the looked-up names (C, R): the upper hulls of each class's bound over its postings,
    merged by slope, so that any start of the list is near the highest bound that as many postings can buy."""
    depth = distances.shape[1]
    grid = np.unique(np.concatenate([np.geomspace(1, depth, 48).astype(int), [0, depth]]))  # depths looked at
    steps = []
    for of, share in enumerate(shares):
        paid = np.concatenate([[0], np.cumsum(lengths[of])])[grid]
        bound = share * distances[of, np.minimum(grid, depth - 1)].astype(np.float64)
        hull = [0]
        for point in range(1, len(grid)):
            while len(hull) > 1 and _slope(paid, bound, hull[-2], hull[-1]) <= _slope(paid, bound, hull[-1], point):
                hull.pop()
            hull.append(point)
        steps += [_Step(of, int(grid[a]), int(grid[b]), _slope(paid, bound, a, b)) for a, b in zip(hull, hull[1:], strict=False)]
    return sorted(steps, key=lambda step: (-step.worth, step.of, step.begin))


def _slope(paid: Ints, bound: npt.NDArray[np.float64], a: int, b: int) -> float:
    return float((bound[b] - bound[a]) / max(int(paid[b] - paid[a]), 1))
