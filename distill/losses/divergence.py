"""The divergence of softened answers: the loss of Hinton et al. 2015, with logit standardisation as an option."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def softened_kl(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) of each row, nats, >= 0.

    ``student`` and ``teacher`` are logits (B, C); returns (B,). The factor T^2 keeps the gradient's size the same at
    every T (Hinton, Vinyals, Dean 2015, arXiv 1503.02531, section 2).
    """
    log_q = functional.log_softmax(student / temperature, dim=1)  # (B, C)
    log_p = functional.log_softmax(teacher / temperature, dim=1)  # (B, C)
    divergence: Tensor = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return temperature**2 * divergence


def standardised(logits: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Each row of ``logits`` (B, C) with mean 0 and (population) standard deviation 1.

    Sun et al. 2024 (arXiv 2403.01427): with both sides standardised, shift and scale of the logits no longer matter and
    the student need only match their order and ratios. Constant rows become 0, with a finite gradient (epsilon is ours).
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + epsilon**2).sqrt()
