"""The accuracy to expect of a student, from a score: calibrated on ``benchmarks.truth``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from zoo.files import known_fields, write_text

TABLE = Path(__file__).with_name("prediction.json")
# of the labelled samples, that the probe must hold: the calibration's values were read on all
PROBE_SHARE = 0.5


@dataclass(frozen=True)
class ExpectedAccuracy:
    """A student's expected test accuracy in [0, 1], between ``low`` and ``high``.

    The interval held the accuracy in the share ``level`` of the tasks left out.
    """

    accuracy: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Calibration:
    """logit(accuracy) = ``weights`` . (1, value / log C, log10 C, log10 samples a class).

    score       the score whose values it reads
    half_width  in logits: the conformal quantile of |residual| over groups of tasks left out
    level       the share that the quantile stands for
    coverage    the share that the interval held on outer folds
    least       (classes, labelled samples a class) of the smallest task that was measured
    most        the same of the largest
    tasks       how many tasks were measured
    student     whose accuracy this is
    """

    score: str
    weights: tuple[float, ...]
    half_width: float
    level: float
    coverage: float
    least: tuple[int, int]
    most: tuple[int, int]
    tasks: int
    student: str

    def covers(
        self,
        *,
        classes: int,
        samples: float,
        probe_size: int,
    ) -> bool:
        """Whether a task, and the probe that a value was read on, are like those measured."""
        lowest_classes, lowest_samples = self.least
        highest_classes, highest_samples = self.most
        return (
            lowest_classes <= classes <= highest_classes
            and lowest_samples <= samples <= highest_samples
            and probe_size >= PROBE_SHARE * classes * samples
        )

    def expect(
        self,
        value: float,
        *,
        classes: int,
        samples: float,
    ) -> ExpectedAccuracy:
        """The accuracy to expect from a score's ``value`` on a task like those measured."""
        from scipy.special import expit

        terms = inputs(value, classes=classes, samples=samples)
        logit = float(np.dot(self.weights, terms))
        return ExpectedAccuracy(
            accuracy=float(expit(logit)),
            low=float(expit(logit - self.half_width)),
            high=float(expit(logit + self.half_width)),
            level=self.level,
        )


def inputs(value: float, *, classes: int, samples: float) -> tuple[float, float, float, float]:
    """What the calibration reads.

    A value in nats over log C is the share of what there is to know, at most 1.
    """
    return 1.0, value / math.log(classes), math.log10(classes), math.log10(samples)


def expected_accuracy(
    value: float,
    *,
    score: str,
    classes: int,
    samples: float,
    probe_size: int,
) -> ExpectedAccuracy | None:
    """The accuracy to expect of a small student that learns from a teacher.

    A guide, not a promise: it was measured on a single small student, which had unlabelled samples
    too (``Calibration.student``).

    Parameters
    ----------
    value : float
        The score's value on the probe.
    score : str
        The score's full name.
    classes : int
        Classes of the task.
    samples : float
        Labelled training samples a class.
    probe_size : int
        Samples that the value was read on.

    Returns
    -------
    ExpectedAccuracy or None
        With an interval whose coverage was measured. ``None`` if the score has no calibration, the
        task is unlike those measured, or the value was read on less than half of the labelled
        samples: the calibration's values were read on all of them.
    """
    calibration = calibrations().get(score)
    if calibration is None or not math.isfinite(value):
        return None
    if not calibration.covers(classes=classes, samples=samples, probe_size=probe_size):
        return None
    return calibration.expect(value, classes=classes, samples=samples)


@cache
def calibrations() -> dict[str, Calibration]:
    """The packaged calibrations by score; empty if none is packaged."""
    if not TABLE.is_file():
        return {}
    rows: list[dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return {row["score"]: _calibration(row) for row in rows}


def _calibration(row: dict[str, Any]) -> Calibration:
    """One row of the table; fields of a newer version are left out."""
    values = known_fields(Calibration, row)
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    return Calibration(**values)


def write(table: list[Calibration], path: Path = TABLE) -> None:
    """Keep the calibrations as the packaged table."""
    write_text(path, json.dumps([asdict(row) for row in table], indent=1) + "\n")
