"""Do the teachers help where samples are texts? Every method on five sets with 25 labels a class.

``python -m benchmarks.students.texts --minutes 60`` trains what fits into the time, the most
telling cells first, and goes on at the next call; ``python -m benchmarks.run texts`` trains all.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks.record import BenchRecord, append
from benchmarks.students.text_cells import TextBlock, blocks, cells, source_run
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    from distill.comparison import Comparison
    from distill.training.method_result import MethodResult
    from selection.scores.interval import Interval


def run(out: Path) -> list[BenchRecord]:
    """Every cell to its end, hours on two cores; the records of all of them."""
    for wave in cells():
        train(wave)
    return records()


def train(block: TextBlock, *, budget: float | None = None) -> Comparison:
    """Train what is missing of ``block`` within ``budget`` seconds, and compare what is there."""
    from distill.comparison import compare

    return compare(source_run(block), block.methods, seeds=block.seeds, offline=True, budget=budget)


def records() -> list[BenchRecord]:
    """The records of what has been trained, a line a method; trains nothing but a first student."""
    found: list[BenchRecord] = []
    missing: dict[str, object] = {}
    for block in blocks():
        of_block = records_of(block, train(block, budget=0)) if block.begun else []
        seeds = {record.setting["method"]: len(record.seeds) for record in of_block}
        left = {method: block.seeds - seeds.get(method, 0) for method in block.methods}
        if any(left.values()):
            missing[block.name] = left
        found += of_block
    count = sum(sum(left.values()) for left in missing.values() if isinstance(left, dict))
    unit = "students not trained yet"
    return [*found, BenchRecord(name="texts.missing", value=count, unit=unit, setting=missing)]


def records_of(block: TextBlock, comparison: Comparison) -> list[BenchRecord]:
    """A record a method: test accuracy over its seeds, with macro-F1, gap and lift in the
    setting.
    """
    teachers = {t.model: 100 * t.test["accuracy"] for t in comparison.teachers}
    found = []
    for line in comparison.lines:
        if not line.finished:
            continue
        figures = _figures(comparison, line)
        setting = {
            "task": block.task,
            "pool": block.pool,
            "student": block.student,
            "method": line.method,
            "macro_f1": figures.macro_f1,
            "plain": figures.plain,
            "recovered": _percent(line.recovered),
            "lift": _percent(line.lift),
            "teachers": teachers,
            "validation": 100 * line.validation["accuracy"],
            "steps": figures.steps,
            "missing_seeds": list(line.missing),
        }
        found.append(
            BenchRecord(
                name=f"texts.{block.name}.{line.method}",
                value=figures.accuracy[0],
                low=figures.accuracy[1],
                high=figures.accuracy[2],
                unit="% of test texts",
                spread="95 % bootstrap over seeds and test texts",
                setting=setting,
                seeds=line.seeds,
            )
        )
    return found


@dataclass(frozen=True)
class _Figures:
    """Of the finished runs of a method, in per cent, means over seeds; ``accuracy`` with its
    interval.
    """

    accuracy: tuple[float, float, float]
    macro_f1: float
    plain: float
    steps: int


def _figures(comparison: Comparison, line: MethodResult) -> _Figures:
    from distill.run import hits
    from selection.scores.interval import around, resampled_means

    runs = comparison.of(line.method)
    results = [run.results() for run in runs.values()]
    of_seeds = np.asarray([hits(result, "test") for result in results], dtype=float)
    interval = around(float(of_seeds.mean()), resampled_means(of_seeds))
    plain = [run.results()["test"]["accuracy"] for run in comparison.of("plain").values()]
    return _Figures(
        accuracy=(100 * interval.value, 100 * interval.low, 100 * interval.high),
        macro_f1=100 * float(np.mean([macro_f1(result) for result in results])),
        plain=100 * float(np.mean(plain)),
        steps=next(iter(runs.values())).metrics()[-1]["step"],
    )


def macro_f1(results: Any) -> float:
    """scikit-learn's macro F1 of the test predictions of a ``results.json``."""
    from sklearn.metrics import f1_score

    test = results["test"]
    return float(f1_score(test["labels"], test["predicted"], average="macro"))


def _percent(interval: Interval | None) -> list[float] | None:
    if interval is None:
        return None
    return [100 * interval.value, 100 * interval.low, 100 * interval.high]


def table(found: Sequence[BenchRecord]) -> str:
    """The records as lines of text: accuracy, macro-F1, gap recovered, seeds."""
    lines = [f"{'cell':<44}{'accuracy':>20}{'F1':>7}{'gap recovered':>24}  seeds"]
    for record in found:
        if "recovered" not in record.setting:
            lines.append(f"{record.name}: {record.value:.0f} {record.unit}")
            continue
        gap = record.setting["recovered"]
        shown = "{:.0f} % ({:.0f} to {:.0f})".format(*gap) if isinstance(gap, list) else "-"
        accuracy = f"{record.value:.1f} ({record.low:.1f} to {record.high:.1f})"
        lines.append(
            f"{record.name.removeprefix('texts.'):<44}{accuracy:>20}"
            f"{record.setting['macro_f1']:>7.1f}{shown:>24}  {len(record.seeds)}"
        )
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class TextsOptions:
    """The options of ``benchmarks.students.texts``."""

    minutes: Annotated[float, typer.Option(min=0, help="begin no cell that would end later")]
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1
    only: Annotated[str, typer.Option(help="only cells whose name holds this text")] = ""
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None


def measure_within_time(options: TextsOptions) -> None:
    """Train as many cells as fit into the time; the next call goes on."""
    import torch

    torch.set_num_threads(options.threads)
    end = time.monotonic() + 60 * options.minutes
    for block in cells():
        left = end - time.monotonic()
        if options.only in block.name and left > 0:
            train(block, budget=left)
    found = records()
    print(table(found))
    if options.out is not None:
        append(options.out, found)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(TextsOptions, measure_within_time)
    return run_command(command, argv, name="benchmarks.students.texts")


if __name__ == "__main__":
    raise SystemExit(main())
