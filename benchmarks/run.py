"""Measure one thing: ``python -m benchmarks.run NAME``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.record import append
from zoo.terminal.command import run, validate_choice
from zoo.terminal.options import command_of

RECORDS = Path(__file__).parent / "records"

# name -> module with run(out: Path) -> list[BenchRecord], imported when it is asked for
BENCHMARKS = {
    "scoring": "benchmarks.speed.scoring",
    "coverage": "benchmarks.speed.coverage",
    "probing": "benchmarks.speed.probing",
    "catalogue": "benchmarks.speed.catalogue",
    "recall": "benchmarks.speed.recall",
    "external": "benchmarks.truth.external",
    "distillation": "benchmarks.students.distillation",
    "texts": "benchmarks.students.texts",
    "text_teachers": "benchmarks.students.text_teachers",
    "recommenders": "benchmarks.students.recommenders",
    "imbalance": "benchmarks.students.imbalance",
    "distill_step": "benchmarks.speed.distill_step",
    "cifar100": "benchmarks.students.cifar100",
    "truth": "benchmarks.truth.figures",
    "halving": "benchmarks.speed.halving",
    "duplicates": "benchmarks.speed.duplicates",
}


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The options of ``benchmarks.run``."""

    name: Annotated[str, typer.Argument(help=f"one of: {', '.join(BENCHMARKS)}")]
    out: Annotated[
        Path | None,
        typer.Option(help="folder that takes the records, NAME.jsonl (default: the package's)"),
    ] = None


def measure(options: BenchmarkOptions) -> None:
    """Measure one thing, print it, and keep the figures with versions, machine and date."""
    name = validate_choice("benchmark", options.name, BENCHMARKS)
    module = importlib.import_module(BENCHMARKS[name])
    out = options.out or RECORDS
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.jsonl"
    append(path, module.run(out))
    print(f"records in {path}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(BenchmarkOptions, measure), argv, name="benchmarks.run")


if __name__ == "__main__":
    raise SystemExit(main())
