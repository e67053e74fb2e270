"""All that was measured on one page: ``python -m benchmarks.report [--out DIR]``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.record import BenchRecord, machine, read, versions
from benchmarks.truth.table import CELLS, NONE, Cell, read_cells
from selection.report.document import Figure, axis, document, layout, text
from zoo.errors import UserError
from zoo.files import write_text
from zoo.terminal.command import run

RECORDS = Path(__file__).parent / "records"
PALETTE = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#a463f2", "#9c6b4e", "#3ca951", "#9498a0")
MEASURED = ("regret@1", "part_regret@1", "denoised_regret@1", "regret@3", "weighted_tau", "ndcg@5")
LEGEND: Figure = {
    "showlegend": True,
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
}


def latest(records: Sequence[BenchRecord]) -> list[BenchRecord]:
    """The last record of each name and setting, in the order of the first; how busy the machine was
    is no setting.
    """
    found: dict[str, BenchRecord] = {}
    for record in records:
        setting = {
            key: value
            for key, value in record.setting.items()
            if _plain(value) and not key.startswith("load")
        }
        names = {
            key: value for key, value in setting.items() if isinstance(value, str | bool | int)
        }
        found[f"{record.name} {json.dumps(names, sort_keys=True)}"] = record
    return list(found.values())


def page(folder: Path) -> str:
    """The page as text, from the ``*.jsonl`` records of ``folder``: everything inline, every name
    escaped.
    """
    records = {
        path.stem: latest(read(path))
        for path in sorted(folder.glob("*.jsonl"))
        if not path.stem.startswith("truth_")
    }
    cells = read_cells(folder / CELLS)
    figures: dict[str, Figure] = {}
    sections = [_truth(records.pop("truth", []), cells, figures)]
    sections += [_others(name, found, figures) for name, found in records.items()]
    title = "teacher-zoo: is it true, and is it fast?"
    return document(
        title, ["<main>", f"<h1>{title}</h1>", *sections, _made_by(), "</main>"], figures
    )


def _plain(value: object) -> bool:
    return isinstance(value, str | bool | int | float)


def _text(name: object, limit: int = 80) -> str:
    return text(str(name), limit)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """An HTML table of cells that are HTML already; the first ``words`` columns are text, the
    others figures.
    """
    kind = [" class=model" if i < words else "" for i in range(len(names))]
    head = "".join(f'<th scope="col"{k}>{name}</th>' for k, name in zip(kind, names, strict=True))
    cells = (
        "".join(f"<td{k}>{cell}</td>" for k, cell in zip(kind, row, strict=True)) for row in rows
    )
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return (
        '<div class="scroll" tabindex="0" role="region"'
        f' aria-label="table"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(value: float) -> str:
    if value == 0 or 0.01 <= abs(value) < 10_000:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.1e}"


def _figure(figures: dict[str, Figure], name: str, caption: str, figure: Figure) -> str:
    figures[name] = figure
    return (
        f'<figure><h3>{caption}</h3><div id="{name}" role="img"'
        f' aria-label="{caption}"></div></figure>'
    )


def _layout(height: int, across: str, down: str) -> Figure:
    return layout(height) | {"xaxis": axis(across), "yaxis": axis(down)}


def _truth(
    records: Sequence[BenchRecord], cells: Sequence[Cell], figures: dict[str, Figure]
) -> str:
    by_name = {record.name: record for record in records}
    parts = [
        "<h2>Is it true?</h2>",
        (
            "<p>For every teacher and task a small student was trained from that one teacher, and"
            " its accuracy on images that no student saw is the truth. A score is judged by the"
            " teacher that it would have put first, on groups of tasks that had no part in choosing"
            " it.</p>"
        ),
    ]
    if "truth.setting" in by_name:
        facts = by_name["truth.setting"].setting
        parts.append(
            "<p>"
            + "; ".join(f"{_text(key)}: {_text(value, 300)}" for key, value in facts.items())
            + ".</p>"
        )
    parts += [
        _scores(by_name, figures),
        _paired(records),
        _stakes(records, figures),
        _heat(cells, figures),
    ]
    rest = [
        r for r in records if r.name.split(".")[1] not in ("score", "against", "stakes", "setting")
    ]
    parts += [_curves("truth", rest, figures), _rows(rest)]
    return "\n".join(part for part in parts if part)


def _scores(by_name: Mapping[str, BenchRecord], figures: dict[str, Figure]) -> str:
    names = list(
        dict.fromkeys(
            r.setting["score"] for r in by_name.values() if r.name.startswith("truth.score.")
        )
    )
    rows = []
    for name in names:
        found = [by_name.get(f"truth.score.{name}.{measure}") for measure in MEASURED]
        rows.append(
            (
                found[0].value if found[0] else 1e9,
                [_text(name, 120), *(_bar(record) for record in found)],
            )
        )
    if not rows:
        return "<p>No table of scores yet: run <code>python -m benchmarks.run truth</code>.</p>"
    shown = [
        by_name[f"truth.score.{name}.regret@1"]
        for name in names
        if f"truth.score.{name}.regret@1" in by_name
    ]
    shown.sort(key=lambda record: -record.value)
    ink = ["\x01accent" if record.setting.get("default") else "\x01muted" for record in shown]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": [round(r.value, 3) for r in shown],
        "marker": {"color": ink, "size": 9},
        "y": [_text(r.setting["score"], 60) for r in shown],
        "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "color": "\x01muted",
            "thickness": 1.5,
            "array": [round((r.high or r.value) - r.value, 3) for r in shown],
            "arrayminus": [
                round(r.value - (r.low if r.low is not None else r.value), 3) for r in shown
            ],
        },
    }
    drawn = _figure(
        figures,
        "regret",
        "Accuracy lost by trusting the score's first choice, points (95 % intervals)",
        {"data": [dots], "layout": _layout(90 + 24 * len(shown), "regret@1, points", "")},
    )
    return drawn + _table(
        ["score", *(name.replace("_", " ") for name in MEASURED)], [row for _, row in sorted(rows)]
    )


def _bar(record: BenchRecord | None) -> str:
    if record is None:
        return "–"
    if record.low is None or record.high is None:
        return f"{record.value:.2f}"
    return f"{record.value:.2f} <small>({record.low:.2f} to {record.high:.2f})</small>"


def _paired(records: Sequence[BenchRecord]) -> str:
    found = [record for record in records if record.name.startswith("truth.against.")]
    rows = [
        [
            _text(r.setting["first"], 120),
            _text(r.setting["second"], 120),
            _text(r.setting.get("zoo", "")),
            _bar(r),
            _text(r.setting.get("below", "")),
        ]
        for r in found
    ]
    note = (
        "<h3>The first choice of one score against that of another</h3><p>Points of accuracy,"
        " paired by task, seed and image; all three resampled.</p>"
    )
    names = ["score", "against", "chosen from", "points gained", "share of resamples at or below 0"]
    return note + _table(names, rows, words=2) if rows else ""


def _stakes(records: Sequence[BenchRecord], figures: dict[str, Figure]) -> str:
    found = [record for record in records if record.name.startswith("truth.stakes.")]
    if not found:
        return ""
    marks = (
        ("without", "muted", "line-ns-open"),
        ("worst", "bad", "circle-open"),
        ("median", "muted", "circle"),
        ("best", "accent", "circle"),
        ("chosen", "second", "diamond-open"),
    )
    tasks = [_text(record.setting["task"], 40) for record in found]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [record.setting.get(name) for record in found],
            "y": tasks,
            "marker": {"color": f"\x01{ink}", "symbol": symbol, "size": 11, "line": {"width": 2}},
            "hovertemplate": f"%{{y}}, {name}: %{{x:.1f}}<extra></extra>",
        }
        for name, ink, symbol in marks
    ]
    layout = _layout(130 + 24 * len(found), "accuracy of the student, %", "") | LEGEND
    layout["yaxis"]["autorange"] = "reversed"
    return _figure(
        figures,
        "stakes",
        "How much the choice of the teacher matters, by task",
        {"data": data, "layout": layout},
    )


def _heat(cells: Sequence[Cell], figures: dict[str, Figure]) -> str:
    """The truth table of the pool protocol, points over the student without a teacher, means over
    seeds; and what is missing.
    """
    mine = [cell for cell in cells if cell.protocol == "pool" and not cell.rule]
    tasks = list(dict.fromkeys(cell.task for cell in mine))
    teachers = sorted({cell.teacher for cell in mine} - {NONE})
    if not teachers:
        return ""
    mean = {
        (t, m): statistics.fmean(found)
        for t in tasks
        for m in (*teachers, NONE)
        if (found := [100 * cell.accuracy for cell in mine if cell.task == t and cell.teacher == m])
    }
    lift = [
        [
            round(mean[t, m] - mean[t, NONE], 1) if {(t, m), (t, NONE)} <= mean.keys() else None
            for t in tasks
        ]
        for m in teachers
    ]
    order = sorted(
        range(len(teachers)),
        key=lambda i: statistics.fmean([v for v in lift[i] if v is not None] or [-99]),
    )
    top = max((abs(v) for row in lift for v in row if v is not None), default=1.0)
    trace = {
        "type": "heatmap",
        "z": [lift[i] for i in order],
        "x": [_text(t, 30) for t in tasks],
        "y": [_text(teachers[i], 60) for i in order],
        "zmin": -top,
        "zmax": top,
        "colorscale": "RdBu",
        "reversescale": True,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y}<br>%{x}: %{z:+.1f}<extra></extra>",
        "hoverongaps": False,
    }
    seeds = sorted({cell.seed for cell in mine})
    once = len({(cell.task, cell.teacher) for cell in mine if cell.teacher != NONE})
    gaps = len(tasks) * len(teachers) - once
    note = (
        f"<p class=note>{len(tasks)} tasks, {len(teachers)} teachers, {len(seeds)}"
        f" seed{'s' if len(seeds) > 1 else ''}; {len(mine)} students in all. {gaps} of"
        f" {len(tasks) * len(teachers)} pairs are blank: the teacher was trained on images of the"
        " task's classes, or the cell is not measured yet. " + _seeds(mine, seeds) + "</p>"
    )
    drawn = _figure(
        figures,
        "table",
        "What each teacher adds to the student, points over the student without a teacher",
        {"data": [trace], "layout": _layout(170 + 20 * len(teachers), "", "")},
    )
    return drawn + note


def _seeds(cells: Sequence[Cell], seeds: Sequence[int]) -> str:
    counts = {seed: len({cell.task for cell in cells if cell.seed == seed}) for seed in seeds}
    return "Tasks by seed: " + ", ".join(f"{seed}: {count}" for seed, count in counts.items()) + "."


def _others(name: str, records: Sequence[BenchRecord], figures: dict[str, Figure]) -> str:
    commands = {"names": "python -m benchmarks.build.make_name_table"}
    how = commands.get(name, f"python -m benchmarks.run {name}")
    parts = [
        f"<h2>{_text(name)}</h2>",
        f"<p class=note>Again: <code>{_text(how)}</code></p>",
        _curves(name, records, figures),
        _rows(records),
    ]
    return "\n".join(part for part in parts if part)


def _curves(name: str, records: Sequence[BenchRecord], figures: dict[str, Figure]) -> str:
    """Regret against what it cost: of records in points whose setting has ``probes``, ``images`` or
    ``seconds``.
    """
    parts = []
    for across in ("probes", "images", "seconds", "forwards"):
        lines: dict[str, list[BenchRecord]] = {}
        for record in records:
            if "regret" in record.name and isinstance(record.setting.get(across), int | float):
                lines.setdefault(str(record.setting.get("score", record.name)), []).append(record)
        lines = {
            key: sorted(found, key=lambda r: float(str(r.setting[across])))
            for key, found in lines.items()
            if len(found) > 1
        }
        if not lines:
            continue
        data = [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": _text(key, 40),
                "y": [round(r.value, 3) for r in found],
                "x": [r.setting[across] for r in found],
                "line": {"color": PALETTE[i % len(PALETTE)], "width": 2},
            }
            for i, (key, found) in enumerate(lines.items())
        ]
        figure = {"data": data, "layout": _layout(360, across, "regret, points") | LEGEND}
        parts.append(
            _figure(
                figures, f"curve-{_text(name, 20)}-{across}", f"Regret against {across}", figure
            )
        )
    return "".join(parts)


def _rows(records: Sequence[BenchRecord]) -> str:
    rows = []
    for record in records:
        setting = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in record.setting.items()
            if _plain(value)
        )
        error = (
            ""
            if record.low is None or record.high is None
            else f"{_number(record.low)} to {_number(record.high)}"
        )
        rows.append(
            [
                _text(record.name, 80),
                f"{_number(record.value)} {_text(record.unit, 20)}",
                f'<span title="{_text(record.spread, 120)}">{error}</span>',
                (
                    f"<details><summary>{_text(record.date[:10], 10)}</summary>{_text(setting, 400)}</details>"  # noqa: E501
                ),
            ]
        )
    return _table(["figure", "value", "from, to", "when, and on what"], rows) if rows else ""


def _made_by() -> str:
    where = ", ".join(f"{key} {_text(value)}" for key, value in machine().items())
    with_ = ", ".join(f"{key} {_text(value)}" for key, value in versions().items())
    return (
        "<h2>How to reproduce</h2><p>Each section names its command; it adds records with"
        " versions, machine and date to <code>benchmarks/records</code>, and <code>python -m"
        " benchmarks.report</code> draws this page from them. The truth table goes on where it was"
        f" stopped.</p><footer>This page was drawn on {where}; {with_}. Every record carries those"
        " it was measured on.</footer>"
    )


def main(argv: Sequence[str] | None = None) -> int:
    def command(
        out: Annotated[
            Path, typer.Option(help="folder that takes the page, benchmarks.html")
        ] = Path("."),
        records: Annotated[Path, typer.Option(help="folder of the records, *.jsonl")] = RECORDS,
    ) -> None:
        """Draw one page, benchmarks.html, of all that the committed records say."""
        if not any(records.glob("*.jsonl")):
            raise UserError(
                f"no records (*.jsonl) in {records}; make some: python -m benchmarks.run truth"
            )
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "benchmarks.html", page(records))
        print(f"page in {out / 'benchmarks.html'}")

    return run(command, argv, name="benchmarks.report")


if __name__ == "__main__":
    raise SystemExit(main())
