"""The README.md of a run: what the exported student is, who taught it, and what may be done with
it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.terminal.command import printable

# Licences under which a student trained from the model's answers can be passed on with ordinary
# care (naming, notices).
FREE = (
    "apache-2.0",
    "mit",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd",
    "bsd-2",
    "bsd-3",
    "isc",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-3.0",
    "cc-by-2.0",
    "unlicense",
    "zlib",
    "wtfpl",
    "ms-pl",
    "afl-3.0",
    "artistic-2.0",
    "bsl-1.0",
    "cdla-permissive-2.0",
)


def licence_warning(model: str, licence: str | None) -> str | None:
    """A sentence where a teacher's licence is unknown or may restrict what is made from the model,
    else None.
    """
    name = printable(model, 80)
    given = (licence or "").strip().lower()
    if given in FREE:
        return None
    if not given or given in ("unknown", "other"):
        return f"the licence of {name} is unknown: ask its authors before passing the student on"
    parts, why = given.split("-"), "may restrict what is made from the model"
    if "nc" in parts:
        why = "does not allow commercial use"
    elif "nd" in parts:
        why = "does not allow derived works"
    elif "sa" in parts or given.startswith(("gpl", "agpl", "lgpl")):
        why = "asks that derived works carry the same licence"
    return (
        f"the licence of {name} ({printable(licence, 60)}) {why}: read it before passing the"
        " student on"
    )


def model_card(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """The text of README.md from a run's ``config.json`` and ``results.json``. Names of strangers
    are made harmless.
    """
    teachers: Sequence[Mapping[str, Any]] = (
        config["teachers"] if config["method"] != "plain" else []
    )
    size = config["plan"]["student"]["size"]
    front = {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": ["timm", "distillation"],
    }
    lines = [
        "---",
        *(f"{name}: {json.dumps(value)}" for name, value in front.items()),
        "---",
        "",
        (
            f"# {_text(config['plan']['student']['architecture'])} for"
            f" {_text(config['options']['task'])}"
        ),
        "",
        (
            f"A student of {len(config['classes'])} classes for images of {size} x {size} pixels,"
            f" trained with `--method {_text(config['method'])}`, seed {config['seed']}. It opens"
            " in plain timm:"
        ),
        "",
        "```python",
        'model = timm.create_model("local-dir:student", pretrained=True).eval()',
        "```",
        "",
        f"Classes: {', '.join(_text(name) for name in config['classes'])}",
        "",
        "## Accuracy",
        "",
        "| split | images | accuracy % | 95 % interval |",
        "|---|---|---|---|",
        *_rows(results),
        "",
    ]
    if results.get("verdict"):
        lines += [_text(results["verdict"]), ""]
    lines += ["## Teachers", ""]
    if teachers:
        lines += ["| teacher | revision | licence |", "|---|---|---|"]
        lines += [
            f"| {_text(t['id'])} | {_text(str(t.get('sha') or 'unknown')[:12])} |"
            f" {_text(t.get('license') or 'unknown')} |"
            for t in teachers
        ]
    else:
        lines += ["None: trained on labels alone."]
    warnings = [text for t in teachers if (text := licence_warning(str(t["id"]), t.get("license")))]
    lines += [
        "",
        *(f"> **Warning:** {_text(text)}" for text in warnings),
        *([""] if warnings else []),
    ]
    data = config["task"]
    lines += [
        "## How it was made",
        "",
        (
            f"Data digest `{data['digest'][:16]}`, {data['labelled']} labelled and"
            f" {data['unlabelled']} unlabelled training images. Versions:"
            f" {_text(json.dumps(config['versions']))}."
        ),
        "",
    ]
    return "\n".join(lines)


def _rows(results: Mapping[str, Any]) -> list[str]:
    rows = []
    for split in ("validation", "test"):
        if split in results:
            figures = results[split]
            value, low, high = (100 * figures[name] for name in ("accuracy", "low", "high"))
            rows.append(
                f"| {split} | {figures['images']} | {value:.1f} | {low:.1f} to {high:.1f} |"
            )
    return rows


def _text(value: object) -> str:
    """One line of Markdown without markup: no link, no table cell, no tag can come from a name."""
    text = printable(value, 400)
    for char in "&<>[]`|":
        text = text.replace(char, f"&#{ord(char)};") if char != "&" else text.replace(char, "&amp;")
    return text.replace("*", "\\*").replace("_", "\\_")
