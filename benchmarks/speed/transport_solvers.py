"""The transport solver that is ours, timed in one run with POT's."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.record import BenchRecord
from selection.evidence import Evidence
from selection.scores.label_geometry import label_geometry, squared_distances
from selection.scores.transport_plans import EPS_SHARE, self_transport

ROUNDS = 5
POT_ANSWERS = 5  # POT solves one answer at a time: so many are timed, the rest is in proportion


def compare_solvers(evidence: Evidence) -> list[BenchRecord]:
    """Milliseconds of our solver, with POT's in the setting; prints a line."""
    return [_self_transport(evidence)]


def _self_transport(evidence: Evidence) -> BenchRecord:
    """The debiased score's objective of every answer against itself."""
    import ot

    geometry = label_geometry(evidence, "prototypes")
    answers = geometry.answers
    assert answers is not None
    costs = squared_distances(geometry.teacher, geometry.teacher).astype(np.float64)
    eps = EPS_SHARE * float(costs.max())

    def by_pot() -> None:
        for answer in answers[:POT_ANSWERS].astype(np.float64):
            masses = answer / answer.sum()
            ot.sinkhorn(
                masses,
                masses,
                costs,
                eps,
                numItermax=20,
                warn=False,
            )

    ours = _times(lambda: self_transport(answers, costs, eps=eps))
    pot = float(np.median(_times(by_pot))) * len(answers) / POT_ANSWERS
    setting = {"answers": len(answers), "classes": len(costs), "pot_solver": "ot.sinkhorn"}
    return _record("self_transport", ours, pot, setting)


def _times(work: Callable[[], object]) -> list[float]:
    """Milliseconds of each of ``ROUNDS`` runs after one that warms up."""
    work()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def _record(
    name: str,
    times: list[float],
    pot: float,
    setting: dict[str, object],
) -> BenchRecord:
    value = float(np.median(times))
    print(f"  {name:34s}{value:9.1f} ms, POT {pot:.1f} ms: {pot / value:.1f} times", flush=True)
    return BenchRecord(
        name=f"scoring.{name}",
        value=value,
        unit="ms",
        low=min(times),
        high=max(times),
        seeds=(0,),
        spread=f"least and most of {ROUNDS}",
        setting={**setting, "pot_ms": pot},
    )
