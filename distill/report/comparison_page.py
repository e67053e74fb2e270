"""The web page of a comparison: the table, learning curves, confusion, and which teacher helped
which class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.comparison import Comparison
from distill.report.comparison_words import (
    best_method,
    cells_of,
    column_meanings,
    headline,
    heads,
    teacher_cells,
)
from distill.report.figures import confusion_map, method_lines
from distill.run import RunFolder, hits
from distill.training.results import curve_of
from selection.evidence import Floats, Ints
from selection.report.document import render
from selection.report.plots import Cells, figure, heatmap, label, labels

if TYPE_CHECKING:
    import plotly.graph_objects as go


def page(comparison: Comparison) -> str:
    """The page as text; see the template ``comparison.html.jinja``."""
    best = best_method(comparison)
    shown = comparison.of(best.method if best else "plain")
    figures = {
        "curves": _curves(comparison),
        "confusion": _confusion(comparison, shown),
        "helped": _helped(comparison, shown) if best else None,
    }
    values = {
        "comparison": comparison,
        "headline": headline(comparison),
        "best": best,
        "best_teacher": comparison.best_teacher,
        "by_class": [line for line in comparison.lines if line.by_class],
        "class_counts": _class_counts(comparison, shown),
        "columns": heads(comparison),
        "cells_of": partial(cells_of, comparison=comparison),
        "teacher_cells": partial(teacher_cells, comparison=comparison),
        "meanings": column_meanings(comparison),
        "figure_units": comparison.figure.units or comparison.kind.nouns,
        "curve_title": f"{comparison.figure.title} on validation, mean over seeds",
    }
    return render(
        Path(__file__).with_name("comparison.html.jinja"),
        values=values,
        figures={name: drawn for name, drawn in figures.items() if drawn is not None},
    )


def _class_counts(comparison: Comparison, runs: Mapping[int, RunFolder]) -> list[int]:
    """(C,) test samples of each class; empty where no run is finished."""
    for run in runs.values():
        labels = run.results()["test"].get("labels")
        if labels is None:
            return []
        counts: list[int] = np.bincount(labels, minlength=len(comparison.classes)).tolist()
        return counts
    return []


def _curves(comparison: Comparison) -> go.Figure | None:
    """The deciding figure of every method on validation by epoch, mean over its finished seeds."""
    import plotly.graph_objects as go

    traces = []
    styles = method_lines([line.method for line in comparison.lines])
    for line, style in zip(comparison.lines, styles, strict=True):
        runs = comparison.of(line.method)
        if not runs:
            continue
        mean = _mean_curve(list(runs.values()), comparison)
        traces.append(
            go.Scatter(
                mode="lines",
                name=label(line.method),
                x=list(range(1, len(mean) + 1)),
                y=mean,
                line=style,
            )
        )
    if not traces:
        return None
    drawn = figure(traces, height=480, across="epoch", down=f"validation {comparison.figure.head}")
    epochs = max(len(trace.x) for trace in traces)
    drawn.update_xaxes(dtick=max(1, epochs // 10))
    drawn.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2})
    return drawn


def _mean_curve(runs: Sequence[RunFolder], comparison: Comparison) -> list[float]:
    """The deciding figure as it is shown (E,), over the epochs that all runs have."""
    figure = comparison.figure
    curves = []
    for run in runs:
        curves.append(curve_of(run.metrics(), figure, comparison.kind))
    epochs = min(map(len, curves))
    mean = np.mean(np.asarray([c[:epochs] for c in curves], dtype=float), axis=0)
    return [figure.rounded(float(value)) for value in mean]


def _confusion(comparison: Comparison, runs: Mapping[int, RunFolder]) -> go.Figure | None:
    """Rows are true classes, columns predicted ones, in per cent of the row, over all seeds."""
    if not runs or not comparison.predicts_classes:
        return None
    count = len(comparison.classes)
    table = np.zeros((count, count))
    for run in runs.values():
        test = run.results()["test"]
        np.add.at(table, (test["labels"], test["predicted"]), 1)
    return confusion_map(table, comparison.classes)


def _helped(comparison: Comparison, runs: Mapping[int, RunFolder]) -> go.Figure | None:
    """Rows are teachers, columns classes; a sample counts for a teacher whose head gets it
    right.
    """
    plain = comparison.of("plain")
    teachers, classes = comparison.teachers, comparison.classes
    seeds = [seed for seed in runs if seed in plain]
    if not seeds or not teachers or not comparison.predicts_classes:
        return None
    gains = []
    for seed in seeds:
        student, control = runs[seed].results(), plain[seed].results()
        gains.append(hits(student, "test").astype(int) - hits(control, "test"))
    gain = np.mean(gains, axis=0)  # (n,)
    true = np.asarray(student["test"]["labels"])  # (n,)
    by_teacher = [hits({"test": teacher.test}, "test") for teacher in teachers]
    rows = [_class_means(gain * right, true, len(classes)) for right in by_teacher]
    by_class = 100 * np.stack(rows)  # (T, C)
    models = [teacher.model for teacher in teachers]
    cells = Cells(
        values=_rounded(by_class),
        rows=labels(models, 28),  # longer ones leave a phone no room for the cells
        columns=labels(classes, 30),
        limit=max(float(np.abs(by_class).max()), 1.0),
        signed=True,
        unit="points",
        hover="%{y}, %{x}: %{z:.1f}",
    )
    return heatmap(cells, across="class")


def _class_means(values: Floats, classes: Ints, count: int) -> Floats:
    """The mean of ``values`` (n,) over the samples of each class (C,); 0 where a class has none."""
    samples = np.bincount(classes, minlength=count)
    totals = np.bincount(classes, weights=values, minlength=count)
    means: Floats = totals / np.maximum(samples, 1)
    return means


def _rounded(values: Floats) -> list[list[float]]:
    rows: list[list[float]] = np.round(values, 2).tolist()
    return rows
