"""Recall: the label spaces nearest to a task's classes, without looking at all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from selection.evidence import Floats
from selection.recall.label_index import Ints, LabelIndex

_DEPTH = 512  # about so many names of each class are looked up at first
_SAMPLED = 32  # rank in a sample by which that depth is found
_FIRST = 64  # postings that are read before the first look at the bound
_PRICED = 64  # spaces whose names are read at once
_SLACK = 1e-5  # more than float32 can be wrong by in a sum of 128 products
_EXACT = 20_000  # pairs that are multiplied in float64 at once
_FEW = 256  # with so few spaces there is nothing to save


@dataclass(frozen=True, eq=False)
class Recalled:
    """``spaces`` (n,) and their ``costs`` (n,) float64, the lowest first, equal costs by the number
    of the space.

    All spaces are there whose cost is at most that of the one that holds the k-th model, and no
    other. ``touched`` (t,) are the spaces that the search reached through label names, of ``total``
    that hold a model at all; of ``priced`` of them all names were read.
    """

    spaces: Ints
    costs: npt.NDArray[np.float64]
    touched: Ints
    total: int
    priced: int


class Recall:
    """A ``LabelIndex`` that can be searched.

    RWMD(L) = sum_j pi_j min_{i in L} (1 - cos(name_i, class_j)): the transport cost between label
    space L and the task when the teacher's class prior is free (relaxed word mover's distance,
    Kusner et al. 2015), in [0, 2], lower is nearer. Exact: a space that no looked-up name of class
    j leads to costs at least r_j there, the distance of the nearest name that was not followed, and
    the search goes on until sum_j pi_j r_j exceeds the k-th lowest cost. Which names are followed,
    and how far in each class, is ours: those first that raise this bound most for each space they
    lead to, so that names that half of the zoo has ("dog") are mostly never followed.

    The names themselves are compared by one matrix product: for 20 classes and 200,000 names of 128
    dimensions it takes a third of the time of faiss' flat index (25 and 90 ms of one core), which
    sorts what is not needed here.
    """

    def __init__(self, index: LabelIndex) -> None:
        self.index = index
        self._vectors = np.ascontiguousarray(index.vectors, dtype=np.float32)  # (n, E)

    def nearest(
        self,
        classes: Floats,
        *,
        k: int,
        prior: npt.ArrayLike | None = None,
        models: Ints | None = None,
    ) -> Recalled:
        """The spaces that hold the ``k`` models nearest to ``classes`` (C, E), unit rows of the
        index's encoder.

        ``prior`` (C,) is the share of each class in the task, uniform where unknown; ``models``
        (S,) counts the models of each space that may be taken (default: all of the index). Raises
        ``ValueError`` for wrong shapes or no class.
        """
        index = self.index
        shares = np.ones(len(classes)) if prior is None else np.asarray(prior, np.float64)
        if (
            len(classes) < 1
            or shares.shape != (len(classes),)
            or not shares.sum() > 0
            or (shares < 0).any()
            or k < 1
        ):
            raise ValueError(
                f"{len(classes)} classes with a prior of shape {shares.shape} and k = {k}"
            )
        counts = index.counts()[:-1] if models is None else np.asarray(models)
        if counts.shape != (len(index.spaces),):
            raise ValueError(f"counts of shape {counts.shape} for {len(index.spaces)} label spaces")
        mine = np.asarray(classes, np.float32)
        search = _Search(index, mine, self._vectors @ mine.T, shares / shares.sum(), counts, k)
        there = np.flatnonzero(counts > 0)
        if len(there) <= _FEW or counts.sum() <= k:
            search.take_all(there)
        else:
            depth = _DEPTH
            while not search.follow(search.look_up(depth)):
                depth *= 2
        spaces, costs = search.finish()
        return Recalled(spaces, costs, search.reached(), len(there), search.priced)


@dataclass(frozen=True, eq=False)
class _Near:
    """All names nearer to one class than ``edge``: ``names`` (d,) at ``distances`` (d,), the
    nearest first.
    """

    names: Ints
    distances: Floats
    edge: float

    def radius(self, followed: int) -> float:
        """With so many names followed, no other is nearer than this."""
        return float(self.distances[followed]) if followed < len(self.names) else self.edge


@dataclass(eq=False)
class _Search:
    """One query: which spaces were reached (T so far), how near each class is known to be, and what
    costs are known.
    """

    index: LabelIndex
    classes: Floats  # (C, E)
    similarity: Floats  # (n, C)
    shares: npt.NDArray[np.float64]  # (C,), sum 1
    counts: Ints  # (S,) models
    k: int
    slot: npt.NDArray[np.int32] = field(init=False)  # (S,) place among the reached, or -1
    spaces: npt.NDArray[np.int32] = field(init=False)  # (T,)
    near: Floats = field(init=False)  # (T, C) distance of the nearest name that was followed
    cost: npt.NDArray[np.float64] = field(init=False)  # (T,), inf while unknown
    kth: float = field(
        init=False, default=np.inf
    )  # cost of the space with the k-th nearest model, of the known ones
    priced: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.slot = np.full(len(self.index.spaces), -1, np.int32)
        self.spaces = np.zeros(0, np.int32)
        self.near = np.zeros((0, len(self.classes)), np.float32)
        self.cost = np.zeros(0)

    # --- reaching

    def look_up(self, depth: int) -> list[_Near]:
        """For each class the names nearer than some edge: about ``depth`` of them, or all there
        are.
        """
        n, width = self.similarity.shape
        edges = np.full(width, -np.inf, np.float32)
        if n > 4 * depth:
            sample = self.similarity[:: max(1, depth // _SAMPLED)]
            rank = len(sample) - max(1, round(depth * len(sample) / n))
            edges = np.partition(sample, rank, axis=0)[rank]
        name, of = np.divmod(np.flatnonzero(self.similarity > edges), width)
        distances = np.maximum(1 - self.similarity[name, of], 0)
        order = np.lexsort((name, distances, of))
        cuts = np.searchsorted(of[order], np.arange(1, width))
        parts = zip(
            np.split(name[order], cuts),
            np.split(distances[order], cuts),
            edges.tolist(),
            strict=True,
        )
        return [_Near(names, far, 1 - edge) for names, far, edge in parts]

    def take_all(self, spaces: Ints) -> None:
        """Reach these spaces, which are all there are, and find their costs."""
        self._reach(spaces.astype(np.int32))
        self._price(np.arange(len(self.spaces)))

    def follow(self, near: Sequence[_Near]) -> bool:
        """Follow the looked-up names; whether the bound was met: every space not reached is farther
        than the k-th.
        """
        radius = np.array([found.radius(0) for found in near])  # (C,)
        self.near[:] = np.inf  # deeper lists are followed from their start; known costs stay known
        read, limit = 0, _FIRST
        for step in _steps(near, self.index, self.shares):
            found = near[step.of]
            radius[step.of] = found.radius(step.end)
            read += self._follow_names(
                found.names[step.begin : step.end], step.of, found.distances[step.begin : step.end]
            )
            if read >= limit or self._bounded(radius):
                limit = 2 * read
                self._price(self._promising(radius)[:_PRICED])
                if self._bounded(radius):
                    break
        while len(left := self._promising(radius)):
            self._price(left[:_PRICED])
        return self._bounded(radius) or not np.isfinite(radius).any()

    def _bounded(self, radius: npt.NDArray[np.float64]) -> bool:
        return float(self.shares @ radius) > self.kth + _SLACK

    def _follow_names(self, names: Ints, of: int, distances: Floats) -> int:
        """Reach the spaces that have one of ``names`` (d,), which lie at ``distances`` (d,) from
        class ``of``.
        """
        held, _ = self.index.holders.take(names)
        far = np.repeat(distances, self.index.holders.lengths(names))
        there = self.counts[held] > 0
        held, far = held[there], far[there]
        self._reach(np.unique(held[self.slot[held] < 0]))
        np.minimum.at(self.near, (self.slot[held], np.full(len(held), of)), far)
        return len(held)

    def _reach(self, spaces: npt.NDArray[np.int32]) -> None:
        self.slot[spaces] = np.arange(len(self.spaces), len(self.spaces) + len(spaces))
        self.spaces = np.concatenate([self.spaces, spaces])
        self.near = np.concatenate(
            [self.near, np.full((len(spaces), len(self.classes)), np.inf, np.float32)]
        )
        self.cost = np.concatenate([self.cost, np.full(len(spaces), np.inf)])

    def reached(self) -> Ints:
        """The reached spaces in the order of their numbers."""
        return np.sort(self.spaces).astype(np.int64)

    # --- costs

    def _promising(self, radius: npt.NDArray[np.float64]) -> Ints:
        """The reached spaces whose cost is unknown and may be among the lowest, by its lower
        bound.
        """
        open_ = np.flatnonzero(np.isinf(self.cost))
        least = np.minimum(self.near[open_], radius) @ self.shares
        order = np.argsort(least, kind="stable")
        return open_[order[least[order] <= self.kth + _SLACK]]

    def _price(self, slots: Ints) -> None:
        """Find the costs of these reached spaces from all their names, in float32."""
        if len(slots):
            names, starts = self.index.spaces.take(self.spaces[slots])
            self.cost[slots] = (
                1 - np.maximum.reduceat(self.similarity[names], starts, axis=0)
            ) @ self.shares
            self.priced += len(slots)
        self._find_kth()

    def _find_kth(self) -> None:
        known = np.flatnonzero(np.isfinite(self.cost))
        order = known[np.argsort(self.cost[known], kind="stable")]
        held = np.cumsum(self.counts[self.spaces[order]])
        place = int(np.searchsorted(held, min(self.k, int(self.counts.sum()))))
        self.kth = float(self.cost[order[place]]) if place < len(order) else np.inf

    def finish(self) -> tuple[Ints, npt.NDArray[np.float64]]:
        """The spaces up to the k-th model and their costs in float64, in which equal costs are
        equal.
        """
        near = np.flatnonzero(self.cost <= self.kth + 2 * _SLACK)
        near = near[np.argsort(self.spaces[near])]
        self.cost[:] = np.inf
        self.cost[near] = self._exact(self.spaces[near]).round(9)
        self._find_kth()
        near = near[self.cost[near] <= self.kth]
        order = near[np.argsort(self.cost[near], kind="stable")]
        return self.spaces[order].astype(np.int64), self.cost[order]

    def _exact(self, spaces: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """(n,) costs in float64: of the names of a space only those that float32 finds nearest need
        the long sum.
        """
        if not len(spaces):
            return np.zeros(0)
        names, starts = self.index.spaces.take(spaces)
        owner = np.repeat(np.arange(len(spaces)), self.index.spaces.lengths(spaces))
        best = np.maximum.reduceat(self.similarity[names], starts, axis=0)  # (n, C)
        which, of = np.nonzero(self.similarity[names] >= best[owner] - _SLACK)
        exact = np.full(best.shape, np.inf)
        for begin in range(0, len(which), _EXACT):
            some, its = which[begin : begin + _EXACT], of[begin : begin + _EXACT]
            products = self.index.vectors[names[some]].astype(np.float64) * self.classes[
                its
            ].astype(np.float64)
            np.minimum.at(exact, (owner[some], its), 1 - products.sum(axis=1))
        return np.asarray(exact @ self.shares)


@dataclass(frozen=True)
class _Step:
    """Follow names ``begin`` ... ``end`` - 1 of class ``of``; ``worth`` is the rise of the bound
    for each space reached.
    """

    of: int
    begin: int
    end: int
    worth: float


def _steps(
    near: Sequence[_Near], index: LabelIndex, shares: npt.NDArray[np.float64]
) -> list[_Step]:
    """In which order to follow the looked-up names: the upper hulls of each class's bound over its
    postings, merged by slope, so that any start of the list is near the highest bound that as many
    postings can buy.
    """
    steps = []
    for of, (found, share) in enumerate(zip(near, shares.tolist(), strict=True)):
        depth = len(found.names)
        grid = np.unique(
            np.concatenate([np.geomspace(1, max(depth, 1), 32).astype(int), [0, depth]])
        )  # depths looked at
        read = np.concatenate([[0], np.cumsum(index.holders.lengths(found.names))])[
            np.minimum(grid, depth)
        ].tolist()
        bound = [
            share * min(found.radius(place), 2.0) for place in grid.tolist()
        ]  # no cosine is below -1
        hull = [0]
        for point in range(1, len(grid)):
            while len(hull) > 1 and _slope(read, bound, hull[-2], hull[-1]) <= _slope(
                read, bound, hull[-1], point
            ):
                hull.pop()
            hull.append(point)
        steps += [
            _Step(of, int(grid[a]), int(grid[b]), _slope(read, bound, a, b))
            for a, b in itertools.pairwise(hull)
        ]
    return sorted(steps, key=lambda step: (-step.worth, step.of, step.begin))


def _slope(read: list[int], bound: list[float], a: int, b: int) -> float:
    return (bound[b] - bound[a]) / max(read[b] - read[a], 1)
