"""The pictures of a run's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.methods.registry import METHODS
from distill.training.figures import sample_count
from selection.evidence import Floats
from selection.report.plots import (
    LEGEND_ABOVE,
    PALETTE,
    Cells,
    colour,
    figure,
    heatmap,
    labels,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from distill.training.figures import Figure

MOST_CLASSES = 40  # of a confusion matrix; of more, those of the largest confusions
_COUNTED = 8  # classes up to which each cell has its count
_DASHES = ("solid", "dash", "dashdot", "longdash")  # a dotted line is of training samples
_NAME_LENGTH = 24  # characters of a class


def method_lines(methods: Sequence[str]) -> list[dict[str, Any]]:
    """The line of each method: a method has one colour and one dash on every page.

    Where one method stands with several settings, ``transport:probe=0``, their dashes differ.
    """
    places = {name: place for place, name in enumerate(METHODS)}
    lines: list[dict[str, Any]] = []
    for method in methods:
        # best_single, a way to compare and no method of a run, comes behind the methods
        place_of_method = places.get(method.partition(":")[0], len(places))
        turn, place = divmod(place_of_method, len(PALETTE))
        line = {"color": PALETTE[place], "width": 2, "dash": _DASHES[turn]}
        while line in lines and turn + 1 < len(_DASHES):
            turn += 1
            line = line | {"dash": _DASHES[turn]}
        lines.append(line)
    return lines


def confusion_map(counts: Floats, classes: Sequence[str]) -> go.Figure:
    """``counts`` (C, C) in per cent of their rows: rows are true classes, columns predicted ones.

    Of few classes the cells also have their counts.
    """
    samples = counts.sum(axis=1, keepdims=True)  # (C, 1)
    shares = 100 * counts / np.maximum(samples, 1)
    names = labels(classes, _NAME_LENGTH)
    cells = Cells(
        values=np.round(shares, 2).tolist(),
        rows=names,
        columns=names,
        limit=max(float(shares.max()), 1.0),
        unit="%",
        hover="%{y}, %{x}: %{z:.1f} %",
    )
    drawn = heatmap(cells, across="predicted", down="true")
    if len(classes) <= _COUNTED:
        drawn.update_traces(text=counts.astype(int).tolist(), texttemplate="%{text}")
    return drawn


def most_confused(confusion: Sequence[Sequence[int]], most: int) -> list[int]:
    """The classes of the largest confusions, at most ``most``, in the task's order."""
    wrong = np.asarray(confusion).copy()  # (C, C)
    np.fill_diagonal(wrong, 0)
    chosen: list[int] = []
    for place in np.argsort(-wrong, axis=None, kind="stable").tolist():
        for label in divmod(place, len(wrong)):
            if label not in chosen and len(chosen) < most:
                chosen.append(label)
        if len(chosen) == most:
            break
    return sorted(chosen)


def calibration(bins: Sequence[Mapping[str, Any]], *, nouns: str = "samples") -> go.Figure:
    """The reliability diagram of the entry ``reliability`` of ``results.json``."""
    import plotly.graph_objects as go

    confidence = [100 * entry["confidence"] for entry in bins]
    right = [100 * entry["accuracy"] for entry in bins]
    counts = [sample_count(entry) for entry in bins]
    sizes = [6 + 18 * (count / max(counts)) ** 0.5 for count in counts]
    ideal = go.Scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        name="confidence as it should be",
        line={"color": colour("muted"), "dash": "dot", "width": 1},
        hoverinfo="skip",
    )
    answers = go.Scatter(
        x=confidence,
        y=right,
        mode="lines+markers",
        name="the student",
        marker={"color": colour("accent"), "size": sizes},
        line={"color": colour("accent"), "width": 1},
        customdata=counts,
        hovertemplate="said %{x:.0f} %, right %{y:.0f} % of %{customdata} "
        + nouns
        + "<extra></extra>",
    )
    drawn = figure(
        [ideal, answers],
        height=360,
        across="confidence %",
        down="right %",
    )
    drawn.update_xaxes(range=[-4, 104])
    drawn.update_yaxes(range=[-4, 104])
    drawn.update_layout(**LEGEND_ABOVE)
    drawn.update_layout(legend_itemsizing="constant")
    return drawn


def curves(
    student: Sequence[float | None],
    control: Sequence[float | None],
    training: Sequence[float | None] = (),
    *,
    figure_shown: Figure,
    method: str,
    nouns: str = "samples",
) -> go.Figure:
    """A figure by epoch: on validation of the student and of its control, and of the student on
    training samples where ``training`` is given.

    The lines have the colours of ``method``, by which the student was trained, and of plain.
    """
    import plotly.graph_objects as go

    lines = {
        "student": student,
        "plain control": control,
        f"student, training {nouns}": training,
    }
    of_student, plain = method_lines([method, "plain"])
    styles = (of_student, plain, of_student | {"dash": "dot"})
    traces = []
    for (label, values), style in zip(lines.items(), styles, strict=True):
        if any(value is not None for value in values):
            trace = go.Scatter(
                mode="lines+markers" if len(values) < 3 else "lines",
                name=label,
                x=list(range(1, len(values) + 1)),
                y=[None if value is None else figure_shown.rounded(value) for value in values],
                line=style,
            )
            traces.append(trace)
    drawn = figure(traces, height=400, across="epoch", down=figure_shown.with_unit)
    longest = max((len(trace.x) for trace in traces), default=1)
    drawn.update_xaxes(dtick=max(1, longest // 8))
    drawn.update_layout(**LEGEND_ABOVE)
    return drawn
