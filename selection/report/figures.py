"""The figures of a ranking's page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from selection.ranking import Row
from selection.report.class_plan import ClassPlan
from selection.report.plots import Cells, colour, figure, heatmap, label, labels
from zoo.terminal.command import printable
from zoo.terminal.table import short_count

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_ROWS = 40  # models in the figure of intervals
_ROW_HEIGHT = 46  # pixels
_MOST_NUMBERED = 10  # places that the figure of sizes names
_MOST_WITH_NUMBERS = 16  # columns of a plan that leave room for numbers in its cells
_LEAST_NUMBER = 0.05


def shorten(name: str, limit: int) -> str:
    """``name`` without its middle: the ends of model names tell them apart."""
    line = printable(name, 200)
    if len(line) <= limit:
        return line
    return f"{line[: limit // 2 - 1]}…{line[len(line) - limit // 2 :]}"


def first_synonym(name: str) -> str:
    """ImageNet's ``"tench, Tinca tinca"`` is ``"tench"`` where room is short."""
    return name.split(",")[0]


def intervals(rows: Sequence[Row], *, score: str) -> go.Figure:
    """Scores with their intervals, best on top, and nearest neighbours at their right; bands join
    what is too close to call.
    """
    shown = [row for row in rows if row.value is not None][:MOST_ROWS]
    traces = [_score_dots(shown), _neighbour_dots(shown)]
    height = _ROW_HEIGHT * len(shown) + 90
    drawn = figure(traces, height=height, across=label(score))
    drawn.update_layout(
        xaxis={"domain": [0, 0.68], "nticks": 6},
        xaxis2={
            "title": {"text": "knn"},
            "domain": [0.74, 1],
            "tickformat": ".0%",
            "nticks": 3,
            "tickangle": 0,
            "range": _neighbour_range(shown),
        },
        yaxis={
            "range": [len(shown) - 0.4, -0.75],
            "showgrid": False,
            "showticklabels": False,
        },
        annotations=[_name_above(place, row) for place, row in enumerate(shown)],
        shapes=_bands(shown),
    )
    return drawn


def _score_dots(rows: Sequence[Row]) -> go.Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        mode="markers",
        x=[row.value for row in rows],
        y=list(range(len(rows))),
        hoverinfo="text",
        text=[_hover(row) for row in rows],
        marker={"color": _ink(rows), "size": 10},
        error_x=_error_bars(rows) | {"thickness": 2, "width": 5},
        cliponaxis=False,
    )


def _neighbour_dots(rows: Sequence[Row]) -> go.Scatter:
    import plotly.graph_objects as go

    return go.Scatter(
        mode="markers",
        x=[row.knn for row in rows],
        y=list(range(len(rows))),
        xaxis="x2",
        hoverinfo="text",
        text=[_hover(row) for row in rows],
        marker={"color": colour("second"), "size": 9, "symbol": "diamond"},
        cliponaxis=False,
    )


def _neighbour_range(rows: Sequence[Row]) -> list[float]:
    known = [row.knn for row in rows if row.knn is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    margin = 0.08 * (high - low) + 0.01
    return [low - margin, high + margin]


def _name_above(place: int, row: Row) -> go.layout.Annotation:
    import plotly.graph_objects as go

    return go.layout.Annotation(
        text=f"<b>{place + 1}</b>  {label(shorten(row.model, 40))}",
        x=0,
        xref="paper",
        xanchor="left",
        y=place,
        yref="y",
        yshift=16,
        showarrow=False,
        align="left",
        font={"size": 12},
    )


def _bands(rows: Sequence[Row]) -> list[go.layout.Shape]:
    """Every second group of models on a band."""
    import plotly.graph_objects as go

    groups: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.group or 0, []).append(place)
    return [
        go.layout.Shape(
            type="rect",
            xref="paper",
            x0=0,
            x1=1,
            yref="y",
            y0=places[0] - 0.62,
            y1=places[-1] + 0.38,
            fillcolor=colour("band"),
            line={"width": 0},
            layer="below",
        )
        for places in list(groups.values())[::2]
    ]


def against_size(rows: Sequence[Row], *, score: str) -> go.Figure:
    """Score with its interval against the number of parameters (log); the numbers are places in the
    ranking.
    """
    import plotly.graph_objects as go

    places = {
        place: row
        for place, row in enumerate(rows, 1)
        if row.value is not None and row.params_total
    }
    shown = list(places.values())
    sizes = [row.params_total or 1 for row in shown]
    points = go.Scatter(
        mode="markers+text",
        x=sizes,
        y=[row.value for row in shown],
        text=[str(place) if place <= _MOST_NUMBERED else "" for place in places],
        textposition="middle right",
        textfont={"size": 12},
        hoverinfo="text",
        hovertext=[_hover(row) for row in shown],
        marker={"color": _ink(shown), "size": 10},
        error_y=_error_bars(shown) | {"thickness": 1, "width": 3},
    )
    drawn = figure(
        [points],
        height=380,
        across="parameters",
        down=label(score),
    )
    ticks = _size_ticks(min(sizes), max(sizes))
    drawn.update_xaxes(
        type="log",
        tickangle=0,
        tickvals=list(ticks),
        ticktext=list(ticks.values()),
    )
    return drawn


def _size_ticks(least: int, most: int) -> dict[int, str]:
    """Ticks at 1, 2 and 5 times powers of ten, or at the powers alone where those would be many;
    plotly's ticks are single digits.
    """
    first_power = max(int(math.log10(least)) - 1, 0)
    last_power = int(math.log10(most)) + 1
    steps = (1, 2, 5) if most < 100 * least else (1,)
    ticks = {}
    for power in range(first_power, last_power + 1):
        for step in steps:
            value = step * 10**power
            ticks[value] = short_count(value)
    return ticks


def plan_heatmap(plan: ClassPlan) -> go.Figure:
    """The plan: rows are the teacher's classes (the last: all others), columns the task's; a column
    sums to 1.
    """
    names = labels(map(first_synonym, plan.teacher_classes), 24)
    shares = np.vstack([plan.shares, plan.other_shares])
    cells = Cells(
        values=shares.round(4).tolist(),
        rows=[*names, "<i>all other classes</i>"],
        columns=labels(plan.task_classes, 20),
        limit=1.0,
        hover="%{y} → %{x}<br>%{z:.3f}",
    )
    drawn = heatmap(cells)
    drawn.update_traces(
        showscale=False,
        colorscale=[[0, colour("panel")], [1, colour("heat")]],  # light enough for text on it
        textfont={"color": colour("text")},
    )
    if len(cells.columns) <= _MOST_WITH_NUMBERS:
        drawn.update_traces(text=_cell_texts(cells), texttemplate="%{text}")
    names_stand_out = {"tickfont": {"color": colour("text")}}
    drawn.update_xaxes(names_stand_out, side="top", tickangle=-45)
    drawn.update_yaxes(names_stand_out)
    margin = {"l": 8, "r": 8, "t": 8, "b": 8}
    drawn.update_layout(height=drawn.layout.height - 50, margin=margin)
    return drawn


def _cell_texts(cells: Cells) -> list[list[str]]:
    return [
        ["" if (share or 0.0) < _LEAST_NUMBER else f"{share:.2f}" for share in row]
        for row in cells.values
    ]


def _ink(rows: Sequence[Row]) -> list[str]:
    """The models of the first group stand out."""
    return [colour("accent" if row.group == 1 else "muted") for row in rows]


def _error_bars(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [_distance(row.value, row.high) for row in rows],
        "arrayminus": [_distance(row.low, row.value) for row in rows],
        "color": colour("muted"),
    }


def _distance(low: float | None, high: float | None) -> float:
    if low is None or high is None:
        return 0.0
    return max(0.0, high - low)


def _hover(row: Row) -> str:
    knn = "unknown" if row.knn is None else f"{row.knn:.1%}"
    lines = [
        f"<b>{label(row.model, 60)}</b>",
        f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})",
        f"nearest neighbours {knn}",
        f"{short_count(row.params_total)} parameters,"
        f" licence {label(row.license or 'unknown', 30)}",
    ]
    return "<br>".join(lines)
