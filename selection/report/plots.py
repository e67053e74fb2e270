"""The look of every figure: plotly objects in the colours of the page's stylesheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from zoo.terminal.command import printable

if TYPE_CHECKING:
    import plotly.graph_objects as go

# of methods or scores, in the order in which they are drawn
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
LEGEND_ABOVE = {
    "showlegend": True,
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
}
_CLEAR = "rgba(0,0,0,0)"
_ROW_HEIGHT = 24  # pixels of one row of a heat map
_MOST_LEVEL = 12  # columns of a heat map whose names need not stand upright


def label(name: object, limit: int = 80) -> str:
    """A stranger's name as harmless text: plotly reads tags and entities in every string."""
    return escape(printable(name, limit))


def labels(names: Iterable[object], limit: int = 80) -> list[str]:
    """The same of many names, each different: plotly draws equal categories as one."""
    unique: list[str] = []
    for name in names:
        text = label(name, limit)
        while text in unique:
            text += "\u200b"  # has no width
        unique.append(text)
    return unique


def colour(name: str) -> str:
    """A colour of the stylesheet, which the page's script looks up, light or dark."""
    return f"var(--{name})"


def figure(
    traces: Sequence[Any],
    *,
    height: int,
    across: str = "",
    down: str = "",
) -> go.Figure:
    """A figure of ``height`` pixels in the page's style; ``across`` and ``down`` title its axes."""
    import plotly.graph_objects as go

    drawn = go.Figure(list(traces), layout=go.Layout(template=_style(), height=height))
    if across:
        drawn.update_layout(xaxis_title_text=across)
    if down:
        drawn.update_layout(yaxis_title_text=down)
    return drawn


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A table of numbers to draw as a heat map, ``values`` by ``rows`` (from the top) and
    ``columns``, which are escaped already.

    Colours run from 0 to ``limit``, or from -``limit`` to ``limit`` if ``signed``; ``hover`` is a
    plotly template of ``%{x}``, ``%{y}`` and ``%{z}``. A value may be ``None``: no cell.
    """

    values: Sequence[Sequence[float | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    limit: float
    signed: bool = False
    unit: str = ""
    hover: str


def heatmap(cells: Cells, *, across: str = "", down: str = "") -> go.Figure:
    """``cells`` as a heat map with every row and column named."""
    import plotly.graph_objects as go

    middle, high = colour("panel"), colour("gain")
    scale = [[0, colour("loss")], [0.5, middle], [1, high]]
    trace = go.Heatmap(
        z=cells.values,
        x=cells.columns,
        y=cells.rows,
        zmin=-cells.limit if cells.signed else 0,
        zmax=cells.limit,
        xgap=1,
        ygap=1,
        colorscale=scale if cells.signed else [[0, middle], [1, high]],
        colorbar={"title": {"text": cells.unit}, "thickness": 12, "outlinewidth": 0},
        hovertemplate=f"{cells.hover}<extra></extra>",
        hoverongaps=False,
    )
    height = _ROW_HEIGHT * len(cells.rows) + 160
    drawn = figure(
        [trace],
        height=height,
        across=across,
        down=down,
    )
    ticks = {"type": "category", "showgrid": False, "tickfont": {"size": 11}}
    drawn.update_xaxes(**ticks, tickvals=cells.columns)
    if len(cells.columns) > _MOST_LEVEL:
        drawn.update_xaxes(tickangle=90)
    drawn.update_yaxes(**ticks, tickvals=cells.rows, autorange="reversed")
    return drawn


def _style() -> go.layout.Template:
    """No background of its own; axes cannot be dragged, so that a page scrolls under a finger."""
    import plotly.graph_objects as go

    axis = {
        "title": {"font": {"size": 13}, "standoff": 8},
        "gridcolor": colour("line"),
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "tickfont": {"color": colour("muted")},
        "color": colour("text"),
    }
    hover = {
        "align": "left",
        "bgcolor": colour("panel"),
        "bordercolor": colour("line"),
        "font": {"color": colour("text")},
    }
    layout = go.Layout(
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        showlegend=False,
        dragmode=False,
        font={"family": "system-ui, sans-serif", "color": colour("text")},
        margin={"l": 12, "r": 12, "t": 8, "b": 50},
        hoverlabel=hover,
        xaxis=axis,
        yaxis=axis,
    )
    return go.layout.Template(layout=layout)
