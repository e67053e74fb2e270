"""How accurate a student will be, from a score's value: fitted on the truth table, its interval
checked on groups left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear
from scipy.special import logit
from sklearn.model_selection import LeaveOneGroupOut

from benchmarks.truth.targets import TARGETS
from benchmarks.truth.truths import Truths
from selection.scores.prediction import Calibration, inputs

Floats = npt.NDArray[np.floating]
LEVEL = 0.9
RIDGE = 0.5  # in cells: the tasks are few


def calibrate(truths: Truths, name: str) -> Calibration:
    """The calibration of score ``name`` on all tasks; its ``coverage`` is that of folds that
    neither fit nor width has seen.

    Split conformal over groups: the width is the ``LEVEL`` quantile of residuals of groups that the
    fit left out.
    """
    x, y, groups = _cells(truths, name)
    covered: list[bool] = []
    for rest, held_out in LeaveOneGroupOut().split(x, y, groups):
        half_width = _half_width(_held_out_residuals(x[rest], y[rest], groups[rest]))
        residuals = y[held_out] - x[held_out] @ _fit(x[rest], y[rest])
        covered += list(np.abs(residuals) <= half_width)
    targets = [TARGETS[task] for task in truths.tasks]
    sizes = [(len(target.classes), target.labels) for target in targets]
    return Calibration(
        score=name,
        weights=tuple(round(float(w), 4) for w in _fit(x, y)),
        level=LEVEL,
        half_width=round(_half_width(_held_out_residuals(x, y, groups)), 4),
        coverage=round(float(np.mean(covered)), 4),
        least=(min(c for c, _ in sizes), min(n for _, n in sizes)),
        most=(max(c for c, _ in sizes), max(n for _, n in sizes)),
        tasks=len(targets),
        student="three convolutions at 32 x 32, 250 steps, about 2,000 images without labels",
    )


def _cells(truths: Truths, name: str) -> tuple[Floats, Floats, npt.NDArray[np.str_]]:
    """(n, 4) inputs, (n,) logit of the student's accuracy, (n,) group of each cell."""
    value, truth = truths.scores[name], truths.truth
    measured = np.argwhere(np.isfinite(value) & np.isfinite(truth))  # (n, 3): task, seed, teacher
    rows = []
    for t, s, m in measured:
        target = TARGETS[truths.tasks[t]]
        known = float(value[t, s, m])
        rows.append(inputs(known, classes=len(target.classes), samples=target.labels))
    accuracy = np.clip(truth[tuple(measured.T)], 1e-3, 1 - 1e-3)
    return np.array(rows), logit(accuracy), np.array(truths.groups)[measured[:, 0]]


def _fit(x: Floats, y: Floats) -> Floats:
    """Ridge regression in which a higher score and more labelled images never lower the accuracy.

    In the tables tasks of many images happen to be hard ones; without the bound that would be taken
    for an effect.
    """
    penalty = np.sqrt(RIDGE) * np.eye(x.shape[1])[1:]
    solution = lsq_linear(
        np.vstack([x, penalty]),
        np.append(y, np.zeros(len(penalty))),
        bounds=([-np.inf, 0, -np.inf, 0], np.inf),
    )
    return np.asarray(solution.x)


def _held_out_residuals(x: Floats, y: Floats, groups: npt.NDArray[np.str_]) -> Floats:
    """(n,) residuals of each cell under the fit of the other groups."""
    residuals = np.empty(len(y))
    for rest, held_out in LeaveOneGroupOut().split(x, y, groups):
        residuals[held_out] = y[held_out] - x[held_out] @ _fit(x[rest], y[rest])
    return residuals


def _half_width(residuals: Floats) -> float:
    level = min(1.0, LEVEL * (1 + 1 / len(residuals)))
    return float(np.quantile(np.abs(residuals), level))
