"""Regression of a teacher's features or states."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1/2 (1 - cosine) + 1/2 smooth-L1 of each row of two (B, D) tensors; (B,) >= 0, smooth-L1 averaged over D."""
    cosine = 1 - functional.cosine_similarity(student, teacher, dim=1)
    smooth = functional.smooth_l1_loss(student, teacher, reduction="none").mean(dim=1)
    return 0.5 * cosine + 0.5 * smooth


def standardised_error(student: Tensor, teacher: Tensor, *, floor: float = 0.1, epsilon: float = 1e-6) -> Tensor:
    """Half the mean squared difference of two (n, D) tensors with each channel standardised over the rows; (n,) >= 0.

    Averaged over rows and channels it is 1 - correlation, so about 1 for unrelated states, whatever their scale and mean:
    what counts is how one row differs from another. Each side's spread is at least ``floor`` of its mean spread over the
    channels, which bounds the gradient of a channel that hardly moves.
    """

    def unit(x: Tensor) -> Tensor:
        centred = x - x.mean(dim=0)
        spread = (centred.square().mean(dim=0) + epsilon**2).sqrt()  # (D,)
        return centred / (spread**2 + (floor * spread.mean()).detach() ** 2).sqrt()

    return 0.5 * (unit(student) - unit(teacher)).square().mean(dim=1)
