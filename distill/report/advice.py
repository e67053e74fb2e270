"""A finished run in sentences: how good, how sure, did the teachers help, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distill.kinds.registry import kind_of_run
from distill.training.results import deciding_figure, known_figures
from selection.scores.classification import ClassificationMetrics
from selection.sources.class_counts import listed
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from distill.kinds.kind import TrainingKind

WIDE = 0.1  # half an interval from which an accuracy is called uncertain
UNCALIBRATED = 0.1  # calibration error from which probabilities are not to be read as chances
_MOST_STEPS = 5


class Confusion(NamedTuple):
    """Samples of one class that were taken for another: ``samples`` of ``of``."""

    true: str
    predicted: str
    samples: int
    of: int


@dataclass(frozen=True, kw_only=True)
class Advice:
    """``quality`` and ``teachers`` are sentences; ``steps`` say what to do next, first things
    first.
    """

    quality: str
    teachers: str
    steps: tuple[str, ...]


def largest_confusions(metrics: ClassificationMetrics, most: int) -> list[Confusion]:
    """The pairs of a true and a predicted class with the most samples, at most ``most``."""
    names = [entry.name for entry in metrics.classes]
    confusions = [
        Confusion(
            names[true],
            names[predicted],
            count,
            metrics.classes[true].samples,
        )
        for true, row in enumerate(metrics.confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    confusions.sort(key=lambda entry: (-entry.samples, -entry.samples / entry.of))
    return confusions[:most]


def advice(
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    test: ClassificationMetrics | None,
    *,
    student: Path = Path("run/student"),
) -> Advice:
    """What ``config.json`` and ``results.json`` come to.

    ``test`` are the figures of the classes of the test split, ``student`` is the folder of the
    exported student.
    """
    kind = kind_of_run(config)
    return Advice(
        quality=_quality(results, test, kind),
        teachers=_teachers(config, results),
        steps=(
            *(_steps(test, kind) if test and kind.counts_classes else [])[: _MOST_STEPS - 1],
            _use(student, kind),
        ),
    )


def _quality(
    results: Mapping[str, Any], test: ClassificationMetrics | None, kind: TrainingKind
) -> str:
    entry = results["test"]
    first = known_figures(entry, kind)[0]
    units = first.units or kind.nouns
    sentence = first.on_test(first.interval(entry), first.count(entry), units)
    deciding = deciding_figure(results, kind)
    if deciding.by_class and test is not None:
        interval = deciding.interval(entry)
        sentence += (
            f" The classes are unbalanced; their mean is {deciding.shown(interval.value)}"
            f" ({100 * interval.low:.0f} to {100 * interval.high:.0f}), and always saying"
            f" {printable(test.commonest, 60)!r} would be right on {100 * test.commonest_share:.1f}"
            " %."
        )
    return sentence


def _teachers(config: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    if results.get("verdict"):
        return str(results["verdict"])
    if config["method"] == "plain":
        return "It was trained on labels alone, without a teacher."
    return (
        "Whether the teachers helped is not known: no control was trained beside it (--no-control)."
    )


def _use(student: Path, kind: TrainingKind) -> str:
    return f"To use it: python -m distill.predict {shlex.quote(str(student))} {kind.example}"


def _steps(test: ClassificationMetrics, kind: TrainingKind) -> list[str]:
    """What the figures of the test split ask for, first things first."""
    steps, nouns = [], kind.nouns
    if test.absent:
        steps.append(f"Add test {nouns} of {listed(test.absent)}: nothing is known of these yet.")
    if test.accuracy.low <= test.commonest_share:
        steps.append(
            "Do not use it yet: it is not clearly better than always saying"
            f" {printable(test.commonest, 60)!r}. Give more labelled {nouns}, more {nouns} without"
            " labels (--unlabelled), more --epochs, or start from --pretrained weights."
        )
    if test.never_predicted:
        steps.append(
            f"It never says {listed(test.never_predicted)}: add training {nouns} of"
            f" {'it' if len(test.never_predicted) == 1 else 'them'}, or train with --class-balance"
            " sampling."
        )
    half = (test.accuracy.high - test.accuracy.low) / 2
    if half > WIDE:
        steps.append(
            f"Test it on more {nouns}: its accuracy is known to about {100 * half:.0f} points only,"
            f" and ten times the {nouns} make that a third."
        )
    if (test.calibration_error or 0) > UNCALIBRATED:
        assert test.calibration_error is not None
        steps.append(
            "Do not read its probabilities as chances: they are off by"
            f" {100 * test.calibration_error:.0f} points on average."
        )
    if (confusions := largest_confusions(test, 1)) and confusions[0].samples > 1:
        worst = confusions[0]
        steps.append(
            f"Look at the mistakes below: most often {printable(worst.true, 60)!r} is taken for"
            f" {printable(worst.predicted, 60)!r} ({worst.samples} of {worst.of}); check the labels"
            f" of these two classes and add {nouns} of them."
        )
    return steps
