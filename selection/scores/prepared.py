"""Evidence made ready for the scores: labelled samples only, checked, centred, of unit scale."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from selection.evidence import Evidence, Floats, Ints
from selection.scores.score import NotApplicable


@dataclass(frozen=True, eq=False)
class Prepared:
    """What most scores compute on. C counts the classes present in the labels, not the task's
    names.

    raw             (N, D) the features as they came
    labels          (N,) int64 in [0, C), every class present
    counts          (C,) float64 samples a class; ``prior`` (C,) their share
    probabilities   (N, C_t) float32 rows of the simplex, or None
    """

    raw: Floats
    labels: Ints
    counts: Floats
    probabilities: Floats | None

    @cached_property
    def features(self) -> Floats:
        """(N, D) float32, mean zero, mean squared row norm 1 (all zero where the features are
        constant).
        """
        return standard(self.raw)

    @property
    def prior(self) -> Floats:
        prior: Floats = self.counts / self.counts.sum()
        return prior

    @cached_property
    def one_hot(self) -> Floats:
        """(N, C) float32 indicator of the true class."""
        return np.eye(len(self.counts), dtype=np.float32)[self.labels]

    def head(self) -> Floats:
        """The teacher's answers (N, C_t), or ``NotApplicable``."""
        if self.probabilities is None:
            raise NotApplicable(
                "the teacher has no classifier head, so it has no answers to compare"
            )
        return self.probabilities


def prepare(evidence: Evidence) -> Prepared:
    """Check ``evidence`` and bring its features to a scale at which float32 products are safe;
    inputs are not changed.

    Raises ``ValueError`` as ``Evidence.check`` does.
    """
    known = evidence.labelled()
    known.check()
    _, labels, counts = np.unique(known.labels, return_inverse=True, return_counts=True)
    probabilities = known.probabilities
    if probabilities is not None:
        probabilities = np.asarray(probabilities, dtype=np.float32)
        if (probabilities < 0).any() or (np.abs(probabilities.sum(1) - 1) > 1e-2).any():
            raise ValueError("probabilities must be rows of the simplex: at least 0 and of sum 1")
    return Prepared(
        np.asarray(known.features), labels.reshape(-1), counts.astype(np.float64), probabilities
    )


def standard(features: Floats) -> Floats:
    """(N, D) features, centred and divided by their root mean squared row norm, float32; all zero
    where constant.

    A spread of less than a millionth of the magnitude is float noise and counts as constant.
    """
    values = features.astype(np.float32) if features.dtype == np.float16 else features
    mean = values.mean(axis=0, dtype=np.float64)
    values = values - mean.astype(values.dtype)
    scale = float(np.linalg.norm(values)) / np.sqrt(len(values))
    if scale <= 1e-6 * float(np.linalg.norm(mean)):
        return np.zeros(values.shape, dtype=np.float32)
    scaled: Floats = np.multiply(
        values, 1 / scale if scale > 0 else 0.0, dtype=values.dtype
    ).astype(np.float32, copy=False)
    return scaled
