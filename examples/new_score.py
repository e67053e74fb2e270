"""A new score: leave-one-out accuracy of the nearest class mean. Copy and change it.

python examples/new_score.py            # ranks the packaged teachers for the packaged task by it
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence
from selection.rank import Settings, rank
from selection.scores.registry import SCORES
from selection.scores.score import Score


def terms(evidence: Evidence) -> np.ndarray:
    """(N,) 1 where the nearest class mean, without the sample itself, is of the right class."""
    known = evidence.labelled()
    features, labels = known.features.astype(np.float64), known.labels  # (N, D), (N,)
    classes = np.unique(labels)
    member = (labels[:, None] == classes).astype(float)  # (N, C)
    counts = member.sum(axis=0)  # (C,)
    sums = member.T @ features  # (C, D)
    means = sums / counts[:, None]
    distances = ((features[:, None] - means) ** 2).sum(axis=2)  # (N, C)

    home = np.searchsorted(classes, labels)  # (N,) the column of each sample's class
    rest = np.maximum(counts[home] - 1, 1)[:, None]
    without = (sums[home] - features) / rest  # (N, D) the class mean without the sample
    distances[np.arange(len(labels)), home] = ((features - without) ** 2).sum(axis=1)
    return (distances.argmin(axis=1) == home).astype(float)


NEAREST_MEAN = Score.mean_of(
    terms,
    name="nearest_mean",
    meaning="Leave-one-out accuracy of the nearest class mean, 0 to 1.",
    source="An example; the nearest class mean is textbook material.",
)

if __name__ == "__main__":
    SCORES[NEAREST_MEAN.name] = NEAREST_MEAN
    ranking = rank("digits", Settings(score="nearest_mean", probe_size=200))
    print(ranking.to_frame()[["model", "value", "low", "high"]].head().to_string(index=False))
