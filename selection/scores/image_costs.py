"""Transport from each image, and from what the teacher calls it, to the classes: the default
relatedness.
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Floats
from selection.scores.probe_data import ProbeData

ANSWER_SHARE = 0.25  # of the mass lies on the teacher's classes; the rest stays on the image
RIDGE = 1.0  # in units of the mean squared norm of a row, which is 1


def image_costs(data: ProbeData) -> Floats:
    """(N, C) transport cost W(p'(x_n), e_j) of each sample to each class, the true one without
    sample n.

    The teacher's label space is its classes and the images of the probe, each a class of its own:
    p'(x_n) puts ``ANSWER_SHARE`` of its mass on the former as the teacher answers and the rest on
    image n. Ground costs are 1 - cos to the mean of class j in whitened features: of the image for
    an image, and for a class of the teacher the mean over the probe weighted by its answers.
    Without a head all mass stays on the image.

    Against a one-hot target the plan is unique and the cost linear in the places, so all follows
    from the (N, N) cosines between samples: W = 1 - m_n . nu_j / |nu_j|, m_n = 3/4 z_n + 1/4 sum_m
    S_nm z_m, S = P diag(1 / P^T 1) P^T.
    """
    cosines = whitened_cosines(data.features)
    counts = data.counts.astype(np.float32)
    averaging = data.one_hot / counts  # (N, C)
    to_means = cosines @ averaging  # (N, C) products of images and class means
    squared_norms = (averaging * to_means).sum(axis=0)  # (C,) of the class means
    mean_norms = np.sqrt(np.maximum(squared_norms, 1e-8))
    to_self = np.diagonal(cosines)
    # The true class's mean without the sample is (count nu - z_n) / (count - 1): its squared norm
    # times (count - 1)^2. Nothing is left of a class of one.
    class_size = counts[data.labels]  # (N,)
    to_class_sum = class_size * data.of_true_class(to_means)
    sum_norms = class_size * mean_norms[data.labels]
    rest_norms = np.square(sum_norms) - 2 * to_class_sum + to_self
    if data.probabilities is not None:
        mass = np.maximum(data.probabilities.sum(axis=0), 1e-12)  # (C_t,)
        shares = data.probabilities / np.sqrt(mass)
        smoothing = shares @ shares.T  # S
        smoothed_self = np.einsum("nm,nm->n", smoothing, cosines)
        smoothed_means = ANSWER_SHARE * smoothing @ to_means
        to_self = (1 - ANSWER_SHARE) * to_self + ANSWER_SHARE * smoothed_self
        to_means = (1 - ANSWER_SHARE) * to_means + smoothed_means
    costs: Floats = 1 - to_means / mean_norms
    to_rest = class_size * data.of_true_class(to_means) - to_self
    true_costs = 1 - to_rest / np.sqrt(np.maximum(rest_norms, 1e-6))
    alone = (class_size == 1) | (rest_norms < 1e-6)
    true_costs[alone] = 1
    costs[np.arange(len(costs)), data.labels] = true_costs
    return costs


def whitened_cosines(features: Floats) -> Floats:
    """(N, N) float32 cosines between samples whitened by the ridged total scatter X^T X + I, so
    that every direction that carries variance counts alike; no label is read.

    ``features`` X (N, D) are centred and of mean squared row norm 1 (`ProbeData.features`). The
    products of whitened samples are X (X^T X + I)^-1 X^T = I - (X X^T + I)^-1, so the smaller of
    the two matrices is factored, in place. A sample at the mean has cosine 0 with all.
    """
    n, d = features.shape
    by_smaller = _products_by_gram if n <= d else _products_by_scatter
    products = by_smaller(features)
    norms = np.sqrt(np.maximum(np.diagonal(products), 0))
    scale = (1 / np.maximum(norms, 1e-4)).astype(np.float32)
    scale[norms <= 1e-4] = 0
    products *= scale[:, None]
    products *= scale
    return products


def _products_by_gram(features: Floats) -> Floats:
    from scipy.linalg.lapack import spotrf, spotri

    gram = features @ features.T
    gram.flat[:: len(gram) + 1] += RIDGE
    factor, _ = spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = spotri(factor, lower=1, overwrite_c=1)
    lower = np.tril(inverse, -1)
    products: Floats = -RIDGE * (lower + lower.T)
    products.flat[:: len(gram) + 1] = 1 - RIDGE * np.diagonal(inverse)
    return products


def _products_by_scatter(features: Floats) -> Floats:
    from scipy.linalg import solve_triangular

    scatter = features.T @ features
    scatter.flat[:: len(scatter) + 1] += RIDGE
    whitened = solve_triangular(np.linalg.cholesky(scatter), features.T, lower=True).T
    products: Floats = whitened @ whitened.T
    return products
