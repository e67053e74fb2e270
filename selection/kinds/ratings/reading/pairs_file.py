"""Pairs without ratings, from a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from selection.kinds.ratings.reading.columns import rating_columns
from selection.kinds.ratings.reading.frames import column_names, read_frame
from selection.kinds.ratings.reading.ids import coded
from zoo.errors import UserError


def pairs_of_file(path: Path) -> Iterator[tuple[str, str]]:
    """The ids of user and item of each row that has both; ``UserError`` without such columns."""
    found = rating_columns(path, column_names(path))
    if found is None:
        raise UserError(f"{path} has no columns user and item; expected a table of pairs")
    frame = read_frame(path, [found.user, found.item])
    users, items = coded(frame[found.user]), coded(frame[found.item])
    for user, item in zip(users.codes, items.codes, strict=True):
        if user >= 0 and item >= 0:
            yield users.ids[user], items.ids[item]
