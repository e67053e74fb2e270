"""A ranking as a notebook shows it."""

from __future__ import annotations

from html import escape

from selection.ranking import Ranking
from selection.report.table import cells_of
from selection.report.verdict import verdict
from zoo.terminal.command import printable


def as_html(ranking: Ranking) -> str:
    """The verdict and a table that looks as those of pandas, with every name escaped."""
    columns, rows = cells_of(ranking)
    heads = "".join(
        f'<th title="{escape(column.meaning)}">{escape(column.head)}</th>' for column in columns
    )
    lines = ["<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    for row in ranking.rows:
        if row.value is None:
            reason = escape(f"failed: {printable(row.error or '', 300)}")
            name = _cell(printable(row.model, 200))
            lines.append(f'<tr><td></td>{name}<td colspan="{len(columns) - 2}">{reason}</td></tr>')
    return (
        f"<div><p>{escape(' '.join(verdict(ranking)))}</p>"
        f'<table border="1" class="dataframe"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"
