"""Relatedness of a teacher to a task: the transport cost from its answers to the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores import images, likelihood
from selection.scores.ground import SPACES, Ground, distances, ground
from selection.scores.prepared import Prepared, prepare
from selection.scores.score import Score
from selection.scores.sinkhorn import SHARPNESS, self_transport, sinkhorn

SOURCE = (
    "Transport from the teacher's prediction to the label as relatedness: after Lu et al. 2022,"
    " arXiv 2204.11526. The ground cost, leaving each sample out of its class, and the comparison"
    " with shuffled labels are ours."
)


def gains(evidence: Evidence, space: str = "images") -> Floats:
    """(N,) nats that each labelled sample's transport cost tells about its label: a shuffled
    label's cost less its own.

    ``space`` is one of ``SPACES`` or ``images``. See ``likelihood.nats`` for the unit and its zero.
    """
    found, ready = _costs(evidence, space)
    return likelihood.nats(found, ready)


def answers(evidence: Evidence) -> tuple[Floats, Prepared]:
    """(N, C) log probabilities of the task's classes for each labelled sample, the true one's
    without it: what the default score calls the labels, from the cost of carrying each image to
    each class (``likelihood.answers``).
    """
    found, ready = _costs(evidence, "images")
    return likelihood.answers(found, ready), ready


def _costs(evidence: Evidence, space: str) -> tuple[Floats, Prepared]:
    """(N, C) W(p(x_n), e_j), the true class without sample n."""
    if space == "images":
        ready = prepare(evidence)
        return images.costs(ready), ready
    found = ground(evidence, space)
    return found.costs(), found.ready


def _cheapness(evidence: Evidence, space: str) -> Floats:
    """(N,) minus the cost to the true class."""
    found, ready = _costs(evidence, space)
    own: Floats = -found[np.arange(len(found)), ready.labels]
    return own


def _debiased(evidence: Evidence, space: str) -> Floats:
    """(N,) minus the Sinkhorn divergence of the answer and the label: W(p, e_y) - OT_eps(p, p) /
    2.
    """
    found = ground(evidence, space)
    cheapness = found.costs()[np.arange(len(found.ready.labels)), found.ready.labels] * -1
    if found.answers is None:  # each answer is one point, at no distance from itself
        return cheapness
    within = distances(found.teacher, found.teacher)
    eps = SHARPNESS * max(float(within.max()), -float(cheapness.min()), 1e-12)
    return cheapness + self_transport(found.answers, within, eps=eps) / 2


def aggregate(found: Ground) -> float:
    """Sinkhorn cost from the mean answer to the class prior."""
    return sinkhorn(found.mean_answer(), found.ready.prior, found.cost()).cost


def _aggregate(evidence: Evidence, space: str) -> float:
    return -aggregate(ground(evidence, space))


def _aggregate_relative(evidence: Evidence, space: str) -> float:
    """What the independent plan costs, that of labels which say nothing, less the best plan, over
    the former.
    """
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
    own = (
        self_transport(answer[None], teacher, eps=eps)[0]
        + self_transport(prior[None], task, eps=eps)[0]
    )
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
        name=name,
        value=lambda evidence: value(evidence, space),
        terms=None,
        needs=NEEDS[space],
        source=SOURCE,
    )


NEEDS = {
    "names": ("probabilities", "class_embeddings", "teacher_embeddings"),
    "prototypes": ("probabilities",),
    "images": ("probabilities",),
    "classifier": ("probabilities", "classifier_weights"),
}


def _family(space: str) -> tuple[Score, ...]:
    name = f"transport_{space}"
    return (
        _instance(name, space, _cheapness),
        _instance(f"{name}_relative", space, gains),
        _instance(f"{name}_debiased", space, _debiased),
        _whole(f"{name}_aggregate", space, _aggregate),
        _whole(f"{name}_aggregate_relative", space, _aggregate_relative),
        _whole(f"{name}_aggregate_debiased", space, _aggregate_debiased),
    )


TRANSPORT: tuple[Score, ...] = (
    _instance("transport_images_relative", "images", gains),
    *(score for space in SPACES for score in _family(space)),
)
