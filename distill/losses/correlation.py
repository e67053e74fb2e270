"""Distillation by correlation instead of divergence: DIST."""

from __future__ import annotations

import torch
from torch import Tensor


def correlation_distance(student: Tensor, teacher: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """1 - Pearson correlation of each row of two (n, m) tensors; (n,) in [0, 2].

    Unchanged by a shift or a positive scale of either side's row. A constant row gives 1.
    """
    a = student - student.mean(dim=1, keepdim=True)
    b = teacher - teacher.mean(dim=1, keepdim=True)
    return 1 - (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + epsilon)


def dist(student: Tensor, teacher: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """DIST (Huang et al. 2022, arXiv 2205.10536): ``(between, within)``, each already times T^2.

    ``student`` and ``teacher`` are logits (B, C). ``between`` (B,) compares the answers of each image over the classes,
    ``within`` (C,) those of each class over the images of the batch; so the latter knows the batch it stands in.
    """
    q = torch.softmax(student / temperature, dim=1)
    p = torch.softmax(teacher / temperature, dim=1)
    scale = temperature**2
    return scale * correlation_distance(q, p), scale * correlation_distance(q.T, p.T)
