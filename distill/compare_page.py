"""The HTML page of a comparison: one file, everything inline, every name escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import selection
from distill.accuracy import points
from distill.compare import Cell, Comparison, Line
from distill.experiment import hits
from distill.run import RunFolder
from zoo.command import clean

Figure = dict[str, Any]
DASHES = ("solid", "dash", "dot")  # one after another, where there are more methods than colours
PALETTE = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#a463f2", "#97bbf5", "#9c6b4e", "#3ca951", "#ff8ab7", "#9498a0")


def page(comparison: Comparison) -> str:
    """The page as text: table, curves, confusion matrix, and which teacher helped which class."""
    from plotly.offline import get_plotlyjs

    shared = Path(selection.__path__[0])  # style and drawing are those of the ranking's page
    figures = _figures(comparison)
    scripts = [get_plotlyjs().replace("</script", "<\\/script"), (shared / "page.js").read_text(encoding="utf-8")]
    allowed = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"
    title = f"Students of {_text(comparison.name)}"
    data = json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
    sections = [_section(name, escape(caption)) for name, caption in _captions(comparison).items() if name in figures]
    return "\n".join([
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">', f"<title>{title}</title>",
        '<link rel="icon" href="data:,">', f"<style>{(shared / 'page.css').read_text(encoding='utf-8')}</style>",
        "</head>", "<body>", "<main>", f"<h1>{title}</h1>", f'<p class="lead">{_opening(comparison)}</p>',
        _table(comparison), f'<p class="note">{_legend(comparison)}</p>', *sections, "</main>",
        f'<script type="application/json" id="figures">{data}</script>', *(f"<script>{s}</script>" for s in scripts),
        "</body>", "</html>", ""])


def best_of(comparison: Comparison) -> Line | None:
    """The finished method with the best validation accuracy, plain aside."""
    done = [line for line in comparison.lines if line.validation is not None and line.method != "plain"]
    return max(done, key=lambda line: line.validation or 0.0, default=None)


def _captions(comparison: Comparison) -> dict[str, str]:
    best = best_of(comparison)
    return {"curves": "Validation accuracy, mean over seeds",
            "confusion": f"Confusion on the test split: {best.method if best else 'plain'}",
            "helped": "Which teacher helped which class: points of accuracy that the best student gained over plain on the "
                      "class's test images that the teacher's head gets right"}


def _section(name: str, caption: str) -> str:
    return f'<figure><h2>{caption}</h2><div id="{name}" role="img" aria-label="{caption}"></div></figure>'


def _opening(comparison: Comparison) -> str:
    best = best_of(comparison)
    if best is None or best.lift is None:
        return "No method with teachers is finished yet."
    words = "helps" if best.lift.low > 0 else "hurts" if best.lift.high < 0 else "is too close to plain to call"
    return (f"Best on validation is <b>{_text(best.method)}</b>; on the test split it {words}: {points(best.lift, sign=True)} "
            f"points over plain, {len(best.seeds)} seed{'s' if len(best.seeds) > 1 else ''}.")


def _legend(comparison: Comparison) -> str:
    best = max(comparison.teachers, key=lambda teacher: teacher.validation, default=None)
    gap = (f" Gap recovered is the share of the way from plain to {_text(best.model)}, the best teacher on validation; – where "
           "that teacher is not clearly better than plain." if best else "")
    return ("Accuracies are means over the finished seeds. In brackets are 95 % intervals, over test images and seeds. Lift over "
            "plain is how many more test images in a hundred the method gets right than plain training with the same seeds; an "
            f"interval that holds 0 is too close to call.{gap} A teacher's row is a linear head on its features, fitted on the "
            "training split.")


def _table(comparison: Comparison) -> str:
    names = ("seeds", "validation %", "test %", "lift over plain, points", "gap recovered %")
    head = '<tr><th scope="col" class="model">method</th>' + "".join(f'<th scope="col">{n}</th>' for n in names) + "</tr>"
    rows = []
    for line in comparison.lines:
        first = f'<td class="model">{_text(line.method)}</td><td>{len(line.seeds)} of {len(line.seeds) + len(line.missing)}</td>'
        if line.test is None:
            rows.append(f'<tr>{first}<td class="reason" colspan="4">{_text(line.error or "not trained yet", 300)}</td></tr>')
            continue
        lift = points(line.lift, sign=True) if line.lift else "–"
        closed = points(line.recovered) if line.recovered else "–"
        rows.append(f"<tr>{first}<td>{100 * (line.validation or 0):.1f}</td><td>{100 * line.test:.1f}</td><td>{lift}</td>"
                    f"<td>{closed}</td></tr>")
    for teacher in comparison.teachers:
        test = 100 * float(teacher.hits.mean())
        rows.append(f'<tr><td class="model">teacher {_text(teacher.model)} (its head)</td><td></td>'
                    f"<td>{100 * teacher.validation:.1f}</td><td>{test:.1f}</td><td></td><td></td></tr>")
    table = f'<table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll" tabindex="0" role="region" aria-label="table">{table}</div>'


def _figures(comparison: Comparison) -> dict[str, Figure]:
    figures = {}
    if traces := _curves(comparison):
        below = {"showlegend": True, "legend": {"orientation": "h", "y": -0.2}}
        figures["curves"] = {"data": traces, "layout": _layout(480) | below | {"xaxis": _axis("epoch"),
                                                                              "yaxis": _axis("validation %")}}
    best = best_of(comparison)
    cells = comparison.of(best.method if best else "plain")
    if cells:
        figures["confusion"] = _confusion(comparison, cells)
    plain = {cell.seed: cell for cell in comparison.of("plain")}
    pairs = [(cell, plain[cell.seed]) for cell in cells if best and cell.seed in plain]
    if pairs and comparison.teachers:
        figures["helped"] = _helped(comparison, pairs)
    return figures


def _curves(comparison: Comparison) -> list[Figure]:
    traces = []
    for place, line in enumerate(comparison.lines):
        lines = [RunFolder(cell.folder).metrics() for cell in comparison.of(line.method)]
        runs = [[entry["validation_accuracy"] for entry in entries] for entries in lines]
        if not runs:
            continue
        shortest = min(len(r) for r in runs)
        mean = 100 * np.mean([r[:shortest] for r in runs], axis=0)
        traces.append({"type": "scatter", "mode": "lines", "name": _text(line.method), "x": list(range(1, shortest + 1)),
                       "y": [round(float(v), 2) for v in mean], "line": {"color": PALETTE[place % len(PALETTE)], "width": 2,
                                                                          "dash": DASHES[place // len(PALETTE) % len(DASHES)]}})
    return traces


def _confusion(comparison: Comparison, cells: list[Cell]) -> Figure:
    count = len(comparison.classes)
    table = np.zeros((count, count))
    for cell in cells:
        assert cell.results is not None
        one = cell.results["test"]
        np.add.at(table, (np.asarray(one["labels"]), np.asarray(one["predicted"])), 1)
    share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
    return _heatmap(share, comparison, [_text(c, 30) for c in comparison.classes], "predicted", "true")


def _helped(comparison: Comparison, pairs: list[tuple[Cell, Cell]]) -> Figure:
    """Rows are teachers, columns classes; an image counts for a teacher whose head gets it right."""
    assert pairs[0][0].results is not None
    labels = np.asarray(pairs[0][0].results["test"]["labels"])
    lift = np.mean([hits(a.results or {}, "test").astype(float) - hits(b.results or {}, "test") for a, b in pairs], axis=0)
    rows = [[100 * float((lift * teacher.hits)[labels == c].mean()) if (labels == c).any() else 0.0
             for c in range(len(comparison.classes))] for teacher in comparison.teachers]
    names = [_text(teacher.model, 40) for teacher in comparison.teachers]
    return _heatmap(np.asarray(rows), comparison, names, "class", "", diverging=True)


def _heatmap(values: Any, comparison: Comparison, rows: list[str], across: str, down: str, *, diverging: bool = False) -> Figure:
    columns = [_text(name, 30) for name in comparison.classes]
    top = max(float(np.abs(values).max()), 1.0)
    trace = {"type": "heatmap", "z": np.round(values, 2).tolist(), "x": columns, "y": rows, "zmin": -top if diverging else 0,
             "zmax": top, "colorscale": "RdBu" if diverging else "Blues", "reversescale": True,  # blue is much, or gained
             "colorbar": {"title": {"text": "points" if diverging else "%"}},
             "hovertemplate": "%{y}, %{x}: %{z:.1f}<extra></extra>"}
    layout = _layout(160 + 26 * len(rows)) | {"xaxis": _axis(across), "yaxis": _axis(down) | {"autorange": "reversed"}}
    return {"data": [trace], "layout": layout}


def _axis(title: str) -> Figure:
    return {"title": {"text": title}, "gridcolor": "\x01line", "zeroline": False, "automargin": True, "color": "\x01text"}


def _layout(height: int) -> Figure:
    clear = "rgba(0,0,0,0)"
    return {"height": height, "paper_bgcolor": clear, "plot_bgcolor": clear, "showlegend": False,
            "font": {"family": "system-ui, sans-serif", "color": "\x01text"}, "margin": {"l": 12, "r": 12, "t": 8, "b": 50}}


def _text(text: str, limit: int = 80) -> str:
    return escape(clean(text, limit))
