"""Regression of a teacher's features or states."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1/2 (1 - cosine) + 1/2 smooth-L1 of each row of two (B, D) tensors; (B,) >= 0, smooth-L1 averaged over D."""
    cosine = 1 - functional.cosine_similarity(student, teacher, dim=1)
    smooth = functional.smooth_l1_loss(student, teacher, reduction="none").mean(dim=1)
    return 0.5 * cosine + 0.5 * smooth


def relative_error(student: Tensor, teacher: Tensor, *, epsilon: float = 1e-6) -> Tensor:
    """||student - teacher||^2 / mean over the batch of ||teacher - its mean||^2, per row; (B,) >= 0.

    Rows are flattened. 1 is the error of always answering the teacher's mean, so that states of any width and scale
    weigh the same; the scale carries no gradient.
    """
    a, b = student.flatten(1), teacher.flatten(1)
    spread = (b - b.mean(dim=0)).square().sum(dim=1).mean().detach()
    return (a - b).square().sum(dim=1) / (spread + epsilon)
