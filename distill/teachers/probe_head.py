"""Linear heads on a teacher's features, fitted out of fold, so that any teacher speaks the task's
label space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.errors import UserError

SHRINKAGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeHead:
    """F heads, each fitted without one fold of the labelled images.

    weights     (F, C, D) float32, of raw features, temperature included: logits are calibrated
    bias        (F, C) float32
    fold        (N,) int64, the fold of each training image, -1 if it is unlabelled
    likelihood  mean out-of-fold log-likelihood of the labels, nats
    accuracy    out of fold, in [0, 1]
    """

    weights: Tensor
    bias: Tensor
    fold: Tensor
    likelihood: float
    accuracy: float

    def logits(self, features: Tensor, index: Tensor) -> Tensor:
        """(..., n, C) float32 answers for ``features`` (..., n, D) of the training images ``index``
        (n,).

        A labelled image is answered by the head that did not see it, in any of its views, an
        unlabelled one by the mean of all heads.
        """
        heads, classes, width = self.weights.shape
        answers = features.float() @ self.weights.reshape(heads * classes, width).T.to(
            features.device
        )
        answers = answers.unflatten(-1, (heads, classes)) + self.bias.to(
            features.device
        )  # (..., n, F, C)
        fold = self.fold.to(features.device)[index]
        pick = torch.nn.functional.one_hot(fold.clamp(min=0), heads).float()
        pick = torch.where(fold[:, None] >= 0, pick, 1 / heads)  # (n, F)
        mixed: Tensor = (answers * pick[..., None]).sum(dim=-2)
        return mixed

    def predict(self, features: Tensor) -> Tensor:
        """(n, C) float32 answers for ``features`` (n, D) of other images, such as a test split: the
        mean of all heads.
        """
        return features.float() @ self.weights.mean(dim=0).T + self.bias.mean(dim=0)


def fit(
    features: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    folds: int = 5,
    seed: int = 0,
    shrinkages: Sequence[float] = SHRINKAGES,
) -> ProbeHead:
    """Cross-fitted linear discriminant heads.

    ``features`` (V, N, D) or (N, D), any float type, V views of N images; ``labels`` (N,) int64, -1
    = unlabelled. Folds are by image, stratified and seeded. A head is Fisher's linear discriminant
    on standardised features with the class covariance shrunk to a multiple of the identity;
    shrinkage and temperature maximise the out-of-fold likelihood. On few labels this beat logistic
    and ridge heads here, and it is in closed form. Raises ``UserError`` where fewer than two
    classes have labels or ``features`` are not finite.
    """
    views = features if features.ndim == 3 else features[None]
    rows = (labels >= 0).nonzero()[:, 0]
    known = labels[rows]
    x = _labelled_features(views, rows, known)  # (V, n, D)
    mean, std = x.mean(dim=(0, 1)), x.std(dim=(0, 1), correction=0)
    constant = std <= 1e-6 * std.max()  # a channel that never moves says nothing
    std = torch.where(constant, torch.ones_like(std), std)
    x = (x - mean) / std
    known_fold = stratified(known, folds=folds, seed=seed)
    fold = torch.full_like(labels, -1)
    fold[rows] = known_fold
    counts = torch.bincount(known, minlength=num_classes)
    prior = torch.log((counts + 0.5) / (counts + 0.5).sum()).to(x.dtype)
    scatters = []
    for f in range(int(known_fold.max()) + 1):
        rest = known_fold != f
        scatters.append(_Scatter.of(x[:, rest], known[rest], num_classes))
    best: ProbeHead | None = None
    for shrinkage in shrinkages:
        heads = [scatter.head(shrinkage) for scatter in scatters]
        left_out = torch.empty(*x.shape[:2], num_classes, device=x.device)
        for f, (weights, bias) in enumerate(heads):
            left_out[:, known_fold == f] = x[:, known_fold == f] @ weights.T + bias
        scale, likelihood = calibrate(left_out, prior, known)
        if best is None or likelihood > best.likelihood:
            weights = scale * torch.stack([weights for weights, _ in heads]) / std  # (F, C, D)
            bias = scale * torch.stack([bias for _, bias in heads]) + prior - weights @ mean
            correct = (scale * left_out + prior).argmax(dim=2) == known
            accuracy = float(correct.float().mean())
            best = ProbeHead(
                weights=weights, bias=bias, fold=fold, likelihood=likelihood, accuracy=accuracy
            )
    assert best is not None
    return best


def _labelled_features(views: Tensor, rows: Tensor, known: Tensor) -> Tensor:
    """(V, n, D) float32 features of the labelled images, checked."""
    present = int(known.unique().numel())
    if present < 2:
        raise UserError(
            "a head needs labelled images of at least two classes, the training split has"
            f" {present}"
        )
    x = views[:, rows].float()
    if not bool(torch.isfinite(x).all()):
        raise UserError(
            "the stored features of this teacher are NaN or infinite: delete its store and run"
            " again"
        )
    return x


def stratified(labels: Tensor, *, folds: int, seed: int) -> Tensor:
    """A fold in [0, folds) for each of ``labels`` (n,): each class is spread as evenly as it goes,
    seeded.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    order = order[labels[order].argsort(stable=True)]  # by class, in random order within
    fold = torch.empty_like(labels)
    fold[order] = torch.arange(len(labels), device=labels.device) % folds
    return fold


def mixture(answers: Tensor, labels: Tensor, *, iterations: int = 100) -> Tensor:
    """Each teacher's weight (K,) >= 0, summing to 1, in the mixture of answers that makes
    ``labels`` likeliest.

    ``answers`` (K, n, C) are calibrated out-of-fold logits of labelled images, ``labels`` (n,) in
    [0, C). Expectation maximisation of a concave problem, so a copy of a teacher only shares its
    weight and a useless one tends to 0.
    """
    true = labels.expand(len(answers), -1)[..., None]
    likely = torch.log_softmax(answers.double(), dim=2).gather(2, true)[..., 0].exp()  # (K, n)
    weights = torch.full(
        (len(answers), 1), 1 / len(answers), dtype=torch.float64, device=answers.device
    )
    for _ in range(iterations):
        joint = weights * likely
        weights = (joint / joint.sum(dim=0).clamp(min=1e-300)).mean(dim=1, keepdim=True)
    return (weights[:, 0] / weights.sum()).float()


class _Scatter(NamedTuple):
    """Class means (C, D) and the eigenvectors (D, r) and eigenvalues (r,) of the covariance within
    classes.
    """

    means: Tensor
    vectors: Tensor
    values: Tensor

    @classmethod
    def of(cls, x: Tensor, labels: Tensor, classes: int) -> _Scatter:
        """Of ``x`` (V, n, D) with ``labels`` (n,); a class without images has the mean of all."""
        flat, truth = x.flatten(0, 1), labels.repeat(len(x))
        counts = torch.bincount(truth, minlength=classes)
        sums = torch.zeros(classes, flat.shape[1], dtype=flat.dtype, device=flat.device).index_add_(
            0, truth, flat
        )
        means = torch.where(
            counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], flat.mean(dim=0)
        )
        within = flat - means[truth]  # (V n, D)
        rows, width = within.shape
        if rows >= width:
            values, vectors = torch.linalg.eigh((within.T @ within / rows).double())
            return cls(means, vectors.to(x.dtype), values.clamp(min=0).to(x.dtype))
        values, left = torch.linalg.eigh((within @ within.T / rows).double())
        kept = values > 1e-6 * values[-1].clamp(min=1e-12)
        values, left = values[kept], left[:, kept]
        vectors = within.T.double() @ left / (values * rows).sqrt()
        return cls(means, vectors.to(x.dtype), values.to(x.dtype))

    def head(self, shrinkage: float) -> tuple[Tensor, Tensor]:
        """(weights (C, D), bias (C,)) with the covariance + ``shrinkage`` x its mean variance x
        identity.
        """
        floor = shrinkage * self.values.sum() / self.means.shape[1] + 1e-9
        along = self.means @ self.vectors  # (C, r)
        weights = (
            self.means / floor + (along * (1 / (self.values + floor) - 1 / floor)) @ self.vectors.T
        )
        return weights, -0.5 * (weights * self.means).sum(dim=1)


def calibrate(logits: Tensor, prior: Tensor, labels: Tensor) -> tuple[float, float]:
    """The inverse temperature of ``logits`` (V, n, C) that makes ``labels`` likeliest, and that
    mean log-likelihood.
    """
    flat, true = logits.flatten(0, 1), labels.repeat(len(logits))[:, None]

    def likelihood(log_scale: float) -> float:
        answers = torch.log_softmax(flat * math.exp(log_scale) + prior, dim=1)
        return float(answers.gather(1, true).mean())

    low, high = math.log(1e-3), math.log(10.0)
    for _ in range(20):  # golden section: the likelihood is concave in the scale
        left, right = high - 0.618 * (high - low), low + 0.618 * (high - low)
        low, high = (low, right) if likelihood(left) >= likelihood(right) else (left, high)
    return math.exp((low + high) / 2), likelihood((low + high) / 2)
