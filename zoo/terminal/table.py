"""One table for the terminal: fitted to its width there, complete and plain in a pipe.

>>> columns = [Column("model", is_name=True), Column("params", is_number=True)]
>>> print(table_text(columns, [["timm/resnet18", short_count(11_689_512)], ["org/a", "-"]]))
model          params
timm/resnet18   11.7M
org/a               -
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

_GAP = 2  # spaces between columns
_NARROWEST = 8  # characters below which a column cannot be read
_COUNT_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """A column's head and how its cells stand.

    Where the table is too wide, names go on in the next line after one of ``/ . _ -``; other texts
    are cut, numbers never.
    """

    head: str
    is_number: bool = False
    is_name: bool = False


def print_table(columns: Sequence[Column], rows: Rows, *, droppable: bool = False) -> int:
    """Print to stdout; returns how many columns found no room.

    Columns are left out at the right only where the table is ``droppable``.
    """
    from rich.console import Console

    width, kept = terminal_width(), len(columns)
    if width is not None and droppable:
        kept = _columns_that_fit(columns, rows, width)
    shown = [row[:kept] for row in rows]
    if width is not None and sys.stdout.isatty():
        Console(width=width).print(table_of(columns[:kept], shown, width=width))
    else:
        print(table_text(columns[:kept], shown, width=width))
    return len(columns) - kept


def table_text(columns: Sequence[Column], rows: Rows, *, width: int | None = None) -> str:
    """The table as plain lines; without ``width`` as wide as it needs."""
    from rich.console import Console

    widest = sum(_full_widths(columns, rows)) + _GAP * len(columns)
    console = Console(width=width or widest, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table_of(columns, rows, width=width))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def table_of(
    columns: Sequence[Column],
    rows: Rows,
    *,
    width: int | None = None,
    title: str | None = None,
) -> Table:
    """The table as rich draws it; with ``width`` its names are broken so that it fits."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, _GAP, 0, 0),
        header_style="bold",
    )
    table.title = None if title is None else Text(title)
    for column in columns:
        table.add_column(
            Text(column.head),
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number or column.is_name,
        )
    name_width = None
    if width is not None:
        name_width = _width_for_names(columns, rows, width)
    for row in rows:
        cells = []
        for column, cell in zip(columns, row, strict=True):
            if column.is_name and name_width is not None:
                cell = break_name(cell, name_width)
            cells.append(Text(cell, no_wrap=True, overflow="ellipsis"))
        table.add_row(*cells)
    return table


def terminal_width() -> int | None:
    """The characters of a line, or ``None`` where stdout is a file or a pipe."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def break_name(name: str, width: int) -> str:
    """``name`` in lines of at most ``width`` where it can be broken after one of ``/ . _ -``.

    >>> break_name("timm/mobilenetv3_small_050.lamb_in1k", 20)
    'timm/mobilenetv3_\\nsmall_050.lamb_in1k'
    """
    lines = [""]
    for part in re.findall(r"[^/._-]*[/._-]*", name):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def short_count(count: int | None) -> str:
    """``3504872`` -> ``3.5M``, ``410260`` -> ``410k``; unknown is a dash."""
    if count is None:
        return "-"
    for size, unit in _COUNT_UNITS:
        short = count / size
        if short >= 100:
            return f"{short:.0f}{unit}"
        if short >= 1:
            return f"{short:.3g}{unit}"
    return str(count)


def _full_widths(columns: Sequence[Column], rows: Rows) -> list[int]:
    from rich.cells import cell_len

    heads = [column.head for column in columns]
    by_column = zip(heads, *rows, strict=True)
    return [max(map(cell_len, cells)) for cells in by_column]


def _least_widths(columns: Sequence[Column], rows: Rows) -> list[int]:
    """What the columns need at least: numbers all, texts and names a part."""
    widths = zip(columns, _full_widths(columns, rows), strict=True)
    return [width if column.is_number else min(width, _NARROWEST) for column, width in widths]


def _width_for_names(columns: Sequence[Column], rows: Rows, room: int) -> int:
    """What the other columns leave to a column of names."""
    others = _GAP * (len(columns) - 1)
    for column, width in zip(columns, _least_widths(columns, rows), strict=True):
        if not column.is_name:
            others += width
    return max(room - others, _NARROWEST)


def _columns_that_fit(columns: Sequence[Column], rows: Rows, room: int) -> int:
    """How many columns fit into ``room``; the first may take half of it before others go."""
    first = _full_widths(columns, rows)[0]
    used = min(first, max(room // 2, _NARROWEST))
    for place, width in enumerate(_least_widths(columns, rows)[1:], start=1):
        used += _GAP + width
        if used > room:
            return place
    return len(columns)
