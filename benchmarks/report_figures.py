"""The figures of the benchmarks' page."""

from __future__ import annotations

import statistics
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
    lows = [record.value if record.low is None else record.low for record in shown]
    highs = [record.value if record.high is None else record.high for record in shown]
    values = [record.value for record in shown]
    ink = [colour("accent" if record.setting.get("default") else "muted") for record in shown]
    dots = go.Scatter(
        mode="markers",
        x=[round(value, 3) for value in values],
        y=labels((record.setting["score"] for record in shown), 60),
        marker={"color": ink, "size": 9},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        error_x={
            "type": "data",
            "symmetric": False,
            "color": colour("muted"),
            "thickness": 1.5,
            "array": _differences(highs, values),
            "arrayminus": _differences(values, lows),
        },
    )
    drawn = figure([dots], height=90 + _ROW_HEIGHT * len(shown), across="regret@1, points")
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
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    teachers = sorted({cell.teacher for cell in cells} - {NONE})
    accuracy = _mean_accuracies(cells)
    lifts = {teacher: [_lift(accuracy, task, teacher) for task in tasks] for teacher in teachers}
    order = sorted(teachers, key=lambda teacher: -_mean_of_known(lifts[teacher]))
    known = [abs(lift) for row in lifts.values() for lift in row if lift is not None]
    table = Cells(
        values=[lifts[teacher] for teacher in order],
        rows=labels(order, 60),
        columns=labels(tasks, 30),
        limit=max(known, default=1.0),
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

    lines: dict[str, list[BenchRecord]] = {}
    for record in records:
        if "regret" in record.name and isinstance(record.setting.get(across), int | float):
            lines.setdefault(str(record.setting.get("score", record.name)), []).append(record)
    traces: list[go.Scatter] = []
    for name, points in lines.items():
        if len(points) < 2:
            continue
        points.sort(key=lambda record: float(str(record.setting[across])))
        traces.append(
            go.Scatter(
                mode="lines+markers",
                name=label(name, 40),
                x=[record.setting[across] for record in points],
                y=[round(record.value, 3) for record in points],
                line={"color": PALETTE[len(traces) % len(PALETTE)], "width": 2},
            )
        )
    if not traces:
        return None
    drawn = figure(traces, height=360, across=across, down="regret, points")
    return drawn.update_layout(LEGEND_ABOVE)


def _differences(larger: Sequence[float], smaller: Sequence[float]) -> list[float]:
    return [round(a - b, 3) for a, b in zip(larger, smaller, strict=True)]


def _mean_accuracies(cells: Sequence[Cell]) -> dict[tuple[str, str], float]:
    """Accuracy in per cent by task and teacher, mean over seeds."""
    groups: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        groups.setdefault((cell.task, cell.teacher), []).append(100 * cell.accuracy)
    return {key: statistics.fmean(values) for key, values in groups.items()}


def _lift(accuracy: dict[tuple[str, str], float], task: str, teacher: str) -> float | None:
    student, control = accuracy.get((task, teacher)), accuracy.get((task, NONE))
    return None if student is None or control is None else round(student - control, 1)


def _mean_of_known(lifts: Sequence[float | None]) -> float:
    return statistics.fmean([lift for lift in lifts if lift is not None] or [-99.0])
