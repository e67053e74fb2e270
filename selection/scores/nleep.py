"""LEEP on clusters of the features in place of the teacher's classes, so it needs no head."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.leep import expected_log_likelihood
from selection.scores.prepared import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum

ENERGY, CLUSTERS_A_CLASS, ROUNDS = 0.8, 5, 20


def value(evidence: Evidence) -> float:
    """Mean log-likelihood, at most 0."""
    ready = prepare(evidence)
    eigenvalues, basis = spectrum(ready.features)
    share = np.cumsum(eigenvalues) / max(float(eigenvalues.sum()), 1e-12)
    width = int(np.searchsorted(share, ENERGY)) + 1
    placed = (basis * np.sqrt(eigenvalues))[:, :width]
    clusters = min(CLUSTERS_A_CLASS * len(ready.counts), len(placed) // 2)
    return expected_log_likelihood(mixture(placed, clusters), ready.one_hot)


def mixture(points: Floats, clusters: int) -> Floats:
    """(N, K) responsibilities of a mixture of K spherical Gaussians, by expectation maximisation.

    Starts from the farthest-first traversal from the mean, so it is deterministic and does not
    depend on the order of the samples; stops early when fewer than K points differ.
    """
    centres = _spread_out(points, clusters)
    n, d = points.shape
    norms = np.square(points).sum(axis=1, keepdims=True)
    floor = 1e-3 * float(norms.mean()) / max(d, 1) + 1e-12
    variances = np.full(len(centres), float(norms.mean()) / max(d, 1) + floor)
    weights = np.full(len(centres), 1 / len(centres))
    for _ in range(ROUNDS):
        gaps = np.maximum(
            norms - 2 * points @ centres.T + np.square(centres).sum(axis=1), 0
        )  # (N, K)
        logs = (
            np.log(np.maximum(weights, 1e-300)) - d / 2 * np.log(variances) - gaps / (2 * variances)
        )
        answers = np.exp(logs - logs.max(axis=1, keepdims=True))
        answers /= answers.sum(axis=1, keepdims=True)
        mass = np.maximum(answers.sum(axis=0), 1e-12)
        weights, centres = mass / n, (answers.T @ points) / mass[:, None]
        gaps = np.maximum(norms - 2 * points @ centres.T + np.square(centres).sum(axis=1), 0)
        variances = np.maximum((answers * gaps).sum(axis=0) / (mass * max(d, 1)), floor)
    found: Floats = answers
    return found


def _spread_out(points: Floats, count: int) -> Floats:
    """(<= count, d) points, each the farthest from those before it."""
    gaps = np.square(points - points.mean(axis=0)).sum(axis=1)
    chosen = [int(gaps.argmax())]
    gaps = np.square(points - points[chosen[0]]).sum(axis=1)
    while len(chosen) < count and gaps.max() > 1e-9:
        chosen.append(int(gaps.argmax()))
        gaps = np.minimum(gaps, np.square(points - points[chosen[-1]]).sum(axis=1))
    seeds: Floats = points[chosen]
    return seeds


NLEEP = Score(
    name="nleep",
    value=value,
    terms=None,
    needs=(),
    source=(
        "Li et al. 2021, arXiv 2102.11939: principal components of 80 % energy, 5 clusters a class."
        " Spherical Gaussians and the deterministic start are ours."
    ),
)
