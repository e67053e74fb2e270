"""Principal axes of the features, from the smaller of the Gram and the scatter matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selection.evidence import Floats


class Spectrum(NamedTuple):
    """Of features X (N, D) of rank r: X X^T = basis diag(eigenvalues) basis^T."""

    eigenvalues: Floats  # (r,) float64, falling, all above rounding noise
    basis: Floats  # (N, r) float64, orthonormal columns

    @property
    def coordinates(self) -> Floats:
        """(N, r) the samples on their principal axes; X up to a rotation, so all distances and
        products are kept.
        """
        scaled: Floats = self.basis * np.sqrt(self.eigenvalues)
        return scaled


def spectrum(features: Floats) -> Spectrum:
    """Eigendecomposition of the Gram (N <= D) or the scatter matrix (D < N) in float64; cost min(N,
    D)^3.
    """
    values = features.astype(np.float64)
    wide = values.shape[0] <= values.shape[1]
    product = values @ values.T if wide else values.T @ values
    eigenvalues, vectors = np.linalg.eigh(product)  # rising
    largest = max(float(eigenvalues[-1]), 1e-12)
    kept = np.flatnonzero(eigenvalues > 1e-8 * largest)[::-1]
    eigenvalues = eigenvalues[kept]
    basis = vectors[:, kept]
    if not wide:
        basis = values @ basis / np.sqrt(eigenvalues)
    return Spectrum(eigenvalues, basis)
