"""Figures of samples that have one class each, which images and texts share.

Shapes: n samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from distill.training.figures import Entry, Figure
from selection.scores.balanced import (
    balanced_accuracy,
    balanced_difference,
    balanced_gap_recovered,
)
from selection.scores.classification import classification_metrics, reliability
from selection.scores.interval import (
    Hits,
    Interval,
    accuracy,
    accuracy_difference,
    gap_recovered,
)
from selection.scores.resampled import Terms, macro_f1

if TYPE_CHECKING:
    from distill.kinds.kind import SplitAnswers
    from selection.evidence import Ints
    from selection.task import Task


@dataclass(frozen=True, kw_only=True)
class _Accuracy(Figure):
    """The share of samples that is right, with Wilson's interval; terms are hits (1, n)."""

    def value_of(self, terms: Terms) -> float:
        return accuracy(_hits(terms)).value

    def interval_of(self, terms: Terms) -> Interval:
        return accuracy(_hits(terms))

    def improvement_of(self, first: Sequence[Terms], second: Sequence[Terms]) -> Interval:
        return accuracy_difference(_all_hits(first), _all_hits(second))

    def recovered_of(
        self, students: Sequence[Terms], plain: Sequence[Terms], teacher: Terms
    ) -> Interval | None:
        return gap_recovered(_all_hits(students), _all_hits(plain), _hits(teacher))

    def margin(self, value: float, task: Task) -> float | None:
        return _margin(value, sum(task.class_counts.validation))

    def always(self, labels: Ints) -> tuple[int, float] | None:
        counts = np.bincount(labels)
        most = int(counts.argmax())
        return most, float(counts[most] / len(labels))

    def of_units(self, interval: Interval, count: int, units: str) -> str:
        return f"{self.sentence(interval)} of {count} {units}"

    def on_test(self, interval: Interval, count: int, units: str) -> str:
        return (
            f"The student is right on {self.shown(interval.value)} of the {count} test {units},"
            f" which it never saw; on other {units} of this kind expect {100 * interval.low:.0f} to"
            f" {100 * interval.high:.0f} %."
        )

    @property
    def change(self) -> str:
        return "points"


@dataclass(frozen=True, kw_only=True)
class _BalancedAccuracy(Figure):
    """The mean of the classes' accuracies; terms are hits and labels (2, n)."""

    def value_of(self, terms: Terms) -> float:
        return class_mean(_hits(terms), terms[1])

    def interval_of(self, terms: Terms) -> Interval:
        return balanced_accuracy([_hits(terms)], terms[1])

    def improvement_of(self, first: Sequence[Terms], second: Sequence[Terms]) -> Interval:
        return balanced_difference(_all_hits(first), _all_hits(second), first[0][1])

    def recovered_of(
        self, students: Sequence[Terms], plain: Sequence[Terms], teacher: Terms
    ) -> Interval | None:
        return balanced_gap_recovered(
            _all_hits(students), _all_hits(plain), _hits(teacher), teacher[1]
        )

    def margin(self, value: float, task: Task) -> float | None:
        """As of an accuracy of so many samples as are as sure."""
        present = [count for count in task.class_counts.validation if count]
        as_sure = len(present) ** 2 / sum(1 / count for count in present) if present else 0
        return _margin(value, round(as_sure))


def _hits(terms: Terms) -> Hits:
    hits: Hits = terms[0].astype(bool)
    return hits


def _all_hits(terms: Sequence[Terms]) -> list[Hits]:
    return [_hits(of_seed) for of_seed in terms]


def _margin(value: float, samples: int) -> float | None:
    """Two standard errors of a share of ``samples``."""
    if not samples:
        return None
    return float(2 * (max(value * (1 - value), 0.01) / samples) ** 0.5)


def _read_hits(entry: Entry) -> Terms | None:
    answers = _read_answers(entry)
    return None if answers is None else (answers[:1] == answers[1:]).astype(float)


def _read_hits_and_labels(entry: Entry) -> Terms | None:
    answers = _read_answers(entry)
    return None if answers is None else np.stack([answers[0] == answers[1], answers[0]])


def _read_answers(entry: Entry) -> Terms | None:
    """(2, n) labels and predictions."""
    if "predicted" not in entry or "labels" not in entry:
        return None
    return np.array([entry["labels"], entry["predicted"]], dtype=np.float64)


ACCURACY = _Accuracy(
    name="accuracy",
    words="accuracy",
    head="%",
    meaning="right answers",
    read=_read_hits,
    bounds=("low", "high"),
    percent=True,
    digits=1,
)
BALANCED = _BalancedAccuracy(
    name="balanced_accuracy",
    words="balanced accuracy",
    head="balanced %",
    meaning="the same, counted class by class and averaged",
    chance=lambda classes: 1 / classes,
    read=_read_hits_and_labels,
    bounds=("balanced_low", "balanced_high"),
    by_class=True,
    percent=True,
    digits=1,
)
MACRO_F1 = Figure(
    name="macro_f1",
    words="macro-F1",
    head="macro-F1 %",
    meaning="the harmonic mean of precision and recall of each class, averaged",
    by_class=True,
    statistic=macro_f1,
    read=_read_answers,
    percent=True,
    digits=1,
)
FIGURES = (ACCURACY, BALANCED, MACRO_F1)


def decided_by(task: Task) -> Figure:
    """Balanced accuracy where the task's classes are unbalanced, else accuracy."""
    return BALANCED if task.class_counts.unbalanced else ACCURACY


def evaluate(answers: SplitAnswers) -> dict[str, Any]:
    """The entry of ``results.json`` for a split."""
    return split_results(answers.labels, answers.logits, answers.task.classes)


def validate(answers: SplitAnswers) -> dict[str, float]:
    """What an epoch's line says of the validation split."""
    labels = answers.labels
    right = answers.logits.argmax(1) == torch.from_numpy(labels)
    return {
        ACCURACY.name: float(right.float().mean()),
        BALANCED.name: class_mean(right.numpy(), labels),
        "loss": float(torch.nn.functional.cross_entropy(answers.logits, torch.from_numpy(labels))),
    }


def split_results(labels: Ints, logits: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """The entry of ``results.json`` for a split: ``labels`` (n,) and ``logits`` (n, C)."""
    predicted = logits.argmax(1).numpy()
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    metrics = classification_metrics(labels, predicted, classes, probabilities=probabilities)
    figures = metrics.to_dict()
    return {
        "samples": metrics.samples,
        "accuracy": metrics.accuracy.value,
        "low": metrics.accuracy.low,
        "high": metrics.accuracy.high,
        "balanced_accuracy": metrics.balanced.value,
        "balanced_low": metrics.balanced.low,
        "balanced_high": metrics.balanced.high,
        **MACRO_F1.named(metrics.macro_f1),
        **{name: figures[name] for name in ("commonest", "commonest_share", "calibration_error")},
        "reliability": [asdict(entry) for entry in reliability(probabilities, labels)],
        "classes": figures["classes"],
        "predicted": predicted.tolist(),
        "confidence": np.round(probabilities.max(axis=1), 6).tolist(),
        "labels": labels.tolist(),
    }


def class_mean(hits: Hits, labels: Ints) -> float:
    """Balanced accuracy of ``hits`` (n,) for samples of the classes ``labels`` (n,)."""
    from sklearn.metrics import recall_score

    right = np.where(hits, labels, -1)  # a wrong answer, whichever it is
    present = np.unique(labels)
    return float(
        recall_score(
            labels,
            right,
            labels=present,
            average="macro",
            zero_division=0,
        )
    )
