"""The texts of a file that ``distill.predict`` is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selection.sources.tables.columns import words
from selection.sources.tables.text import read_text
from zoo.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (".txt", *DELIMITERS, ".jsonl", ".parquet")
_NAMES = ("text", "sentence", "content", "review", "comment", "question", "message", "query")


def texts_of_file(path: Path) -> list[str]:
    """The lines of a ``.txt`` file, or the column of texts of a CSV, TSV, JSONL or Parquet file.

    Raises ``UserError`` where the file cannot be read, or has no such column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give texts, or a file of them")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES[1:]:
        return read_text(path).splitlines()
    table = _table(path, suffix)
    named = [name for name in _NAMES for column in table.columns if name in words(str(column))]
    columns = [c for name in named[:1] for c in table.columns if name in words(str(c))]
    if not columns:
        raise UserError(
            f"{path} has no column of texts (it has {', '.join(map(str, table.columns))});"
            f" expected one called {_NAMES[0]}"
        )
    return [text if isinstance(text, str) else "" for text in table[columns[0]]]


def _table(path: Path, suffix: str) -> Any:
    import io

    import pandas as pd

    try:
        if suffix == ".parquet":
            return pd.read_parquet(path)
        text = io.StringIO(read_text(path))
        if suffix == ".jsonl":
            return pd.read_json(text, lines=True, dtype=False)
        return pd.read_csv(text, sep=DELIMITERS[suffix], dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no readable table: {str(error).splitlines()[0]}") from error
