"""Tables of ratings and items as pandas frames, and the names of their columns."""

from __future__ import annotations

import io
import itertools
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selection.sources.tables.text import read_text
from zoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

DELIMITED = {".csv", ".tsv", ".tab", ".data", ".dat", ".item", ".inter"}
RECORDS = {".json", ".jsonl", ".ndjson"}
SUFFIXES = DELIMITED | RECORDS | {".parquet"}
# MovieLens' files without a first row of names: how that row is told, and the names
_MOVIELENS = (
    (
        {".data", ".dat"},
        r"\d+(\t|::)\d+\1\d+(\.\d+)?\1\d+",
        ("user", "item", "rating", "timestamp"),
    ),
    ({".dat"}, r"\d+::[^:].*::.*", ("item", "title", "genres")),
    ({".item"}, r"\d+\|[^|]+\|.*", ("item", "title")),
)
_EXPECTED = "a table of ratings or of items, its first row naming the columns"


def column_names(path: Path) -> list[str]:
    """The names of a table's columns; of the first record where it holds JSON.

    ``UserError`` where it is no table.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from selection.sources.parquet import open_parquet

        return list(open_parquet(path).schema_arrow.names)
    text = read_text(path, _EXPECTED)
    if not text.strip():
        raise UserError(f"{path} is empty; expected a row of names, user,item,rating, and ratings")
    if suffix in RECORDS:
        return list(dict.fromkeys(name for record in _records(text, path) for name in record))
    header = text.lstrip().partition("\n")[0].strip()
    if names := _names_of_movielens(path, header):
        return names
    return [_unquoted(cell) for cell in header.split(_delimiter(header))]


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """``columns`` of a table, all by default; cells of a delimited file are texts.

    ``UserError`` where it is no table.
    """
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from selection.sources.parquet import open_parquet

        stored = open_parquet(path).read(columns=list(columns) if columns else None)
        whole: pd.DataFrame = stored.to_pandas().reset_index(drop=True)
        return whole
    text = read_text(path, _EXPECTED)
    if suffix in RECORDS:
        frame = pd.DataFrame(_records(text, path, every=True))
    else:
        frame = _of_delimited(text, path)
    return frame if columns is None else frame[list(columns)]


def _of_delimited(text: str, path: Path) -> pd.DataFrame:
    import pandas as pd

    header = text.lstrip().partition("\n")[0].strip()
    names = _names_of_movielens(path, header)
    if names:
        text, header = text.replace("::", "\t"), header.replace("::", "\t")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # on rows that are too long
            frame = pd.read_csv(
                io.StringIO(text),
                sep=_delimiter(header),
                dtype=str,
                names=names,
                usecols=range(len(names)) if names else None,
                na_filter=False,
                skipinitialspace=True,
                index_col=False,
            )
    except pd.errors.ParserWarning as error:
        raise UserError(
            f"{path} has rows with more cells than its first row names; put quotes around cells"
            " with separators"
        ) from error
    except (ValueError, OverflowError) as error:  # pandas' errors of parsing are such
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is no readable table: {reason}; put quotes around cells with separators or"
            " line breaks"
        ) from error
    frame.columns = [_unquoted(str(name)) for name in frame.columns]
    return frame


def _names_of_movielens(path: Path, row: str) -> list[str] | None:
    """The columns of a file of MovieLens by its first row; None for other files."""
    suffix = path.suffix.lower()
    for suffixes, pattern, names in _MOVIELENS:
        if suffix in suffixes and re.fullmatch(pattern, row):
            return list(names)
    return None


def _delimiter(header: str) -> str:
    return max(",\t;|", key=header.count)


def _unquoted(cell: str) -> str:
    return cell.strip().strip('"').strip()


def _records(text: str, path: Path, *, every: bool = False) -> list[dict[str, Any]]:
    """The objects of a list or of lines of JSON; the first alone unless ``every`` is read."""
    is_list = text.lstrip().startswith("[")
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        if is_list:
            parsed = json.loads(text)
        else:
            parsed = [json.loads(line) for line in itertools.islice(lines, None if every else 1)]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no valid JSON: {str(error)[:200]}") from error
    if not parsed or not all(isinstance(record, dict) for record in parsed):
        raise UserError(
            f"{path} holds no JSON objects; expected lines such as"
            ' {"user": 1, "item": 2, "rating": 4}'
        )
    records: list[dict[str, Any]] = parsed if every else parsed[:1]
    return records
