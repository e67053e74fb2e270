"""The transport solver that is ours, timed in one run with POT's."""

from __future__ import annotations

import numpy as np

from benchmarks.record import BenchRecord
from benchmarks.speed.timing import milliseconds, timed_record
from selection.evidence import Evidence
from selection.scores.label_geometry import label_geometry, squared_distances
from selection.scores.transport_plans import EPS_SHARE, self_transport

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

    ours = milliseconds(lambda: self_transport(answers, costs, eps=eps))
    pot = float(np.median(milliseconds(by_pot))) * len(answers) / POT_ANSWERS
    setting = {"answers": len(answers), "classes": len(costs), "pot_solver": "ot.sinkhorn"}
    record = timed_record("scoring.self_transport", ours, {**setting, "pot_ms": pot})
    compared = f"{record.value:9.1f} ms, POT {pot:.1f} ms: {pot / record.value:.1f} times"
    print(f"  {'self_transport':34s}{compared}", flush=True)
    return record
