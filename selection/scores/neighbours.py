"""The nearest neighbours of vectors, by an exact flat faiss index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


class Neighbours(NamedTuple):
    """The k nearest of each of N vectors, most similar first, itself left out."""

    rows: Ints  # (N, k) int64
    similarity: Floats  # (N, k) float32 cosines, falling


def neighbours(features: Floats, k: int) -> Neighbours:
    """The ``k`` rows nearest to each row of ``features`` (N, D) by cosine, exact; a zero row has
    cosine 0 with all.

    Raises ``ValueError`` unless 1 <= k < N.
    """
    import faiss

    count, width = features.shape
    if not 1 <= k < count:
        raise ValueError(f"{k} neighbours of {count} rows; expected 1 to {count - 1}")
    rows = np.array(features, dtype=np.float32, order="C")
    faiss.normalize_L2(rows)
    index = faiss.IndexFlatIP(width)
    index.add(rows)
    similarity, nearest = index.search(rows, k + 1)
    others = nearest != np.arange(count)[:, None]  # (N, k + 1)
    copied = others.all(axis=1)  # k + 1 copies of a row may hide it from itself
    others[copied, -1] = False
    shape = (count, k)
    return Neighbours(nearest[others].reshape(shape), similarity[others].reshape(shape))
