"""Ratings in memory: users, items with their texts, and pairs of them as samples."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.kinds.ratings.history import History, Pairs

if TYPE_CHECKING:
    from selection.sources.split import Split

Ints = npt.NDArray[np.int64]
_PAIR = struct.Struct("<ii")


@dataclass(frozen=True, eq=False)
class RatingsTable:
    """The users, items and classes of a task of ratings.

    Attributes
    ----------
    user_ids, item_ids : tuple of str
        The U users and I items as the user's files write them: ``42``, never ``42.0``.
    texts : tuple of str
        The I items' texts, what teachers are shown; empty where an item has none.
    titles : tuple of str
        The I items' names for people.
    values : tuple of float
        The rating that each of the C classes stands for; (0, 1) for implicit feedback.
    implicit : bool
        Whether pairs were chosen or not, and not rated.
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    titles: tuple[str, ...]
    values: tuple[float, ...]
    implicit: bool = False

    @cached_property
    def key(self) -> bytes:
        """32 bytes that identify the table: part of the digest of every split."""
        digest = hashlib.sha256()
        for names in (self.user_ids, self.item_ids, self.texts, map(repr, self.values)):
            digest.update("\0".join(names).encode("utf-8", "surrogatepass") + b"\1")
        return digest.digest()

    def shown(self, item: int) -> str:
        """What teachers are shown of an item: its text, or else its name."""
        return self.texts[item] or self.titles[item] or self.item_ids[item]


@dataclass(frozen=True, eq=False)
class PairSource:
    """Pairs of a user and an item as samples; a ``Source``.

    The bytes of a sample are two little-endian int32, user and item, and then the item's text.
    """

    table: RatingsTable
    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)

    def raw(self, row: int) -> bytes:
        """The encoded pair."""
        item = int(self.items[row])
        text = self.table.shown(item).encode("utf-8", "replace")
        return _PAIR.pack(int(self.users[row]), item) + text

    def name(self, row: int) -> str:
        """The ids of user and item."""
        user, item = int(self.users[row]), int(self.items[row])
        return f"user {self.table.user_ids[user]}, item {self.table.item_ids[item]}"

    def stamp(self, rows: Ints) -> Iterator[bytes]:
        """The pairs; the texts are in the table's ``key``."""
        yield self.users[rows].astype("<i4").tobytes()
        yield self.items[rows].astype("<i4").tobytes()


def pair_of(encoded: bytes) -> tuple[int, int]:
    """User and item of an encoded pair."""
    user, item = _PAIR.unpack_from(encoded)
    return user, item


def text_of(encoded: bytes) -> str:
    """What teachers are shown of an encoded pair: the item's text."""
    return encoded[_PAIR.size :].decode("utf-8", "replace")


def shown_digest(text: str) -> bytes:
    """16 bytes under which the outputs on a text are stored, whoever rated its item."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16]


def table_of(split: Split) -> RatingsTable:
    """The table of a split of ratings."""
    assert isinstance(split.decoding, RatingsTable), "a split of ratings"
    return split.decoding


def pairs(split: Split) -> Pairs:
    """The pairs of a split of ratings, in order."""
    if isinstance(split.source, PairSource):
        users, items = split.source.users[split.rows], split.source.items[split.rows]
        return Pairs(users.astype(np.int64), items.astype(np.int64))
    places = [pair_of(split.raw(i)) for i in range(len(split))]
    found = np.array(places, dtype=np.int64).reshape(-1, 2)
    return Pairs(found[:, 0], found[:, 1])


def history_of(train: Split) -> History:
    """What the training split says of users and items.

    Of implicit feedback the pairs of the second class alone are observed.
    """
    table = table_of(train)
    users, items = pairs(train)
    ratings: npt.NDArray[np.float64] | None = np.asarray(table.values)[train.labels]
    if table.implicit:
        chosen = train.labels == 1
        users, items, ratings = users[chosen], items[chosen], None
    counts = {"users": len(table.user_ids), "items": len(table.item_ids)}
    return History.of(Pairs(users, items), ratings, **counts)
