"""Teachers of ratings: asked once an item, they answer on pairs.

Shapes: N pairs, M items asked about, D features of a pair, U users, L listed items, rank r.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from distill.data.batch import TeacherOutputs
from distill.data.lists import Lists
from distill.data.samples import Samples
from selection.kinds.ratings.affinities import Affinities
from selection.kinds.ratings.history import Pairs
from selection.kinds.ratings.join import ItemJoin
from selection.kinds.ratings.lists import list_targets
from selection.kinds.text import TEXT
from selection.sources.split import Split
from selection.sources.texts.source import TextSource
from zoo.teacher import Outputs

if TYPE_CHECKING:
    from selection.task import Task
    from zoo.card import ModelCard

TRUSTED_GAIN = 0.25  # nats over popularity from which lists of teachers are fully trusted (ours)
RANK = 64  # of the factors of a model without a network


class FactorSplit:
    """A model of users and items, cut in two: both vectors below, their product above.

    The vectors are those of a truncated singular value decomposition of its relevances (ours).
    """

    prefix = 0

    def __init__(self, relevance: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
        from sklearn.utils.extmath import randomized_svd

        rank = min(RANK, *relevance.shape)
        left, values, right = randomized_svd(relevance, rank, random_state=0)
        self.users = torch.from_numpy(left * np.sqrt(values)).float()  # (U, r)
        self.items = torch.from_numpy(right.T * np.sqrt(values)).float()  # (L, r)
        self.channels, self.feature_dim = 2 * rank, rank

    def states(self, users: Tensor, places: Tensor) -> Tensor:
        """(n, 2 r, 1, 1) of pairs; an item that is not listed has the vector 0."""
        items = self.items[places.clamp(min=0)] * (places >= 0)[:, None]
        return torch.cat([self.users[users], items], dim=1)[..., None, None]

    def join(self, state: Tensor, prefix: Tensor | None = None) -> Tensor:
        """A state as ``upper`` takes it: as it is."""
        return state

    def upper(self, hidden: Tensor, inputs: Tensor | None = None) -> Outputs[Tensor]:
        """The features (B, r) of states (B, 2 r, 1, 1), with gradient."""
        user, item = hidden.flatten(1).chunk(2, dim=1)
        return Outputs(user * item, None)

    def shuffled(self, seed: int) -> FactorSplit:
        """The same: it has no weights above the cut that could be shuffled."""
        return self


@dataclass(eq=False)
class PairJoin:
    """What makes answers about pairs of answers about items; a ``PartJoin``."""

    items: ItemJoin
    _splitters: dict[str, FactorSplit] = field(default_factory=dict)
    _lists: dict[tuple[Affinities, ...], Lists] = field(default_factory=dict)

    @cached_property
    def parts(self) -> Samples:
        """The M items that are asked about, as their texts."""
        texts, digests = self.items.texts, self.items.digests
        count = len(texts)
        unknown = np.full(count, -1)
        split = Split(TextSource(texts, "items"), np.arange(count), unknown, (), TEXT)
        return Samples(
            inputs=np.zeros((count, 0), np.uint8),
            labels=unknown,
            usable=np.arange(count),
            digest="",
            digests=np.frombuffer(b"".join(digests), np.uint8).reshape(count, 16),
            splits=(split,),
        )

    def places(self, samples: Samples) -> Tensor:
        """See ``PartJoin``; an item that was not asked about has the answers of the first."""
        place = np.zeros(self.items.history.items, np.int64)
        place[self.items.items] = np.arange(len(self.items.items))
        return torch.from_numpy(place[pairs_of(samples).items])

    def opinion(self, features: Tensor) -> Affinities:
        """See ``PartJoin``."""
        return self.items.affinities(features.float().numpy())

    def own(self, card: ModelCard) -> Affinities:
        """See ``PartJoin``."""
        return self.items.own(card)

    def features(self, opinion: Affinities, samples: Samples) -> Tensor:
        """See ``PartJoin``."""
        return torch.from_numpy(opinion.features(pairs_of(samples)))

    def own_outputs(self, card: ModelCard, samples: Samples) -> TeacherOutputs:
        """See ``PartJoin``."""
        split, pairs = self.splitter(card), pairs_of(samples)
        places = torch.from_numpy(self.items.history.place[pairs.items])
        states = split.states(torch.from_numpy(pairs.users), places)
        features = split.upper(states).features
        return TeacherOutputs(features=features[None].half(), hidden=states[None].half())

    def splitter(self, card: ModelCard) -> FactorSplit:
        """See ``PartJoin``."""
        if card.id not in self._splitters:
            self._splitters[card.id] = FactorSplit(self.own(card).relevance)
        return self._splitters[card.id]

    def lists(self, opinions: Sequence[Affinities]) -> Lists:
        """See ``PartJoin``; fitted once for the same opinions."""
        key = tuple(opinions)
        if key not in self._lists:
            self._lists[key] = self._fitted_lists(opinions)
        return self._lists[key]

    def _fitted_lists(self, opinions: Sequence[Affinities]) -> Lists:
        history = self.items.history
        targets = list_targets(opinions, history) if opinions else None
        observed = history.observed[:, history.listed].toarray() > 0
        return Lists(
            targets=None if targets is None else targets.logits,
            observed=torch.from_numpy(observed),
            place=torch.from_numpy(history.place),
            weights=() if targets is None else targets.weights,
            trust=0.0 if targets is None else min(1.0, targets.gain / TRUSTED_GAIN),
        )


_JOINS: WeakKeyDictionary[Split, PairJoin] = WeakKeyDictionary()


def join_of(task: Task) -> PairJoin:
    """The join of a task, made once."""
    if task.train not in _JOINS:
        _JOINS[task.train] = PairJoin(ItemJoin.of(task.train))
    return _JOINS[task.train]


def pairs_of(samples: Samples) -> Pairs:
    """The pairs of packed samples (N, 2)."""
    packed = np.asarray(samples.inputs, dtype=np.int64)
    return Pairs(packed[:, 0], packed[:, 1])
