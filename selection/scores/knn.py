"""Leave-one-out accuracy of the nearest neighbours."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats, Ints
from selection.scores.neighbours import neighbours
from selection.scores.probe_data import prepare
from selection.scores.score import Score

NEIGHBOURS = 5
NOISE = np.float32(5e-6)  # similarities closer than this are equal: rounding decides nothing


def terms(evidence: Evidence) -> Floats:
    """(N,) credit of each labelled sample in [0, 1]: 1 where its neighbours' vote is right, shared
    where votes tie.
    """
    data = prepare(evidence)
    votes = neighbour_votes(data.features, data.one_hot)  # (N, C)
    winners = votes >= votes.max(axis=1, keepdims=True) - 1e-6
    credit: Floats = data.of_true_class(winners) / winners.sum(axis=1)
    return credit


def accuracy_by_class(credit: Floats, labels: Ints, classes: int) -> Floats:
    """(C,) the mean of ``credit`` (n,) over the samples of each class; NaN without any."""
    counts = np.bincount(labels, minlength=classes)
    means = np.full(classes, np.nan)
    present = counts > 0
    means[present] = np.bincount(labels, credit, classes)[present] / counts[present]
    return means


def neighbour_votes(features: Floats, one_hot: Floats) -> Floats:
    """(N, C) how many of each sample's nearest neighbours are of each class.

    Neighbours as similar as the last of the k share what is left of k votes.
    """
    others = len(features) - 1
    k = min(NEIGHBOURS, others)
    width = min(2 * k + 1, others)
    while True:
        near = neighbours(features, width)
        last = near.similarity[:, k - 1, None]
        tie_is_cut = near.similarity[:, -1:] >= last - NOISE
        if width == others or not tie_is_cut.any():
            break
        width = min(4 * width, others)
    nearer = near.similarity > last + NOISE
    level = (near.similarity >= last - NOISE) & ~nearer
    votes_left = k - nearer.sum(axis=1, keepdims=True)
    share = votes_left / level.sum(axis=1, keepdims=True)
    weights = np.where(nearer, 1, level * share)  # (N, width)
    votes: Floats = np.einsum("nk,nkc->nc", weights, one_hot[near.rows])
    return votes


KNN = Score.mean_of(
    terms,
    name="knn",
    meaning=(
        "The share of your samples whose 5 most similar others, as this model sees them, have the"
        " right label; higher is better; 0 to 1."
    ),
    source=(
        "k = 5 nearest neighbours by cosine of centred features, leave-one-out; arXiv 2503.18528."
        " Sharing the credit of ties, which makes the value independent of the samples' order, is"
        " ours."
    ),
)
