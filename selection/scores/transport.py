"""Relatedness of a teacher to a task: the transport cost from its answers to the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.ground import SPACES, Ground, distances, ground
from selection.scores.score import Score
from selection.scores.sinkhorn import SHARPNESS, self_transport, sinkhorn

SOURCE = (
    "Transport from the teacher's prediction to the label as relatedness: after Lu et al. 2022, arXiv 2204.11526. "
    "The ground cost, leaving each sample out of its class, and the comparison with shuffled labels are ours."
)


def gains(evidence: Evidence, space: str = "prototypes") -> Floats:
    """(N,) what each labelled sample's answer saves against a shuffled label, as a share of what that costs on average.

    A shuffled label costs sum_j prior_j W(p(x), e_j) in expectation, in closed form.
    """
    found = ground(evidence, space)
    costs = found.costs()
    shuffled = costs @ found.ready.prior
    saved: Floats = (shuffled - _true(costs, found)) / max(float(shuffled.mean()), 1e-12)
    return saved


def _true(costs: Floats, found: Ground) -> Floats:
    own: Floats = costs[np.arange(len(costs)), found.ready.labels]
    return own


def _cheapness(evidence: Evidence, space: str) -> Floats:
    """(N,) minus the cost to the true class."""
    found = ground(evidence, space)
    return -_true(found.costs(), found)


def _debiased(evidence: Evidence, space: str) -> Floats:
    """(N,) minus the Sinkhorn divergence of the answer and the label: W(p, e_y) - OT_eps(p, p) / 2."""
    found = ground(evidence, space)
    own = _true(found.costs(), found)
    if found.answers is None:  # each answer is one point, at no distance from itself
        return -own
    within = distances(found.teacher, found.teacher)
    eps = SHARPNESS * max(float(within.max()), float(own.max()), 1e-12)
    return -own + self_transport(found.answers, within, eps=eps) / 2


def aggregate(found: Ground) -> float:
    """Sinkhorn cost from the mean answer to the class prior."""
    return sinkhorn(found.mean_answer(), found.ready.prior, found.cost()).cost


def _aggregate(evidence: Evidence, space: str) -> float:
    return -aggregate(ground(evidence, space))


def _aggregate_relative(evidence: Evidence, space: str) -> float:
    """What the independent plan costs, that of labels which say nothing, less the best plan, over the former."""
    found = ground(evidence, space)
    independent = float(found.mean_answer() @ found.cost() @ found.ready.prior)
    return (independent - aggregate(found)) / max(independent, 1e-12)


def _aggregate_debiased(evidence: Evidence, space: str) -> float:
    """Minus the Sinkhorn divergence of mean answer and class prior."""
    found = ground(evidence, space)
    cost, answer, prior = found.cost(), found.mean_answer(), found.ready.prior
    teacher, task = distances(found.teacher, found.teacher), distances(found.task, found.task)
    eps = SHARPNESS * max(float(cost.max()), float(teacher.max()), float(task.max()), 1e-12)
    across = sinkhorn(answer, prior, cost, eps=eps).objective
    own = self_transport(answer[None], teacher, eps=eps)[0] + self_transport(prior[None], task, eps=eps)[0]
    return float(own / 2 - across)


def _instance(name: str, space: str, terms: Callable[[Evidence, str], Floats]) -> Score:
    return Score(
        name=name,
        value=lambda evidence: float(terms(evidence, space).mean()),
        terms=lambda evidence: terms(evidence, space),
        needs=NEEDS[space],
        source=SOURCE,
    )


def _whole(name: str, space: str, value: Callable[[Evidence, str], float]) -> Score:
    return Score(
        name=name, value=lambda evidence: value(evidence, space), terms=None, needs=NEEDS[space], source=SOURCE
    )


NEEDS = {
    "names": ("probabilities", "class_embeddings", "teacher_embeddings"),
    "prototypes": ("probabilities",),
    "classifier": ("probabilities", "classifier_weights"),
}

TRANSPORT: tuple[Score, ...] = tuple(
    score
    for space in SPACES
    for score in (
        _instance(f"transport_{space}", space, _cheapness),
        _instance(f"transport_{space}_relative", space, gains),
        _instance(f"transport_{space}_debiased", space, _debiased),
        _whole(f"transport_{space}_aggregate", space, _aggregate),
        _whole(f"transport_{space}_aggregate_relative", space, _aggregate_relative),
        _whole(f"transport_{space}_aggregate_debiased", space, _aggregate_debiased),
    )
)
