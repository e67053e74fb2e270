"""Evidence of a Bayesian linear model from features to labels."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import prepare
from selection.scores.score import Score
from selection.scores.spectrum import spectrum

ROUNDS = 50


def value(evidence: Evidence) -> float:
    """Log evidence per sample, mean over classes."""
    ready = prepare(evidence)
    features = ready.raw.astype(np.float64)
    features = features / max(
        float(np.abs(features).max()), 1e-12
    )  # the evidence does not depend on the scale
    eigenvalues, basis = spectrum(features)
    return log_evidence(eigenvalues, basis, ready.one_hot.astype(np.float64), features.shape[1])


def log_evidence(eigenvalues: Floats, basis: Floats, targets: Floats, width: int) -> float:
    """Maximise each class's evidence over the precisions of prior (alpha) and noise (beta) by
    fixed-point rounds.

    ``eigenvalues`` (r,) and ``basis`` (N, r) of the Gram matrix, ``targets`` (N, C), ``width`` D.
    """
    n, sigma = len(targets), eigenvalues[:, None]
    square = np.square(basis.T @ targets)  # (r, C)
    rest = np.maximum(np.square(targets).sum(axis=0) - square.sum(axis=0), 0)  # (C,)
    alpha, beta = np.ones(targets.shape[1]), np.ones(targets.shape[1])
    for _ in range(ROUNDS):
        ratio = alpha / beta
        norm = (sigma * square / np.square(ratio + sigma)).sum(axis=0)
        error = (square * np.square(ratio / (ratio + sigma))).sum(axis=0) + rest
        gamma = (sigma / (ratio + sigma)).sum(axis=0)
        alpha, beta = gamma / np.maximum(norm, 1e-12), (n - gamma) / np.maximum(error, 1e-12)
        if (np.abs(alpha / beta - ratio) <= 1e-3 * ratio).all():
            break
    ratio = alpha / beta
    norm = (sigma * square / np.square(ratio + sigma)).sum(axis=0)
    error = (square * np.square(ratio / (ratio + sigma))).sum(axis=0) + rest
    spread = np.log(alpha + beta * sigma).sum(axis=0) + (width - len(eigenvalues)) * np.log(alpha)
    found = (
        width * np.log(alpha)
        + n * np.log(beta)
        - spread
        - beta * error
        - alpha * norm
        - n * np.log(2 * np.pi)
    )
    return float(found.mean() / (2 * n))


LOGME = Score(
    name="logme",
    value=value,
    terms=None,
    needs=(),
    source=(
        "You et al. 2021, arXiv 2102.11005, algorithm 1 with the fixed point of its journal version"
        " 2110.10545."
    ),
)
