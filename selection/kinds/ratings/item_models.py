"""Models of items by items: what a user's history says of the items beside it.

Shapes: U users, L items. A model is a matrix W (L, L) of diagonal 0; the score of item i for a user
with the history x (L,) is (x W)_i, so an item of the history says nothing of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NEAR_ITEMS = 100
FOLDS = 5
FOLD_SEED = 20_190_505
RIDGES = (100.0, 200.0, 400.0, 800.0)  # lambda of EASE, in observations


def near_items(features: Floats, known: Ints, items: int, *, most: int = NEAR_ITEMS) -> Any:
    """Similarity to the nearest items, by faiss.

    Parameters
    ----------
    features : (m, D) float array
        Of the items ``known``.
    known : (m,) int array
        Their places in [0, ``items``).
    items : int
        L.
    most : int
        How many items are near.

    Returns
    -------
    (L, L) sparse float32: row j holds the cosine of its ``most`` nearest items, in standardised
    features, where it is positive.
    """
    import faiss

    shape = (items, items)
    if len(known) < 2:
        return sparse.csr_array(shape, dtype=np.float32)
    x = features.astype(np.float32)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    x = np.ascontiguousarray(x)
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    cosines, near = index.search(x, min(most + 1, len(x)))  # (m, k) each, mostly itself first
    rows = np.repeat(np.arange(len(x)), near.shape[1])
    columns, values = near.ravel(), cosines.ravel()
    kept = (columns != rows) & (columns >= 0) & (values > 0)
    place = (known[rows[kept]], known[columns[kept]])
    return sparse.csr_array((values[kept], place), shape=shape, dtype=np.float32)


def cosine_items(observed: Any, *, most: int = NEAR_ITEMS) -> Any:
    """Item-kNN: (L, L) the cosine of items by who observed them (U, L), the ``most`` nearest."""
    counts = np.asarray(observed.sum(axis=0)).ravel()
    together = (observed.T @ observed).toarray()
    scale = np.sqrt(np.maximum(counts, 1e-9))
    cosines = together / scale / scale[:, None]
    np.fill_diagonal(cosines, 0)
    if most < len(cosines):
        least = -np.partition(-cosines, most - 1, axis=1)[:, most - 1 : most]
        cosines[cosines < least] = 0
    return sparse.csr_array(cosines, dtype=np.float32)


def ease(matrix: Any, ridge: float) -> Floats:
    """EASE (Steck 2019, arXiv 1905.03375, equation 8): (L, L) float32 of diagonal 0.

    ``matrix`` (U, L) sparse, ``ridge`` the lambda of the paper.
    """
    from scipy.linalg import cho_factor, cho_solve

    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += ridge
    inverse = cho_solve(cho_factor(gram, overwrite_a=True), np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    found: Floats = weights.astype(np.float32)
    return found


def cross_fitted_ease(matrix: Any, error: Callable[[Any, Floats], float]) -> Floats:
    """(U, L) float32 scores of EASE, each user's by a model of the users of other folds.

    A model that has seen a user's own history answers from memory: on MovieLens-100k its scale was
    three times too large for validation pairs (ours, not the paper's). ``error`` compares a fold's
    rows (u, L) with their scores (u, L); lambda is the one of least error on the first fold.
    """
    rng = np.random.default_rng(FOLD_SEED)
    fold = rng.permutation(matrix.shape[0]) % FOLDS
    scores = np.zeros(matrix.shape, np.float32)
    best = RIDGES[0]
    for number in range(FOLDS):
        rows = np.flatnonzero(fold == number)
        part, rest = matrix[rows], matrix[np.flatnonzero(fold != number)]
        if number:
            scores[rows] = part @ ease(rest, best)
            continue
        least = np.inf
        for ridge in RIDGES:
            tried = part @ ease(rest, ridge)
            if (found := error(part, tried)) < least:
                best, least, scores[rows] = ridge, found, tried
    return scores
