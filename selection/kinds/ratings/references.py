"""What needs no training, to be printed beside a student: popularity, item means, item-kNN, EASE.

Shapes: U users, I items, n pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selection.kinds.ratings.affinities import Affinities
from selection.kinds.ratings.history import History, Pairs
from selection.kinds.ratings.item_models import cosine_items

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Reference(NamedTuple):
    """A simple recommender.

    name     ``popularity``, ``item mean``, ``item-kNN``, ``EASE``
    scores   users (b,) -> (b, I), higher is recommended first; None: it ranks no items
    ratings  pairs -> (n,) the ratings it expects; None for implicit feedback, and where it has none
    """

    name: str
    scores: Callable[[Ints], Floats] | None
    ratings: Callable[[Pairs], Floats] | None


def references(history: History, ease: Affinities) -> tuple[Reference, ...]:
    """The references of a training split; ``ease`` as `Affinities.of_ease` gives it."""
    knn = _item_knn(history)
    popularity = history.item_counts[None]  # (1, I)
    known = [
        Reference("popularity", lambda users: popularity.repeat(len(users), axis=0), None),
        Reference("item mean", None, lambda pairs: history.mean + history.item_bias[pairs.items]),
        Reference("item-kNN", _scores_of(knn), _ratings_of(knn)),
        Reference("EASE", _scores_of(ease), _ratings_of(ease)),
    ]
    if history.centred.data.any():
        return tuple(known)
    without_ratings = [entry._replace(ratings=None) for entry in known]
    return tuple(entry for entry in without_ratings if entry.scores is not None)


def _item_knn(history: History) -> Affinities:
    observed = history.observed[:, history.listed]
    near = cosine_items(observed)
    weight = (observed @ near).toarray()
    residual = (history.residuals[:, history.listed] @ near).toarray() / (weight + 1)
    return Affinities(history, weight.astype(np.float32), residual.astype(np.float32))


def _scores_of(affinities: Affinities) -> Callable[[Ints], Floats]:
    """Relevances; items that are not listed come last."""
    history = affinities.history

    def scores(users: Ints) -> Floats:
        values = np.full((len(users), history.items), -np.inf, np.float32)
        values[:, history.listed] = affinities.relevance[users]
        return values

    return scores


def _ratings_of(affinities: Affinities) -> Callable[[Pairs], Floats]:
    """The mean, both biases and the residual."""
    history = affinities.history

    def ratings(pairs: Pairs) -> Floats:
        biases = history.item_bias[pairs.items] + history.user_bias[pairs.users]
        expected: Floats = history.mean + biases + affinities.at(affinities.residual, pairs)
        return expected

    return ratings
