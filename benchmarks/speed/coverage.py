"""How often a score's interval holds the value that other probes of the same size have on
average.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.record import BenchRecord
from benchmarks.speed.scoring import teacher
from selection.scores.interval import interval
from selection.scores.registry import SCORES

PROBES, SAMPLES, CLASSES = 100, 200, 5


def run(out: Path) -> list[BenchRecord]:
    """Draws probes of 200 from one population; the truth is the score's mean over all of them.
    Prints a line a score.
    """
    population = teacher(samples=20_000, width=64, teacher_classes=50, classes=CLASSES)
    groups = [np.flatnonzero(population.labels == label) for label in range(CLASSES)]
    records = []
    for score in SCORES.values():
        found = []
        for seed in range(PROBES):
            rng = np.random.default_rng(seed)
            rows = np.concatenate(
                [rng.choice(group, SAMPLES // CLASSES, replace=False) for group in groups]
            )
            found.append(interval(score, population.at(rows), rng=rng))
        truth = float(np.mean([one.value for one in found]))
        held = float(np.mean([one.low <= truth <= one.high for one in found]))
        spread = float(np.std([one.value for one in found]))
        wide = float(np.mean([one.high - one.low for one in found])) / max(4 * spread, 1e-12)
        error = 1.96 * float(np.sqrt(max(held * (1 - held), 1 / PROBES) / PROBES))
        print(
            f"{score.name:36s} holds {held:6.1%} of {PROBES}; width {wide:.2f} of the true"
            " spread's",
            flush=True,
        )
        records.append(
            BenchRecord(
                name=f"coverage.{score.name}",
                value=held,
                unit="share",
                low=held - error,
                high=min(held + error, 1.0),
                spread="95 % of a binomial",
                seeds=tuple(range(PROBES)),
                setting={
                    "level": 0.95,
                    "samples": SAMPLES,
                    "classes": CLASSES,
                    "width": 64,
                    "relative_width": wide,
                },
            )
        )
    return records
