"""How good a list of ten items is: NDCG and recall by user, over all items.

The definitions are those of RecBole: every pair of the split is relevant, what the user had before
is left out of the list, no negatives are sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
TOP = 10
USERS_AT_ONCE = 512


class ListTerms(NamedTuple):
    """One entry for each user who has a relevant item, (u,) each.

    users   their places
    ndcg    normalised discounted cumulative gain of the first ten, in [0, 1]
    recall  the share of the user's relevant items that is among the first ten
    """

    users: Ints
    ndcg: Values
    recall: Values


def list_terms(
    scores: Callable[[Ints], npt.NDArray[np.floating]],
    relevant: Any,
    left_out: Any,
    *,
    top: int = TOP,
) -> ListTerms:
    """The figures of the ``top`` items that ``scores`` puts first.

    Parameters
    ----------
    scores : callable
        Users (b,) -> (b, I), higher is better.
    relevant : sparse matrix, shape (U, I)
        Not 0 where an item is relevant.
    left_out : sparse matrix, shape (U, I)
        Not 0 where an item may not be in the list; one that is relevant too may not either.
    top : int
        The length of the list.
    """
    counts = np.asarray((relevant != 0).sum(axis=1)).ravel()
    users = np.flatnonzero(counts)
    discounts = 1 / np.log2(np.arange(2, top + 2))  # (top,)
    best = np.cumsum(discounts)
    ndcg, recall = np.zeros(len(users)), np.zeros(len(users))
    for start in range(0, len(users), USERS_AT_ONCE):
        part = users[start : start + USERS_AT_ONCE]
        values = np.array(scores(part), dtype=np.float64)  # (b, I)
        values[left_out[part].toarray() != 0] = -np.inf
        first = first_items(values, top)  # (b, top)
        hits = np.take_along_axis(relevant[part].toarray() != 0, first, axis=1)
        hits &= np.isfinite(np.take_along_axis(values, first, axis=1))
        rows = slice(start, start + len(part))
        ideal = best[np.minimum(counts[part], top) - 1]
        ndcg[rows] = (hits * discounts[: first.shape[1]]).sum(axis=1) / ideal
        recall[rows] = hits.sum(axis=1) / counts[part]
    return ListTerms(users, ndcg, recall)


def first_items(values: Values, top: int) -> Ints:
    """(b, top) the items of the highest ``values`` (b, I), best first; of equal ones the first."""
    order: Ints = np.argsort(-values, axis=1, kind="stable")[:, :top]
    return order
