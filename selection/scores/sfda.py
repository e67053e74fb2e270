"""Self-challenging Fisher discriminant analysis."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import Prepared, prepare
from selection.scores.score import Score


def value(evidence: Evidence) -> float:
    """Mean log-probability of the true class by the second, challenged discriminant, at most 0.

    Everything is computed on the Gram matrix (N, N), so the width of the features costs one product.
    """
    ready = prepare(evidence)
    features = ready.features.astype(np.float64)
    gram = features @ features.T
    averaging = (ready.one_hot / ready.counts).T.astype(np.float64)  # (C, N)
    shrinkage = _shrinkage(gram, averaging, ready)
    confidence = _softmax(discriminant(gram, averaging, ready, shrinkage))
    own = confidence[np.arange(len(gram)), ready.labels]
    # Each sample moves toward the mean of the other classes, the further the less sure its class is.
    n, counts = len(gram), ready.counts
    others = (1 - ready.one_hot.T) / (n - counts)[:, None]  # (C, N)
    mixing = np.diag(own) + (1 - own)[:, None] * others[ready.labels]
    challenged = mixing @ gram @ mixing.T
    answers = discriminant(challenged, averaging, ready, shrinkage)
    return float(np.log(np.maximum(_softmax(answers)[np.arange(n), ready.labels], 1e-300)).mean())


def discriminant(gram: Floats, averaging: Floats, ready: Prepared, shrinkage: float) -> Floats:
    """(N, C) log-posteriors up to a constant per row: x^T S^-1 m_c - m_c^T S^-1 m_c / 2 + log prior_c.

    S = (1 - s) S_within + s tr(S_within) / N I, inverted by Woodbury's identity.
    """
    n = len(gram)
    centring = np.eye(n) - ready.one_hot @ averaging  # off the class mean
    within = centring @ gram @ centring
    ridge = shrinkage * float(np.trace(within)) / n**2 + 1e-12
    scale = (1 - shrinkage) / n
    inner = within * scale
    inner.flat[:: n + 1] += ridge
    cross = gram @ averaging.T  # (N, C) products with the class means
    left = gram @ centring  # (N, N) products with the centred samples
    solved = np.linalg.solve(inner, centring @ cross)  # (N, C)
    products = (cross - scale * left @ solved) / ridge
    own = np.einsum("cn,nc->c", averaging, products)
    found: Floats = products - own / 2 + np.log(ready.prior)
    return found


def _shrinkage(gram: Floats, averaging: Floats, ready: Prepared) -> float:
    from scipy.linalg import eigh

    n = len(gram)
    centring = np.eye(n) - ready.one_hot @ averaging
    within = centring @ gram @ centring / n
    largest = float(eigh(within, eigvals_only=True, subset_by_index=[n - 1, n - 1])[0])
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
    source="Shao et al. 2022, arXiv 2207.03036, secs. 3.2 and 3.3.",
)
