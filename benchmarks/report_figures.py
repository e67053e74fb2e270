"""The figures of the benchmarks' page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.record import BenchRecord
from benchmarks.truth.table import NONE, Cell
from selection.report.plots import (
    LEGEND_ABOVE,
    PALETTE,
    Cells,
    colour,
    figure,
    heatmap,
    label,
    labels,
)

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

# what a student of a task reached, by the teacher: name in the record, colour, plotly's symbol
_STAKES = {
    "without": ("muted", "line-ns-open"),
    "worst": ("bad", "circle-open"),
    "median": ("muted", "circle"),
    "best": ("accent", "circle"),
    "chosen": ("second", "diamond-open"),
}
_ROW_HEIGHT = 24  # pixels


def regret(records: Sequence[BenchRecord]) -> go.Figure:
    """Each score's regret@1 with its interval, the smallest on top; the default score stands
    out.
    """
    import plotly.graph_objects as go

    shown = sorted(records, key=lambda record: -record.value)
    names = [record.setting["score"] for record in shown]
    inks = ["accent" if record.setting.get("default") else "muted" for record in shown]
    dots = go.Scatter(
        mode="markers",
        x=[round(record.value, 3) for record in shown],
        y=labels(names, 60),
        marker={"color": [colour(ink) for ink in inks], "size": 9},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        error_x={
            "type": "data",
            "symmetric": False,
            "color": colour("muted"),
            "thickness": 1.5,
            "array": [_distance(record.value, record.high) for record in shown],
            "arrayminus": [_distance(record.low, record.value) for record in shown],
        },
    )
    height = 90 + _ROW_HEIGHT * len(shown)
    drawn = figure([dots], height=height, across="regret@1, points")
    return drawn.update_yaxes(type="category")


def stakes(records: Sequence[BenchRecord]) -> go.Figure:
    """Per task the accuracy of the student without a teacher, with the worst, the median, the best
    and the chosen teacher.
    """
    import plotly.graph_objects as go

    tasks = labels((record.setting["task"] for record in records), 40)
    traces = [
        go.Scatter(
            mode="markers",
            name=name,
            x=[record.setting.get(name) for record in records],
            y=tasks,
            marker={
                "color": colour(ink),
                "symbol": symbol,
                "size": 11,
                "line": {"width": 2, "color": colour(ink)},
            },
            hovertemplate=f"%{{y}}, {name}: %{{x:.1f}}<extra></extra>",
        )
        for name, (ink, symbol) in _STAKES.items()
    ]
    height = 130 + _ROW_HEIGHT * len(tasks)
    drawn = figure(traces, height=height, across="accuracy of the student, %")
    drawn.update_yaxes(type="category", autorange="reversed")
    return drawn.update_layout(LEGEND_ABOVE)


def truth_table(cells: Sequence[Cell]) -> go.Figure:
    """What each teacher adds to the student without a teacher, in points, means over seeds; the
    most useful teacher on top.
    """
    lifts = _lifts(cells)
    largest = lifts.abs().max().max()
    table = Cells(
        values=lifts.astype(object).where(lifts.notna(), None).to_numpy().tolist(),
        rows=labels(lifts.index, 60),
        columns=labels(lifts.columns, 30),
        limit=float(largest) if largest > 0 else 1.0,  # not a number where nothing can be compared
        signed=True,
        unit="points",
        hover="%{y}<br>%{x}: %{z:+.1f}",
    )
    return heatmap(table)


def curves(records: Sequence[BenchRecord], across: str) -> go.Figure | None:
    """Regret against the setting ``across``, one line a score; ``None`` where no score has two
    points.
    """
    import plotly.graph_objects as go

    lines: dict[str, dict[float, float]] = {}
    for record in records:
        cost = record.setting.get(across)
        if "regret" in record.name and isinstance(cost, int | float):
            score = str(record.setting.get("score", record.name))
            lines.setdefault(score, {})[cost] = round(record.value, 3)
    traces: list[go.Scatter] = []
    for score, points in lines.items():
        if len(points) < 2:
            continue
        ink = PALETTE[len(traces) % len(PALETTE)]
        costs = sorted(points)
        traces.append(
            go.Scatter(
                mode="lines+markers",
                name=label(score, 40),
                x=costs,
                y=[points[cost] for cost in costs],
                line={"color": ink, "width": 2},
            )
        )
    if not traces:
        return None
    drawn = figure(traces, height=360, across=across, down="regret, points")
    return drawn.update_layout(LEGEND_ABOVE)


def _distance(low: float | None, high: float | None) -> float:
    """The length of one side of an interval; 0 where it has no end."""
    if low is None or high is None:
        return 0.0
    return round(high - low, 3)


def _lifts(cells: Sequence[Cell]) -> pd.DataFrame:
    """Points over the student without a teacher by teacher and task, NaN where one was not
    trained; the largest mean first.
    """
    import pandas as pd

    students = pd.DataFrame(
        {
            "task": [cell.task for cell in cells],
            "teacher": [cell.teacher for cell in cells],
            "points": [100 * cell.accuracy for cell in cells],
        }
    )
    means = students.groupby(["teacher", "task"])["points"].mean().unstack()
    means = means[students["task"].unique()]
    control = means.reindex([NONE]).iloc[0]
    lifts = (means.drop(index=NONE, errors="ignore") - control).round(1)
    order = lifts.mean(axis=1).sort_values(ascending=False, kind="stable")
    return lifts.loc[order.index]
