"""What it costs to carry a teacher's classes to the task's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class GroundCost(NamedTuple):
    """``matrix`` (C_t, C) float32 >= 0, or (C, C) for a teacher without a head; ``mean`` its mean cost to the true class."""

    matrix: Tensor
    mean: float


def ground_cost(features: Tensor, logits: Tensor | None, labels: Tensor, *, num_classes: int) -> GroundCost:
    """Squared distances between prototypes, in the teacher's own standardised features, divided by their mean.

    ``features`` (n, D), ``logits`` (n, C_t) or None and ``labels`` (n,) in [0, C) of the labelled training images. A
    teacher's class has the soft prototype mu_i = sum_n p_i(x_n) phi(x_n) / sum_n p_i(x_n), a task's class its mean nu_j,
    M_ij = |mu_i - nu_j|^2; without a head mu = nu. The mean is sum_i p_i(x_n) M[i, y_n] over the images: against a
    one-hot target the plan is unique. The objective is of Lu, Ye, Zhan 2022 (arXiv 2204.11526), this cost is ours.
    """
    x = features.float()
    x = (x - x.mean(0)) / x.std(0, correction=0).clamp(min=1e-6)
    one_hot = torch.nn.functional.one_hot(labels, num_classes).float()  # (n, C)
    counts = one_hot.sum(0)[:, None]
    means = torch.where(counts > 0, one_hot.T @ x / counts.clamp(min=1), x.mean(0))  # (C, D)
    shares = one_hot if logits is None else logits.float().softmax(1)  # (n, C_t)
    theirs = means if logits is None else shares.T @ x / shares.sum(0).clamp(min=1e-12)[:, None]  # (C_t, D)
    matrix = torch.cdist(theirs, means).square()
    matrix = matrix / matrix.mean().clamp(min=1e-12)
    return GroundCost(matrix, float((shares @ matrix).gather(1, labels[:, None]).mean()))
