"""H-score: variance between classes over total variance, with a shrunk covariance."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.probe_data import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum


def value(evidence: Evidence) -> float:
    """tr(cov_shrunk^-1 (1 - shrinkage) cov_between), in [0, C - 1]."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    data = prepare(evidence)
    count, width = data.features.shape
    eigenvalues, basis = spectrum(data.features)
    variances = eigenvalues / count  # (r,)
    shrinkage = float(ledoit_wolf_shrinkage(data.features, assume_centered=True, block_size=width))
    kept = (1 - shrinkage) * variances
    shrunk = kept + shrinkage * variances.sum() / width
    class_sums = data.one_hot.T @ basis / np.sqrt(data.counts)[:, None]  # (C, r)
    between = np.square(class_sums).sum(axis=0)  # (r,) share of each axis between classes
    return float(kept / np.maximum(shrunk, 1e-15) @ between)


HSCORE = Score(
    name="hscore",
    meaning=(
        "How much of the spread of this model's features lies between your classes rather than"
        " within them; higher is better; 0 to the number of classes less 1."
    ),
    source=(
        "Bao et al. 2019; shrinkage of Ledoit and Wolf after Ibrahim et al. 2022, arXiv 2110.06893,"
        " eq. 7. Computed on the spectrum of the Gram matrix where N < D."
    ),
    value=value,
)
