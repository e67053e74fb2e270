"""How accurate a student will be, from a score's value: fitted on the truth table, its interval
checked on groups left out.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

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
    x, y, group = _cells(truths, name)
    held = []
    for one in dict.fromkeys(group):
        inside = group != one
        width = _width(_left_out(x[inside], y[inside], group[inside]))
        held += list(np.abs(y[~inside] - x[~inside] @ _fit(x[inside], y[inside])) <= width)
    targets = [TARGETS[task] for task in truths.tasks]
    sizes = [(len(target.classes), target.labels) for target in targets]
    return Calibration(
        score=name,
        weights=tuple(round(float(w), 4) for w in _fit(x, y)),
        level=LEVEL,
        half_width=round(_width(_left_out(x, y, group)), 4),
        coverage=round(float(np.mean(held)), 4),
        least=(min(c for c, _ in sizes), min(n for _, n in sizes)),
        most=(max(c for c, _ in sizes), max(n for _, n in sizes)),
        tasks=len(targets),
        student="three convolutions at 32 x 32, 250 steps, about 2,000 images without labels",
    )


def _cells(truths: Truths, name: str) -> tuple[Floats, Floats, npt.NDArray[np.str_]]:
    """(n, 4) inputs, (n,) logit of the student's accuracy, (n,) group of each cell."""
    rows, logits, groups = [], [], []
    for t, task in enumerate(truths.tasks):
        target = TARGETS[task]
        for value, accuracy in zip(
            truths.scores[name][t].ravel(), truths.truth[t].ravel(), strict=True
        ):
            if np.isfinite(value) and np.isfinite(accuracy):
                rows.append(inputs(float(value), classes=len(target.classes), images=target.labels))
                logits.append(
                    math.log(
                        min(max(accuracy, 1e-3), 1 - 1e-3)
                        / (1 - min(max(accuracy, 1e-3), 1 - 1e-3))
                    )
                )
                groups.append(truths.groups[t])
    return np.array(rows), np.array(logits), np.array(groups)


def _fit(x: Floats, y: Floats) -> Floats:
    """Ridge regression in which a higher score and more labelled images never lower the accuracy.

    In the tables tasks of many images happen to be hard ones; without the bound that would be taken
    for an effect.
    """
    from scipy.optimize import lsq_linear

    penalty = np.sqrt(RIDGE) * np.eye(x.shape[1])[1:]
    found = lsq_linear(
        np.vstack([x, penalty]),
        np.append(y, np.zeros(len(penalty))),
        bounds=([-np.inf, 0, -np.inf, 0], np.inf),
    )
    return np.asarray(found.x)


def _left_out(x: Floats, y: Floats, group: npt.NDArray[np.str_]) -> Floats:
    """(n,) residuals of each cell under the fit of the other groups."""
    found = np.empty(len(y))
    for one in dict.fromkeys(group):
        mine = group == one
        found[mine] = y[mine] - x[mine] @ _fit(x[~mine], y[~mine])
    return found


def _width(residuals: Floats) -> float:
    return float(np.quantile(np.abs(residuals), min(1.0, LEVEL * (1 + 1 / len(residuals)))))
