"""Leave-one-out accuracy of the nearest neighbours."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import prepare
from selection.scores.score import Score

NEIGHBOURS = 5
NOISE = np.float32(5e-6)


def terms(evidence: Evidence) -> Floats:
    """(N,) credit of each labelled sample in [0, 1]: 1 where its neighbours' vote is right, shared
    where votes tie.
    """
    ready = prepare(evidence)
    rows = ready.features / np.maximum(np.linalg.norm(ready.features, axis=1, keepdims=True), 1e-12)
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -2)
    votes = _weights(similarity, min(NEIGHBOURS, len(rows) - 1)) @ ready.one_hot
    best = votes >= votes.max(axis=1, keepdims=True) - 1e-6
    credit: Floats = best[np.arange(len(rows)), ready.labels] / best.sum(axis=1)
    return credit


def _weights(similarity: Floats, k: int) -> Floats:
    """(N, N) weight of each neighbour: 1 above the k-th similarity; those equal to it share what is
    left of k.

    Equal means to within float noise, which must not decide between neighbours.
    """
    kth = np.partition(similarity, -k, axis=1)[:, -k, None]
    above, level = similarity > kth + NOISE, similarity >= kth - NOISE
    fuller = level.sum(axis=1, keepdims=True) - above.sum(axis=1, keepdims=True)
    share = (k - above.sum(axis=1, keepdims=True)) / fuller
    weights: Floats = np.where(above, np.float32(1), level * share.astype(np.float32))
    return weights


def value(evidence: Evidence) -> float:
    """Accuracy in [0, 1]."""
    return float(terms(evidence).mean())


KNN = Score(
    name="knn",
    value=value,
    terms=terms,
    needs=(),
    source=(
        "k = 5 nearest neighbours by cosine of centred features, leave-one-out; arXiv 2503.18528."
        " Sharing the credit of ties, which makes the value independent of the samples' order, is"
        " ours."
    ),
)
