"""Conditional entropy of the labels under an optimal coupling of the teacher's classes with the
samples' features.
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.ground import distances
from selection.scores.prepared import prepare
from selection.scores.score import Score
from selection.scores.sinkhorn import SHARPNESS

ROUNDS = 50


def value(evidence: Evidence) -> float:
    """-H(Y | Z) in nats, at most 0, with P(z, y) the mass that the coupling carries from class z to
    samples of class y.

    The coupling is entropic, from the teacher's classes (at their soft prototypes, with the mass of
    the mean answer) to the samples (uniform). ``NotApplicable`` without a head.
    """
    ready = prepare(evidence)
    answers = ready.head()
    mass = np.maximum(answers.sum(axis=0), 1e-12)
    source = (mass / mass.sum()).astype(np.float64)
    cost = distances(answers.T @ ready.features / mass[:, None], ready.features)  # (C_t, N)
    kernel = np.exp(
        -cost / max(SHARPNESS * float(cost.max()), 1e-12)
    )  # at least exp(-20): safe without logarithms
    target = np.full(cost.shape[1], 1 / cost.shape[1])
    right = np.ones_like(target)
    for _ in range(ROUNDS):
        left = source / (kernel @ right)
        right = target / (left @ kernel)
    joint = (left[:, None] * kernel * right) @ ready.one_hot  # (C_t, C)
    given = joint / joint.sum(axis=1, keepdims=True)
    return float((joint * np.log(np.maximum(given, 1e-300))).sum())


OTCE = Score(
    name="otce",
    value=value,
    terms=None,
    needs=("probabilities",),
    source=(
        "After Tan et al. 2021, arXiv 2103.13843: the conditional entropy alone, which needs no"
        " auxiliary tasks. The teacher's training images are not at hand; soft prototypes of its"
        " classes in their place are ours."
    ),
)
