"""Self-challenging Fisher discriminant analysis."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import Prepared, prepare
from selection.scores.score import Score


def value(evidence: Evidence) -> float:
    """Mean log-probability of the true class by a discriminant fitted on challenged samples, at
    most 0.

    Everything is computed on the Gram matrix (N, N), so the width of the features costs one
    product.
    """
    ready = prepare(evidence)
    features = ready.features.astype(np.float64)
    gram = features @ features.T
    n, rows = len(gram), np.arange(len(gram))
    shrinkage = _shrinkage(gram, ready)
    sure = _softmax(discriminant(gram, np.eye(n), ready, shrinkage))[rows, ready.labels]
    # Each sample moves toward the mean of the other classes, the further the less sure its own
    # class is.
    others = (1 - ready.one_hot.T) / (n - ready.counts)[:, None]  # (C, N)
    mixing = np.diag(sure) + (1 - sure)[:, None] * others[ready.labels]
    answers = _softmax(discriminant(gram, mixing, ready, shrinkage))
    return float(np.log(np.maximum(answers[rows, ready.labels], 1e-300)).mean())


def discriminant(gram: Floats, mixing: Floats, ready: Prepared, shrinkage: float) -> Floats:
    """(N, C) log-posteriors, up to a constant per row, of the samples by a discriminant fitted on
    ``mixing @ features``.

    x^T S^-1 m_c - m_c^T S^-1 m_c / 2 + log prior_c, with S = (1 - s) S_within + s tr(S_within) / N
    I inverted by Woodbury's identity, so that only products of samples are needed.
    """
    n = len(gram)
    averaging = (ready.one_hot / ready.counts).T  # (C, N)
    centring = mixing - ready.one_hot @ (averaging @ mixing)  # off the class mean
    means = averaging @ mixing  # (C, N) class means as mixtures of the samples
    read = gram @ centring.T  # (N, N) products of samples and centred training samples
    within = centring @ read
    ridge = shrinkage * float(np.trace(within)) / n**2 + 1e-12
    scale = (1 - shrinkage) / n
    inner = within * scale
    inner.flat[:: n + 1] += ridge
    cross = gram @ means.T  # (N, C)
    products = (cross - scale * read @ np.linalg.solve(inner, centring @ cross)) / ridge
    own = np.einsum("cn,nc->c", means, products)
    found: Floats = products - own / 2 + np.log(ready.prior)
    return found


def _shrinkage(gram: Floats, ready: Prepared) -> float:
    """exp(-5 times the largest eigenvalue of the scatter within the classes), at least 1e-10."""
    from scipy.linalg import eigh

    n = len(gram)
    centring = np.eye(n) - ready.one_hot @ (ready.one_hot / ready.counts).T
    largest = eigh(
        centring @ gram @ centring / n, eigvals_only=True, subset_by_index=[n - 1, n - 1]
    )[0]
    return float(max(np.exp(-5 * largest), 1e-10))


def _softmax(answers: Floats) -> Floats:
    weights = np.exp(answers - answers.max(axis=1, keepdims=True))
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


SFDA = Score(
    name="sfda",
    value=value,
    terms=None,
    needs=(),
    source=(
        "Shao et al. 2022, arXiv 2207.03036, secs. 3.2 and 3.3. Reading the second discriminant on"
        " the samples as they were is ours: the challenge depends on the label, so read on"
        " challenged samples the worst teachers win."
    ),
)
