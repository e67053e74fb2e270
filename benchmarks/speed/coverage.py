"""How often a score's interval holds the mean value over probes of the same size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.record import BenchRecord
from benchmarks.speed.scoring import teacher
from selection.scores.interval import Interval, score_interval
from selection.scores.registry import SCORES

PROBES, SAMPLES, CLASSES = 100, 200, 5


def run(out: Path) -> list[BenchRecord]:
    """Draw 100 probes of 200 samples from one population; the truth is a score's mean over them."""
    population = teacher(
        samples=20_000,
        width=64,
        teacher_classes=50,
        classes=CLASSES,
    )
    groups = [np.flatnonzero(population.labels == label) for label in range(CLASSES)]
    records = []
    for score in SCORES.values():
        intervals = []
        for seed in range(PROBES):
            rng = np.random.default_rng(seed)
            size = SAMPLES // CLASSES
            rows = np.concatenate([rng.choice(group, size, replace=False) for group in groups])
            intervals.append(score_interval(score, population.at(rows), rng=rng))
        records.append(_record(score.name, intervals))
    return records


def _record(name: str, intervals: Sequence[Interval]) -> BenchRecord:
    values = np.array([interval.value for interval in intervals])
    low = np.array([interval.low for interval in intervals])
    high = np.array([interval.high for interval in intervals])
    truth = values.mean()
    covered = float(((low <= truth) & (truth <= high)).mean())
    relative_width = float((high - low).mean() / max(4 * values.std(), 1e-12))
    error = 1.96 * float(np.sqrt(max(covered * (1 - covered), 1 / PROBES) / PROBES))
    print(
        f"{name:36s} holds {covered:6.1%} of {PROBES}; width {relative_width:.2f} of the true"
        " spread's",
        flush=True,
    )
    return BenchRecord(
        name=f"coverage.{name}",
        value=covered,
        unit="share",
        low=covered - error,
        high=min(covered + error, 1.0),
        spread="95 % of a binomial",
        seeds=tuple(range(PROBES)),
        setting={
            "level": 0.95,
            "samples": SAMPLES,
            "classes": CLASSES,
            "width": 64,
            "relative_width": relative_width,
        },
    )
