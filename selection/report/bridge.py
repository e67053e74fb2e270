"""Which of a teacher's classes carry over to which of the task's: the transport plan, made small
enough to read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selection.evidence import Evidence, Floats

_MOST_CLASSES = 40  # of the task, in one picture
_MOST_ROWS = 48  # of the teacher's classes, in one picture
_LEAST_SHARE = (
    0.03  # a teacher class is shown if it serves one of the task's classes this well, or best
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bridge:
    """The strongest part of the plan between one teacher's classes and the task's.

    ``shares`` (m, c) in [0, 1]: of the probability that the teacher gives to the images of task
    class j, the part on its class i; ``other`` (c,) what it gives to the classes not shown, so each
    column of both sums to 1. ``known`` counts the teacher's classes, ``asked`` the task's classes
    in the probe; c < ``asked`` where the best-met classes only are shown.
    """

    model: str
    teacher_classes: tuple[str, ...]
    classes: tuple[str, ...]
    shares: Floats
    other: Floats
    known: int
    asked: int

    def strongest(self) -> list[tuple[str, str, float]]:
        """For every task class shown, the teacher class that serves it most: (theirs, mine, share),
        largest first.
        """
        best = self.shares.argmax(axis=0)
        found = [
            (self.teacher_classes[i], self.classes[j], float(self.shares[i, j]))
            for j, i in enumerate(best)
        ]
        return sorted(found, key=lambda item: -item[2])


def plan(evidence: Evidence) -> Floats:
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
    seen = evidence.labelled()
    if seen.probabilities is None or not len(seen.labels):
        raise ValueError("no labelled sample in the probe")
    joint = np.zeros((seen.probabilities.shape[1], len(seen.classes)))
    for label in np.unique(seen.labels):
        joint[:, label] = seen.probabilities[seen.labels == label].sum(axis=0, dtype=np.float64)
    mean: Floats = joint / joint.sum()
    return mean


def bridge(model: str, evidence: Evidence) -> Bridge | None:
    """The readable part of ``plan`` for one teacher, or ``None`` where it has no classes of its
    own.
    """
    if evidence.probabilities is None:
        return None
    joint = plan(evidence)
    present = np.flatnonzero(joint.sum(axis=0) > 0)
    shares = joint[:, present] / joint[:, present].sum(axis=0)  # (C_t, c)
    kept = np.sort(np.argsort(-shares.max(axis=0), kind="stable")[:_MOST_CLASSES])
    rows = _rows(shares[:, kept])
    names = evidence.teacher_classes or tuple(f"class {i}" for i in range(len(joint)))
    shown = shares[rows][:, kept]
    return Bridge(
        model=model,
        teacher_classes=tuple(names[i] for i in rows),
        classes=tuple(evidence.classes[present[j]] for j in kept),
        shares=shown,
        other=np.clip(1 - shown.sum(axis=0), 0, 1),
        known=len(joint),
        asked=len(present),
    )


def _rows(shares: Floats) -> list[int]:
    """Teacher classes to show: the few best of every task class, ordered by the class they serve
    most.
    """
    each = max(1, min(3, _MOST_ROWS // shares.shape[1]))
    likely = np.argsort(-shares, axis=0, kind="stable")[:each]  # (each, c)
    worth = np.take_along_axis(shares, likely, axis=0) >= _LEAST_SHARE
    worth[0] = True
    best = np.unique(likely[worth])
    order = np.lexsort((-shares[best].max(axis=1), shares[best].argmax(axis=1)))
    return [int(i) for i in best[order]]
