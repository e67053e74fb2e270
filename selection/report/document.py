"""A web page that stands alone: style, scripts and figures inline, nothing else may load or run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from zoo.terminal.command import clean

Figure = dict[str, Any]


def document(title: str, body: Sequence[str], figures: Mapping[str, Figure]) -> str:
    """The page as text; ``title`` and ``body`` are HTML. A figure is drawn in the element that has
    its name as id.

    Only the page's own scripts may run (their hashes are in its policy), and no name in ``figures``
    can end the element that holds them.
    """
    from plotly.offline import get_plotlyjs

    style, drawing = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("page.css", "page.js")
    )
    scripts = [get_plotlyjs().replace("</script", "<\\/script"), drawing]
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'"
        for s in scripts
    )
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title>",
            '<link rel="icon" href="data:,">',
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            *body,
            f'<script type="application/json" id="figures">{embedded(figures)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body>",
            "</html>",
            "",
        ]
    )


def embedded(figures: Mapping[str, Figure]) -> str:
    """JSON that cannot end the script element it stands in."""
    found = json.dumps(figures, separators=(",", ":"), allow_nan=False)
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def text(name: str, limit: int = 80) -> str:
    """A stranger's name as harmless HTML, also for plotly, which reads tags and entities in every
    string.
    """
    return escape(clean(name, limit))


def colour(name: str) -> str:
    """A colour that the page's script looks up in its stylesheet; no label can spell it, control
    characters are cleaned.
    """
    return f"\x01{name}"


def axis(title: str) -> Figure:
    """An axis in the page's colours; it cannot be dragged, so that a page scrolls under a
    finger.
    """
    return {
        "title": {"text": title, "font": {"size": 13}, "standoff": 8},
        "gridcolor": colour("line"),
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "tickfont": {"color": colour("muted")},
        "color": colour("text"),
    }


def layout(height: int) -> Figure:
    """A plot of so many pixels without a background of its own."""
    clear = "rgba(0,0,0,0)"
    return {
        "height": height,
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "showlegend": False,
        "dragmode": False,
        "font": {"family": "system-ui, sans-serif", "color": colour("text")},
        "margin": {"l": 12, "r": 12, "t": 8, "b": 50},
        "hoverlabel": {
            "align": "left",
            "bgcolor": colour("panel"),
            "bordercolor": colour("line"),
            "font": {"color": colour("text")},
        },
    }
