"""Milliseconds of a piece of work, and their record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.record import BenchRecord

ROUNDS = 5


def milliseconds(work: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each of ``rounds`` runs after one that warms up."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def timed_record(name: str, times: list[float], setting: Mapping[str, object]) -> BenchRecord:
    """The median of ``times``, with the least and the most."""
    return BenchRecord(
        name=name,
        value=float(np.median(times)),
        unit="ms",
        low=min(times),
        high=max(times),
        seeds=(0,),
        spread=f"least and most of {len(times)}",
        setting=dict(setting),
    )
