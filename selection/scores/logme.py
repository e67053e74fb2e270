"""Evidence of a Bayesian linear model from features to labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.probe_data import prepare
from selection.scores.score import Score
from selection.scores.spectrum import Spectrum, spectrum

ROUNDS = 50
TOLERANCE = 1e-3  # relative change of alpha / beta at which the rounds stop


class _Fit(NamedTuple):
    """Each class's regression at given precisions: all (C,)."""

    norm: Floats  # |m|^2 of the posterior mean's coefficients
    error: Floats  # |X m - y|^2
    parameters: Floats  # effective number of parameters, gamma


def value(evidence: Evidence) -> float:
    """Log evidence per sample, mean over classes."""
    data = prepare(evidence)
    features = data.raw_features.astype(np.float64)
    features /= max(float(np.abs(features).max()), 1e-12)  # the evidence ignores the scale
    targets = data.one_hot.astype(np.float64)
    return log_evidence(spectrum(features), targets, width=features.shape[1])


def log_evidence(axes: Spectrum, targets: Floats, *, width: int) -> float:
    """Maximise each class's evidence over the precisions of prior (alpha) and noise (beta) by
    fixed-point rounds; the mean over ``targets`` (N, C), for features of ``width`` D.
    """
    count, classes = targets.shape
    sigma = axes.eigenvalues[:, None]  # (r, 1)
    squares = np.square(axes.basis.T @ targets)  # (r, C)
    totals = np.square(targets).sum(axis=0)  # (C,)
    outside = np.maximum(totals - squares.sum(axis=0), 0)

    def fit(ratio: Floats) -> _Fit:
        shrunk = ratio + sigma
        return _Fit(
            norm=(sigma * squares / np.square(shrunk)).sum(axis=0),
            error=(squares * np.square(ratio / shrunk)).sum(axis=0) + outside,
            parameters=(sigma / shrunk).sum(axis=0),
        )

    alpha, beta = np.ones(classes), np.ones(classes)
    for _ in range(ROUNDS):
        ratio = alpha / beta
        norm, error, parameters = fit(ratio)
        alpha = parameters / np.maximum(norm, 1e-12)
        beta = (count - parameters) / np.maximum(error, 1e-12)
        if (np.abs(alpha / beta - ratio) <= TOLERANCE * ratio).all():
            break
    norm, error, _ = fit(alpha / beta)
    null_axes = width - len(axes.eigenvalues)
    log_determinant = np.log(alpha + beta * sigma).sum(axis=0)
    log_determinant += null_axes * np.log(alpha)
    log_precisions = width * np.log(alpha) + count * np.log(beta)
    penalties = beta * error + alpha * norm + count * np.log(2 * np.pi)
    evidence = (log_precisions - log_determinant - penalties) / 2
    return float(evidence.mean() / count)


LOGME = Score(
    name="logme",
    meaning=(
        "How well a linear model explains your labels by this model's features, judged by Bayesian"
        " evidence a sample and class; higher is better; no unit."
    ),
    source=(
        "You et al. 2021, arXiv 2102.11005, algorithm 1 with the fixed point of its journal version"
        " 2110.10545."
    ),
    value=value,
)
