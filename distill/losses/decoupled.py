"""Decoupled knowledge distillation: the divergence split into the target class and the rest."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor


class Decoupled(NamedTuple):
    """Both parts of the divergence of each row, (B,), without T^2, and the teacher's mass off the target, (B,)."""

    target: Tensor
    others: Tensor
    mass: Tensor


def decoupled(student: Tensor, teacher: Tensor, target: Tensor, *, temperature: float) -> Decoupled:
    """Zhao et al. 2022 (arXiv 2203.08679), equation 7: KL = target + mass * others.

    ``student`` and ``teacher`` are logits (B, C), ``target`` (B,) int64 in [0, C). ``target`` is the divergence of the
    two-way answers (the target or not), ``others`` the divergence over the other classes, renormalised. DKD replaces
    ``mass`` by a constant, so that what a confident teacher says of the other classes still counts. At two classes
    ``others`` is 0: the method needs more.
    """
    chosen = functional.one_hot(target, student.shape[1]).bool()  # (B, C)
    log_q, log_p = (functional.log_softmax(logits / temperature, dim=1) for logits in (student, teacher))

    def split(log: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        off = log.masked_fill(chosen, -torch.inf)  # (B, C)
        mass = off.logsumexp(dim=1)  # (B,)
        return log.gather(1, target[:, None])[:, 0], mass, (off - mass[:, None]).masked_fill(chosen, 0.0)

    (on_q, off_q, rest_q), (on_p, off_p, rest_p) = split(log_q), split(log_p)
    two_way = on_p.exp() * (on_p - on_q) + off_p.exp() * (off_p - off_q)  # (B,)
    others = (rest_p.exp().masked_fill(chosen, 0.0) * (rest_p - rest_q)).sum(dim=1)  # (B,)
    return Decoupled(target=two_way, others=others, mass=off_p.exp())
