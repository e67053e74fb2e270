"""Fill the truth tables: ``python -m benchmarks.truth``; stop it when you like, it goes on where it
was.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.truth.table import CELLS, PROTOCOLS, SEEDS, TableFiller, filling_order
from benchmarks.truth.targets import TARGETS
from zoo.errors import UserError
from zoo.home import truth_folder
from zoo.terminal.command import run, validate_choice
from zoo.terminal.options import command_of
from zoo.terminal.progress import Progress

if TYPE_CHECKING:
    from benchmarks.truth.teachers import TableTeacher

RECORDS = Path(__file__).parents[1] / "records"


def _numbers(text: str) -> str:
    """``text`` if it is numbers separated by commas."""
    if not all(part.isdecimal() for part in text.split(",")):
        raise UserError(f"{text!r}: expected whole numbers separated by commas, such as 0,1,2")
    return text


@dataclass(frozen=True, kw_only=True)
class FillOptions:
    """The options of ``benchmarks.truth``."""

    tasks: Annotated[tuple[str, ...], typer.Option(help="only these target tasks")] = ()
    teachers: Annotated[tuple[str, ...], typer.Option(help="only these teachers")] = ()
    seeds: Annotated[
        str, typer.Option(parser=_numbers, help="seeds, separated by commas (default: 0,1,2)")
    ] = ",".join(map(str, SEEDS))
    protocols: Annotated[
        tuple[str, ...], typer.Option(help="pool (unlabelled images too), labels, or both")
    ] = PROTOCOLS
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu"
    folder: Annotated[
        Path | None, typer.Option(help="work folder (default: truth/ in the tool's home)")
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(help="folder that takes the tables, truth_*.jsonl (default: the package's)"),
    ] = None
    minutes: Annotated[float, typer.Option(help="begin no further task after so many minutes")] = (
        float("inf")
    )
    sets: Annotated[bool, typer.Option(help="train the students of committees too")] = True
    zoo: Annotated[bool, typer.Option(help="first train the teachers that are not packaged")] = (
        False
    )

    def __post_init__(self) -> None:
        for name in self.tasks:
            validate_choice("task", name, TARGETS)
        for name in self.protocols:
            validate_choice("protocol", name, PROTOCOLS)


def fill(options: FillOptions) -> None:
    """Train one student for every teacher, task and seed, cell by cell; what is in the table
    already stays.
    """
    import torch
    from threadpoolctl import threadpool_limits

    from benchmarks.truth import committees
    from benchmarks.truth.scores import SCORED, measure_scores
    from benchmarks.truth.students import StudentRecipe
    from benchmarks.truth.teachers import TEACHERS, TargetOutputs, add_facts, make

    end = time.monotonic() + 60 * options.minutes
    folder, out = options.folder or truth_folder(), options.out or RECORDS
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.zoo:
        make(folder, device=options.device)
    teachers = _teachers(folder, options.teachers)
    add_facts(out / TEACHERS, teachers)
    outputs = TargetOutputs(folder, device=options.device)
    filler = TableFiller(folder, out / CELLS, StudentRecipe(), outputs)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    steps = filling_order(options.tasks or tuple(TARGETS), seeds, options.protocols)
    made = 0
    with Progress.default().over("truth tables", unit="tasks", total=len(steps)) as meter:
        for target, protocol, seed in steps:
            if time.monotonic() >= end:
                break
            made += filler.fill(target, teachers, protocol=protocol, seed=seed)
            if protocol == "pool":
                with threadpool_limits(1, "blas"):  # many small matrices
                    measure_scores(out / SCORED, target, teachers, outputs, seed=seed)
                    if options.sets:
                        made += committees.fill(filler, target, teachers, seed=seed)
            meter.advance()
    print(f"{made} cells made, in {out / CELLS}")


def _teachers(folder: Path, names: Sequence[str]) -> list[TableTeacher]:
    """The teachers of these names, or all that there are."""
    from benchmarks.truth.teachers import available_teachers

    known = {teacher.card.id: teacher for teacher in available_teachers(folder)}
    return [known[validate_choice("teacher", name, known)] for name in names or known]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(FillOptions, fill), argv, name="benchmarks.truth")


if __name__ == "__main__":
    raise SystemExit(main())
