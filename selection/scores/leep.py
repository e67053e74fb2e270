"""How well the teacher's answers, read as a code for the task's classes, explain the labels: LEEP
on soft answers, NCE on the likeliest class.
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.probe_data import prepare
from selection.scores.score import Score


def expected_log_likelihood(codes: Floats, one_hot: Floats) -> float:
    """Mean log of sum_z P(y | z) p(z | x) over samples, for soft codes p (N, Z) and labels (N, C);
    at most 0.
    """
    joint = codes.T @ one_hot.astype(codes.dtype)  # (Z, C)
    given_code = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-30)
    likelihood = ((codes @ given_code) * one_hot).sum(axis=1, dtype=np.float64)
    return float(np.log(np.maximum(likelihood, 1e-300)).mean())


def leep(evidence: Evidence) -> float:
    """Mean log-likelihood, at most 0."""
    data = prepare(evidence)
    return expected_log_likelihood(data.head(), data.one_hot)


def negative_conditional_entropy(evidence: Evidence) -> float:
    """-H(Y | Z) in nats, at most 0; Z the teacher's most likely class, shared among equals."""
    data = prepare(evidence)
    answers = data.head()
    likeliest = answers >= answers.max(axis=1, keepdims=True)
    codes = likeliest / likeliest.sum(axis=1, keepdims=True)
    # With hard codes the expected log-likelihood is -H(Y | Z) exactly.
    return expected_log_likelihood(codes, data.one_hot)


LEEP = Score(
    name="leep",
    meaning=(
        "How surely this model's own answers tell your classes; higher is better, 0 is the most;"
        " in nats."
    ),
    source="Nguyen et al. 2020, arXiv 2002.12462, eq. 2.",
    value=leep,
    needs=("probabilities",),
)
NCE = Score(
    name="nce",
    meaning=(
        "How surely this model's likeliest class alone tells yours; higher is better, 0 is the"
        " most; in nats."
    ),
    source="Tran et al. 2019, arXiv 1908.08142; with the teacher's answers as source labels.",
    value=negative_conditional_entropy,
    needs=("probabilities",),
)
