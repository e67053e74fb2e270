"""How well the teacher's own answers, read as a code for the task's classes, explain the labels."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import prepare
from selection.scores.score import Score


def expected_log_likelihood(answers: Floats, one_hot: Floats) -> float:
    """Mean log of sum_z P(y | z) p(z | x) over samples, for soft codes ``answers`` (N, Z) and
    labels (N, C); at most 0.
    """
    joint = answers.T @ one_hot.astype(answers.dtype)  # (Z, C)
    given = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-30)
    likelihood = ((answers @ given) * one_hot).sum(axis=1, dtype=np.float64)
    return float(np.log(np.maximum(likelihood, 1e-300)).mean())


def value(evidence: Evidence) -> float:
    """Mean log-likelihood, at most 0; ``NotApplicable`` without a head."""
    ready = prepare(evidence)
    return expected_log_likelihood(ready.head(), ready.one_hot)


LEEP = Score(
    name="leep",
    value=value,
    terms=None,
    needs=("probabilities",),
    source="Nguyen et al. 2020, arXiv 2002.12462, eq. 2.",
)
