"""Measure one thing: ``python -m benchmarks.run NAME``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.record import append
from zoo.terminal.command import run, validate_choice

RECORDS = Path(__file__).parent / "records"

BENCHMARKS: dict[
    str, str
] = {  # name -> module with run(out: Path) -> list[BenchRecord], imported when asked for
    "scoring": "benchmarks.speed.scoring",
    "coverage": "benchmarks.speed.coverage",
    "probing": "benchmarks.speed.probing",
    "catalogue": "benchmarks.speed.catalogue",
    "recall": "benchmarks.speed.recall",
    "external": "benchmarks.truth.external",
    "distillation": "benchmarks.students.distillation",
    "distill_step": "benchmarks.speed.distill_step",
    "cifar100": "benchmarks.students.cifar100",
    "truth": "benchmarks.truth.figures",
    "halving": "benchmarks.speed.halving",
}


def measure(name: str, out: Path = RECORDS) -> Path:
    """Run one benchmark and add its records to ``out/NAME.jsonl``; return that file."""
    module = importlib.import_module(BENCHMARKS[validate_choice("benchmark", name, BENCHMARKS)])
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.jsonl"
    append(path, module.run(out))
    return path


def main(argv: Sequence[str] | None = None) -> int:
    def command(
        name: Annotated[str, typer.Argument(help=f"one of: {', '.join(BENCHMARKS)}")],
        out: Annotated[
            Path, typer.Option(help="folder that takes the records, NAME.jsonl")
        ] = RECORDS,
    ) -> None:
        """Measure one thing, print it, and keep the figures as records with versions, machine and
        date.
        """
        print(f"records in {measure(name, out)}")

    return run(command, argv, name="benchmarks.run")


if __name__ == "__main__":
    raise SystemExit(main())
