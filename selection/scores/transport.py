"""Relatedness of a teacher to a task: the transport cost from its answers to the labels."""

from __future__ import annotations

from collections.abc import Callable

from selection.evidence import Evidence, Floats
from selection.scores import likelihood
from selection.scores.image_costs import image_costs
from selection.scores.label_geometry import (
    SPACES,
    LabelGeometry,
    label_geometry,
    squared_distances,
)
from selection.scores.probe_data import ProbeData, prepare
from selection.scores.score import Score
from selection.scores.transport_plans import EPS_SHARE, entropic_plan, self_transport

SOURCE = (
    "Transport from the teacher's prediction to the label as relatedness: after Lu et al. 2022,"
    " arXiv 2204.11526. The ground cost, leaving each sample out of its class, and the comparison"
    " with shuffled labels are ours."
)
NEEDS = {
    "names": ("probabilities", "class_embeddings", "teacher_embeddings"),
    "prototypes": ("probabilities",),
    "images": ("probabilities",),
    "classifier": ("probabilities", "classifier_weights"),
}
# what a match costs, in each space
PATHS = {
    "images": "",
    "names": ", a match being cheap where the two classes have similar names",
    "prototypes": ", a match being cheap where samples of its class look like those of yours to it",
    "classifier": ", a match being cheap where the weights of its class point to samples of yours",
}


def gains(evidence: Evidence, space: str = "images") -> Floats:
    """(N,) nats that each labelled sample's transport cost tells about its label.

    That is a shuffled label's cost less the true one's; see `likelihood.information_gains` for the
    unit and its zero. ``space`` is one of ``SPACES`` or ``images``.
    """
    costs, data = _sample_costs(evidence, space)
    return likelihood.information_gains(costs, data)


def log_probabilities(evidence: Evidence) -> tuple[Floats, ProbeData]:
    """(N, C) log probabilities of the task's classes by the default score, and the probe they are
    of.

    They follow from the cost of carrying each labelled sample to each class, the true one placed
    without the sample (`likelihood.log_probabilities`).
    """
    costs, data = _sample_costs(evidence, "images")
    return likelihood.log_probabilities(costs, data), data


def _sample_costs(evidence: Evidence, space: str) -> tuple[Floats, ProbeData]:
    """(N, C) W(p(x_n), e_j), the true class without sample n."""
    if space == "images":
        data = prepare(evidence)
        return image_costs(data), data
    geometry = label_geometry(evidence, space)
    return geometry.sample_costs(), geometry.data


def _negative_costs(evidence: Evidence, space: str) -> Floats:
    """(N,) minus the cost to the true class."""
    return -label_geometry(evidence, space).true_class_costs()


def _negative_divergences(evidence: Evidence, space: str) -> Floats:
    """(N,) minus the Sinkhorn divergence of the answer and the label: W(p, e_y) - OT_eps(p, p) /
    2.
    """
    geometry = label_geometry(evidence, space)
    costs = geometry.true_class_costs()
    if geometry.answers is None:  # each answer is one point, at no distance from itself
        return -costs
    between_classes = squared_distances(geometry.teacher, geometry.teacher)
    largest = max(float(between_classes.max()), float(costs.max()), 1e-12)
    spread = self_transport(geometry.answers, between_classes, eps=EPS_SHARE * largest)
    return spread / 2 - costs


def aggregate_cost(geometry: LabelGeometry) -> float:
    """Sinkhorn cost from the mean answer to the class prior."""
    plan = entropic_plan(geometry.mean_answer(), geometry.data.prior, geometry.cost_matrix())
    return plan.cost


def _aggregate(evidence: Evidence, space: str) -> float:
    return -aggregate_cost(label_geometry(evidence, space))


def _aggregate_relative(evidence: Evidence, space: str) -> float:
    """What the independent plan costs, that of labels which say nothing, less the best plan, over
    the former.
    """
    geometry = label_geometry(evidence, space)
    independent = float(geometry.mean_answer() @ geometry.cost_matrix() @ geometry.data.prior)
    return (independent - aggregate_cost(geometry)) / max(independent, 1e-12)


def _aggregate_debiased(evidence: Evidence, space: str) -> float:
    """Minus the Sinkhorn divergence of mean answer and class prior."""
    geometry = label_geometry(evidence, space)
    answer, prior = geometry.mean_answer(), geometry.data.prior
    across = geometry.cost_matrix()
    teacher = squared_distances(geometry.teacher, geometry.teacher)
    task = squared_distances(geometry.task, geometry.task)
    largest = max(float(costs.max()) for costs in (across, teacher, task))
    eps = EPS_SHARE * max(largest, 1e-12)
    of_answer = self_transport(answer[None], teacher, eps=eps)[0]
    of_prior = self_transport(prior[None], task, eps=eps)[0]
    return float(
        (of_answer + of_prior) / 2
        - entropic_plan(
            answer,
            prior,
            across,
            eps=eps,
        ).objective
    )


def _sample_score(
    suffix: str,
    space: str,
    terms: Callable[[Evidence, str], Floats],
    meaning: str,
) -> Score:
    return Score.mean_of(
        lambda evidence: terms(evidence, space),
        name=f"transport_{space}{suffix}",
        meaning=meaning.format(PATHS[space]),
        source=SOURCE,
        needs=NEEDS[space],
    )


def _aggregate_score(
    suffix: str,
    space: str,
    value: Callable[[Evidence, str], float],
    meaning: str,
) -> Score:
    return Score(
        name=f"transport_{space}_aggregate{suffix}",
        meaning=meaning.format(PATHS[space]),
        source=SOURCE,
        value=lambda evidence: value(evidence, space),
        needs=NEEDS[space],
    )


def _relative(space: str) -> Score:
    meaning = (
        "How cheaply this model's view of your samples can be matched to your classes{}; higher is"
        " better, 0 is guessing, the most is the logarithm of the number of classes; in nats."
    )
    return _sample_score("_relative", space, gains, meaning)


def _family(space: str) -> tuple[Score, ...]:
    match = "How cheaply this model's answers can be matched to your classes{}"
    total = "How cheaply this model's average answer can be matched to your class frequencies{}"
    end = "; higher is better, 0 is the most; no unit."
    return (
        _sample_score("", space, _negative_costs, match + end),
        _relative(space),
        _sample_score(
            "_debiased",
            space,
            _negative_divergences,
            f"{match}, where unsure answers are not punished twice{end}",
        ),
        _aggregate_score("", space, _aggregate, total + end),
        _aggregate_score(
            "_relative",
            space,
            _aggregate_relative,
            f"{total}, compared with labels that say nothing; higher is better, 1 is the most; no"
            " unit.",
        ),
        _aggregate_score(
            "_debiased",
            space,
            _aggregate_debiased,
            f"{total}, where unsure answers are not punished twice{end}",
        ),
    )


TRANSPORT: tuple[Score, ...] = (
    _relative("images"),
    *(score for space in SPACES for score in _family(space)),
)
