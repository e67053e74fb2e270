"""Predictions of samples and lists for users, as ``distill.predict`` writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, TextIO

from zoo.terminal.command import printable
from zoo.terminal.spreadsheet import write_csv
from zoo.terminal.table import Column, table_text, terminal_width

if TYPE_CHECKING:
    from distill.student.recommender import Recommendation

_NAMES = ("user", "place", "item", "title", "score", "rating")


@dataclass(frozen=True)
class Prediction:
    """One sample: its likeliest classes with probabilities in [0, 1], or why it was not read.

    ``sample`` is the name of an image's file, a text itself, or a pair as ``USER,ITEM``. Where the
    classes are ratings, ``rating`` is the one to expect: their mean by probability.
    """

    sample: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    rating: float | None = None


def _write_table(file: TextIO, predictions: Iterator[Prediction], top: int, noun: str) -> None:
    for prediction in predictions:
        if prediction.error is None:
            cells = [f"{printable(name, 80)} {share:.3f}" for name, share in prediction.classes]
            if prediction.rating is not None:
                cells.append(f"rating {prediction.rating:.2f}")
            print(
                printable(prediction.sample),
                *cells,
                sep="\t",
                file=file,
            )


def _write_json(file: TextIO, predictions: Iterator[Prediction], top: int, noun: str) -> None:
    for prediction in predictions:
        fields = asdict(prediction)
        if fields["rating"] is None:  # of classes that are no ratings
            del fields["rating"]
        line = {noun: fields.pop("sample"), **fields}
        print(json.dumps(line, ensure_ascii=False), file=file)


def _write_csv(file: TextIO, predictions: Iterator[Prediction], top: int, noun: str) -> None:
    """One row a sample; a sample that cannot be read has its reason in the last column."""
    names = [noun, "class", "probability"]
    for place in range(2, top + 1):
        names += [f"class_{place}", f"probability_{place}"]
    rated, predictions = _looked_ahead(predictions)
    names += ["rating"] if rated else []
    rows = (_csv_row(prediction, top, rated=rated) for prediction in predictions)
    write_csv(file, [*names, "error"], rows)


def _looked_ahead(predictions: Iterator[Prediction]) -> tuple[bool, Iterator[Prediction]]:
    """Whether the first one that was read has a rating, and all of them."""
    first: list[Prediction] = []
    for prediction in predictions:
        first.append(prediction)
        if prediction.error is None:
            break
    return bool(first) and first[-1].rating is not None, chain(first, predictions)


def _csv_row(prediction: Prediction, top: int, *, rated: bool) -> list[object]:
    cells: list[object] = []
    for name, probability in prediction.classes:
        cells += [name, round(probability, 6)]
    cells += [None] * (2 * top - len(cells))
    return [prediction.sample, *cells, *[prediction.rating] * rated, prediction.error]


def _table_of_lists(file: TextIO, found: Sequence[Recommendation], users: Sequence[str]) -> None:
    """A line an item; with a column of users where there are several."""
    columns = [
        Column("user"),
        Column("place", is_number=True),
        Column("item", is_name=True),
        Column("title", can_cut=True),
        Column("score", is_number=True),
        Column("rating", is_number=True),
    ]
    rows = [
        [
            printable(each.user, 80),
            str(each.place),
            printable(each.item, 80),
            printable(each.title, 120),
            f"{each.score:.3f}",
            "-" if each.rating is None else f"{each.rating:.2f}",
        ]
        for each in found
    ]
    first = 0 if len(users) > 1 else 1
    last = None if any(each.rating is not None for each in found) else -1
    shown = slice(first, last)
    width = terminal_width() if file.isatty() else None
    print(table_text(columns[shown], [row[shown] for row in rows], width=width), file=file)


def _json_of_lists(file: TextIO, found: Sequence[Recommendation], users: Sequence[str]) -> None:
    """An object a user."""
    for user in users:
        items = [asdict(each) for each in found if each.user == user]
        for item in items:
            del item["user"]
        print(json.dumps({"user": user, "items": items}, ensure_ascii=False), file=file)


def _csv_of_lists(file: TextIO, found: Sequence[Recommendation], users: Sequence[str]) -> None:
    write_csv(file, _NAMES, [[asdict(each)[name] for name in _NAMES] for each in found])


# of predictions, so many classes each, and what one sample is called
WRITERS: dict[str, Callable[[TextIO, Iterator[Prediction], int, str], None]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _write_csv,
}
# of the items for users
LIST_WRITERS: dict[str, Callable[[TextIO, Sequence[Recommendation], Sequence[str]], None]] = {
    "table": _table_of_lists,
    "json": _json_of_lists,
    "csv": _csv_of_lists,
}
