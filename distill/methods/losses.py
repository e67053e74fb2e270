"""The loss terms: pure functions of logits or features, most of them one value a row."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor


def softened_kl(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) of each row, nats, >= 0.

    ``student`` and ``teacher`` are logits (B, C); returns (B,). The factor T^2 keeps the gradient's
    size the same at every T (Hinton, Vinyals, Dean 2015, arXiv 1503.02531, section 2).
    """
    log_q = functional.log_softmax(student / temperature, dim=1)  # (B, C)
    log_p = functional.log_softmax(teacher / temperature, dim=1)  # (B, C)
    divergence: Tensor = (log_p.exp() * (log_p - log_q)).sum(dim=1)
    return temperature**2 * divergence


def standardised(logits: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Each row of ``logits`` (B, C) with mean 0 and (population) standard deviation 1.

    Sun et al. 2024 (arXiv 2403.01427): with both sides standardised, shift and scale of the logits
    no longer matter and the student need only match their order and ratios. Constant rows become 0,
    with a finite gradient (epsilon is ours).
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + epsilon**2).sqrt()


class Decoupled(NamedTuple):
    """Both parts of the divergence of each row, (B,), without T^2, and the teacher's mass off the
    target, (B,).
    """

    target: Tensor
    others: Tensor
    mass: Tensor


def decoupled(student: Tensor, teacher: Tensor, target: Tensor, *, temperature: float) -> Decoupled:
    """Zhao et al. 2022 (arXiv 2203.08679), equation 7: KL = target + mass * others.

    ``student`` and ``teacher`` are logits (B, C), ``target`` (B,) int64 in [0, C). ``target`` is
    the divergence of the two-way answers (the target or not), ``others`` the divergence over the
    other classes, renormalised. DKD replaces ``mass`` by a constant, so that what a confident
    teacher says of the other classes still counts. At two classes ``others`` is 0: the method needs
    more.
    """
    chosen = functional.one_hot(target, student.shape[1]).bool()  # (B, C)
    log_q, log_p = (
        functional.log_softmax(logits / temperature, dim=1) for logits in (student, teacher)
    )

    def split(log: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        off = log.masked_fill(chosen, -torch.inf)  # (B, C)
        mass = off.logsumexp(dim=1)  # (B,)
        return (
            log.gather(1, target[:, None])[:, 0],
            mass,
            (off - mass[:, None]).masked_fill(chosen, 0.0),
        )

    (on_q, off_q, rest_q), (on_p, off_p, rest_p) = split(log_q), split(log_p)
    two_way = on_p.exp() * (on_p - on_q) + off_p.exp() * (off_p - off_q)  # (B,)
    others = (rest_p.exp().masked_fill(chosen, 0.0) * (rest_p - rest_q)).sum(dim=1)  # (B,)
    return Decoupled(target=two_way, others=others, mass=off_p.exp())


def correlation_distance(student: Tensor, teacher: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """1 - Pearson correlation of each row of two (n, m) tensors; (n,) in [0, 2].

    Unchanged by a shift or a positive scale of either side's row. A constant row gives 1.
    """
    a = student - student.mean(dim=1, keepdim=True)
    b = teacher - teacher.mean(dim=1, keepdim=True)
    norms: Tensor = a.norm(dim=1) * b.norm(dim=1)
    return 1 - (a * b).sum(dim=1) / (norms + epsilon)


def dist(student: Tensor, teacher: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """DIST (Huang et al. 2022, arXiv 2205.10536): ``(between, within)``, each already times T^2.

    ``student`` and ``teacher`` are logits (B, C). ``between`` (B,) compares the answers of each
    image over the classes, ``within`` (C,) those of each class over the images of the batch; so the
    latter knows the batch it stands in.
    """
    q = torch.softmax(student / temperature, dim=1)
    p = torch.softmax(teacher / temperature, dim=1)
    scale = temperature**2
    return scale * correlation_distance(q, p), scale * correlation_distance(q.T, p.T)


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1/2 (1 - cosine) + 1/2 smooth-L1 of each row of two (B, D) tensors; (B,) >= 0, smooth-L1
    averaged over D.
    """
    cosine = 1 - functional.cosine_similarity(student, teacher, dim=1)
    smooth = functional.smooth_l1_loss(student, teacher, reduction="none").mean(dim=1)
    return 0.5 * cosine + 0.5 * smooth


def standardised_error(
    student: Tensor, teacher: Tensor, *, floor: float = 0.1, epsilon: float = 1e-6
) -> Tensor:
    """Half the mean squared difference of two (n, D) tensors with each channel standardised over
    the rows; (n,) >= 0.

    Averaged over rows and channels it is 1 - correlation, so about 1 for unrelated states, whatever
    their scale and mean: what counts is how one row differs from another. Each side's spread is at
    least ``floor`` of its mean spread over the channels, which bounds the gradient of a channel
    that hardly moves.
    """

    def unit(x: Tensor) -> Tensor:
        centred = x - x.mean(dim=0)
        spread = (centred.square().mean(dim=0) + epsilon**2).sqrt()  # (D,)
        return centred / (spread**2 + (floor * spread.mean()).detach() ** 2).sqrt()

    return 0.5 * (unit(student) - unit(teacher)).square().mean(dim=1)


def confidence_weights(teachers: Tensor, labels: Tensor) -> Tensor:
    """CA-MKD's weights (Zhang, Chen, Wang 2022, arXiv 2201.00007, equation 4); (B, K) >= 0, rows
    sum to 1.

    ``teachers`` (K, B, C) logits, ``labels`` (B,) with -1 = unlabelled. With e_k the cross-entropy
    of teacher k, w_k = (1 - softmax_k(e)) / (K - 1): the surer of the true class, the more. On
    unlabelled images e_k is the entropy of the teacher's answer instead, divided by log C (ours:
    the paper has labels everywhere).
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
