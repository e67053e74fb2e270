"""Web pages that stand alone: style, scripts and figures inline, nothing else may load or run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zoo.terminal.command import printable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHARED_TEMPLATES = Path(__file__).with_name("templates")


def render(template: Path, *, values: Mapping[str, object], figures: Mapping[str, Figure]) -> str:
    """The page as text, from a Jinja2 template that extends ``base.html.jinja``.

    Every value is escaped. A figure is drawn in the element that has its name as id. Only the
    page's own scripts may run: its content security policy lists their hashes.
    """
    scripts = [_plotly_source(), (SHARED_TEMPLATES / "page.js").read_text(encoding="utf-8")]
    page = _environment(template.parent).get_template(template.name)
    return page.render(
        values,
        figures={name: figure.to_plotly_json() for name, figure in figures.items()},
        scripts={_hash(script): script for script in scripts},
    )


def _environment(folder: Path) -> Environment:
    """Templates of ``folder`` and the shared ones; a name that no value has is an error."""
    environment = Environment(
        loader=FileSystemLoader([folder, SHARED_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["printable"] = printable
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def _plotly_source() -> str:
    """The source of plotly.js, which may stand in a script element."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _hash(script: str) -> str:
    """The hash of a script as a content security policy writes it."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
