"""Balanced accuracy: the mean of the classes' accuracies, with intervals that know small classes.

Shapes: n samples, S seeds, m students that are read on the same samples, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.scores.interval import PAIRED_BOOTSTRAPS, Hits, Interval, around

if TYPE_CHECKING:
    from selection.evidence import Floats, Ints


def balanced_accuracy(hits: Sequence[Hits], labels: Ints) -> Interval:
    """The mean over the classes of the share of their samples that is right, over seeds.

    ``hits`` holds one (n,) entry a seed; ``labels`` (n,) are the true classes. A class without
    samples does not count. The interval holds for other samples of the same classes, and with
    several seeds for other seeds too (`resampled_class_means`).
    """
    values = np.asarray(hits, dtype=float)[:, None]  # (S, 1, n)
    return around(_class_mean(values, labels)[0], resampled_class_means(values, labels)[:, 0])


def balanced_difference(first: Sequence[Hits], second: Sequence[Hits], labels: Ints) -> Interval:
    """How much higher the balanced accuracy of ``first`` is than that of ``second``, paired.

    One (n,) entry a seed on both sides, paired in order; ``labels`` (n,) as for both.
    """
    values = _stacked([first, second])  # (S, 2, n)
    of_first, of_second = _class_mean(values, labels)
    drawn = resampled_class_means(values, labels)
    return around(float(of_first - of_second), drawn[:, 0] - drawn[:, 1])


def balanced_gap_recovered(
    student: Sequence[Hits],
    plain: Sequence[Hits],
    teacher: Hits,
    labels: Ints,
) -> Interval | None:
    """``interval.gap_recovered`` in balanced accuracy: None unless the teacher leads plain."""
    teachers = [teacher] * len(plain)
    if balanced_difference(teachers, plain, labels).low <= 0:
        return None
    values = _stacked([student, plain, teachers])  # (S, 3, n)
    of_student, of_plain, of_teacher = resampled_class_means(values, labels).T  # each (draws,)
    draws = (of_student - of_plain) / np.maximum(of_teacher - of_plain, 1e-9)
    of_student, of_plain, of_teacher = _class_mean(values, labels)
    return around(float((of_student - of_plain) / (of_teacher - of_plain)), draws)


def resampled_class_means(
    values: Floats,
    labels: Ints,
    *,
    seed: int = 0,
    draws: int = PAIRED_BOOTSTRAPS,
) -> npt.NDArray[np.float64]:
    """(draws, m) balanced means of ``values`` (S, m, n) in [0, 1], seeds and samples drawn again.

    Samples are reweighed within their class (Bayesian bootstrap, Rubin 1981), so no draw loses a
    class. To each class one sample is added whose outcome is unknown: every combination of right
    and wrong of the m students, equally likely. Without it two samples, both right, would pass for
    certain; for one student it is Jeffreys' interval of a share (the extension to several is ours).
    """
    rng = np.random.default_rng(seed)
    seeds, students, _ = values.shape
    present, of_class = np.unique(labels, return_inverse=True)
    count = len(present)
    unknown = np.array(list(itertools.product((0.0, 1.0), repeat=students))).T  # (m, 2^m)
    outcomes = unknown.shape[1]
    means = np.empty((draws, students))
    for draw in range(draws):
        over_seeds = values[rng.integers(seeds, size=seeds)].mean(axis=0)  # (m, n)
        weights = rng.standard_exponential(len(labels))  # (n,)
        spare = rng.gamma(1 / outcomes, size=(count, outcomes))  # (C, 2^m)
        total = np.bincount(of_class, weights, count) + spare.sum(axis=1)  # (C,)
        for place in range(students):
            right = np.bincount(of_class, weights * over_seeds[place], count)
            means[draw, place] = ((right + spare @ unknown[place]) / total).mean()
    return means


def _class_mean(values: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """(m,) means over seeds and over the classes of the class means of ``values`` (S, m, n)."""
    over_seeds = values.mean(axis=0)
    by_class = [over_seeds[:, labels == label].mean(axis=1) for label in np.unique(labels)]
    means: npt.NDArray[np.float64] = np.mean(by_class, axis=0)
    return means


def _stacked(students: Sequence[Sequence[Hits]]) -> npt.NDArray[np.float64]:
    """(S, m, n) of m students' hits, one (n,) entry a seed each."""
    shapes = {np.asarray(hits).shape for hits in students}
    if len(shapes) > 1:
        raise ValueError(f"hits of shapes {sorted(shapes)} are not paired")
    return np.stack([np.asarray(hits, dtype=float) for hits in students], axis=1)
