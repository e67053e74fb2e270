"""What a finished run reached on a split: ``results.json``, and the figures that are read from it.

Shapes: n samples, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.training.figures import TERMS, Entry, Figure, sample_count
from selection.scores.classification import (
    ClassAccuracy,
    ClassificationMetrics,
    classification_metrics,
)
from selection.sources.class_counts import listed
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from distill.kinds.kind import TrainingKind

# entries of a split in ``results.json`` that are longer than its figures
EACH_SAMPLE = ("predicted", "confidence", "labels", "mistakes", "reliability", TERMS)
WORST_SHOWN = 5
LINE = 80  # characters


def split_metrics(
    results: Mapping[str, Any], split: str, classes: Sequence[str]
) -> ClassificationMetrics | None:
    """The figures of ``split`` of a run, from its predictions; of runs of any version. None where
    it does not predict classes.
    """
    entry = results[split]
    if "predicted" not in entry:
        return None
    metrics = classification_metrics(
        np.asarray(entry["labels"]), np.asarray(entry["predicted"]), classes
    )
    return replace(metrics, calibration_error=entry.get("calibration_error"))


def known_figures(entry: Entry, kind: TrainingKind) -> list[Figure]:
    """The figures of a kind that a split of a run tells."""
    return [figure for figure in kind.figures if figure.known(entry)]


def deciding_figure(results: Mapping[str, Any], kind: TrainingKind) -> Figure:
    """The figure that decides whether teachers help; old runs knew of the first alone."""
    return kind.figure(results.get("decided_by", kind.figures[0].name))


def verdict(
    student: Mapping[str, Any], plain: Mapping[str, Any], method: str, *, kind: TrainingKind
) -> str:
    """Whether the teachers helped, by the validation split, as a sentence."""
    figure = deciding_figure(student, kind)
    entries = student["validation"], plain["validation"]
    lift = figure.improvement(entries[:1], entries[1:])
    values = [figure.shown(figure.value(entry)) for entry in entries]
    difference = "difference" if figure.higher_is_better else "improvement"
    figures = (
        f"{method} {values[0]}, plain {values[1]}, {difference}"
        f" {figure.text(lift, sign=True)} {figure.change} on validation"
    )
    absent = _absent(student["validation"])
    if absent and figure.by_class:
        return (
            f"Whether the teachers help cannot be told: no validation {kind.noun} of"
            f" {listed(absent)}; on the other classes {figures}."
        )
    if lift.low > 0:
        return f"The teachers help: {figures}."
    if lift.high < 0:
        return (
            f"None of the teachers helps here, plain training is better: {figures}. Use the plain"
            " student."
        )
    return f"Too close to call whether the teachers help: {figures}."


def _absent(entry: Entry) -> list[str]:
    """The classes without a sample in a split."""
    return [of_class["name"] for of_class in entry.get("classes", ()) if not sample_count(of_class)]


def control_results(
    student: Mapping[str, Any],
    plain: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
    *,
    kind: TrainingKind,
) -> dict[str, Any]:
    """The entry ``control`` of ``results.json``: figures of the ``plain`` run with its ``epochs``.

    ``lift`` is how much better the deciding figure of ``student`` is on the test split, ``curve``
    that of ``plain`` on validation by epoch.
    """
    figure = deciding_figure(student, kind)
    entry: dict[str, Any] = {
        split: {name: value for name, value in plain[split].items() if name not in EACH_SAMPLE}
        for split in ("validation", "test")
    }
    entry["curve"] = curve_of(epochs, figure, kind)
    entry["lift"] = asdict(figure.improvement([student["test"]], [plain["test"]]))
    return entry


def curve_of(
    epochs: Sequence[Mapping[str, Any]], figure: Figure, kind: TrainingKind
) -> list[float | None]:
    """The figure on validation by epoch; of a run of a version that did not keep it the first."""
    names = [f"validation_{each.name}" for each in (figure, kind.figures[0])]
    return [next((line[name] for name in names if name in line), None) for line in epochs]


def summary_lines(
    entry: Entry, metrics: ClassificationMetrics | None, split: str, *, kind: TrainingKind
) -> list[str]:
    """What a terminal shows of one split of a finished run, lines of at most 80 characters.

    ``entry`` is that of ``results.json``, ``metrics`` are read from its predictions.
    """
    first, *others = known_figures(entry, kind)
    units = first.units or kind.nouns
    lines = [f"{split}: {first.of_units(first.interval(entry), first.count(entry), units)}"]
    for figure in others:
        over = f": {_mean_over(metrics)}" if metrics and figure.by_class else ""
        lines.append(f"  {figure.words} {figure.sentence(figure.interval(entry))}{over}")
    if metrics and kind.counts_classes:
        lines += _class_lines(metrics)
    return lines + (_calibration(metrics.calibration_error) if metrics else [])


def reference_lines(references: Mapping[str, Mapping[str, Entry]], kind: TrainingKind) -> list[str]:
    """What a terminal shows of what needs no training, a line each."""
    lines = []
    for name, entries in references.items():
        test = entries["test"]
        shown = [
            f"{figure.words} {figure.shown(figure.value(test))}"
            for figure in known_figures(test, kind)
        ]
        lines.append(f"  {name}: {', '.join(shown)}")
    return ["for comparison, on test:", *lines] if lines else []


def _class_lines(metrics: ClassificationMetrics) -> list[str]:
    commonest = printable(metrics.commonest, 30)
    worst = [_in_words(entry) for entry in metrics.worst(WORST_SHOWN)]
    return [
        f"  always saying {commonest!r}: {100 * metrics.commonest_share:.1f} %",
        *_wrapped("  worst classes: ", worst),
    ]


def warnings_of(
    metrics: ClassificationMetrics | None, split: str, *, kind: TrainingKind
) -> list[str]:
    """Sentences on classes that a split says nothing of, or that were never recognised."""
    sentences: list[str] = []
    if metrics is None or not kind.counts_classes:
        return sentences
    first, by_class = kind.figures[0], next(f for f in kind.figures if f.by_class)
    if metrics.absent:
        sentences.append(
            f"no {split} {kind.noun} of {listed(metrics.absent)}: the {split} {first.words} says"
            f" nothing of {'it' if len(metrics.absent) == 1 else 'them'}"
        )
    if metrics.never_predicted:
        sentences.append(
            f"on {split} the student never says {listed(metrics.never_predicted)}: read the"
            f" {by_class.words}, not the {first.words}"
        )
    return sentences


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
    right = round(entry.recall.value * entry.samples)
    return f"{printable(entry.name, 30)} {right} of {entry.samples}"


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
