"""The figures of the truth tables: how good a student becomes after each teacher, and how well each
score foresees it.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.record import BenchRecord
from benchmarks.truth.analysis import Truths
from benchmarks.truth.scores import SCORED, read_scores
from benchmarks.truth.summary import missing, records, without_pool
from benchmarks.truth.table import CELLS, PROTOCOLS, read_cells
from benchmarks.truth.teachers import TEACHERS, described
from zoo.home import home

COMMITTED = Path(__file__).parents[1] / "records"


def run(out: Path) -> list[BenchRecord]:
    """The figures of the tables in ``out``, or of the committed ones where it has none.

    ``python -m benchmarks.truth`` fills the tables.
    """
    return figures(out if (out / CELLS).exists() else COMMITTED, home() / "truth")


def figures(tables: Path, hits_folder: Path) -> list[BenchRecord]:
    """The figures of the tables in a folder, as far as they are filled.

    ``hits_folder`` may hold which images each student got right.
    """
    cells, teachers = read_cells(tables / CELLS), described(tables / TEACHERS)
    pool, labels = (truths(tables, protocol) for protocol in PROTOCOLS)
    rows = records(pool, cells, hits_folder)
    if len(set(labels.groups)) > 2:
        rows = [*rows, *without_pool(labels)]
    gaps = missing(cells, teachers) or "nothing"
    print(f"missing of the tables: {gaps}; python -m benchmarks.truth --zoo fills them (hours)")
    return rows


def truths(tables: Path, protocol: str) -> Truths:
    """One protocol of the tables in a folder, as far as it is complete."""
    return Truths.of(
        read_cells(tables / CELLS),
        read_scores(tables / SCORED),
        described(tables / TEACHERS),
        protocol=protocol,
    )
