"""Tables of ratings and items as pandas frames, and the names of their columns."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selection.sources.tables.text import read_text
from zoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

DELIMITED = {".csv", ".tsv", ".tab", ".data", ".dat", ".inter"}
RECORDS = {".json", ".jsonl", ".ndjson"}
SUFFIXES = DELIMITED | RECORDS | {".parquet"}
_WITHOUT_NAMES = {".data", ".dat"}  # MovieLens' files without a first row of names
_MOVIELENS = ("user", "item", "rating", "timestamp")
_LOOKED_AT = 4096  # characters that hold the first row


def column_names(path: Path) -> list[str]:
    """The names of a table's columns; of the first record where it holds JSON.

    ``UserError`` where it is no table.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from selection.sources.parquet import open_parquet

        return list(open_parquet(path).schema_arrow.names)
    text = read_text(path)
    if not text.strip():
        raise UserError(f"{path} is empty; expected a row of names, user,item,rating, and ratings")
    if suffix in RECORDS:
        return list(dict.fromkeys(name for record in _records(text, path) for name in record))
    header = text.lstrip().partition("\n")[0].strip()
    if suffix in _WITHOUT_NAMES and _is_movielens(header):
        return list(_MOVIELENS)
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
    text = read_text(path)
    if suffix in RECORDS:
        frame = pd.DataFrame(_records(text, path, every=True))
    else:
        frame = _of_delimited(text, path)
    return frame if columns is None else frame[list(columns)]


def _of_delimited(text: str, path: Path) -> pd.DataFrame:
    import pandas as pd

    header = text.lstrip().partition("\n")[0].strip()
    names = None
    if path.suffix.lower() in _WITHOUT_NAMES and _is_movielens(header):
        text, names = text.replace("::", "\t"), list(_MOVIELENS)
        header = header.replace("::", "\t")
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=_delimiter(header),
            dtype=str,
            names=names,
            na_filter=False,
            skipinitialspace=True,
            index_col=False,
        )
    except (ValueError, OverflowError) as error:  # pandas' errors of parsing are such
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path} is no readable table: {reason}; put quotes around cells with separators or"
            " line breaks"
        ) from error
    frame.columns = [_unquoted(str(name)) for name in frame.columns]
    return frame


def _is_movielens(row: str) -> bool:
    """Whether ``row`` is user, item, rating and timestamp as numbers, as in ``u.data``."""
    return bool(re.fullmatch(r"\d+(\t|::)\d+\1\d+(\.\d+)?\1\d+", row))


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
