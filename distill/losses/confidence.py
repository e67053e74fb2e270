"""How much each of several teachers counts for each image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor


def confidence_weights(teachers: Tensor, labels: Tensor) -> Tensor:
    """CA-MKD's weights (Zhang, Chen, Wang 2022, arXiv 2201.00007, equation 4); (B, K) >= 0, rows sum to 1.

    ``teachers`` (K, B, C) logits, ``labels`` (B,) with -1 = unlabelled. With e_k the cross-entropy of teacher k,
    w_k = (1 - softmax_k(e)) / (K - 1): the surer of the true class, the more. On unlabelled images e_k is the entropy of
    the teacher's answer instead, divided by log C (ours: the paper has labels everywhere).
    """
    count, _, classes = teachers.shape
    if count == 1:
        return torch.ones(teachers.shape[1], 1, device=teachers.device)
    log_p = functional.log_softmax(teachers.float(), dim=2)  # (K, B, C)
    true = labels.clamp(min=0).expand(count, -1)[..., None]  # (K, B, 1)
    error = -log_p.gather(2, true)[..., 0]  # (K, B)
    doubt = -(log_p.exp() * log_p).sum(dim=2) / math.log(max(classes, 2))  # (K, B)
    share = torch.softmax(torch.where(labels >= 0, error, doubt), dim=0)  # (K, B)
    return ((1 - share) / (count - 1)).T
