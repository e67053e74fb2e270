"""All that was measured on one page: ``python -m benchmarks.report [--out DIR]``."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.record import BenchRecord, machine, read, versions
from benchmarks.truth.table import CELLS, NONE, Cell, read_cells
from zoo.errors import UserError
from zoo.files import check_can_write_text, write_text
from zoo.terminal.command import run
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

RECORDS = Path(__file__).parent / "records"
MEASURES = ("regret@1", "part_regret@1", "denoised_regret@1", "regret@3", "weighted_tau", "ndcg@5")
# settings against which regret is drawn
_COSTS = ("probes", "images", "seconds", "forwards")
# files of records that benchmarks.run does not make
_COMMANDS = {"names": "python -m benchmarks.build.make_name_table"}
# records of truth.jsonl that the page shows in tables and figures of their own
_SHOWN_APART = ("score", "against", "stakes", "setting")


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """One file of records: how they are made, their curves (by id, with a title), and all of
    them.
    """

    name: str
    command: str
    curves: dict[str, str]
    records: Sequence[BenchRecord]


@dataclass(frozen=True, kw_only=True)
class TruthCounts:
    """How much of the truth table is filled; ``blank`` counts pairs of task and teacher without a
    student.
    """

    tasks: int
    teachers: int
    seeds: int
    students: int
    blank: int
    tasks_by_seed: dict[int, int]


def latest(records: Sequence[BenchRecord]) -> list[BenchRecord]:
    """The last record of each name and setting, in the order of the first; how busy the machine was
    is no setting.
    """
    last: dict[str, BenchRecord] = {}
    for record in records:
        setting = {
            key: value
            for key, value in record.setting.items()
            if isinstance(value, str | bool | int) and not key.startswith("load")
        }
        last[f"{record.name} {json.dumps(setting, sort_keys=True)}"] = record
    return list(last.values())


def page(folder: Path) -> str:
    """The page as text, from the ``*.jsonl`` records of ``folder``; see the template
    ``report.html.jinja``.
    """
    from selection.report.document import render

    records = {
        path.stem: latest(read(path))
        for path in sorted(folder.glob("*.jsonl"))
        if not path.stem.startswith("truth_")
    }
    truth = records.pop("truth", [])
    cells = read_cells(folder / CELLS)
    pool = [cell for cell in cells if cell.protocol == "pool" and not cell.rule]
    figures = _truth_figures(truth, pool)
    facts = _of_kind("setting", truth)
    further = [record for record in truth if _kind(record) not in _SHOWN_APART]
    values = {
        "facts": facts[-1].setting if facts else {},
        "score_heads": ["score", *(measure.replace("_", " ") for measure in MEASURES)],
        "scores": _scores(truth),
        "paired": _of_kind("against", truth),
        "counts": _counts(pool),
        "truth": _section("truth", further, figures),
        "sections": [_section(name, rows, figures) for name, rows in records.items()],
        "machine": machine(),
        "versions": versions(),
        "as_number": as_number,
        "describe": describe,
    }
    return render(Path(__file__).with_name("report.html.jinja"), values=values, figures=figures)


def as_number(value: float) -> str:
    """``value`` with three digits, and separators between thousands."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3g}"
    return f"{value:.1e}"


def describe(record: BenchRecord) -> str:
    """The settings of a record that are text or numbers, in one line."""
    parts = []
    for key, value in record.setting.items():
        if isinstance(value, float):
            parts.append(f"{key} {value:.4g}")
        elif isinstance(value, str | bool | int):
            parts.append(f"{key} {value}")
    return ", ".join(parts)


def _kind(record: BenchRecord) -> str:
    """``score`` of ``truth.score.knn.regret@1``."""
    return record.name.split(".")[1]


def _of_kind(kind: str, truth: Sequence[BenchRecord]) -> list[BenchRecord]:
    return [record for record in truth if _kind(record) == kind]


def _truth_figures(truth: Sequence[BenchRecord], cells: Sequence[Cell]) -> dict[str, go.Figure]:
    from benchmarks import report_figures

    figures: dict[str, go.Figure] = {}
    regrets = [
        record
        for record in _of_kind("score", truth)
        if record.name == f"truth.score.{record.setting['score']}.regret@1"
    ]
    if regrets:
        figures["regret"] = report_figures.regret(regrets)
    stakes = _of_kind("stakes", truth)
    if stakes:
        figures["stakes"] = report_figures.stakes(stakes)
    if any(cell.teacher != NONE for cell in cells):
        figures["table"] = report_figures.truth_table(cells)
    return figures


def _scores(truth: Sequence[BenchRecord]) -> dict[str, list[BenchRecord | None]]:
    """By score its records in the order of ``MEASURES``; the score with the least regret first."""
    by_name = {record.name: record for record in truth}
    names = {str(record.setting["score"]) for record in _of_kind("score", truth)}

    def regret(name: str) -> float:
        record = by_name.get(f"truth.score.{name}.{MEASURES[0]}")
        return math.inf if record is None else record.value

    return {
        name: [by_name.get(f"truth.score.{name}.{measure}") for measure in MEASURES]
        for name in sorted(names, key=lambda name: (regret(name), name))
    }


def _counts(cells: Sequence[Cell]) -> TruthCounts | None:
    pairs = {(cell.task, cell.teacher) for cell in cells if cell.teacher != NONE}
    if not pairs:
        return None
    tasks = {cell.task for cell in cells}
    teachers = {teacher for _, teacher in pairs}
    begun = {(cell.seed, cell.task) for cell in cells}
    seeds = Counter(seed for seed, _ in begun)
    return TruthCounts(
        tasks=len(tasks),
        teachers=len(teachers),
        seeds=len(seeds),
        students=len(cells),
        blank=len(tasks) * len(teachers) - len(pairs),
        tasks_by_seed=dict(sorted(seeds.items())),
    )


def _section(
    name: str, records: Sequence[BenchRecord], figures: dict[str, go.Figure]
) -> ReportSection:
    """The section of one file of records, whose curves are added to ``figures``."""
    from benchmarks import report_figures

    curves: dict[str, str] = {}
    for across in _COSTS:
        drawn = report_figures.curves(records, across)
        if drawn is None:
            continue
        curve = f"curve-{name}-{across}"
        curves[curve] = f"Regret against {across}"
        figures[curve] = drawn
    command = _COMMANDS.get(name, f"python -m benchmarks.run {name}")
    return ReportSection(name=name, command=command, curves=curves, records=records)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of ``benchmarks.report``."""

    out: Annotated[Path, typer.Option(help="folder that takes the page, benchmarks.html")] = Path()
    records: Annotated[
        Path | None, typer.Option(help="folder of the records, *.jsonl (default: the package's)")
    ] = None


def draw(options: ReportOptions) -> None:
    """Draw one page, benchmarks.html, of all that the committed records say."""
    records = options.records or RECORDS
    if not any(records.glob("*.jsonl")):
        raise UserError(
            f"no records (*.jsonl) in {records}; make some: python -m benchmarks.run truth"
        )
    path = options.out / "benchmarks.html"
    check_can_write_text(path)
    write_text(path, page(records))
    print(f"page in {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(ReportOptions, draw), argv, name="benchmarks.report")


if __name__ == "__main__":
    raise SystemExit(main())
