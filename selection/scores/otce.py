"""Conditional entropy of the labels under an optimal coupling of the teacher's classes with the
samples' features.
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.label_geometry import squared_distances
from selection.scores.probe_data import prepare
from selection.scores.score import Score
from selection.scores.transport_plans import entropic_plan

ITERATIONS = 50


def value(evidence: Evidence) -> float:
    """-H(Y | Z) in nats, at most 0, with P(z, y) the mass that the coupling carries from class z to
    samples of class y.

    The coupling is entropic, from the teacher's classes (at their soft prototypes, with the mass of
    the mean answer) to the samples (uniform). Raises `NotApplicable` without a head.
    """
    data = prepare(evidence)
    answers = data.head()
    count = len(answers)
    mass = np.maximum(answers.sum(axis=0), 1e-12).astype(np.float64)  # (C_t,)
    prototypes = answers.T @ data.features / mass[:, None]
    costs = squared_distances(prototypes, data.features)  # (C_t, N)
    samples = np.full(count, 1 / count)
    coupling = entropic_plan(
        mass / mass.sum(),
        samples,
        costs,
        iterations=ITERATIONS,
    )
    joint = coupling.plan @ data.one_hot  # (C_t, C)
    shares = joint.sum(axis=1, keepdims=True)
    given_class = joint / np.maximum(shares, 1e-300)
    log_given = np.log(np.maximum(given_class, 1e-300))
    return float((joint * log_given).sum())


OTCE = Score(
    name="otce",
    meaning=(
        "How surely this model's classes tell yours, when an optimal transport plan pairs their"
        " samples; higher is better, 0 is the most; in nats."
    ),
    source=(
        "After Tan et al. 2021, arXiv 2103.13843: the conditional entropy alone, which needs no"
        " auxiliary tasks. The teacher's training samples are not at hand; soft prototypes of its"
        " classes in their place are ours."
    ),
    value=value,
    needs=("probabilities",),
)
