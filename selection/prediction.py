"""What accuracy a score's value promises: calibrated on the truth tables of
``benchmarks.truth``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("prediction.json")


@dataclass(frozen=True)
class Prediction:
    """Expected test accuracy of the student, in [0, 1], and the interval that held ``level`` of the
    tasks left out.
    """

    expected: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Calibration:
    """For one ``score``: logit(accuracy) = ``weights`` . (1, value / log C, log10 C, log10 images a
    class), and how far off.

    ``half_width`` is the conformal quantile of |residual|, in logits, over groups of tasks left
    out; ``coverage`` what the interval held on outer folds; ``student`` and ``tasks`` say whose
    accuracy this is. ``most`` are the greatest number of classes and of labelled images a class
    that were measured, ``least`` the smallest.
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

    def predict(self, value: float, *, classes: int, images: float) -> Prediction:
        """The prediction for a teacher of score ``value`` on a task of ``classes`` with ``images``
        labelled images a class.
        """
        return self._at(
            sum(
                w * x
                for w, x in zip(
                    self.weights, inputs(value, classes=classes, images=images), strict=True
                )
            )
        )

    def _at(self, logit: float) -> Prediction:
        return Prediction(
            _sigmoid(logit),
            _sigmoid(logit - self.half_width),
            _sigmoid(logit + self.half_width),
            self.level,
        )


def inputs(value: float, *, classes: int, images: float) -> tuple[float, float, float, float]:
    """What the calibration reads. A value in nats over log C is the share of what there is to know,
    at most 1.
    """
    return 1.0, value / math.log(classes), math.log10(classes), math.log10(images)


def predict(value: float, *, score: str, classes: int, images: float) -> Prediction | None:
    """Expected accuracy of a small student that learns from this teacher, with an interval whose
    coverage was measured.

    ``value`` is the score's on the probe, ``classes`` the task's, ``images`` the labelled images a
    class. ``None`` where the score has no calibration, or the task lies outside what was measured.
    A guide, not a promise: it was measured on one small student with unlabelled images beside the
    labelled ones (``Calibration.student``).
    """
    found = calibrations().get(score)
    if found is None or not math.isfinite(value):
        return None
    inside = all(
        low <= own <= high
        for low, own, high in zip(found.least, (classes, images), found.most, strict=True)
    )
    return found.predict(value, classes=classes, images=images) if inside else None


@cache
def calibrations() -> dict[str, Calibration]:
    """The packaged table, by score; empty where none is packaged."""
    if not TABLE.is_file():
        return {}
    found: dict[str, Calibration] = {}
    for row in json.loads(TABLE.read_text(encoding="utf-8")):
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
        }
        found[row["score"]] = Calibration(**fields)
    return found


def write(found: list[Calibration], path: Path = TABLE) -> None:
    """Keep the calibrations as the packaged table."""
    path.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
