"""The items that a student of ratings recommends, as text, JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from zoo.terminal.command import printable
from zoo.terminal.spreadsheet import write_csv

if TYPE_CHECKING:
    from distill.student.recommender import Recommendation


def _recommendation_table(file: TextIO, items: Sequence[Recommendation]) -> None:
    for item in items:
        rating = "" if item.rating is None else f"\trating {item.rating:.2f}"
        title = printable(item.title, 80)
        print(
            f"{printable(item.user, 40)}\t{item.place}\t{title}\t{item.score:.3f}{rating}",
            file=file,
        )


def _recommendation_json(file: TextIO, items: Sequence[Recommendation]) -> None:
    for item in items:
        print(json.dumps(asdict(item), ensure_ascii=False), file=file)


def _recommendation_csv(file: TextIO, items: Sequence[Recommendation]) -> None:
    names = ["user", "place", "item", "title", "score", "rating"]
    write_csv(file, names, ([getattr(item, name) for name in names] for item in items))


RECOMMENDATION_WRITERS = {
    "table": _recommendation_table,
    "json": _recommendation_json,
    "csv": _recommendation_csv,
}
