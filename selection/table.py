"""The ranking as a terminal shows it."""

from __future__ import annotations

import sys

from selection.ranking import Ranking, Row
from zoo.command import clean


def show(ranking: Ranking) -> None:
    """Print the ranking to stdout: a rich table on a terminal or a plain one, failed models last, then the committee."""
    heads, lines = _cells(ranking)
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print("\n".join("  ".join(line) for line in [heads, *lines]))
    else:
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for i, head in enumerate(heads):
            table.add_column(head, justify="left" if i in (1, len(heads) - 1) else "right", overflow="fold", no_wrap=i != 1)
        for line in lines:
            table.add_row(*(_escape(cell) for cell in line))
        console.print(table)
    failed = [row for row in ranking.rows if row.value is None]
    for row in failed:
        print(f"failed: {clean(row.model, 80)}: {clean(row.error or '', 300)}")
    print(_closing(ranking))


def _cells(ranking: Ranking) -> tuple[list[str], list[list[str]]]:
    extra = sorted({name for row in ranking.rows for name in row.scores} - {"knn", ranking.score})
    heads = ["", "model", "score", "interval", "close", "knn", *extra, "params", "s", "licence"]
    lines = []
    for place, row in enumerate((row for row in ranking.rows if row.value is not None), start=1):
        further = [_number(row.scores.get(name)) for name in extra]
        lines.append(
            [
                str(place),
                clean(row.model, 60),
                _number(row.value),
                f"{_number(row.low)} .. {_number(row.high)}",
                _letter(row),
                _percent(row.knn),
                *further,
                size(row.params_total),
                "-" if row.seconds is None else f"{row.seconds:.1f}",
                clean(row.license or "unknown", 20),
            ]
        )
    return heads, lines


def _closing(ranking: Ranking) -> str:
    ranked = [row for row in ranking.rows if row.value is not None]
    tied = [clean(row.model, 60) for row in ranked if row.group == 1]
    lines = []
    if len(tied) > 1:
        lines.append(f"too close to call: {', '.join(tied[:5])}{' and more' if len(tied) > 5 else ''}")
    names = ", ".join(clean(name, 60) for name in ranking.committee)
    lines.append(f"committee: {names}" if names else "committee: none; no model adds to what the labels say alone")
    return "\n".join(lines)


def _letter(row: Row) -> str:
    """Groups as letters: models that share one are too close to call."""
    number = (row.group or 1) - 1
    return chr(ord("a") + number) if number < 26 else str(number + 1)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def size(count: int | None) -> str:
    """``3500000`` -> ``3.5M``; unknown is a dash."""
    if count is None:
        return "-"
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f}{unit}"
    return str(count)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
