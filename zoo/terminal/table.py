"""One table for the terminal: fitted to its width there, complete and plain in a pipe.

>>> columns = [Column("model", is_name=True), Column("params", is_number=True)]
>>> print(table_text(columns, [["timm/resnet18", short_count(11_689_512)], ["org/a", "-"]]))
model          params
timm/resnet18   11.7M
org/a               -

Where whole names leave no room beside them, they stand on lines of their own:

>>> print(table_text(columns, [["timm/resnet18", "11.7M"]], width=16))
model
  params
timm/resnet18
   11.7M
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_GAP = "  "  # between columns
_NARROWEST = 8  # characters below which a text cannot be read
_WIDEST_LEGEND = 100  # characters of a line of the legend
_WIDEST_TERM = 16  # characters of a column's head in the legend
_COUNT_UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "k"))

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """A column's head and how its cells stand.

    is_number  stands at the right
    is_name    is never cut: names go on lines of their own where they leave no room
    can_cut    a text that may lose its end where the table is too wide
    optional   may be left out where the table is too wide, the last one first
    meaning    what the legend says of it: a sentence, with the unit
    """

    head: str
    is_number: bool = False
    is_name: bool = False
    can_cut: bool = False
    optional: bool = False
    meaning: str = ""


def print_table(columns: Sequence[Column], rows: Rows) -> list[str]:
    """Print to stdout; returns the heads of the columns that found no room."""
    from rich.console import Console
    from rich.text import Text

    layout = _FittedTable.fitted(columns, rows, terminal_width())
    heads = layout.heads()
    if sys.stdout.isatty():
        Console().print(Text("\n".join(heads), style="bold"), soft_wrap=True)
    else:
        print("\n".join(heads))
    for row in rows:
        print("\n".join(layout.lines(row)))
    return layout.left_out


def table_text(columns: Sequence[Column], rows: Rows, *, width: int | None = None) -> str:
    """The table as plain lines; without ``width`` as wide as it needs."""
    layout = _FittedTable.fitted(columns, rows, width)
    return "\n".join([*layout.heads(), *(line for row in rows for line in layout.lines(row))])


def live_table(columns: Sequence[Column], rows: Rows, *, title: str) -> Text:
    """The table below its title, as a live display shows it."""
    from rich.text import Text

    layout = _FittedTable.fitted(columns, rows, shutil.get_terminal_size().columns)
    text = Text(f"{title}\n", no_wrap=True, overflow="ellipsis")
    text.append("\n".join(layout.heads()), style="bold")
    for row in rows:
        text.append("\n" + "\n".join(layout.lines(row)))
    return text


def legend(meanings: Sequence[tuple[str, str]], *, width: int | None = None) -> str:
    """What the columns mean, a paragraph each, in lines of at most ``width``.

    ``meanings`` are pairs of a head and its sentence.
    """
    room = min(width or _WIDEST_LEGEND, _WIDEST_LEGEND)
    longest = max((len(head) for head, _ in meanings if len(head) <= _WIDEST_TERM), default=0)
    indent = " " * (2 + longest + len(_GAP))
    paragraphs = []
    for head, meaning in meanings:
        first = f"  {head:<{longest}}{_GAP}"
        lines = textwrap.wrap(
            meaning,
            max(room - len(indent), 24),
            break_long_words=False,
            break_on_hyphens=False,
        )
        if len(first) > len(indent):
            paragraphs.append(f"  {head}")
            first = indent
        paragraphs.append(first + f"\n{indent}".join(lines))
    return "\n".join(paragraphs)


def paragraph(text: str, *, width: int | None = None) -> str:
    """``text`` in lines of at most ``width``, in one line where there is none; no word is broken,
    so that names can be copied.
    """
    if width is None:
        return text
    return textwrap.fill(
        text,
        max(width, 24),
        break_long_words=False,
        break_on_hyphens=False,
    )


def terminal_width() -> int | None:
    """The characters of a line, or ``None`` where stdout is a file or a pipe."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


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


class _FittedTable:
    """Which columns are shown, how wide, and whether names have lines of their own."""

    def __init__(
        self,
        columns: Sequence[Column],
        widths: Sequence[int],
        kept: Sequence[int],
        *,
        names_apart: bool,
    ) -> None:
        self.columns, self.widths, self.kept = columns, widths, kept
        self.names_apart = names_apart
        self.left_out = [column.head for i, column in enumerate(columns) if i not in kept]

    @classmethod
    def fitted(
        cls,
        columns: Sequence[Column],
        rows: Rows,
        width: int | None,
    ) -> _FittedTable:
        """The layout in lines of ``width`` characters; only names may be longer."""
        widths, places = _full_widths(columns, rows), list(range(len(columns)))
        if width is None:
            return cls(columns, widths, places, names_apart=False)
        names_apart = False
        least = [
            min(full, _NARROWEST) if column.can_cut else full
            for column, full in zip(columns, widths, strict=True)
        ]
        kept = _fitting(columns, least, width)
        if kept is None and any(column.is_name for column in columns):
            names_apart = True
            beside = [0 if c.is_name else w for c, w in zip(columns, least, strict=True)]
            kept = _fitting(columns, beside, width)
        if kept is None:  # too narrow even so
            kept = [i for i in places if not columns[i].optional]
        layout = cls(columns, widths, kept, names_apart=names_apart)
        layout._cut(width)
        return layout

    def _cut(self, width: int) -> None:
        """Make texts narrower until the lines fit: the widest text first, to a least width."""
        widths = list(self.widths)
        parts = self._figures() if self.names_apart else self.kept
        room = width - (len(self._indent()) if self.names_apart else 0)
        excess = sum(widths[i] for i in parts) + len(_GAP) * (len(parts) - 1) - room
        for may_cut in (True, False):  # texts that can be cut, then, where all is lost, the others
            texts = [
                i
                for i in parts
                if self.columns[i].can_cut == may_cut
                and not self.columns[i].is_number
                and not self.columns[i].is_name
            ]
            while excess > 0 and texts:
                widest = max(texts, key=lambda i: widths[i])
                if widths[widest] <= _NARROWEST:
                    break
                widths[widest] -= 1
                excess -= 1
        self.widths = widths

    def heads(self) -> list[str]:
        """The lines of the head."""
        return self.lines([column.head for column in self.columns])

    def lines(self, row: Sequence[str]) -> list[str]:
        """The lines of a row, two where names have lines of their own."""
        if not self.names_apart:
            return [self._line(row, self.kept)]
        name = next(i for i in self.kept if self.columns[i].is_name)
        above = [i for i in self.kept if i <= name]
        lines = [self._line(row, above)]
        if figures := self._figures():
            lines.append((self._indent() + self._line(row, figures)).rstrip())
        return lines

    def _figures(self) -> list[int]:
        """The columns after the name."""
        name = next(i for i in self.kept if self.columns[i].is_name)
        return [i for i in self.kept if i > name]

    def _indent(self) -> str:
        name = next(i for i in self.kept if self.columns[i].is_name)
        return _GAP * (1 if not name else 0) + "".join(
            " " * self.widths[i] + _GAP for i in self.kept if i < name
        )

    def _line(self, row: Sequence[str], places: Sequence[int]) -> str:
        return _GAP.join(_aligned(row[i], self.columns[i], self.widths[i]) for i in places).rstrip()


def _aligned(cell: str, column: Column, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    length = cell_len(cell)
    if length > width:
        return set_cell_size(cell, width - 1) + "…"
    space = " " * (width - length)
    return space + cell if column.is_number else cell + space


def _full_widths(columns: Sequence[Column], rows: Rows) -> list[int]:
    from rich.cells import cell_len

    heads = [column.head for column in columns]
    by_column = zip(heads, *rows, strict=True)
    return [max(map(cell_len, cells)) for cells in by_column]


def _fitting(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int] | None:
    """The columns that fit into ``room``, without optional ones from the right as far as needed;
    ``None`` where the others do not fit.
    """
    kept = list(range(len(columns)))
    while sum(widths[i] for i in kept) + len(_GAP) * (len(kept) - 1) > room:
        optional = [i for i in kept if columns[i].optional]
        if not optional:
            return None
        kept.remove(optional[-1])
    return kept
