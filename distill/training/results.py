"""What a finished run reached on a split: ``results.json``, and the figures that are read from it.

Shapes: n images, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from distill.run import hits
from selection.scores.balanced import balanced_difference
from selection.scores.classification import (
    ClassAccuracy,
    ClassificationMetrics,
    classification_metrics,
    reliability,
)
from selection.scores.interval import Hits, Interval, accuracy_difference
from selection.sources.class_counts import listed
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from selection.evidence import Ints

# which figure of ``results.json`` decides whether teachers help
ACCURACY, BALANCED = "accuracy", "balanced_accuracy"
# entries of a split in ``results.json`` that are longer than its figures
EACH_IMAGE = ("predicted", "confidence", "labels", "mistakes", "reliability")
WORST_SHOWN = 5
LINE = 80  # characters


def split_results(labels: Ints, logits: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """The entry of ``results.json`` for a split: ``labels`` (n,) and ``logits`` (n, C)."""
    predicted = logits.argmax(1).numpy()
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    metrics = classification_metrics(labels, predicted, classes, probabilities=probabilities)
    figures = metrics.to_dict()
    return {
        "images": metrics.images,
        "accuracy": metrics.accuracy.value,
        "low": metrics.accuracy.low,
        "high": metrics.accuracy.high,
        "balanced_accuracy": metrics.balanced.value,
        "balanced_low": metrics.balanced.low,
        "balanced_high": metrics.balanced.high,
        **{name: figures[name] for name in ("commonest", "commonest_share", "calibration_error")},
        "reliability": [asdict(entry) for entry in reliability(probabilities, labels)],
        "classes": figures["classes"],
        "predicted": predicted.tolist(),
        "confidence": np.round(probabilities.max(axis=1), 6).tolist(),
        "labels": labels.tolist(),
    }


def split_metrics(
    results: Mapping[str, Any], split: str, classes: Sequence[str]
) -> ClassificationMetrics:
    """The figures of ``split`` of a run, from its predictions; of runs of any version."""
    figures = results[split]
    metrics = classification_metrics(
        np.asarray(figures["labels"]), np.asarray(figures["predicted"]), classes
    )
    return replace(metrics, calibration_error=figures.get("calibration_error"))


def deciding_figure(results: Mapping[str, Any]) -> str:
    """``balanced_accuracy`` where the task's classes are unbalanced, else ``accuracy``."""
    figure: str = results.get("decided_by", ACCURACY)
    return figure


def lift_of(
    students: Sequence[Mapping[str, Any]],
    plain: Sequence[Mapping[str, Any]],
    split: str,
    figure: str,
) -> Interval:
    """How much higher the ``figure`` of ``students`` is; one entry a seed, paired."""
    first = [hits(results, split) for results in students]
    second = [hits(results, split) for results in plain]
    if figure == ACCURACY:
        return accuracy_difference(first, second)
    return balanced_difference(first, second, np.asarray(students[0][split]["labels"]))


def verdict(
    student: Mapping[str, Any], plain: Mapping[str, Any], method: str, *, noun: str = "image"
) -> str:
    """Whether the teachers helped, by the validation split, as a sentence."""
    figure = deciding_figure(student)
    lift = lift_of([student], [plain], "validation", figure)
    values = [100 * figure_of(results, "validation", figure) for results in (student, plain)]
    of_balanced = " of balanced accuracy" if figure == BALANCED else ""
    figures = (
        f"{method} {values[0]:.1f} %, plain {values[1]:.1f} %, difference"
        f" {lift.as_points(sign=True)} points{of_balanced} on validation"
    )
    absent = [
        entry["name"] for entry in student["validation"].get("classes", ()) if not entry["images"]
    ]
    if absent and figure == BALANCED:
        return (
            f"Whether the teachers help cannot be told: no validation {noun} of {listed(absent)};"
            f" on the other classes {figures}."
        )
    if lift.low > 0:
        return f"The teachers help: {figures}."
    if lift.high < 0:
        return (
            f"None of the teachers helps here, plain training is better: {figures}. Use the plain"
            " student."
        )
    return f"Too close to call whether the teachers help: {figures}."


def control_results(
    student: Mapping[str, Any],
    plain: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The entry ``control`` of ``results.json``: figures of the ``plain`` run with its ``epochs``.

    ``lift`` is how much higher the deciding figure of ``student`` is on the test split, ``curve``
    that of ``plain`` on validation by epoch.
    """
    figure = deciding_figure(student)
    entry: dict[str, Any] = {
        split: {name: value for name, value in plain[split].items() if name not in EACH_IMAGE}
        for split in ("validation", "test")
    }
    name = f"validation_{figure}"
    entry["curve"] = [epoch.get(name, epoch["validation_accuracy"]) for epoch in epochs]
    entry["lift"] = asdict(
        lift_of(
            [student],
            [plain],
            "test",
            figure,
        )
    )
    return entry


def figure_of(results: Mapping[str, Any], split: str, figure: str) -> float:
    """``accuracy`` or ``balanced_accuracy`` of a run on a split, in [0, 1]."""
    if figure in results[split]:
        return float(results[split][figure])
    # a run of a version that did not keep it
    return class_mean(hits(results, split), np.asarray(results[split]["labels"]))


def class_mean(hits: Hits, labels: Ints) -> float:
    """Balanced accuracy of ``hits`` (n,) for images of the classes ``labels`` (n,)."""
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


def summary_lines(
    metrics: ClassificationMetrics, split: str, *, nouns: str = "images"
) -> list[str]:
    """What a terminal shows of one split of a finished run, lines of at most 80 characters."""
    commonest = printable(metrics.commonest, 30)
    worst = [_in_words(entry) for entry in metrics.worst(WORST_SHOWN)]
    return [
        f"{split}: {percent(metrics.accuracy)} of {metrics.images} {nouns}",
        f"  balanced accuracy {percent(metrics.balanced)}: {_mean_over(metrics)}",
        f"  always saying {commonest!r}: {100 * metrics.commonest_share:.1f} %",
        *_wrapped("  worst classes: ", worst),
        *_calibration(metrics.calibration_error),
    ]


def warnings_of(metrics: ClassificationMetrics, split: str, *, noun: str = "image") -> list[str]:
    """Sentences on classes that a split says nothing of, or that were never recognised."""
    sentences = []
    if metrics.absent:
        sentences.append(
            f"no {split} {noun} of {listed(metrics.absent)}: the {split} accuracy says nothing of"
            f" {'it' if len(metrics.absent) == 1 else 'them'}"
        )
    if metrics.never_predicted:
        sentences.append(
            f"on {split} the student never says {listed(metrics.never_predicted)}: read the"
            " balanced accuracy, not the accuracy"
        )
    return sentences


def percent(interval: Interval) -> str:
    """``50.0 % (32.1 to 68.9)``."""
    value, low, high = 100 * interval.value, 100 * interval.low, 100 * interval.high
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _calibration(error: float | None) -> list[str]:
    if error is None:
        return []
    return [f"  calibration error {100 * error:.1f} points: confidence is so far from accuracy"]


def _mean_over(metrics: ClassificationMetrics) -> str:
    count = len(metrics.classes)
    if not metrics.absent:
        return "the mean over the classes"
    return f"the mean over {count - len(metrics.absent)} of {count} classes"


def _in_words(entry: ClassAccuracy) -> str:
    assert entry.recall is not None
    right = round(entry.recall.value * entry.images)
    return f"{printable(entry.name, 30)} {right} of {entry.images}"


def _wrapped(head: str, parts: Sequence[str]) -> list[str]:
    """``head`` and ``parts``, of which no line breaks one."""
    lines, line = [], head
    for place, part in enumerate(parts):
        piece = part + (", " if place < len(parts) - 1 else "")
        if len(line) + len(piece.rstrip()) > LINE and line.strip():
            lines.append(line.rstrip())
            line = " " * 4
        line += piece
    return [*lines, line.rstrip()]
