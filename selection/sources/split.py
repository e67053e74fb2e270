"""One split of a task: labels, and samples that are read on demand."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from selection.kinds.kind import Decoding, Kind
from zoo.terminal.command import printable

Rows = npt.NDArray[np.int64]

# of the cuts of all tasks; never the user's --seed, so that no seed of theirs moves the test split
SPLIT_SEED = 2_204_115


class Source(Protocol):
    """Encoded samples in a folder, a table or memory; safe to read from several threads."""

    def __len__(self) -> int: ...

    def raw(self, row: int) -> bytes:
        """The encoded bytes of one sample; raises ``CorruptSample`` where there are none."""

    def name(self, row: int) -> str:
        """A short name of one sample for messages and reports."""

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        """What a digest of ``rows`` is made of: names, sizes and a sample of bytes.

        Cheap, and the same wherever the folder is moved to.
        """


@dataclass(frozen=True, eq=False)
class Split:
    """n samples of a source.

    rows      (n,) int64, their places in ``source``
    labels    (n,) int64 in [0, C), or -1 where unlabelled
    classes   the C class names
    kind      what the samples are
    groups    (n,) int64, equal numbers for copies of one sample, in other splits of the task too;
              -1: the only one; None: not searched
    decoding  how they are decoded, the same for the whole task; None: their bytes say it
    """

    source: Source
    rows: Rows
    labels: Rows
    classes: tuple[str, ...]
    kind: Kind
    groups: Rows | None = None
    decoding: Decoding | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def raw(self, i: int) -> bytes:
        """The encoded bytes of sample ``i``; raises ``CorruptSample`` (a ``ValueError``)."""
        return self.source.raw(int(self.rows[i]))

    def sample(self, i: int) -> Any:
        """Sample ``i`` as teachers are shown it; raises ``CorruptSample``."""
        return self.shown(self.raw(i))

    def shown(self, encoded: bytes) -> Any:
        """``encoded``, the bytes of a sample of this task, as teachers are shown it."""
        return self.kind.show(encoded, self.decoding)

    def decode(self, encoded: bytes) -> Any:
        """``encoded``, the bytes of a sample of this task, as it is; raises ``CorruptSample``."""
        return self.kind.decode(encoded, self.decoding)

    def fingerprint(self, encoded: bytes) -> bytes:
        """32 bytes that identify what teachers are shown of ``encoded``, see ``Kind``."""
        return self.kind.fingerprint(encoded, self.decoding)

    def samples(self) -> Iterator[Any]:
        """All samples in order, decoded one by one; raises ``CorruptSample``."""
        return (self.decode(self.raw(i)) for i in range(len(self)))

    def name(self, i: int) -> str:
        """The name of sample ``i``: its path in the task's folder, or its file and row."""
        return self.source.name(int(self.rows[i]))

    def subset(self, positions: Rows | Sequence[int]) -> Split:
        """The samples at ``positions`` of this split, in that order."""
        chosen = np.asarray(positions, dtype=np.int64)
        return replace(
            self,
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            groups=None if self.groups is None else self.groups[chosen],
        )

    @cached_property
    def digest(self) -> str:
        """sha256 over class names, labels, names, file sizes and some of the bytes, in order.

        Cheap on purpose (no whole read of 300,000 files): an edit that keeps a file's size can go
        unseen. The probe's digest covers every byte of the samples that it drew.
        """
        digest = hashlib.sha256()
        names = "\0".join(self.classes)
        digest.update(names.encode("utf-8", "surrogatepass"))
        digest.update(self.labels.tobytes())
        for part in self.source.stamp(self.rows):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        if self.decoding is not None:
            digest.update(self.decoding.key)
        return digest.hexdigest()


class Joined:
    """Several sources, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._starts = np.cumsum([0, *map(len, self._sources)]).tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _at(self, row: int) -> tuple[Source, int]:
        which = bisect.bisect_right(self._starts, row) - 1
        inner = row - self._starts[which]
        return self._sources[which], inner

    def raw(self, row: int) -> bytes:
        source, inner = self._at(row)
        return source.raw(inner)

    def name(self, row: int) -> str:
        source, inner = self._at(row)
        return source.name(inner)

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        for source, start in zip(self._sources, self._starts, strict=False):
            inner = rows - start
            in_source = (inner >= 0) & (inner < len(source))
            yield from source.stamp(inner[in_source])


def by_class(labels: Rows, count: int) -> list[Rows]:
    """The positions of each of ``count`` classes in ``labels`` (n,), ascending; not of -1."""
    order = np.argsort(labels, kind="stable")
    edges = np.searchsorted(labels[order], np.arange(count + 1))
    return [order[start:stop] for start, stop in itertools.pairwise(edges)]


def cut(
    labels: Rows,
    count: int,
    *,
    share: float,
    seed: Sequence[int],
    groups: Rows | None = None,
) -> tuple[Rows, Rows]:
    """Cut ``labels`` (n,) in two, stratified: positions that stay and positions that go, ascending.

    Of a class of n samples ``round(share * n)`` go, at least one if n >= 3, and at least two stay.
    Samples with one number in ``groups`` (n,), other than -1, go or stay together; a class that has
    nothing but one such group is cut through it.
    """
    goes = np.zeros(len(labels), dtype=bool)
    units = _Units(labels, count, groups)
    for label, rows in enumerate(by_class(labels, count)):
        wanted = max(round(share * len(rows)), 1)
        take = min(wanted, len(rows) - 2) - int(goes[rows].sum())
        if take > 0:
            rng = np.random.default_rng([*seed, label])
            shuffled = rng.permutation(rows)
            goes[units.first(shuffled, take, goes)] = True
    return np.flatnonzero(~goes), np.flatnonzero(goes)


class _Units:
    """What goes in one piece: single samples, and all copies of one sample."""

    def __init__(
        self,
        labels: Rows,
        count: int,
        groups: Rows | None,
    ) -> None:
        self._labels, self._count = labels, count
        self._groups = np.full(len(labels), -1) if groups is None else groups
        grouped = np.flatnonzero(self._groups >= 0)
        order = grouped[np.argsort(self._groups[grouped], kind="stable")]
        numbers, starts = np.unique(self._groups[order], return_index=True)
        pieces = np.split(order, starts[1:])
        self._members: dict[int, Rows] = dict(zip(numbers.tolist(), pieces, strict=False))

    def first(
        self,
        shuffled: Rows,
        take: int,
        goes: npt.NDArray[np.bool_],
    ) -> Rows:
        """About ``take`` samples of one class, in the order ``shuffled``, with their likes.

        Samples of other classes may come along.
        """
        if (self._groups[shuffled] < 0).all():
            return shuffled[:take]
        stays = np.bincount(self._labels[~goes & (self._labels >= 0)], minlength=self._count)
        label = self._labels[shuffled[0]]
        chosen: list[Rows] = []
        larger: Rows | None = None  # the smallest that fits in no other way
        seen: set[int] = set()
        for row in shuffled[~goes[shuffled]]:
            if take <= 0:
                break
            unit = self._unit(row, seen)
            if unit is None:
                continue
            leaves = np.bincount(self._labels[unit], minlength=self._count)
            if (stays - leaves)[leaves > 0].min() < 2:
                continue
            if leaves[label] <= take:
                chosen.append(unit)
                stays, take = stays - leaves, take - leaves[label]
            elif larger is None or len(unit) < len(larger):
                larger = unit
        if chosen or goes[shuffled].any():
            return np.concatenate([shuffled[:0], *chosen])
        return larger if larger is not None else shuffled[:take]

    def _unit(self, row: int, seen: set[int]) -> Rows | None:
        """The samples that go with ``row``, once; None for a group that was ``seen``."""
        group = int(self._groups[row])
        if group < 0:
            return np.array([row])
        if group in seen:
            return None
        seen.add(group)
        return self._members[group]


def spread(count: int, most: int = 32) -> list[int]:
    """At most ``most`` positions spread evenly over ``count``."""
    if not count:
        return []
    places = np.linspace(0, count - 1, min(count, most))
    return [int(place) for place in places.round()]


def with_decoding(split: Split) -> Split:
    """``split`` with the decoding that its samples call for."""
    return replace(split, decoding=split.kind.decoding_of(split))


@dataclass(frozen=True, eq=False)
class Part:
    """A split as its files state it: ``labels`` (n,) index ``names``, -1 where unlabelled."""

    source: Source
    labels: Rows
    names: tuple[str, ...]


def class_names(raw: Sequence[Any]) -> tuple[str, ...]:
    """Printable class names of at most 200 letters, numbered where two would be equal."""
    seen: dict[str, int] = {}
    names = []
    for i, value in enumerate(raw):
        name = class_name(value) or f"class {i}"
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(names)


def class_name(raw: Any) -> str:
    """One class name without control characters, whatever bytes a folder's name holds."""
    text = str(raw)
    if isinstance(raw, str):
        text = os.fsencode(raw).decode("utf-8", "replace")
    return printable(unicodedata.normalize("NFC", text), limit=200)
