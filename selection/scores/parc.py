"""Agreement of distances between features with distances between labels."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.scores.probe_data import prepare
from selection.scores.score import Score


def value(evidence: Evidence) -> float:
    """100 times Spearman's correlation of the two, in [-100, 100]; 0 where either is constant.

    Between one-hot labels there are two distances only, so ranking the feature distances is all the
    work.
    """
    from scipy.stats import rankdata

    data = prepare(evidence)
    rows = data.features - data.features.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    pairs = np.triu_indices(len(rows), 1)
    distances = np.round(1 - rows @ rows.T, 5)  # rounding noise must not rank equal distances
    differ = data.labels[:, None] != data.labels[None]
    ranks = rankdata(distances[pairs])
    ranks -= ranks.mean()
    apart = differ[pairs].astype(np.float64)
    apart -= apart.mean()
    spread = float(np.sqrt((ranks @ ranks) * (apart @ apart)))
    return 100 * float(ranks @ apart) / spread if spread > 0 else 0.0


PARC = Score(
    name="parc",
    meaning=(
        "Whether samples that this model finds alike have the same label, a correlation over pairs"
        " of samples; higher is better; -100 to 100."
    ),
    source=(
        "Bolya et al. 2021, arXiv 2111.06977, sec. 3, without reduction of the features, which are"
        " centred here."
    ),
    value=value,
)
