"""Is it true? How good a student becomes after each teacher, for many teachers and tasks: what scores are held to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.record import BenchRecord


def run(out: Path) -> list[BenchRecord]:
    """Fill what is missing of the tables (hours on a CPU; stop it when you like), then their figures."""
    from benchmarks.truth.__main__ import fill
    from zoo.home import home

    fill(out=out, make_zoo=True)
    return figures(out, home() / "truth")


def figures(out: Path, home: Path) -> list[BenchRecord]:
    """The figures of the tables in ``out`` as far as they are filled."""
    from benchmarks.truth.analysis import Truths
    from benchmarks.truth.scores import SCORED, read_scores
    from benchmarks.truth.summary import records
    from benchmarks.truth.table import CELLS, read_cells
    from benchmarks.truth.teachers import entries

    cells = read_cells(out / CELLS)
    cards = [entry.card for entry in entries(home)]
    truths = Truths.of(cells, read_scores(out / SCORED), cards, protocol="pool")
    return records(truths, cells, home)
