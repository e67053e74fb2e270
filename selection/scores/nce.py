"""Negative conditional entropy of the labels given the teacher's hard answers."""

from __future__ import annotations

from selection.evidence import Evidence
from selection.scores.leep import expected_log_likelihood
from selection.scores.prepared import prepare
from selection.scores.score import Score


def value(evidence: Evidence) -> float:
    """-H(Y | Z) in nats, at most 0; Z the teacher's most likely class, shared among equals."""
    ready = prepare(evidence)
    answers = ready.head()
    best = answers >= answers.max(axis=1, keepdims=True)
    # With hard codes the expected log-likelihood is -H(Y | Z) exactly.
    return expected_log_likelihood(best / best.sum(axis=1, keepdims=True), ready.one_hot)


NCE = Score(
    name="nce",
    value=value,
    terms=None,
    needs=("probabilities",),
    source="Tran et al. 2019, arXiv 1908.08142; with the teacher's answers as source labels.",
)
