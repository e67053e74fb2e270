"""The labelled part of one teacher's evidence, checked and standardised for the scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from selection.evidence import Evidence, Floats, Ints
from selection.scores.score import NotApplicable


@dataclass(frozen=True, eq=False)
class ProbeData:
    """What most scores compute on. C counts the classes present in the labels, not the task's
    names.

    raw_features    (N, D) the features as the teacher gave them
    labels          (N,) int64 in [0, C), every class present
    counts          (C,) float64 samples a class
    probabilities   (N, C_t) float32 rows of the simplex, or None
    """

    raw_features: Floats
    labels: Ints
    counts: Floats
    probabilities: Floats | None

    @cached_property
    def features(self) -> Floats:
        """(N, D) float32, mean zero, mean squared row norm 1; all zero if the features are
        constant.
        """
        return standardise(self.raw_features)

    @property
    def prior(self) -> Floats:
        """(C,) float64 share of each class."""
        shares: Floats = self.counts / self.counts.sum()
        return shares

    @cached_property
    def one_hot(self) -> Floats:
        """(N, C) float32 indicator of the true class."""
        return np.eye(len(self.counts), dtype=np.float32)[self.labels]

    def of_true_class(self, values: Floats) -> Floats:
        """(N,) the entry of each row of ``values`` (N, C) at the sample's true class."""
        entries: Floats = values[np.arange(len(values)), self.labels]
        return entries

    def head(self) -> Floats:
        """The teacher's probabilities (N, C_t); raises `NotApplicable` if it has no head."""
        if self.probabilities is None:
            raise NotApplicable(
                "the teacher has no classifier head, so it has no answers to compare"
            )
        return self.probabilities


def prepare(evidence: Evidence) -> ProbeData:
    """Check ``evidence`` and keep its labelled samples; the inputs are not changed.

    Raises ``ValueError`` as `Evidence.check` does, and if the probabilities are no rows of the
    simplex.
    """
    labelled = evidence.labelled()
    labelled.check()
    _, labels, counts = np.unique(labelled.labels, return_inverse=True, return_counts=True)
    probabilities = labelled.probabilities
    if probabilities is not None:
        probabilities = np.asarray(probabilities, dtype=np.float32)
        excess = np.abs(probabilities.sum(axis=1) - 1)  # (N,)
        if probabilities.min() < 0 or excess.max() > 1e-2:
            raise ValueError("probabilities must be rows of the simplex: at least 0 and of sum 1")
    return ProbeData(
        raw_features=np.asarray(labelled.features),
        labels=labels.reshape(-1),
        counts=counts.astype(np.float64),
        probabilities=probabilities,
    )


def standardise(features: Floats) -> Floats:
    """(N, D) float32 features, centred and divided by their root mean squared row norm.

    A spread of less than a millionth of the magnitude is rounding noise and counts as constant:
    the result is then all zero.
    """
    values = features.astype(np.float32) if features.dtype == np.float16 else features
    mean = values.mean(axis=0, dtype=np.float64)
    values = values - mean.astype(values.dtype)
    scale = float(np.linalg.norm(values)) / np.sqrt(len(values))
    if scale <= 1e-6 * float(np.linalg.norm(mean)):
        return np.zeros(values.shape, dtype=np.float32)
    inverse = 1 / scale if scale > 0 else 0.0
    scaled: Floats = np.multiply(values, inverse, dtype=values.dtype)
    return scaled.astype(np.float32, copy=False)
