"""The texts of a file that ``distill.predict`` is given."""

from __future__ import annotations

from pathlib import Path

from selection.sources.tables.columns import listed
from selection.sources.texts.encoding import decoded
from selection.sources.texts.table import SUFFIXES as TABLES
from selection.sources.texts.table import read_table
from zoo.errors import UserError
from zoo.terminal.progress import warn

SUFFIXES = (".txt", *sorted(TABLES))


def texts_of_file(path: Path) -> list[str]:
    """The lines of a text file, or the column of texts of a table, empty ones too.

    Raises ``UserError`` where the file cannot be read, or has no such column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give texts, or a file of them")
    warnings: list[str] = []
    if path.suffix.lower() not in TABLES:
        texts = decoded(path, warnings).splitlines()
    else:
        table = read_table(path, warnings)
        if not table.text_columns:
            raise UserError(
                f"{path} has no column of texts (it has {listed(list(table.columns))}); expected"
                " one called text"
            )
        texts = [v if isinstance(v, str) else "" for v in table.columns[table.text_columns[0]]]
    for warning in warnings:
        warn(warning)
    return texts
