"""Is a budget of seconds kept? Wall clock of ``selection.rank --budget`` on real models."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.record import BenchRecord
from benchmarks.shared import shared
from zoo.catalogue import Catalogue
from zoo.sources import folder

BUDGETS = (20, 25, 30, 35, 40, 50, 60, 80, 100, 120)  # seconds
TOLERANCE = 1.1  # of the budget


def measure_budgets(seconds: Sequence[int] = BUDGETS) -> list[BenchRecord]:
    """Wall clock over budget of the command, each from an empty store.

    The models are the real ones of ../shared and the packaged zoo, the task is tf_flowers.
    """
    if not (shared() / "models").is_dir():
        print(f"no models in {shared()}: budgets are not measured")
        return []
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "catalogue.duckdb"
        with Catalogue.open(path, write=True) as catalogue:
            catalogue.upsert(
                [
                    *folder.cards(shared() / "models"),
                    *folder.cards(folder.small_zoo(), source="small"),
                ]
            )
            catalogue.publish()
        records = [_measure(budget, path, Path(scratch) / f"home{budget}") for budget in seconds]
    kept = sum(record.value <= TOLERANCE for record in records)
    print(f"{kept} of {len(records)} budgets kept within 10 %")
    return records


def _measure(budget: int, catalogue: Path, home: Path) -> BenchRecord:
    """Run the command once in an empty ``home``."""
    task = shared() / "datasets" / "tf_flowers"
    options = ["--task", str(task), "--catalogue", str(catalogue), "--budget", f"{budget}s"]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "selection.rank", *options],
        env=os.environ | {"TEACHER_ZOO_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - begin
    probed = re.search(r"(\d+) probed(?: in (\d+) rounds)?", done.stdout)
    lines = (done.stdout if probed else done.stderr).strip().splitlines()
    print(
        f"budget {budget:3} s: {took:6.2f} s, {took / budget:.3f}; status {done.returncode};"
        f" {lines[-1:]}",
        flush=True,
    )
    return BenchRecord(
        name="halving.budget",
        value=took / budget,
        unit="seconds over budget",
        setting={
            "budget_s": budget,
            "seconds": took,
            "status": done.returncode,
            "task": task.name,
            "probed": int(probed[1]) if probed else 0,
            "load_average": os.getloadavg()[0],
        },
        seeds=(0,),
    )
