"""The HTML page of a comparison: table, curves, confusion matrix, and which teacher helped which
class.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from distill.comparison import COLUMNS, Comparison, MethodResult, figures_of
from distill.run import RunFolder
from selection.report.document import Figure, axis, document, layout, text
from selection.scores.accuracy import hits, points

DASHES = ("solid", "dash", "dot")  # one after another, where there are more methods than colours
PALETTE = (
    "#4269d0",
    "#efb118",
    "#ff725c",
    "#6cc5b0",
    "#a463f2",
    "#97bbf5",
    "#9c6b4e",
    "#3ca951",
    "#ff8ab7",
    "#9498a0",
)


def page(comparison: Comparison) -> str:
    """The page as text: one file, everything inline, every name escaped."""
    best, title = best_of(comparison), f"Students of {text(comparison.name)}"
    shown = best.method if best else "plain"
    captions = {
        "curves": "Validation accuracy, mean over seeds",
        "confusion": f"Confusion on the test split: {shown}",
        "helped": (
            "Which teacher helped which class: points of accuracy that the best student gained over"
            " plain on the class's test images that the teacher's head gets right"
        ),
    }
    figures = {
        "curves": _curves(comparison),
        "confusion": _confusion(comparison, comparison.of(shown)),
        "helped": _helped(comparison, comparison.of(shown)) if best else None,
    }
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    sections = [
        f'<figure><h2>{escape(captions[name])}</h2><div id="{name}" role="img"'
        f' aria-label="{escape(captions[name])}"></div></figure>'
        for name in drawn
    ]
    return document(
        title,
        [
            "<main>",
            f"<h1>{title}</h1>",
            f'<p class="lead">{_opening(best)}</p>',
            _table(comparison),
            f'<p class="note">{_legend(comparison)}</p>',
            *sections,
            "</main>",
        ],
        drawn,
    )


def best_of(comparison: Comparison) -> MethodResult | None:
    """The finished method with the best validation accuracy, plain aside."""
    done = [
        line for line in comparison.lines if line.validation is not None and line.method != "plain"
    ]
    return max(done, key=lambda line: line.validation or 0.0, default=None)


def _opening(best: MethodResult | None) -> str:
    if best is None or best.lift is None:
        return "No method with teachers is finished yet."
    words = (
        "helps"
        if best.lift.low > 0
        else "hurts"
        if best.lift.high < 0
        else "is too close to plain to call"
    )
    return (
        f"Best on validation is <b>{text(best.method)}</b>; on the test split it {words}:"
        f" {points(best.lift, sign=True)} points over plain, {len(best.seeds)}"
        f" seed{'s' if len(best.seeds) > 1 else ''}."
    )


def _legend(comparison: Comparison) -> str:
    best = max(comparison.teachers, key=lambda teacher: teacher.validation, default=None)
    gap = (
        f" Gap recovered is the share of the way from plain to {text(best.model)}, the best teacher"
        " on validation; no gap: that teacher is not clearly better than plain."
        if best
        else ""
    )
    return (
        "Accuracies are means over the finished seeds. In brackets are 95 % intervals, over test"
        " images and seeds. Lift over plain is how many more test images in a hundred the method"
        " gets right than plain training with the same seeds; an interval that holds 0 is too"
        f" close to call.{gap} A teacher's row is a linear head on its features, fitted on the"
        " training split."
    )


def _table(comparison: Comparison) -> str:
    head = "".join(
        f'<th scope="col"{"" if i else " class=model"}>{name}</th>'
        for i, name in enumerate(COLUMNS)
    )
    rows = []
    for line in comparison.lines:
        cells = [f'<td class="model">{text(line.method)}</td>'] + [
            f"<td>{figure}</td>" for figure in figures_of(line)
        ]
        if line.test is None:
            cells[2:] = [
                f'<td class="reason" colspan="4">{text(line.reason or "not trained yet", 300)}</td>'
            ]
        rows.append(cells)
    rows += [
        [
            f'<td class="model">teacher {text(teacher.model)} (its'
            f" head)</td><td></td><td>{100 * teacher.validation:.1f}</td>"
            f"<td>{100 * float(teacher.hits.mean()):.1f}</td><td></td><td></td>"
        ]
        for teacher in comparison.teachers
    ]
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _curves(comparison: Comparison) -> Figure | None:
    traces = []
    for place, line in enumerate(comparison.lines):
        runs = [
            [entry["validation_accuracy"] for entry in run.metrics()]
            for run in comparison.of(line.method).values()
        ]
        shortest = min((len(run) for run in runs), default=0)
        mean = [
            round(100 * float(np.mean([run[epoch] for run in runs])), 2)
            for epoch in range(shortest)
        ]
        style = {
            "color": PALETTE[place % len(PALETTE)],
            "width": 2,
            "dash": DASHES[place // len(PALETTE) % len(DASHES)],
        }
        if runs:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": text(line.method),
                    "x": list(range(1, shortest + 1)),
                    "y": mean,
                    "line": style,
                }
            )
    below = {"showlegend": True, "legend": {"orientation": "h", "y": -0.2}}
    return (
        {
            "data": traces,
            "layout": layout(480) | below | {"xaxis": axis("epoch"), "yaxis": axis("validation %")},
        }
        if traces
        else None
    )


def _confusion(comparison: Comparison, runs: Mapping[int, RunFolder]) -> Figure | None:
    if not runs:
        return None
    table = np.zeros((len(comparison.classes),) * 2)
    for one in (run.results()["test"] for run in runs.values()):
        np.add.at(table, (np.asarray(one["labels"]), np.asarray(one["predicted"])), 1)
    share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
    return _heatmap(
        share, comparison, [text(name, 30) for name in comparison.classes], "predicted", "true"
    )


def _helped(comparison: Comparison, runs: Mapping[int, RunFolder]) -> Figure | None:
    """Rows are teachers, columns classes; an image counts for a teacher whose head gets it
    right.
    """
    plain = comparison.of("plain")
    pairs = [(run.results(), plain[seed].results()) for seed, run in runs.items() if seed in plain]
    if not pairs or not comparison.teachers:
        return None
    labels = np.asarray(pairs[0][0]["test"]["labels"])
    lift = np.mean(
        [hits(mine, "test").astype(float) - hits(other, "test") for mine, other in pairs], axis=0
    )
    rows = [
        [
            100 * float((lift * teacher.hits)[labels == c].mean()) if (labels == c).any() else 0.0
            for c in range(len(comparison.classes))
        ]
        for teacher in comparison.teachers
    ]
    names = [text(teacher.model, 40) for teacher in comparison.teachers]
    return _heatmap(np.asarray(rows), comparison, names, "class", "", diverging=True)


def _heatmap(
    values: Any,
    comparison: Comparison,
    rows: list[str],
    across: str,
    down: str,
    *,
    diverging: bool = False,
) -> Figure:
    top = max(float(np.abs(values).max()), 1.0)
    trace = {
        "type": "heatmap",
        "z": np.round(values, 2).tolist(),
        "x": [text(name, 30) for name in comparison.classes],
        "y": rows,
        "zmin": -top if diverging else 0,
        "zmax": top,
        "colorscale": "RdBu" if diverging else "Blues",
        "reversescale": True,  # blue is much, or gained
        "colorbar": {"title": {"text": "points" if diverging else "%"}},
        "hovertemplate": "%{y}, %{x}: %{z:.1f}<extra></extra>",
    }
    axes = {"xaxis": axis(across), "yaxis": axis(down) | {"autorange": "reversed"}}
    return {"data": [trace], "layout": layout(160 + 26 * len(rows)) | axes}
