"""CSV for people who open it in a spreadsheet, and texts in it that come from strangers."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

# a spreadsheet takes a text that begins so for a formula, and may run it; full-width signs too
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_csv(file: TextIO, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header of ``names`` (none where it is empty) and ``rows`` as CSV.

    Numbers are written as they are, ``None`` as nothing, lists and objects as JSON. A text that a
    spreadsheet would take for a formula gets an apostrophe before it.
    """
    import csv

    # with this end of a line the writer quotes both of its characters within a text
    writer = csv.writer(_UnixLines(file), lineterminator="\r\n")
    if names:
        writer.writerow([csv_cell(name) for name in names])
    writer.writerows([csv_cell(value) for value in row] for row in rows)


class _UnixLines:
    """Writes lines that end in CR LF to ``file`` with LF alone."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        """Write one line."""
        return self.file.write(line.removesuffix("\r\n") + "\n")


def csv_cell(value: object) -> object:
    """``value`` as ``write_csv`` writes it.

    >>> [csv_cell(value) for value in ("=1+1", "@x", -1.5, "a-b", None, ["=a"])]
    ["'=1+1", "'@x", -1.5, 'a-b', '', '["=a"]']
    """
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return as_json(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def as_json(value: object) -> str:
    """``value`` as one line of JSON; what JSON has no form for is a text."""
    from decimal import Decimal

    return json.dumps(
        value,
        ensure_ascii=False,
        default=lambda odd: int(odd) if isinstance(odd, Decimal) else str(odd),
    )


def print_utf8() -> None:
    """Make stdout UTF-8: what a program reads does not depend on the terminal's letters."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
