"""What a training split says of its users and items, leaving out the pair that is asked about.

Shapes: U users, I items, n pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SHRINKAGE = 5.0  # ratings at the mean that every user and item is given beside its own
MOST_SCORES = 100_000_000  # users times items that scores are kept of: 400 MB


class Pairs(NamedTuple):
    """n pairs of a user and an item: their places (n,) int64 among users and items."""

    users: Ints
    items: Ints


class PairFacts(NamedTuple):
    """What a history says of pairs, each without the pair itself; all (n,) float32."""

    item_bias: Floats
    user_bias: Floats
    item_count: Floats
    user_count: Floats


@dataclass(frozen=True, eq=False)
class History:
    """The observed pairs of a training split.

    Attributes
    ----------
    observed : sparse matrix, shape (U, I), float32
        1 where a user rated or chose an item.
    centred : sparse matrix, shape (U, I), float32
        Ratings less their mean, stored where ``observed`` is; all 0 for implicit feedback.
    mean : float
        The mean rating.
    """

    observed: Any
    centred: Any
    mean: float

    @classmethod
    def of(
        cls,
        pairs: Pairs,
        ratings: npt.NDArray[np.floating] | None,
        *,
        users: int,
        items: int,
    ) -> History:
        """The history of ``pairs`` (n) with ``ratings`` (n,), None for implicit feedback.

        No pair may occur twice.
        """
        ones = np.ones(len(pairs.users), np.float32)
        mean = 0.0 if ratings is None else float(ratings.mean())
        values = 0 * ones if ratings is None else (ratings - mean).astype(np.float32)
        place = (pairs.users, pairs.items)
        return cls(
            sparse.csr_array((ones, place), shape=(users, items)),
            sparse.csr_array((values, place), shape=(users, items)),
            mean,
        )

    @property
    def users(self) -> int:
        """U."""
        return int(self.observed.shape[0])

    @property
    def items(self) -> int:
        """I."""
        return int(self.observed.shape[1])

    @cached_property
    def item_counts(self) -> Floats:
        """(I,) how many users observed each item."""
        return _sums(self.observed, 0)

    @cached_property
    def user_counts(self) -> Floats:
        """(U,) how many items each user observed."""
        return _sums(self.observed, 1)

    @cached_property
    def item_bias(self) -> Floats:
        """(I,) how much better than the mean an item is rated, shrunk towards 0."""
        bias: Floats = _sums(self.centred, 0) / (self.item_counts + SHRINKAGE)
        return bias

    @cached_property
    def user_bias(self) -> Floats:
        """(U,) how much better than others a user rates the same items, shrunk towards 0."""
        rated = _sums(self.centred, 1) - self.observed @ self.item_bias
        bias: Floats = rated / (self.user_counts + SHRINKAGE)
        return bias

    @cached_property
    def residuals(self) -> Any:
        """(U, I) sparse: ratings less the mean and both biases; all 0 for implicit feedback."""
        entries = self.centred.tocoo()
        values = entries.data - self.item_bias[entries.col] - self.user_bias[entries.row]
        if not self.centred.data.any():
            values = 0 * values
        place = (entries.row, entries.col)
        return sparse.csr_array((values, place), shape=entries.shape, dtype=np.float32)

    @cached_property
    def listed(self) -> Ints:
        """(L,) the items that scores of all users are kept of, ascending: the most popular ones.

        All I, unless U times I is more than ``MOST_SCORES``.
        """
        most = max(1, MOST_SCORES // max(self.users, 1))
        if most >= self.items:
            return np.arange(self.items)
        return np.sort(np.argsort(-self.item_counts, kind="stable")[:most])

    @cached_property
    def place(self) -> Ints:
        """(I,) the place of each item in ``listed``, -1 for the others."""
        place = np.full(self.items, -1)
        place[self.listed] = np.arange(len(self.listed))
        return place

    def facts(self, pairs: Pairs) -> PairFacts:
        """Biases and counts of the users and items of ``pairs``.

        A pair of the history counts neither for its user nor for its item: otherwise it would tell
        its own rating.
        """
        users, items = pairs
        own = self.is_observed(pairs)  # (n,)
        value = _entries(self.centred, pairs)  # (n,)
        item_count = self.item_counts[items]
        user_count = self.user_counts[users]
        of_item = self.item_bias[items] * (item_count + SHRINKAGE) - value
        of_user = self.user_bias[users] * (user_count + SHRINKAGE)
        of_user = of_user - value + own * self.item_bias[items]
        return PairFacts(
            item_bias=of_item / (item_count - own + SHRINKAGE),
            user_bias=of_user / (user_count - own + SHRINKAGE),
            item_count=item_count - own,
            user_count=user_count - own,
        )

    def is_observed(self, pairs: Pairs) -> Floats:
        """(n,) 1 where a pair is in the history, else 0."""
        return _entries(self.observed, pairs)

    def seen(self, users: Ints) -> npt.NDArray[np.bool_]:
        """(n, I) bool: what each of ``users`` (n,) has observed."""
        dense: npt.NDArray[np.bool_] = self.observed[users].toarray() > 0
        return dense


def _sums(matrix: Any, axis: int) -> Floats:
    sums: Floats = np.asarray(matrix.sum(axis=axis), dtype=np.float32).ravel()
    return sums


def _entries(matrix: Any, pairs: Pairs) -> Floats:
    """(n,) the entries of a sparse matrix at ``pairs``."""
    if not len(pairs.users):
        return np.zeros(0, np.float32)
    entries: Floats = np.asarray(matrix[pairs.users, pairs.items], dtype=np.float32).ravel()
    return entries
