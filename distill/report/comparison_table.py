"""The table of a comparison on a terminal."""

from __future__ import annotations

from distill.comparison import COLUMNS, Comparison, figures_of
from distill.report.comparison_words import column_meanings, headline
from selection.sources.class_counts import listed
from zoo.terminal.command import printable
from zoo.terminal.table import Column, legend, paragraph, table_text, terminal_width


def text_table(comparison: Comparison) -> str:
    """The table as plain text, one line a method."""
    width = terminal_width()
    meanings = column_meanings(comparison)
    columns = [
        Column(head, is_name=head == "method", optional=head == "gap recovered %")
        for head in COLUMNS
    ]
    rows = [[line.method, *figures_of(line)] for line in comparison.lines]
    lines = [
        paragraph(headline(comparison), width=width),
        "",
        table_text(columns, rows, width=width),
        "",
        legend(meanings, width=width),
    ]
    if absent := comparison.absent:
        lines.append(
            f"no test {comparison.kind.noun} of {listed(absent)}: the figures say nothing of them"
        )
    lines += [
        f"{line.method}: {printable(line.reason, 300)}" for line in comparison.lines if line.reason
    ]
    lines += [
        f"teacher {printable(t.model, 60)}: head {100 * float(t.hits.mean()):.1f} % on test,"
        f" balanced {100 * t.balanced:.1f} %"
        for t in comparison.teachers
    ]
    return "\n".join(lines)
