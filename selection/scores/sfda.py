"""Self-challenging Fisher discriminant analysis."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.probe_data import ProbeData, prepare
from selection.scores.score import Score


def value(evidence: Evidence) -> float:
    """Mean log-probability of the true class by a discriminant fitted on challenged samples, at
    most 0.

    Everything is computed on the Gram matrix (N, N), so the width of the features costs one
    product.
    """
    from scipy.special import softmax

    data = prepare(evidence)
    features = data.features.astype(np.float64)
    gram = features @ features.T
    count = len(gram)
    shrinkage = _shrinkage(gram, data)
    posteriors = discriminant(gram, np.eye(count), data, shrinkage)
    confidence = data.of_true_class(softmax(posteriors, axis=1))  # (N,)
    # Each sample moves toward the mean of the other classes, the further the less sure the first
    # discriminant is of its class.
    of_others = 1 - data.one_hot.T  # (C, N)
    other_means = of_others / (count - data.counts)[:, None]
    doubt = (1 - confidence)[:, None]
    mixing = np.diag(confidence) + doubt * other_means[data.labels]  # (N, N)
    posteriors = discriminant(gram, mixing, data, shrinkage)
    likelihood = data.of_true_class(softmax(posteriors, axis=1))
    return float(np.log(np.maximum(likelihood, 1e-300)).mean())


def discriminant(
    gram: Floats,
    mixing: Floats,
    data: ProbeData,
    shrinkage: float,
) -> Floats:
    """(N, C) log-posteriors, up to a constant per row, of the samples by a discriminant fitted on
    ``mixing @ features``.

    x^T S^-1 m_c - m_c^T S^-1 m_c / 2 + log prior_c, with S = (1 - s) S_within + s tr(S_within) / N
    I inverted by Woodbury's identity, so that only products of samples are needed.
    """
    count = len(gram)
    averaging = (data.one_hot / data.counts).T  # (C, N)
    means = averaging @ mixing  # (C, N) class means as mixtures of the samples
    centred = mixing - data.one_hot @ means  # (N, N) training samples off their class mean
    products = gram @ centred.T  # (N, N) of samples and centred training samples
    within = centred @ products
    ridge = shrinkage * float(np.trace(within)) / count**2 + 1e-12
    scale = (1 - shrinkage) / count
    inner = within * scale
    inner.flat[:: count + 1] += ridge
    to_means = gram @ means.T  # (N, C)
    correction = products @ np.linalg.solve(inner, centred @ to_means)
    projections = (to_means - scale * correction) / ridge  # x^T S^-1 m_c
    mean_norms = np.einsum("cn,nc->c", means, projections)
    posteriors: Floats = projections - mean_norms / 2 + np.log(data.prior)
    return posteriors


def _shrinkage(gram: Floats, data: ProbeData) -> float:
    """exp(-5 times the largest eigenvalue of the scatter within the classes), at least 1e-10."""
    from scipy.linalg import eigh

    count = len(gram)
    averaging = data.one_hot / data.counts  # (N, C)
    centring = np.eye(count) - data.one_hot @ averaging.T
    scatter = centring @ gram @ centring / count
    last = [count - 1, count - 1]
    largest = eigh(scatter, eigvals_only=True, subset_by_index=last)[0]
    return float(max(np.exp(-5 * largest), 1e-10))


SFDA = Score(
    name="sfda",
    meaning=(
        "How surely a discriminant on this model's features tells the classes that are easily"
        " confused; higher is better, 0 is the most; in nats."
    ),
    source=(
        "Shao et al. 2022, arXiv 2207.03036, secs. 3.2 and 3.3. Reading the second discriminant on"
        " the samples as they were is ours: the challenge depends on the label, so read on"
        " challenged samples the worst teachers win."
    ),
    value=value,
)
