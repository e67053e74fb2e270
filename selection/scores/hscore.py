"""H-score: variance between classes over total variance, with a shrunk covariance."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.prepared import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum


def value(evidence: Evidence) -> float:
    """tr(cov_shrunk^-1 (1 - shrinkage) cov_between), in [0, C - 1]."""
    ready = prepare(evidence)
    n, d = ready.features.shape
    eigenvalues, basis = spectrum(ready.features)
    variances = eigenvalues / n
    mean = variances.sum() / d
    off = (
        np.square(variances).sum() / d - mean**2
    )  # of the sample covariance from its multiple of the identity
    fourth = np.square(np.square(ready.features.astype(np.float64)).sum(axis=1)).mean()
    noise = (fourth - np.square(variances).sum()) / (d * n)
    shrinkage = float(np.clip(noise / off, 0, 1)) if off > 1e-15 else 1.0
    sums = ready.one_hot.T @ basis  # (C, r)
    between = np.square(sums / np.sqrt(ready.counts)[:, None]).sum(
        axis=0
    )  # (r,) share of each axis between classes
    weight = (
        (1 - shrinkage)
        * variances
        / np.maximum((1 - shrinkage) * variances + shrinkage * mean, 1e-15)
    )
    return float(weight @ between)


HSCORE = Score(
    name="hscore",
    value=value,
    terms=None,
    needs=(),
    source=(
        "Bao et al. 2019; shrinkage of Ledoit and Wolf after Ibrahim et al. 2022, arXiv 2110.06893,"
        " eq. 7. Computed on the spectrum of the Gram matrix where N < D."
    ),
)
