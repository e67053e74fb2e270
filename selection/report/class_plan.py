"""Which of a teacher's classes carry over to which of the task's: the transport plan between them,
made small enough to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from selection.evidence import Evidence, Floats, Ints

_MOST_TASK_CLASSES = 40  # columns of one picture
_MOST_TEACHER_CLASSES = 48  # rows of one picture
_MOST_PER_TASK_CLASS = 3
# a teacher class is shown if it has this share of a task class, or the largest
_LEAST_SHARE = 0.03


class ClassMatch(NamedTuple):
    """The part ``share`` of a task class's probability that lies on one teacher class."""

    teacher_class: str
    task_class: str
    share: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassPlan:
    """The strongest part of the plan between one teacher's classes and the task's.

    ``shares`` (m, c) in [0, 1]: of the probability that the teacher gives to the samples of task
    class j, the part on its class i. ``other_shares`` (c,) is the part on the teacher's classes not
    shown, so each column of both sums to 1. ``teacher_class_count`` counts all classes of the
    teacher, ``task_class_count`` the task's classes in the probe: where it is larger than c, the
    columns are the classes with the largest shares.
    """

    model: str
    teacher_classes: tuple[str, ...]
    task_classes: tuple[str, ...]
    shares: Floats
    other_shares: Floats
    teacher_class_count: int
    task_class_count: int

    def best_matches(self) -> list[ClassMatch]:
        """For every task class shown, the teacher class with the largest share of it, largest
        first.
        """
        matches = []
        for column, task_class in enumerate(self.task_classes):
            shares = self.shares[:, column]
            row = shares.argmax()
            match = ClassMatch(self.teacher_classes[row], task_class, float(shares[row]))
            matches.append(match)
        return sorted(matches, key=lambda match: -match.share)


def transport_plan(evidence: Evidence) -> Floats:
    """The mean transport plan (C_t, C) from the teacher's predictions to the labels; non-negative,
    sums to 1.

    Towards a one-hot label a sample's plan is unique whatever the ground cost: all mass of p(x)
    goes to its class. The mean over the labelled samples is therefore the joint distribution of
    teacher class and task class; its column sums are the probe's class shares. Raises
    ``ValueError`` where the teacher has no classes or nothing is labelled.
    """
    if evidence.probabilities is None:
        raise ValueError(
            "the teacher has no classes of its own, so there is no plan between classes"
        )
    labelled = evidence.labelled()
    if labelled.probabilities is None or not len(labelled.labels):
        raise ValueError("no labelled sample in the probe")
    shape = labelled.probabilities.shape[1], len(labelled.classes)
    joint = np.zeros(shape)
    for label in np.unique(labelled.labels):
        rows = labelled.probabilities[labelled.labels == label]  # (n, C_t)
        joint[:, label] = rows.sum(axis=0, dtype=np.float64)
    plan: Floats = joint / joint.sum()
    return plan


def class_plan(model: str, evidence: Evidence) -> ClassPlan | None:
    """The readable part of ``transport_plan`` for one teacher, or ``None`` where it has no classes
    of its own.
    """
    if evidence.probabilities is None:
        return None
    plan = transport_plan(evidence)
    frequencies = plan.sum(axis=0)  # (C,)
    present = np.flatnonzero(frequencies)
    shares = plan[:, present] / frequencies[present]  # (C_t, c)
    order = np.argsort(-shares.max(axis=0), kind="stable")
    columns = np.sort(order[:_MOST_TASK_CLASSES])
    rows = _strongest_rows(shares[:, columns])
    names = evidence.teacher_classes
    if names is None:
        names = tuple(f"class {i}" for i in range(len(plan)))
    shown = shares[rows][:, columns]
    return ClassPlan(
        model=model,
        teacher_classes=tuple(names[i] for i in rows),
        task_classes=tuple(evidence.classes[present[j]] for j in columns),
        shares=shown,
        other_shares=np.clip(1 - shown.sum(axis=0), 0, 1),
        teacher_class_count=len(plan),
        task_class_count=len(present),
    )


def _strongest_rows(shares: Floats) -> Ints:
    """The few largest teacher classes of every task class, ordered by the task class of which they
    have most.
    """
    count = _MOST_TEACHER_CLASSES // shares.shape[1]
    count = max(1, min(_MOST_PER_TASK_CLASS, count))
    largest = np.argsort(-shares, axis=0, kind="stable")[:count]  # (count, c)
    shown = np.take_along_axis(shares, largest, axis=0) >= _LEAST_SHARE
    shown[0] = True
    rows = np.unique(largest[shown])
    largest_share = shares[rows].max(axis=1)
    task_class = shares[rows].argmax(axis=1)
    order = np.lexsort((-largest_share, task_class))
    ordered: Ints = rows[order]
    return ordered
