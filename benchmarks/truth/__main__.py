"""Fill the truth tables: ``python -m benchmarks.truth``; stop it when you like, it goes on where it
was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.truth.table import CELLS, PROTOCOLS, SEEDS, Bench, plan
from benchmarks.truth.targets import TARGETS
from zoo.errors import UserError
from zoo.home import home
from zoo.terminal.command import run, split_list, validate_choice

RECORDS = Path(__file__).parents[1] / "records"


def fill(
    *,
    tasks: Sequence[str] = (),
    teachers: Sequence[str] = (),
    seeds: Sequence[int] = SEEDS,
    protocols: Sequence[str] = PROTOCOLS,
    device: str = "cpu",
    folder: Path | None = None,
    out: Path = RECORDS,
    minutes: float = float("inf"),
    make_zoo: bool = False,
    sets: bool = True,
) -> int:
    """Make the cells that are missing, in the order of ``plan``, until ``minutes`` are over;
    returns how many were made.

    The scores of a task follow its cells, and with ``sets`` the committees. The time is looked at
    before each task; ``make_zoo`` first trains the teachers that are not packaged.
    """
    import torch
    from threadpoolctl import threadpool_limits

    import benchmarks.truth.committees as committees
    from benchmarks.truth.scores import SCORED, measure
    from benchmarks.truth.students import StudentRecipe
    from benchmarks.truth.teachers import TEACHERS, Answers, describe, entries, make

    start, folder = time.monotonic(), folder or home() / "truth"
    if device == "cpu":
        torch.set_num_threads(1)
    if make_zoo:
        make(folder, device=device)
    known = {entry.card.id: entry for entry in entries(folder)}
    found = [known[validate_choice("teacher", name, known)] for name in teachers] or list(
        known.values()
    )
    describe(out / TEACHERS, found)
    bench = Bench(folder, out / CELLS, StudentRecipe(), Answers(folder, device=device))
    made = 0
    for target, protocol, seed in plan(tasks or tuple(TARGETS), seeds, protocols):
        if time.monotonic() - start < 60 * minutes:
            made += bench.fill(target, found, protocol=protocol, seed=seed)
            if protocol == "pool":
                with threadpool_limits(1, "blas"):  # many small matrices
                    measure(out / SCORED, target, found, bench.answers, seed=seed)
                    made += committees.fill(bench, target, found, seed=seed) if sets else 0
    return made


def _numbers(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise UserError(
            f"--seeds {text!r}: expected whole numbers separated by commas, such as 0,1,2"
        )
    return [int(number) for number in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    def command(
        tasks: Annotated[list[str] | None, typer.Option(help="only these target tasks")] = None,
        teachers: Annotated[list[str] | None, typer.Option(help="only these teachers")] = None,
        seeds: Annotated[str, typer.Option(help="seeds, separated by commas")] = "0,1,2",
        protocols: Annotated[
            str, typer.Option(help="pool (unlabelled images too), labels, or both")
        ] = "pool,labels",
        device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
        folder: Annotated[
            Path | None, typer.Option(help="work folder (default: truth/ in the tool's home)")
        ] = None,
        out: Annotated[
            Path, typer.Option(help="folder that takes the table, truth_cells.jsonl")
        ] = RECORDS,
        minutes: Annotated[
            float, typer.Option(help="begin no further task after so many minutes")
        ] = float("inf"),
        sets: Annotated[bool, typer.Option(help="train the students of committees too")] = True,
        zoo: Annotated[
            bool, typer.Option(help="first train the teachers that are not packaged")
        ] = False,
    ) -> None:
        """Train one student for every teacher, task and seed, cell by cell; what is in the table
        already stays.
        """
        wanted = [validate_choice("task", name, TARGETS) for name in split_list(tasks)]
        kinds = [validate_choice("protocol", name, PROTOCOLS) for name in protocols.split(",")]
        made = fill(
            tasks=wanted,
            teachers=split_list(teachers),
            seeds=_numbers(seeds),
            protocols=kinds,
            device=device,
            folder=folder,
            out=out,
            minutes=minutes,
            make_zoo=zoo,
            sets=sets,
        )
        print(f"{made} cells made, in {out / CELLS}")

    return run(command, argv, name="benchmarks.truth")


if __name__ == "__main__":
    raise SystemExit(main())
