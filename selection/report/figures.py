"""The report's pictures as plotly figures: plain dicts, colours by the name of a CSS variable of
the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from selection.ranking import Row
from selection.report.bridge import Bridge
from selection.report.document import Figure, axis, colour, layout, text
from selection.report.table import size
from zoo.terminal.command import clean

_MOST_ROWS = 40
_ROW_HEIGHT = 46


def middle(text: str, limit: int) -> str:
    """``text`` shortened in its middle: the ends of model names tell them apart."""
    line = clean(text, 200)
    return (
        line if len(line) <= limit else f"{line[: limit // 2 - 1]}…{line[len(line) - limit // 2 :]}"
    )


def first(name: str) -> str:
    """The first of a name's synonyms: ImageNet's ``"tench, Tinca tinca"`` is ``"tench"`` where room
    is short.
    """
    return name.split(",")[0]


def intervals(rows: Sequence[Row], *, score: str) -> Figure:
    """Values with their intervals, best on top, and nearest neighbours beside; bands join what is
    too close to call.
    """
    shown = [row for row in rows if row.value is not None][:_MOST_ROWS]
    places = list(range(len(shown)))
    ink = [colour("accent" if row.group == 1 else "muted") for row in shown]
    values = [row.value or 0.0 for row in shown]
    known = [row.knn for row in shown if row.knn is not None] or [0.0, 1.0]
    margin = 0.08 * (max(known) - min(known)) + 0.01
    value = {
        "type": "scatter",
        "mode": "markers",
        "x": values,
        "y": places,
        "hoverinfo": "text",
        "text": [_hover(r) for r in shown],
        "marker": {"color": ink, "size": 10},
        "cliponaxis": False,
        "error_x": _bars(shown, values) | {"thickness": 2, "width": 5, "color": colour("muted")},
    }
    knn = {
        "type": "scatter",
        "mode": "markers",
        "x": [row.knn for row in shown],
        "y": places,
        "xaxis": "x2",
        "hoverinfo": "text",
        "text": [_hover(row) for row in shown],
        "marker": {"color": colour("second"), "size": 9, "symbol": "diamond"},
        "cliponaxis": False,
    }
    names = [
        {
            "text": f"<b>{place + 1}</b>  {text(middle(row.model, 40))}",
            "x": 0,
            "xref": "paper",
            "y": place,
            "yref": "y",
            "yshift": 14,
            "xanchor": "left",
            "showarrow": False,
            "align": "left",
            "font": {"size": 12, "color": colour("text")},
        }
        for place, row in enumerate(shown)
    ]
    frame = layout(_ROW_HEIGHT * len(shown) + 90) | {
        "xaxis": axis(text(score)) | {"domain": [0, 0.68], "nticks": 6},
        "xaxis2": axis("knn")
        | {
            "domain": [0.74, 1],
            "tickformat": ".0%",
            "nticks": 3,
            "tickangle": 0,
            "range": [min(known) - margin, max(known) + margin],
        },
        "yaxis": {
            "range": [len(shown) - 0.4, -0.75],
            "showgrid": False,
            "showticklabels": False,
            "zeroline": False,
            "fixedrange": True,
        },
        "annotations": names,
        "shapes": _bands(shown),
    }
    return {"data": [value, knn], "layout": frame}


def against_size(rows: Sequence[Row], *, score: str) -> Figure:
    """Value with its interval against the number of parameters (log); the numbers are places in the
    ranking.
    """
    shown = [
        (place, row)
        for place, row in enumerate(rows, 1)
        if row.value is not None and row.params_total
    ]
    values = [row.value or 0.0 for _, row in shown]
    points = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [row.params_total for _, row in shown],
        "y": values,
        "text": [str(place) if place <= 10 else "" for place, _ in shown],
        "textposition": "middle right",
        "textfont": {"color": colour("text"), "size": 12},
        "hoverinfo": "text",
        "hovertext": [_hover(row) for _, row in shown],
        "marker": {
            "color": [colour("accent" if row.group == 1 else "muted") for _, row in shown],
            "size": 10,
        },
        "error_y": _bars([row for _, row in shown], values)
        | {"thickness": 1, "width": 3, "color": colour("muted")},
    }
    frame = layout(380) | {
        "xaxis": axis("parameters")
        | {"type": "log"}
        | _size_ticks([row.params_total or 1 for _, row in shown]),
        "yaxis": axis(text(score)) | {"automargin": True},
    }
    return {"data": [points], "layout": frame}


def heatmap(bridge: Bridge) -> Figure:
    """The plan: rows are the teacher's classes (the last: all others), columns the task's; a column
    sums to 1.
    """
    names = [text(first(name), 24) for name in bridge.teacher_classes] + [
        "<i>all other classes</i>"
    ]
    cells = [[round(float(share), 4) for share in row] for row in [*bridge.shares, bridge.other]]
    narrow = len(bridge.classes) > 16
    hover = [
        [
            f"{theirs} → {text(mine, 40)}<br>{share:.3f}"
            for mine, share in zip(bridge.classes, row, strict=True)
        ]
        for theirs, row in zip(names, cells, strict=True)
    ]
    data = {
        "type": "heatmap",
        "z": cells,
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "hoverinfo": "text",
        "hovertext": hover,
        "text": [
            ["" if narrow or share < 0.05 else f"{share:.2f}" for share in row] for row in cells
        ],
        "texttemplate": "%{text}",
        "textfont": {"color": colour("text")},
        "showscale": False,
        "colorscale": [[0, colour("panel")], [1, colour("heat")]],
    }
    ticks = {
        "tickfont": {"size": 11, "color": colour("text")},
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
    }
    frame = layout(24 * len(names) + 110) | {
        "xaxis": ticks
        | {
            "tickvals": list(range(len(bridge.classes))),
            "ticktext": [text(n, 20) for n in bridge.classes],
            "side": "top",
            "tickangle": -45,
        },
        "yaxis": ticks
        | {"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed"},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    }
    return {"data": [data], "layout": frame}


def _size_ticks(sizes: Sequence[int]) -> Figure:
    """Ticks at 1, 2 and 5 times powers of ten, or at the powers alone where those would be many;
    plotly's own are digits.
    """
    powers = range(int(math.log10(min(sizes))) - 1, int(math.log10(max(sizes))) + 2)
    steps = (1, 2, 5) if max(sizes) < 100 * min(sizes) else (1,)
    values = [step * 10**power for power in powers if power >= 0 for step in steps]
    return {
        "tickvals": values,
        "ticktext": [size(value).replace(".0", "") for value in values],
        "tickangle": 0,
    }


def _bars(rows: Sequence[Row], values: Sequence[float]) -> Figure:
    above = [
        max(0.0, (row.high if row.high is not None else v) - v)
        for row, v in zip(rows, values, strict=True)
    ]
    below = [
        max(0.0, v - (row.low if row.low is not None else v))
        for row, v in zip(rows, values, strict=True)
    ]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}


def _bands(rows: Sequence[Row]) -> list[Figure]:
    groups: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(row.group or 0, []).append(place)
    return [
        {
            "type": "rect",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "yref": "y",
            "y0": places[0] - 0.62,
            "y1": places[-1] + 0.38,
            "fillcolor": colour("band"),
            "line": {"width": 0},
            "layer": "below",
        }
        for places in list(groups.values())[::2]
    ]


def _hover(row: Row) -> str:
    lines = [f"<b>{text(row.model, 60)}</b>", f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})"]
    lines.append("nearest neighbours " + ("unknown" if row.knn is None else f"{row.knn:.1%}"))
    lines.append(
        f"{size(row.params_total)} parameters, licence {text(row.license or 'unknown', 30)}"
    )
    return "<br>".join(lines)
