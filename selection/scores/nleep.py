"""LEEP on clusters of the features in place of the teacher's classes, so it needs no head."""

from __future__ import annotations

import warnings

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.leep import expected_log_likelihood
from selection.scores.probe_data import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum

ENERGY = 0.8  # share of the variance that the principal components keep
CLUSTERS_A_CLASS = 5
ROUNDS = 20


def value(evidence: Evidence) -> float:
    """Mean log-likelihood, at most 0."""
    data = prepare(evidence)
    axes = spectrum(data.features)
    total = max(float(axes.eigenvalues.sum()), 1e-12)
    energy = np.cumsum(axes.eigenvalues) / total
    components = int(np.searchsorted(energy, ENERGY)) + 1
    points = axes.coordinates[:, :components]
    clusters = min(CLUSTERS_A_CLASS * len(data.counts), len(points) // 2)
    return expected_log_likelihood(responsibilities(points, clusters), data.one_hot)


def responsibilities(points: Floats, clusters: int) -> Floats:
    """(N, K) probabilities of each cluster in a mixture of K spherical Gaussians for ``points``
    (N, d).

    Starts from the farthest-first traversal from the mean, so it is deterministic and does not
    depend on the order of the samples; K is at most ``clusters`` and at most the number of points
    that differ.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if points.shape[1] == 0:  # constant features: one cluster of all
        return np.ones((len(points), 1))
    centres = _farthest_first(points, clusters)
    variance = max(float(np.square(points).mean()), 1e-12)
    floor = 1e-3 * variance
    mixture = GaussianMixture(
        len(centres),
        covariance_type="spherical",
        weights_init=np.full(len(centres), 1 / len(centres)),
        means_init=centres,
        precisions_init=np.full(len(centres), 1 / (variance + floor)),
        reg_covar=floor,
        max_iter=ROUNDS,
    )
    with warnings.catch_warnings():  # the rounds are few on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(points)
    probabilities: Floats = mixture.predict_proba(points)
    return probabilities


def _farthest_first(points: Floats, count: int) -> Floats:
    """(<= count, d) points, the first farthest from the mean, each next from those before it."""
    centre = points.mean(axis=0)
    gaps = np.square(points - centre).sum(axis=1)  # (n,)
    chosen = [int(gaps.argmax())]
    gaps[:] = np.inf
    while True:
        newest = points[chosen[-1]]
        gaps = np.minimum(gaps, np.square(points - newest).sum(axis=1))
        if len(chosen) == count or gaps.max() <= 1e-9:
            break
        chosen.append(int(gaps.argmax()))
    seeds: Floats = points[chosen]
    return seeds


NLEEP = Score(
    name="nleep",
    meaning=(
        "How surely clusters of this model's features tell your classes; higher is better, 0 is"
        " the most; in nats."
    ),
    source=(
        "Li et al. 2021, arXiv 2102.11939: principal components of 80 % energy, 5 clusters a class."
        " Spherical Gaussians and the deterministic start are ours."
    ),
    value=value,
)
