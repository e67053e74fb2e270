"""Linear heads on a teacher's features, fitted out of fold, in the task's label space.

Shapes: V views of N samples, n of them labelled, D features, C classes, F folds, K teachers.
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
    """F heads, each fitted without one fold of the labelled samples.

    weights     (F, C, D) float32, of raw features, temperature included: logits are calibrated
    bias        (F, C) float32
    fold        (N,) int64, the fold of each training sample, -1 if it is unlabelled
    likelihood  mean out-of-fold log-likelihood of the labels, nats
    accuracy    out of fold, in [0, 1]
    """

    weights: Tensor
    bias: Tensor
    fold: Tensor
    likelihood: float
    accuracy: float

    def logits(self, features: Tensor, index: Tensor) -> Tensor:
        """(..., n, C) float32 of ``features`` (..., n, D) of the training samples ``index`` (n,).

        Of a labelled sample by the head that did not see it in any of its views, of an unlabelled
        sample by the mean of all heads.
        """
        heads, classes, width = self.weights.shape
        device = features.device
        weights = self.weights.reshape(heads * classes, width).to(device)
        products = (features.float() @ weights.T).unflatten(-1, (heads, classes))
        by_head = products + self.bias.to(device)  # (..., n, F, C)
        fold = self.fold.to(device)[index]  # (n,)
        left_out = torch.nn.functional.one_hot(fold.clamp(min=0), heads).float()
        shares = torch.where(fold[:, None] >= 0, left_out, 1 / heads)  # (n, F)
        mixed: Tensor = (by_head * shares[..., None]).sum(dim=-2)
        return mixed

    def predict(self, features: Tensor) -> Tensor:
        """(n, C) float32 logits of ``features`` (n, D) of other samples: the mean of all heads."""
        return features.float() @ self.weights.mean(dim=0).T + self.bias.mean(dim=0)


def fit(
    features: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    folds: int = 5,
    seed: int = 0,
    shrinkages: Sequence[float] = SHRINKAGES,
    balanced: bool = False,
    groups: Tensor | None = None,
) -> ProbeHead:
    """Cross-fitted linear discriminant heads.

    ``features`` (V, N, D) or (N, D), any float type, V views of N samples; ``labels`` (N,) int64,
    -1 = unlabelled. Folds are by sample, stratified and seeded; samples with one number in
    ``groups`` (N,), other than -1, are equal to a teacher and share a fold. A head is Fisher's
    linear discriminant on standardised features with the class covariance shrunk to a multiple of
    the identity; shrinkage and temperature maximise the out-of-fold likelihood. With ``balanced``
    the answers are those for classes that are equally common, otherwise for classes as common as
    the labels are. On few labels this beat logistic and ridge heads here, and it is in closed form.
    Raises ``UserError`` where fewer than two classes have labels or ``features`` are not finite.
    """
    views = features if features.ndim == 3 else features[None]
    rows = (labels >= 0).nonzero()[:, 0]
    known = labels[rows]
    x = _labelled_features(views, rows, known)  # (V, n, D)
    mean, std = _mean_and_std(x)
    x = (x - mean) / std
    known_fold = stratified(known, folds=folds, seed=seed)  # (n,)
    if groups is not None:
        known_fold = _with_groups_whole(known_fold, groups[rows])
    fold = torch.full_like(labels, -1)
    fold[rows] = known_fold
    counts = torch.bincount(known, minlength=num_classes)
    prior = torch.log((counts + 0.5) / (counts + 0.5).sum()).to(x.dtype)  # (C,)
    answered_prior = torch.zeros_like(prior) if balanced else prior
    scatters = []
    for f in range(int(known_fold.max()) + 1):
        rest = known_fold != f
        scatters.append(_Scatter.of(x[:, rest], known[rest], num_classes))

    best: ProbeHead | None = None
    for shrinkage in shrinkages:
        heads = [scatter.head(shrinkage) for scatter in scatters]
        left_out = _left_out_logits(heads, x, known_fold)  # (V, n, C)
        scale, likelihood = calibrate(left_out, prior, known)
        if best is not None and likelihood <= best.likelihood:
            continue
        weights = scale * torch.stack([head.weights for head in heads]) / std  # (F, C, D)
        bias = scale * torch.stack([head.bias for head in heads]) + answered_prior - weights @ mean
        correct = (scale * left_out + answered_prior).argmax(dim=2) == known  # (V, n)
        best = ProbeHead(
            weights=weights,
            bias=bias,
            fold=fold,
            likelihood=likelihood,
            accuracy=float(correct.float().mean()),
        )
    assert best is not None
    return best


def _mean_and_std(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation, (D,) each, of the channels of ``x`` (V, n, D)."""
    mean, std = x.mean(dim=(0, 1)), x.std(dim=(0, 1), correction=0)
    constant = std <= 1e-6 * std.max()  # a channel that never moves says nothing
    return mean, torch.where(constant, torch.ones_like(std), std)


def _left_out_logits(heads: Sequence[_LinearHead], x: Tensor, fold: Tensor) -> Tensor:
    """(V, n, C) logits of each sample of ``x`` (V, n, D) by the head of its ``fold`` (n,)."""
    logits = torch.empty(*x.shape[:2], len(heads[0].bias), device=x.device)
    for f, head in enumerate(heads):
        in_fold = fold == f
        logits[:, in_fold] = x[:, in_fold] @ head.weights.T + head.bias
    return logits


def _labelled_features(views: Tensor, rows: Tensor, known: Tensor) -> Tensor:
    """(V, n, D) float32 features of the labelled samples, checked."""
    present = int(known.unique().numel())
    if present < 2:
        raise UserError(
            "a head needs labelled samples of at least two classes, the training split has"
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
    """A seeded fold in [0, folds) for each of ``labels`` (n,); each class is spread evenly."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    order = order[labels[order].argsort(stable=True)]  # by class, in random order within
    fold = torch.empty_like(labels)
    fold[order] = torch.arange(len(labels), device=labels.device) % folds
    return fold


def _with_groups_whole(fold: Tensor, groups: Tensor) -> Tensor:
    """``fold`` (n,) with the first sample's fold for all of a group (n,); -1 is no group."""
    fold = fold.clone()
    for group in groups[groups >= 0].unique():
        members = groups == group
        fold[members] = fold[members][0]
    return fold


def mixture(logits: Tensor, labels: Tensor, *, iterations: int = 100) -> Tensor:
    """Each teacher's weight in the mixture that makes ``labels`` likeliest; (K,) >= 0, sum 1.

    ``logits`` (K, n, C) are calibrated out-of-fold logits of labelled samples, ``labels`` (n,) in
    [0, C). Expectation maximisation of a concave problem, so a copy of a teacher only shares its
    weight and a useless one tends to 0.
    """
    count = len(logits)
    true = labels.expand(count, -1)[..., None]  # (K, n, 1)
    log_probs = torch.log_softmax(logits.double(), dim=2)  # (K, n, C)
    likelihoods = log_probs.gather(2, true)[..., 0].exp()  # (K, n)
    weights = torch.full(
        (count, 1),
        1 / count,
        dtype=torch.float64,
        device=logits.device,
    )
    for _ in range(iterations):
        joint = weights * likelihoods  # (K, n)
        posteriors = joint / joint.sum(dim=0).clamp(min=1e-300)
        weights = posteriors.mean(dim=1, keepdim=True)
    return (weights[:, 0] / weights.sum()).float()


class _LinearHead(NamedTuple):
    weights: Tensor  # (C, D)
    bias: Tensor  # (C,)


class _Scatter(NamedTuple):
    """Class means, and the eigenvectors and eigenvalues of the covariance within classes."""

    means: Tensor  # (C, D)
    vectors: Tensor  # (D, r)
    values: Tensor  # (r,)

    @classmethod
    def of(
        cls,
        x: Tensor,
        labels: Tensor,
        classes: int,
    ) -> _Scatter:
        """Of ``x`` (V, n, D) with ``labels`` (n,); a class without samples has the mean of all."""
        flat, truth = x.flatten(0, 1), labels.repeat(len(x))  # (V n, D), (V n,)
        counts = torch.bincount(truth, minlength=classes)[:, None]  # (C, 1)
        sums = flat.new_zeros(classes, flat.shape[1]).index_add_(0, truth, flat)
        means = torch.where(counts > 0, sums / counts.clamp(min=1), flat.mean(dim=0))
        within = flat - means[truth]  # (V n, D)
        rows, width = within.shape
        if rows >= width:
            values, vectors = torch.linalg.eigh((within.T @ within / rows).double())
            return cls(means, vectors.to(x.dtype), values.clamp(min=0).to(x.dtype))
        # fewer rows than channels: the same eigenvalues from the smaller matrix
        values, left = torch.linalg.eigh((within @ within.T / rows).double())
        kept = values > 1e-6 * values[-1].clamp(min=1e-12)
        values, left = values[kept], left[:, kept]
        vectors = within.T.double() @ left / (values * rows).sqrt()
        return cls(means, vectors.to(x.dtype), values.to(x.dtype))

    def head(self, shrinkage: float) -> _LinearHead:
        """By the covariance + ``shrinkage`` x its mean variance x identity."""
        floor = shrinkage * self.values.sum() / self.means.shape[1] + 1e-9
        along = self.means @ self.vectors  # (C, r)
        change = 1 / (self.values + floor) - 1 / floor  # (r,) of the inverse along the vectors
        weights = self.means / floor + (along * change) @ self.vectors.T  # (C, D)
        return _LinearHead(weights, bias=-0.5 * (weights * self.means).sum(dim=1))


class FittedScale(NamedTuple):
    """The inverse temperature of logits, and the mean log-likelihood of the labels with it."""

    scale: float
    likelihood: float


def calibrate(logits: Tensor, prior: Tensor, labels: Tensor) -> FittedScale:
    """The scale of ``logits`` (V, n, C) that makes ``labels`` (n,) likeliest.

    ``prior`` (C,) log-probabilities are added after it.
    """
    flat, true = logits.flatten(0, 1), labels.repeat(len(logits))[:, None]

    def likelihood(log_scale: float) -> float:
        log_probs = torch.log_softmax(flat * math.exp(log_scale) + prior, dim=1)
        return float(log_probs.gather(1, true).mean())

    low, high = math.log(1e-3), math.log(10.0)
    for _ in range(20):  # golden section: the likelihood is concave in the scale
        reach = 0.618 * (high - low)
        left, right = high - reach, low + reach
        if likelihood(left) >= likelihood(right):
            high = right
        else:
            low = left
    middle = (low + high) / 2
    return FittedScale(math.exp(middle), likelihood(middle))
