"""The two transport solvers that are ours, timed in one run with POT's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.record import BenchRecord
from selection.evidence import Evidence
from selection.scores.label_geometry import label_geometry, squared_distances
from selection.scores.transport_plans import EPS_SHARE, batch_transport_cost, self_transport

if TYPE_CHECKING:
    from torch import Tensor

ROUNDS = 5
POT_ANSWERS = 5  # POT solves one answer at a time: so many are timed, the rest is in proportion
PAIRS, TEACHER_CLASSES, CLASSES = 64, 50, 20  # a batch of distill.train, form=cost
ITERATIONS = 50


def compare_solvers(evidence: Evidence) -> list[BenchRecord]:
    """Milliseconds of each solver, POT's in the setting; prints a line for each."""
    return [_self_transport(evidence), _batch_transport()]


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
            ot.sinkhorn(masses, masses, costs, eps, numItermax=20, warn=False)

    ours = _times(lambda: self_transport(answers, costs, eps=eps))
    theirs = float(np.median(_times(by_pot))) * len(answers) / POT_ANSWERS
    setting = {"answers": len(answers), "classes": len(costs), "pot_solver": "ot.sinkhorn"}
    return _record("self_transport", ours, theirs, setting)


def _batch_transport() -> BenchRecord:
    """Transport cost and gradient of a batch of distillation, a cost matrix for each pair."""
    import torch
    from ot.batch import solve_batch

    generator = torch.Generator().manual_seed(0)
    p = torch.softmax(2 * torch.randn(PAIRS, TEACHER_CLASSES, generator=generator), dim=1)
    logits = torch.randn(PAIRS, CLASSES, generator=generator)
    cost = torch.rand(PAIRS, TEACHER_CLASSES, CLASSES, generator=generator)

    def ours(q: Tensor) -> Tensor:
        return batch_transport_cost(p, q, cost, eps=EPS_SHARE, iterations=ITERATIONS)

    def by_pot(q: Tensor) -> Tensor:
        solved = solve_batch(
            cost,
            reg=EPS_SHARE,
            a=p,
            b=q,
            max_iter=ITERATIONS,
            tol=0.0,
            method="log_sinkhorn",
            grad="autodiff",
        )
        value: Tensor = solved.value_linear
        return value

    def step(solve: Callable[[Tensor], Tensor]) -> None:
        student = logits.clone().requires_grad_()
        solve(torch.softmax(student, dim=1)).sum().backward()

    times = _times(lambda: step(ours))
    theirs = float(np.median(_times(lambda: step(by_pot))))
    shape = {"pairs": PAIRS, "teacher_classes": TEACHER_CLASSES, "classes": CLASSES}
    setting = {**shape, "iterations": ITERATIONS, "pot_solver": "ot.batch.solve_batch"}
    return _record("batch_transport", times, theirs, setting)


def _times(work: Callable[[], object]) -> list[float]:
    """Milliseconds of each of ``ROUNDS`` runs after one that warms up."""
    work()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def _record(name: str, times: list[float], pot: float, setting: dict[str, object]) -> BenchRecord:
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
