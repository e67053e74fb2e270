"""A table with a column of texts: its columns, and the parts of a task that they make."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from selection.sources.layouts.split_names import read_name
from selection.sources.split import Part, class_name
from selection.sources.tables.columns import (
    Columns,
    Features,
    ask,
    is_image_name,
    is_label_name,
    label_column,
    listed,
    named_column,
    words,
)
from selection.sources.tables.labels import names_in_file, to_labels, typed
from selection.sources.tables.listed_columns import like_paths
from selection.sources.tables.listed_table import NoLabels
from selection.sources.tables.splits import is_split_name, split_column
from selection.sources.tables.text import read_columns
from selection.sources.texts.encoding import decoded
from selection.sources.texts.source import TextSource
from zoo.errors import UserError

SUFFIXES = {".csv", ".tsv", ".tab", ".json", ".jsonl", ".ndjson", ".parquet"}
_DELIMITED = {".csv", ".tsv", ".tab"}
_TEXT_WORDS_TEXT = """
    text texts txt sentence sentences content contents review reviews comment comments body
    utterance utterances query queries question questions message messages tweet tweets document
    documents doc headline title description sms post posts abstract transcript phrase snippet
    premise hypothesis answer passage context
"""
TEXT_WORDS = set(_TEXT_WORDS_TEXT.split())
_PAIRS = ({"premise", "hypothesis"}, {"question", "answer"}, {"question", "context"})
_INDEX_NAMES = {"", "id", "idx", "index", "unnamed: 0", "guid"}
_SAMPLE = 100  # values that tell what a column holds


class UnreadableTexts(UserError):
    """A table whose first row names texts, and whose other rows cannot be read."""


@dataclass(frozen=True)
class TextTable:
    """The columns of a file by name, all of one length; ``names`` are those of the classes."""

    origin: str
    columns: Mapping[str, Sequence[Any]]
    names: Sequence[str] | None = None
    features: Features = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def text_columns(self) -> list[str]:
        """The columns of text whose names say so."""
        return [name for name in self.columns if is_text_name(name) and self._holds_text(name)]

    @property
    def has_images(self) -> bool:
        """Whether a column holds images or paths of image files."""
        return any(
            isinstance(value, bytes | Mapping) or (is_image_name(name) and not self._is_prose(name))
            for name, values in self.columns.items()
            for value in list(values[:1])
        ) or any(like_paths(self._texts(name)) for name in self.columns if self._texts(name))

    def _texts(self, name: str) -> list[str]:
        return [value for value in self.columns[name][:_SAMPLE] if isinstance(value, str)]

    def _holds_text(self, name: str) -> bool:
        return bool(self._texts(name))

    def _is_prose(self, name: str) -> bool:
        return any(" " in text for text in self._texts(name))

    def arrow(self, name: str) -> Any:
        """A column as Arrow, numbers in text as numbers."""
        import pyarrow as pa

        values = list(self.columns[name])
        if all(value is None or isinstance(value, str) for value in values):
            return typed(values)
        return pa.chunked_array([pa.array(values)])


def is_text_name(name: str) -> bool:
    """Whether a column of this name may hold texts."""
    said = words(name)
    is_short = len(said) <= 3 and len(name) < 40  # a whole text is no name
    return is_short and bool(TEXT_WORDS & set(said)) and not is_label_name(name)


def read_table(path: Path, warnings: list[str]) -> TextTable:
    """The columns of a CSV, TSV, JSON, JSONL or Parquet file; ``UserError`` where it is none."""
    names = names_in_file(path.parent / "labels.txt")
    if path.suffix.lower() == ".parquet":
        return _of_parquet(path, names)
    text = decoded(path, warnings)
    if path.suffix.lower() in _DELIMITED:
        return TextTable(str(path), _of_delimited(text, path), names)
    return TextTable(str(path), read_columns(path), names)


def beginning(path: Path) -> TextTable:
    """The first rows of a table, which tell what it holds; of encoded images nothing is read."""
    if path.suffix.lower() == ".parquet":
        return _first_rows(path)
    if path.suffix.lower() in _DELIMITED:
        return TextTable(str(path), _of_delimited(decoded(path, []), path, rows=_SAMPLE))
    return TextTable(str(path), read_columns(path))


def _first_rows(path: Path) -> TextTable:
    import pyarrow.types as kinds

    from selection.sources.parquet import open_parquet

    file = open_parquet(path)
    large = [
        column.name
        for column in file.schema_arrow
        if kinds.is_nested(column.type)
        or kinds.is_binary(column.type)
        or kinds.is_large_binary(column.type)
    ]
    plain = [name for name in file.schema_arrow.names if name not in large]
    batch = next(file.iter_batches(batch_size=_SAMPLE, columns=plain), None)
    columns: dict[str, list[Any]] = batch.to_pydict() if batch is not None else {}
    return TextTable(str(path), columns | {name: [b""] for name in large})


def _of_parquet(path: Path, names: Sequence[str] | None) -> TextTable:
    from selection.sources.parquet import features_of, open_parquet

    file = open_parquet(path)
    features = features_of(file)
    columns = file.read().to_pydict()
    return TextTable(str(path), columns, names, features)


def _of_delimited(text: str, path: Path, *, rows: int | None = None) -> dict[str, list[str]]:
    """The cells of a table whose first row names the columns, of the first ``rows``."""
    import pandas as pd

    header = text.lstrip().partition("\n")[0]
    delimiter = max(",\t;|", key=lambda mark: _known_names(header, mark))
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            dtype=str,
            keep_default_na=False,
            nrows=rows,
            skipinitialspace=True,
        )
    except (ValueError, OverflowError) as error:  # pandas' errors of parsing are such
        reason = str(error).splitlines()[0]
        fault = UnreadableTexts if any(map(is_text_name, _cells(header, delimiter))) else UserError
        raise fault(
            f"{path} is no readable table: {reason}; put quotes around texts with separators or"
            " line breaks"
        ) from error
    return {str(name): frame[name].tolist() for name in frame.columns}


def _cells(header: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in header.split(delimiter)]


def _known_names(header: str, delimiter: str) -> tuple[int, int]:
    cells = _cells(header, delimiter)
    known = sum(is_text_name(cell) or is_label_name(cell) for cell in cells)
    return known if len(cells) > 1 else 0, len(cells)


def is_text_table(table: TextTable, columns: Columns) -> bool:
    """Whether a table is a task of texts: the user says so, or its columns do."""
    if columns.text is not None:
        return True
    return columns.image is None and bool(table.text_columns) and not table.has_images


def parts_of_texts(
    table: TextTable,
    columns: Columns,
    warnings: list[str],
    *,
    split: str | None = None,
) -> dict[str, Part]:
    """The parts of a task by split name; ``split`` is the whole table's, else a column may tell it.

    ``UserError`` for a table that cannot be read as one class a text.
    """
    if not len(table):
        raise UserError(f"{table.origin} holds no rows; expected texts and labels")
    column = _text_column(table, columns, warnings)
    others = [name for name in table.columns if name != column]
    splits = {
        name: [str(value) for value in table.columns[name]]
        for name in others
        if split is None and name != columns.label and is_split_name(name)
    }
    told_by, split_of = split_column(splits, table.origin, warnings)
    labels = _labels(table, [name for name in others if name != told_by], columns)
    texts = [_plain(value) for value in table.columns[column]]
    filled = np.array([bool(text.strip()) for text in texts])
    if not filled.all():
        warnings.append(
            f"{int((~filled).sum())} of {len(texts)} texts of {table.origin} are empty and are not"
            " used"
        )
    names = np.array(split_of if split_of is not None else [split or "train"] * len(texts))
    parts = {}
    for name in filter(None, dict.fromkeys(names.tolist())):
        rows = np.flatnonzero((names == name) & filled)
        chosen = TextSource(
            [texts[row] for row in rows],
            Path(table.origin).name,
            [f"{Path(table.origin).name}#{row}" for row in rows],
        )
        parts[name] = Part(chosen, labels.numbers[rows], labels.names)
    return parts


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _text_column(table: TextTable, columns: Columns, warnings: list[str]) -> str:
    present = list(table.columns)
    if columns.text is not None:
        return named_column(columns.text, present, "--text-column", table.origin)
    candidates = table.text_columns
    if not candidates:
        raise UserError(
            f"{table.origin} has no column of texts that its name tells (it has:"
            f" {listed(present)}); name it with --text-column, and see that the first row names"
            " the columns"
        )
    said = [set(words(name)) for name in candidates]
    pair = any(pair <= set.union(*said) for pair in _PAIRS)
    stems = [name.rstrip("123_") for name in candidates]
    numbered = len(set(stems)) < len(stems)
    if len(candidates) > 1 and (pair or numbered or "text" not in candidates):
        raise ask(table.origin, "text", candidates)
    if len(candidates) > 1:
        rest = listed([name for name in candidates if name != "text"])
        warnings.append(
            f"the column 'text' of {table.origin} is read, not {rest}: --text-column names another"
        )
        return "text"
    return candidates[0]


def _labels(table: TextTable, others: Sequence[str], columns: Columns) -> Any:
    present = list(table.columns) if columns.label is not None else list(others)
    column = label_column(
        present,
        table.features,
        table.arrow,
        named=columns.label,
        origin=table.origin,
        prefer_text=True,
    )
    rest = [name for name in others if name.strip().lower() not in _INDEX_NAMES]
    if column is None and len(rest) == 1:
        column = rest[0]
    if column is None:
        raise NoLabels(
            f"{table.origin} has no column 'label' (it has: {listed(list(table.columns))}); name"
            " it with --label-column"
        )
    origin = f"{table.origin} ({class_name(column)!r})" if column != "label" else table.origin
    names = table.features.get(column, {}).get("names")
    return to_labels(table.arrow(column), names or table.names, origin)


def split_of_file(path: Path) -> str | None:
    """What the name of a file says of its split; None where it names none."""
    stem = path.name.split("-0")[0].split(".")[0]
    name = read_name(stem)
    return name.kind if name.is_plain else None
