"""Tasks of ratings: a file of ratings or a folder of such files, and the items beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from selection.kinds.kind import TaskContent
from selection.kinds.ratings.reading.columns import (
    RatingColumns,
    is_called_ratings,
    rating_columns,
)
from selection.kinds.ratings.reading.frames import SUFFIXES, column_names
from selection.kinds.ratings.reading.interactions import read_interactions
from selection.kinds.ratings.reading.items import items_beside
from selection.kinds.ratings.reading.parts import parts_of
from selection.sources.tables.columns import Columns
from selection.sources.tables.splits import roles
from selection.sources.texts.table import split_of_file
from zoo.errors import UserError

RatingFiles = dict[str, list[tuple[Path, RatingColumns]]]


def read_ratings(path: Path, columns: Columns, warnings: list[str]) -> TaskContent | None:
    """The task of ratings at ``path``, a table or a folder; None where it is no such task.

    ``UserError`` where it is one and cannot be used.
    """
    if columns.image is not None or columns.text is not None:  # another kind
        return None
    files = _files(path, columns.label, warnings)
    if files is None:
        return None
    first = next(iter(files.values()))[0][0]
    interactions = read_interactions(path, files, warnings)
    return parts_of(interactions, items_beside(first, warnings), warnings)


def _files(path: Path, rating: str | None, warnings: list[str]) -> RatingFiles | None:
    """The files of ratings by split; under the empty name where the splits are to be cut.

    ``rating`` is the column of ratings that the user named.
    """
    if path.is_file():
        known = _columns(path, rating) if path.suffix.lower() in SUFFIXES else None
        return {"": [(path, known)]} if known else None
    tables = {inner: known for inner in _tables(path) if (known := _columns(inner, rating))}
    named = [inner for inner in tables if is_called_ratings(inner)]
    if len(named) > 1:
        names = ", ".join(inner.name for inner in named)
        raise UserError(f"{path} has several files of ratings ({names}); give the one to read")
    kinds = roles({str(inner): split_of_file(inner) for inner in tables})
    if named or (len(tables) == 1 and "train" not in kinds.values()):
        chosen = named[0] if named else next(iter(tables))
        rest = [inner.name for inner in tables if inner != chosen]
        if rest:
            warnings.append(
                f"{chosen.name} is read and its splits are cut here; {', '.join(rest)} beside it"
                f" {'is' if len(rest) == 1 else 'are'} not used"
            )
        return {"": [(chosen, tables[chosen])]}
    if not tables:
        return None
    if "train" not in kinds.values():
        names = ", ".join(inner.name for inner in tables)
        raise UserError(
            f"{path} has several files of ratings ({names}); give the one to read, or call it"
            " ratings.csv"
        )
    files: RatingFiles = {}
    for split in ("train", "validation", "test"):
        of_split = [inner for inner in tables if kinds.get(str(inner)) == split]
        if of_split:
            files[split] = [(inner, tables[inner]) for inner in of_split]
    return files


def _tables(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            yield path


def _columns(path: Path, rating: str | None) -> RatingColumns | None:
    """The columns of a table of ratings; None for other files, readable or not."""
    try:
        return rating_columns(path, column_names(path), rating)
    except UserError:
        if is_called_ratings(path):
            raise
        return None
