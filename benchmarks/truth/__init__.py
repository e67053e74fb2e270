"""Is it true? How good a student becomes after each teacher, for many teachers and tasks: what
scores are held to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.record import BenchRecord
    from benchmarks.truth.analysis import Truths


def run(out: Path) -> list[BenchRecord]:
    """The figures of the tables in ``out``, or of the committed ones where it has none;
    ``benchmarks.truth`` fills them.
    """
    from benchmarks.truth.table import CELLS
    from zoo.home import home

    committed = Path(__file__).parents[1] / "records"
    return figures(out if (out / CELLS).exists() else committed, home() / "truth")


def figures(tables: Path, home: Path) -> list[BenchRecord]:
    """The figures of the tables in a folder, as far as they are filled; ``home`` may hold which
    images each student got right.
    """
    from benchmarks.truth.summary import missing, records, without_pool
    from benchmarks.truth.table import CELLS, PROTOCOLS, read_cells
    from benchmarks.truth.teachers import TEACHERS, described

    cells, teachers = read_cells(tables / CELLS), described(tables / TEACHERS)
    pool, labels = (truths(tables, protocol) for protocol in PROTOCOLS)
    found = [
        *records(pool, cells, home),
        *(without_pool(labels) if len(set(labels.groups)) > 2 else []),
    ]
    gaps = missing(cells, teachers)
    print(
        f"missing of the tables: {gaps or 'nothing'}; python -m benchmarks.truth --zoo fills them,"
        " hours on a CPU"
    )
    return found


def truths(tables: Path, protocol: str) -> Truths:
    """One protocol of the tables in a folder, as far as it is complete."""
    from benchmarks.truth.analysis import Truths
    from benchmarks.truth.scores import SCORED, read_scores
    from benchmarks.truth.table import CELLS, read_cells
    from benchmarks.truth.teachers import TEACHERS, described

    return Truths.of(
        read_cells(tables / CELLS),
        read_scores(tables / SCORED),
        described(tables / TEACHERS),
        protocol=protocol,
    )
