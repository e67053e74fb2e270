"""The figures of the truth tables: how good a student becomes after each teacher, and how well each
score foresees it.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.record import BenchRecord
from benchmarks.truth.summary import missing, records, without_pool
from benchmarks.truth.table import CELLS, PROTOCOLS, read_cells
from benchmarks.truth.teachers import TEACHERS, read_facts
from benchmarks.truth.truths import Truths
from zoo.home import truth_folder

COMMITTED = Path(__file__).parents[1] / "records"


def run(out: Path) -> list[BenchRecord]:
    """The figures of the tables in ``out``, or of the committed ones where it has none.

    ``python -m benchmarks.truth`` fills the tables.
    """
    tables = out if (out / CELLS).exists() else COMMITTED
    cells = read_cells(tables / CELLS)
    pool, labels = (Truths.read(tables, protocol) for protocol in PROTOCOLS)
    rows = records(pool, cells, truth_folder())
    if len(set(labels.groups)) > 2:
        rows += without_pool(labels)
    gaps = missing(cells, read_facts(tables / TEACHERS)) or "nothing"
    print(f"missing of the tables: {gaps}; python -m benchmarks.truth --zoo fills them (hours)")
    return rows
