"""The table of a comparison on a terminal."""

from __future__ import annotations

from distill.comparison import Comparison, TeacherFigures
from distill.report.comparison_words import (
    cells_of,
    column_meanings,
    headline,
    heads,
    optional_heads,
    teacher_cells,
)
from selection.sources.class_counts import listed
from zoo.terminal.command import printable
from zoo.terminal.table import Column, legend, paragraph, table_text, terminal_width


def text_table(comparison: Comparison) -> str:
    """The table as plain text, one line a method."""
    width = terminal_width()
    meanings, spare = column_meanings(comparison), optional_heads(comparison)
    columns = [
        Column(head, is_name=head == "method", optional=head in spare) for head in heads(comparison)
    ]
    rows = [[line.method, *cells_of(line, comparison)] for line in comparison.lines]
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
        f"teacher {printable(teacher.model, 60)}: head {_head_figures(teacher, comparison)}"
        for teacher in comparison.teachers
    ]
    return "\n".join(lines)


def _head_figures(teacher: TeacherFigures, comparison: Comparison) -> str:
    """``80.0 % on test, balanced 75.0 %``."""
    first, *others = comparison.figures
    _, on_test, *rest = teacher_cells(teacher, comparison)
    parts = [f"{first.short} {on_test}{first.unit} on test".lstrip()]
    parts += [
        f"{figure.short or figure.words} {cell}{figure.unit}"
        for figure, cell in zip(others, rest, strict=True)
        if cell
    ]
    return ", ".join(parts)
