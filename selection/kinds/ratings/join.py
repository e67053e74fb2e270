"""From what teachers say of items to features of pairs of a user and an item.

Shapes: N samples of a probe, n of them asked, D_t features of a teacher, D of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.kinds.kind import Completion
from selection.kinds.ratings.affinities import Affinities
from selection.kinds.ratings.history import History, Pairs
from selection.kinds.ratings.recommender import affinities_of
from selection.kinds.ratings.table import RatingsTable, history_of, pairs, shown_digest, table_of
from zoo.card import BUILT_IN, ModelCard

if TYPE_CHECKING:
    from selection.sources.split import Split

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

EASE = "ease"
# fitted on the task's own ratings by this package, whose licence it has
OWN_TEACHERS = (ModelCard(id=EASE, source=BUILT_IN, modality="ratings", license="apache-2.0"),)
MOST_ITEMS = 5_000  # that teachers are asked about


@dataclass(eq=False)
class ItemJoin:
    """Makes features of pairs from the training split alone.

    Attributes
    ----------
    history : History
        Of the training split.
    table : RatingsTable
    items : (M,) int64 array
        The items that teachers are asked about: at most 5,000, the most popular first.
    """

    history: History
    table: RatingsTable
    items: Ints
    _own: dict[tuple[str, str], Affinities] = field(default_factory=dict)

    @classmethod
    def of(cls, train: Split) -> ItemJoin:
        """For the task of the training split ``train``."""
        history = history_of(train)
        popular = np.argsort(-history.item_counts, kind="stable")[:MOST_ITEMS]
        return cls(history, table_of(train), popular)

    @property
    def texts(self) -> list[str]:
        """What teachers are shown of the M ``items``."""
        return [self.table.shown(item) for item in self.items]

    @property
    def digests(self) -> list[bytes]:
        """The keys of the M ``texts`` in the store of teachers' outputs."""
        return [shown_digest(text) for text in self.texts]

    def affinities(
        self, features: npt.NDArray[np.floating], items: Ints | None = None
    ) -> Affinities:
        """What a teacher says by its features (M, D_t) of ``items`` (all M by default)."""
        known = self.items if items is None else items
        return Affinities.of_items(features, known, self.history)

    def own(self, card: ModelCard = OWN_TEACHERS[0]) -> Affinities:
        """What EASE, or the recommender of ``card``, says; found once. ``TeacherError`` where the
        recommender cannot be read, or knows other users and items.
        """
        key = (card.id, card.revision)
        if key not in self._own:
            if card.source == BUILT_IN:
                self._own[key] = Affinities.of_ease(self.history)
            else:
                from zoo.loading.download import fetch

                folder = fetch(card, offline=True)
                self._own[key] = affinities_of(folder, self.table, self.history)
        return self._own[key]


@dataclass(frozen=True, eq=False)
class ProbeJoin:
    """Features of the pairs of a probe, whose samples are pairs and further items.

    join   of the task
    users  (N,) int64, the user of each sample, -1 for an item that is asked about alone
    items  (N,) int64, the item of each sample
    """

    join: ItemJoin
    users: Ints
    items: Ints

    def __call__(self, features: npt.NDArray[np.floating]) -> tuple[Floats, Ints]:
        """(n', D) features of the pairs among the first n samples, and their places (n',).

        ``features`` (n, D_t) are the teacher's on those samples; other items it does not know.
        """
        known, first = np.unique(self.items[: len(features)], return_index=True)
        affinities = self.join.affinities(features[first], known)
        return self._of_pairs(affinities, len(features))

    def own(self, card: ModelCard, size: int) -> tuple[Floats, Ints]:
        """The same of a recommender, on the first ``size`` samples."""
        return self._of_pairs(self.join.own(card), size)

    def _of_pairs(self, affinities: Affinities, size: int) -> tuple[Floats, Ints]:
        rows = np.flatnonzero(self.users[:size] >= 0)
        return affinities.features(Pairs(self.users[rows], self.items[rows])), rows


def complete(train: Split, drawn: Ints) -> Completion:
    """What a probe of the training pairs at ``drawn`` (n,) asks beside their items: all others."""
    join = ItemJoin.of(train)
    of_pairs = pairs(train.subset(drawn))
    alone = join.items[~np.isin(join.items, of_pairs.items)]  # the most popular first
    order = interleaved(len(drawn), len(alone))
    users = np.concatenate([of_pairs.users, np.full(len(alone), -1)])
    items = np.concatenate([of_pairs.items, alone])
    texts = [join.table.shown(item) for item in alone]
    return Completion(
        samples=texts,
        names=[f"item {join.table.item_ids[item]}" for item in alone],
        digests=[shown_digest(text) for text in texts],
        order=order,
        join=ProbeJoin(join, users[order], items[order]),
    )


def interleaved(pairs: int, items: int) -> Ints:
    """The order of a probe's samples: pairs 0 to ``pairs`` and items after them, evenly mixed."""
    places = [np.linspace(0, 1, count, endpoint=False) for count in (pairs, items)]
    order: Ints = np.argsort(np.concatenate(places), kind="stable")
    return order
