"""How well predicted classes meet the true ones: the figures beside every accuracy.

Shapes: n samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from selection.scores.balanced import balanced_accuracy
from selection.scores.interval import Interval, accuracy
from selection.scores.resampled import macro_f1, statistic_interval

if TYPE_CHECKING:
    from selection.evidence import Floats, Ints

CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """One class.

    name       the class
    samples     how many samples are of it
    predicted  how often it was predicted
    recall     the share of its samples that was recognised, its accuracy; None without samples
    precision  the share of its predictions that was right; None where it was never predicted
    """

    name: str
    samples: int
    predicted: int
    recall: Interval | None
    precision: float | None

    @property
    def right(self) -> int:
        """How many of its samples were recognised."""
        return 0 if self.recall is None else round(self.recall.value * self.samples)

    @property
    def precision_interval(self) -> Interval | None:
        """``precision`` with Wilson's interval over its predictions."""
        if not self.predicted:
            return None
        return accuracy(np.arange(self.predicted) < self.right)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; None without samples and predictions."""
        total = self.samples + self.predicted
        return 2 * self.right / total if total else None


@dataclass(frozen=True, kw_only=True)
class ClassificationMetrics:
    """The figures of one split.

    samples             n
    accuracy           the share of samples that is right, with Wilson's interval
    macro_f1           the mean of the classes' F1, of the classes with samples or predictions
    balanced           the mean of the classes' recalls, of the classes that have samples
    classes            one entry a class, in the task's order
    confusion          (C, C) counts: rows are true classes, columns predicted ones
    commonest          the class with the most samples
    commonest_share    the accuracy of always saying ``commonest``
    calibration_error  expected calibration error in [0, 1]; None without probabilities
    """

    samples: int
    accuracy: Interval
    balanced: Interval
    macro_f1: Interval
    classes: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, ...], ...]
    commonest: str
    commonest_share: float
    calibration_error: float | None = None

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes without a sample: nothing is known of their accuracy."""
        return tuple(entry.name for entry in self.classes if not entry.samples)

    @property
    def never_predicted(self) -> tuple[str, ...]:
        """The classes that have samples and that no sample was taken for."""
        return tuple(c.name for c in self.classes if c.samples and not c.predicted)

    def worst(self, most: int) -> tuple[ClassAccuracy, ...]:
        """The ``most`` classes of the lowest recall, lowest first; of equal ones the larger."""
        known = [entry for entry in self.classes if entry.recall is not None]
        known.sort(key=lambda c: (c.recall.value if c.recall else 0.0, -c.samples))
        return tuple(known[:most])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the confusion matrix, which is large."""
        values = asdict(self)
        del values["confusion"]
        return values


def classification_metrics(
    labels: Ints,
    predicted: Ints,
    classes: Sequence[str],
    *,
    probabilities: Floats | None = None,
) -> ClassificationMetrics:
    """The figures of ``predicted`` (n,) against ``labels`` (n,), both in [0, C).

    Parameters
    ----------
    labels, predicted : (n,) int arrays
        True and predicted classes.
    classes : sequence of str
        The C class names.
    probabilities : (n, C) array, optional
        Of each class, rows summing to 1; for the calibration error.

    Raises
    ------
    ValueError
        Without samples, or where the two differ in length.
    """
    from sklearn.metrics import confusion_matrix

    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape:
        raise ValueError(f"{len(labels)} labels and {len(predicted)} predictions are not paired")
    hits = labels == predicted
    overall = accuracy(hits)
    confusion = confusion_matrix(labels, predicted, labels=np.arange(len(classes)))  # (C, C)
    samples, times = confusion.sum(axis=1), confusion.sum(axis=0)  # (C,) each
    entries = []
    for i, name in enumerate(classes):
        entry = ClassAccuracy(
            name=name,
            samples=int(samples[i]),
            predicted=int(times[i]),
            recall=accuracy(hits[labels == i]) if samples[i] else None,
            precision=float(confusion[i, i] / times[i]) if times[i] else None,
        )
        entries.append(entry)
    commonest = int(samples.argmax())
    error = None
    if probabilities is not None:
        error = calibration_error(probabilities, labels)
    return ClassificationMetrics(
        samples=len(labels),
        accuracy=overall,
        balanced=balanced_accuracy([hits], labels),
        macro_f1=statistic_interval(macro_f1, np.array([labels, predicted], dtype=np.float64)),
        classes=tuple(entries),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        commonest=classes[commonest],
        commonest_share=float(samples[commonest] / len(labels)),
        calibration_error=error,
    )


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The answers whose confidence lies in (``low``, ``high``].

    samples      how many there are
    confidence  the mean probability of the predicted class
    accuracy    the share that is right
    """

    low: float
    high: float
    samples: int
    confidence: float
    accuracy: float


def reliability(probabilities: Floats, labels: Ints) -> tuple[ReliabilityBin, ...]:
    """The 15 bins of equal width of a reliability diagram (Guo 2017), without the empty ones.

    ``probabilities`` (n, C), ``labels`` (n,).
    """
    confidence = probabilities.max(axis=1)  # (n,)
    right = probabilities.argmax(axis=1) == labels
    # a confidence on an edge counts to the bin below it
    places = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)
    bins = []
    for place in range(CALIBRATION_BINS):
        rows = places == place
        if rows.any():
            entry = ReliabilityBin(
                low=place / CALIBRATION_BINS,
                high=(place + 1) / CALIBRATION_BINS,
                samples=int(rows.sum()),
                confidence=float(confidence[rows].mean()),
                accuracy=float(right[rows].mean()),
            )
            bins.append(entry)
    return tuple(bins)


def calibration_error(probabilities: Floats, labels: Ints) -> float:
    """Expected calibration error (Naeini 2015; Guo 2017): |confidence - accuracy| over 15 bins.

    ``probabilities`` (n, C), ``labels`` (n,). 0 is best: of the answers given with 80 % confidence,
    80 % are right. Bins are of equal width and count by their samples.
    """
    bins = reliability(probabilities, labels)
    gap = sum(entry.samples * abs(entry.confidence - entry.accuracy) for entry in bins)
    return float(gap / len(labels))
