"""The web page of a comparison: the table, learning curves, confusion, and which teacher helped
which class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.comparison import COLUMNS, Comparison, MethodResult, figures_of
from distill.run import RunFolder
from selection.evidence import Floats
from selection.report.document import render
from selection.report.plots import PALETTE, Cells, figure, heatmap, label, labels
from selection.scores.accuracy import hits, points

if TYPE_CHECKING:
    import plotly.graph_objects as go

_DASHES = ("solid", "dash", "dot")  # in turn, where there are more methods than colours


def page(comparison: Comparison) -> str:
    """The page as text; see the template ``comparison.html.jinja``."""
    best = best_method(comparison)
    shown = comparison.of(best.method if best else "plain")
    figures = {
        "curves": _curves(comparison),
        "confusion": _confusion(comparison, shown),
        "helped": _helped(comparison, shown) if best else None,
    }
    teachers = comparison.teachers
    values = {
        "comparison": comparison,
        "best": best,
        "best_teacher": max(teachers, key=lambda teacher: teacher.validation, default=None),
        "columns": COLUMNS,
        "cells_of": figures_of,
        "points": points,
    }
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    return render(Path(__file__).with_name("comparison.html.jinja"), values=values, figures=drawn)


def best_method(comparison: Comparison) -> MethodResult | None:
    """The finished method with the best validation accuracy, plain aside."""
    finished = [
        line for line in comparison.lines if line.validation is not None and line.method != "plain"
    ]
    return max(finished, key=lambda line: line.validation or 0.0, default=None)


def _curves(comparison: Comparison) -> go.Figure | None:
    """Validation accuracy of every method by epoch, mean over its finished seeds."""
    import plotly.graph_objects as go

    traces = []
    for place, line in enumerate(comparison.lines):
        mean = _mean_curve(list(comparison.of(line.method).values()))
        if mean is None:
            continue
        style = {
            "color": PALETTE[place % len(PALETTE)],
            "width": 2,
            "dash": _DASHES[place // len(PALETTE) % len(_DASHES)],
        }
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
    drawn = figure(traces, height=480, across="epoch", down="validation %")
    epochs = max(len(trace.x) for trace in traces)
    drawn.update_xaxes(dtick=max(1, epochs // 10))
    return drawn.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2})


def _mean_curve(runs: Sequence[RunFolder]) -> list[float] | None:
    """Validation accuracy in per cent (E,), over the epochs that all runs have."""
    curves = [[entry["validation_accuracy"] for entry in run.metrics()] for run in runs]
    if not curves:
        return None
    epochs = min(map(len, curves))
    mean = np.mean([curve[:epochs] for curve in curves], axis=0)
    return [round(100 * float(accuracy), 2) for accuracy in mean]


def _confusion(comparison: Comparison, runs: Mapping[int, RunFolder]) -> go.Figure | None:
    """Rows are true classes, columns predicted ones, in per cent of the row, over all seeds."""
    if not runs:
        return None
    count = len(comparison.classes)
    table = np.zeros((count, count))
    for run in runs.values():
        test = run.results()["test"]
        np.add.at(table, (np.asarray(test["labels"]), np.asarray(test["predicted"])), 1)
    shares = 100 * table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    names = labels(comparison.classes, 30)
    cells = Cells(
        values=_rounded(shares),
        rows=names,
        columns=names,
        limit=max(float(shares.max()), 1.0),
        unit="%",
        hover="%{y}, %{x}: %{z:.1f}",
    )
    return heatmap(cells, across="predicted", down="true")


def _helped(comparison: Comparison, runs: Mapping[int, RunFolder]) -> go.Figure | None:
    """Rows are teachers, columns classes; an image counts for a teacher whose head gets it
    right.
    """
    plain = comparison.of("plain")
    seeds = [seed for seed in runs if seed in plain]
    if not seeds or not comparison.teachers:
        return None
    results = [(runs[seed].results(), plain[seed].results()) for seed in seeds]
    true = np.asarray(results[0][0]["test"]["labels"])  # (n,)
    gains = [
        hits(student, "test").astype(float) - hits(control, "test").astype(float)
        for student, control in results
    ]
    gain = np.mean(gains, axis=0)  # (n,)
    by_class = 100 * np.stack(
        [
            _class_means(gain * teacher.hits, true, len(comparison.classes))
            for teacher in comparison.teachers
        ]
    )  # (T, C)
    cells = Cells(
        values=_rounded(by_class),
        rows=labels((teacher.model for teacher in comparison.teachers), 40),
        columns=labels(comparison.classes, 30),
        limit=max(float(np.abs(by_class).max()), 1.0),
        signed=True,
        unit="points",
        hover="%{y}, %{x}: %{z:.1f}",
    )
    return heatmap(cells, across="class")


def _class_means(values: Floats, classes: Floats, count: int) -> Floats:
    """The mean of ``values`` (n,) over the images of each class (C,); 0 where a class has none."""
    images = np.bincount(classes, minlength=count)
    totals = np.bincount(classes, weights=values, minlength=count)
    means: Floats = totals / np.maximum(images, 1)
    return means


def _rounded(values: Floats) -> list[list[float]]:
    return [[float(value) for value in row] for row in np.round(values, 2)]
