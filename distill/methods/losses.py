"""The loss terms: pure functions of logits or features, most of them one value a row.

Shapes: B samples of a batch, C classes, D channels of a feature, K teachers.
"""

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
    terms = functional.kl_div(log_q, log_p, reduction="none", log_target=True)  # (B, C)
    return temperature**2 * terms.sum(dim=1)


def standardised(logits: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Each row of ``logits`` (B, C) with mean 0 and (population) standard deviation 1.

    Sun et al. 2024 (arXiv 2403.01427): with both sides standardised, shift and scale of the logits
    no longer matter and the student need only match their order and ratios. Constant rows become 0,
    with a finite gradient (epsilon is ours).
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    variance = centred.square().mean(dim=1, keepdim=True)  # (B, 1)
    return centred / (variance + epsilon**2).sqrt()


class Decoupled(NamedTuple):
    """Both parts of the divergence of each row, without T^2, and the teacher's mass off the target.

    Each is (B,).
    """

    target: Tensor
    others: Tensor
    mass: Tensor


def decoupled(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    temperature: float,
) -> Decoupled:
    """Zhao et al. 2022 (arXiv 2203.08679), equation 7: KL = target + mass * others.

    ``student`` and ``teacher`` are logits (B, C), ``target`` (B,) int64 in [0, C). ``target`` is
    the divergence of the two-way answers (the target or not), ``others`` the divergence over the
    other classes, renormalised. DKD replaces ``mass`` by a constant, so that what a confident
    teacher says of the other classes still counts. At two classes ``others`` is 0: the method needs
    more.
    """
    q = _split_at(target, student / temperature)
    p = _split_at(target, teacher / temperature)
    on_target = p.on.exp() * (p.on - q.on)  # (B,)
    off_target = p.off.exp() * (p.off - q.off)  # (B,)
    others = functional.kl_div(
        q.others,
        p.others,
        reduction="none",
        log_target=True,
    )  # (B, C)
    return Decoupled(
        target=on_target + off_target,
        others=others.sum(dim=1),
        mass=p.off.exp(),
    )


class _SplitLogProbs(NamedTuple):
    """The log-probabilities of each row, split at its target."""

    on: Tensor  # (B,) of the target
    off: Tensor  # (B,) of all other classes together
    others: Tensor  # (B, C) of each other class, given that it is not the target; 0 at the target


def _split_at(target: Tensor, logits: Tensor) -> _SplitLogProbs:
    log_probs = functional.log_softmax(logits, dim=1)  # (B, C)
    is_target = functional.one_hot(target, log_probs.shape[1]).bool()  # (B, C)
    others = log_probs.masked_fill(is_target, -torch.inf)  # (B, C)
    off = others.logsumexp(dim=1)  # (B,)
    given_off = others - off[:, None]  # (B, C)
    return _SplitLogProbs(
        on=log_probs.gather(1, target[:, None])[:, 0],
        off=off,
        others=given_off.masked_fill(is_target, 0.0),
    )


def correlation_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - Pearson correlation of each row of two (n, m) tensors; (n,) in [0, 2].

    Unchanged by a shift or a positive scale of either side's row. A constant row gives 1.
    """
    centred_student = student - student.mean(dim=1, keepdim=True)
    centred_teacher = teacher - teacher.mean(dim=1, keepdim=True)
    return 1 - functional.cosine_similarity(centred_student, centred_teacher, dim=1)


class Correlations(NamedTuple):
    """The two parts of DIST, each already times T^2."""

    between: Tensor  # (B,) of each sample, over the classes
    within: Tensor  # (C,) of each class, over the samples of the batch


def dist(student: Tensor, teacher: Tensor, *, temperature: float) -> Correlations:
    """DIST (Huang et al. 2022, arXiv 2205.10536) of ``student`` and ``teacher`` logits (B, C)."""
    q = torch.softmax(student / temperature, dim=1)
    p = torch.softmax(teacher / temperature, dim=1)
    scale = temperature**2
    return Correlations(
        between=scale * correlation_distance(q, p),
        within=scale * correlation_distance(q.T, p.T),
    )


def feature_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1/2 (1 - cosine) + 1/2 smooth-L1 of each row of two (B, D) tensors; (B,) >= 0.

    Smooth-L1 is averaged over D.
    """
    cosine = 1 - functional.cosine_similarity(student, teacher, dim=1)
    smooth = functional.smooth_l1_loss(student, teacher, reduction="none").mean(dim=1)
    return 0.5 * cosine + 0.5 * smooth


def standardised_error(student: Tensor, teacher: Tensor, *, floor: float = 0.1) -> Tensor:
    """Half the mean squared difference of two (n, D) tensors, each channel standardised; (n,) >= 0.

    Standardised over the rows: averaged over rows and channels it is 1 - correlation, so about 1
    for unrelated states, whatever their scale and mean. What counts is how one row differs from
    another. Each side's spread is at least ``floor`` of its mean spread over the channels, which
    bounds the gradient of a channel that hardly moves.
    """
    difference = _standardised_channels(student, floor) - _standardised_channels(teacher, floor)
    return 0.5 * difference.square().mean(dim=1)


def _standardised_channels(x: Tensor, floor: float) -> Tensor:
    centred = x - x.mean(dim=0)
    spread = (centred.square().mean(dim=0) + 1e-12).sqrt()  # (D,)
    least = (floor * spread.mean()).detach()  # ()
    return centred / (spread**2 + least**2).sqrt()


def ordered_transport(student: Tensor, teacher: Tensor, values: Tensor) -> Tensor:
    """W1 between the rows of two logits (B, C) of ordered classes; (B,) in [0, 1].

    ``values`` (C,), ascending, are what the classes stand for. With the distance of the values as
    ground cost the transport cost has the closed form sum_c |CDF_p(c) - CDF_q(c)| (v_{c+1} - v_c),
    here divided by the largest distance. Against a one-hot row it is the mean absolute error.
    """
    p, q = torch.softmax(teacher, dim=1), torch.softmax(student, dim=1)
    apart = (p - q).cumsum(dim=1)[:, :-1].abs()  # (B, C - 1)
    steps = values.diff()  # (C - 1,)
    return (apart * steps).sum(dim=1) / steps.sum()


def confidence_weights(teachers: Tensor, labels: Tensor) -> Tensor:
    """CA-MKD's weights (Zhang, Chen, Wang 2022, arXiv 2201.00007, equation 4).

    ``teachers`` (K, B, C) logits, ``labels`` (B,) with -1 = unlabelled; returns (B, K) >= 0, rows
    sum to 1. With e_k the cross-entropy of teacher k, w_k = (1 - softmax_k(e)) / (K - 1): the surer
    of the true class, the more. On unlabelled samples e_k is the entropy of the teacher's answer
    instead, divided by log C (ours: the paper has labels everywhere).
    """
    count, samples, classes = teachers.shape
    if count == 1:
        return torch.ones(samples, 1, device=teachers.device)
    log_p = functional.log_softmax(teachers.float(), dim=2)  # (K, B, C)
    true = labels.clamp(min=0).expand(count, -1)[..., None]  # (K, B, 1)
    error = -log_p.gather(2, true)[..., 0]  # (K, B)
    entropy = -(log_p.exp() * log_p).sum(dim=2)  # (K, B)
    doubt = entropy / math.log(max(classes, 2))
    share = torch.softmax(torch.where(labels >= 0, error, doubt), dim=0)  # (K, B)
    return ((1 - share) / (count - 1)).T
