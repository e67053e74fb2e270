"""Features in which every direction that carries variance counts alike, but for the weakest."""

from __future__ import annotations

import numpy as np

from selection.evidence import Floats

RIDGE = 1.0  # in units of the mean squared norm of a row, which is 1


def cosines(features: Floats) -> Floats:
    """(N, N) float32 cosines between samples whitened by the ridged total scatter X^T X + I; no
    label is read.

    ``features`` X (N, D) are centred and of mean squared row norm 1 (``Prepared.features``). The
    products of whitened samples are X (X^T X + I)^-1 X^T = I - (X X^T + I)^-1, so the smaller of
    the two matrices is factored, in place. A sample at the mean has cosine 0 with all.
    """
    from scipy.linalg import solve_triangular
    from scipy.linalg.lapack import spotrf, spotri

    n, d = features.shape
    if n <= d:
        inner = features @ features.T
        inner.flat[:: n + 1] += RIDGE
        factor, _ = spotrf(inner, lower=1, overwrite_a=1)
        inverse, _ = spotri(factor, lower=1, overwrite_c=1)
        lower = np.tril(inverse, -1)
        products: Floats = -RIDGE * (lower + lower.T)
        products.flat[:: n + 1] = 1 - RIDGE * np.diagonal(inverse)
    else:
        scatter = features.T @ features
        scatter.flat[:: d + 1] += RIDGE
        placed = solve_triangular(np.linalg.cholesky(scatter), features.T, lower=True).T
        products = placed @ placed.T
    norms = np.sqrt(np.maximum(np.diagonal(products), 0))
    scale = np.where(norms > 1e-4, 1 / np.maximum(norms, 1e-4), 0).astype(np.float32)
    products *= scale[:, None]
    products *= scale
    return products
