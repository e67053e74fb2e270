"""Which pairs of users and items are for training, validation and test, and which nobody rated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SHARE = 0.1  # of a user's ratings in each split that is cut
FEWEST = 5  # ratings of a user from which some are cut
_ROUNDS = 30  # of drawing pairs before it is given up


def last_of_users(
    users: Ints,
    times: Floats | None,
    missing: Sequence[str],
    seed: int,
) -> npt.NDArray[np.str_]:
    """(n,) the split of each pair of ``users`` (n,): what every user rated last is cut off.

    The first of ``missing`` gets the last 10 % of a user, the next the 10 % before it, at least
    one each; the others, and all of users with fewer than 5, are ``train``. Equal ``times`` and no
    times at all are put in an order by ``seed``.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(users))
    keys = (shuffled, users) if times is None else (shuffled, times, users)
    order = np.lexsort(keys)
    counts = np.bincount(users)
    ends = np.cumsum(counts)[users[order]]
    from_end = ends - 1 - np.arange(len(users))  # 0 for the last of a user
    of_user = counts[users[order]]
    share = np.maximum(1, np.round(SHARE * of_user)).astype(np.int64)
    part = np.where(of_user >= FEWEST, from_end // share, len(missing))
    names = np.array([*missing, TRAIN])
    splits = np.empty(len(users), dtype=names.dtype)
    splits[order] = names[np.minimum(part, len(missing))]
    return splits


class UnratedPairs:
    """Draws pairs that nobody rated, each once.

    ``weights`` (I,) say how often each item is drawn; ``taken`` (n,) are pairs, as user * I + item.
    """

    def __init__(self, weights: Floats, taken: Ints, rng: np.random.Generator) -> None:
        shares = np.cumsum(weights)
        self._shares = shares / shares[-1]  # ends with exactly 1
        self._taken, self._rng = np.sort(taken), rng

    def of(self, users: Ints) -> Ints:
        """(n,) an item for each of ``users`` (n,), -1 where none was found."""
        items = np.full(len(users), -1)
        todo = np.arange(len(users))
        for _ in range(_ROUNDS):
            if not len(todo):
                break
            drawn = np.searchsorted(self._shares, self._rng.random(len(todo)), side="right")
            pairs = users[todo] * len(self._shares) + drawn
            is_first = np.zeros(len(todo), dtype=bool)
            is_first[np.unique(pairs, return_index=True)[1]] = True
            accepted = is_first & ~self._is_taken(pairs)
            items[todo[accepted]] = drawn[accepted]
            added = np.concatenate([self._taken, np.sort(pairs[accepted])])
            self._taken = np.sort(added, kind="stable")  # of two sorted runs: one merge
            todo = todo[~accepted]
        return items

    def _is_taken(self, pairs: Ints) -> npt.NDArray[np.bool_]:
        if not len(self._taken):
            return np.zeros(len(pairs), dtype=bool)
        places = np.searchsorted(self._taken, pairs)
        is_equal: npt.NDArray[np.bool_] = self._taken.take(places, mode="clip") == pairs
        return is_equal
