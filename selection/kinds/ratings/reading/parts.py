"""From rated pairs to the parts of a task: classes, splits, pairs that nobody rated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from selection.kinds.kind import TaskContent
from selection.kinds.ratings.reading.classes import IMPLICIT_NAMES, RatingClasses, rating_classes
from selection.kinds.ratings.reading.ids import in_order
from selection.kinds.ratings.reading.interactions import Interactions
from selection.kinds.ratings.reading.items import ItemTexts
from selection.kinds.ratings.reading.splits import (
    FEWEST,
    TEST,
    TRAIN,
    VALIDATION,
    UnratedPairs,
    last_of_users,
)
from selection.kinds.ratings.table import PairSource, RatingsTable
from selection.sources.split import SPLIT_SEED, Part
from zoo.errors import UserError

Ints = npt.NDArray[np.int64]
Names = npt.NDArray[np.str_]

SPLITS = (TRAIN, VALIDATION, TEST)
MOST_UNRATED = 200_000  # pairs of the pool that nobody rated


def parts_of(
    interactions: Interactions,
    described: ItemTexts,
    warnings: list[str],
) -> TaskContent:
    """The three splits of a task and its pool."""
    rated = interactions.ratings is None or np.isfinite(interactions.ratings)
    splits = _splits(interactions, np.flatnonzero(np.broadcast_to(rated, len(interactions.users))))
    _say_splits(interactions, splits, warnings)
    splits = _without_leaks(interactions, splits, warnings)
    classes = _classes(interactions, splits, warnings)
    table, place = _table(interactions, described, classes, warnings)
    items = place[interactions.items]
    rng = np.random.default_rng(SPLIT_SEED)
    counts = np.bincount(items[splits == TRAIN], minlength=len(table.item_ids))
    taken = interactions.users * len(table.item_ids) + items
    unrated = UnratedPairs(np.sqrt(counts), taken, rng)
    parts = {}
    for name in SPLITS:
        rows = np.flatnonzero(splits == name)
        users, chosen, labels = interactions.users[rows], items[rows], classes.labels[rows]
        if table.implicit:
            others = unrated.of(users)
            drawn = np.flatnonzero(others >= 0)
            users = np.concatenate([users, users[drawn]])
            chosen = np.concatenate([chosen, others[drawn]])
            labels = np.concatenate([labels, np.zeros(len(drawn), np.int64)])
        parts[name] = Part(_source(table, users, chosen), labels, classes.names)
    _say_cold(parts, warnings)
    users = rng.integers(len(table.user_ids), size=min(MOST_UNRATED, len(parts[TRAIN].labels)))
    others = unrated.of(users)
    without = np.flatnonzero(splits == "")
    users = np.concatenate([interactions.users[without], users[others >= 0]])
    pool = _source(table, users, np.concatenate([items[without], others[others >= 0]]))
    return TaskContent(parts, [pool] if len(pool) else [])


def _source(table: RatingsTable, users: Ints, items: Ints) -> PairSource:
    return PairSource(table, users.astype(np.int32), items.astype(np.int32))


def _splits(interactions: Interactions, rated: Ints) -> Names:
    """(n,) the split of each pair, empty for one without a rating."""
    splits = np.full(len(interactions.users), "", dtype="<U10")
    given = interactions.splits
    splits[rated] = TRAIN if given is None else given[rated]
    missing = [name for name in (TEST, VALIDATION) if not (splits == name).any()]
    rows = np.flatnonzero(splits == TRAIN)
    times = None if interactions.times is None else interactions.times[rows]
    splits[rows] = last_of_users(interactions.users[rows], times, missing, SPLIT_SEED)
    for name in missing:
        if not (splits == name).any():
            raise UserError(
                f"no user of {interactions.origin} has {FEWEST} or more training ratings: no"
                f" {name} split can be cut; give more ratings of a user, or files named train,"
                " validation and test"
            )
    return splits


def _say_splits(interactions: Interactions, splits: Names, warnings: list[str]) -> None:
    counts = np.bincount(interactions.users[splits != ""])
    few = int(((counts > 0) & (counts < FEWEST)).sum())
    if few and interactions.splits is None:
        warnings.append(
            f"{few:,} of {int((counts > 0).sum()):,} users have fewer than {FEWEST} ratings: all of"
            " theirs are for training"
        )
    if interactions.times is None and interactions.splits is None:
        warnings.append(
            "without a column of times the validation and test ratings of a user are drawn, not the"
            " last ones"
        )


def _say_cold(parts: dict[str, Part], warnings: list[str]) -> None:
    """Say how many test pairs are of users or items that training knows nothing of."""
    train, test = parts[TRAIN].source, parts[TEST].source
    assert isinstance(train, PairSource) and isinstance(test, PairSource)
    cold_user = ~np.isin(test.users, train.users)
    cold_item = ~np.isin(test.items, train.items)
    cold = int((cold_user | cold_item).sum())
    if cold:
        warnings.append(
            f"{cold:,} of {len(test):,} test pairs ({cold / len(test):.1%}) have a user or an item"
            f" without training ratings ({int(cold_user.sum()):,} the user,"
            f" {int(cold_item.sum()):,} the item)"
        )


def _without_leaks(interactions: Interactions, splits: Names, warnings: list[str]) -> Names:
    """The splits without pairs of validation and test that stand in an earlier split too."""
    if interactions.splits is None:  # then no pair occurs twice
        return splits
    pairs = interactions.users * len(interactions.item_ids) + interactions.items
    kept = splits.copy()
    for later, earlier in ((VALIDATION, [TRAIN]), (TEST, [TRAIN, VALIDATION])):
        leaked = (splits == later) & np.isin(pairs, pairs[np.isin(kept, earlier)])
        if leaked.any():
            warnings.append(
                f"{int(leaked.sum()):,} {later} pairs also stand in {' or '.join(earlier)} and are"
                " not used"
            )
            kept[leaked] = "other"
    return kept


def _classes(interactions: Interactions, splits: Names, warnings: list[str]) -> RatingClasses:
    if interactions.ratings is None:
        return RatingClasses(IMPLICIT_NAMES, (0.0, 1.0), np.ones(len(splits), np.int64))
    return rating_classes(interactions.ratings, splits == TRAIN, warnings)


def _table(
    interactions: Interactions,
    described: ItemTexts,
    classes: RatingClasses,
    warnings: list[str],
) -> tuple[RatingsTable, Ints]:
    """The table of a task, and the place in it of each item of ``interactions``."""
    ids = in_order(dict.fromkeys([*interactions.item_ids, *described.texts]))
    place = {name: code for code, name in enumerate(ids)}
    origin = interactions.origin.name
    if described.origin:
        unknown = sum(name not in described.texts for name in interactions.item_ids)
        if unknown == len(interactions.item_ids):
            raise UserError(
                f"no item of {origin} stands in {described.origin} (there {_example(described)},"
                f" here {interactions.item_ids[0]!r}): their ids must be written alike"
            )
        empty = sum(not text for text in described.texts.values())
        for count, lack in ((unknown, "no row"), (empty, "no text")):
            if count:
                one = count == 1
                warnings.append(
                    f"{count:,} item{'' if one else 's'} of {origin} {'has' if one else 'have'}"
                    f" {lack} in {described.origin}: teachers are shown the id"
                )
    table = RatingsTable(
        interactions.user_ids,
        ids,
        tuple(described.texts.get(name, "") for name in ids),
        tuple(described.titles.get(name, "") or name for name in ids),
        classes.values,
        implicit=interactions.ratings is None,
    )
    return table, np.array([place[name] for name in interactions.item_ids])


def _example(described: ItemTexts) -> str:
    """An id of the described items, as an example."""
    return repr(next(iter(described.texts), "no id"))
