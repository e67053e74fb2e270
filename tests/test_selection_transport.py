"""The laws of transport, and the transport family against exact transport."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.evidence import Evidence, Floats
from selection.scores.image_costs import image_costs, whitened_cosines
from selection.scores.label_geometry import (
    SPACES,
    class_means,
    label_geometry,
    squared_distances,
)
from selection.scores.likelihood import information_gains
from selection.scores.probe_data import ProbeData, prepare
from selection.scores.registry import SCORES, resolve
from selection.scores.score import NotApplicable
from selection.scores.transport_plans import entropic_plan, self_transport
from tests import score_oracles as oracles
from tests.test_selection_scores import teacher

seeds = st.integers(0, 10_000)


def problem(seed: int, rows: int = 6, columns: int = 4) -> tuple[Floats, Floats, Floats]:
    """Two marginals and a cost with entries in [0, 1], its largest 1."""
    rng = np.random.default_rng(seed)
    cost = rng.random((rows, columns))
    return rng.dirichlet(np.ones(rows)), rng.dirichlet(np.ones(columns)), cost / cost.max()


# --- Sinkhorn


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_plan_has_its_marginals_and_costs_no_less_than_exact_transport(seed: int) -> None:
    p, q, cost = problem(seed)
    found = entropic_plan(p, q, cost, iterations=5_000)  # some need more than the default
    np.testing.assert_allclose(found.plan.sum(axis=1), p, atol=1e-6)
    np.testing.assert_allclose(found.plan.sum(axis=0), q, atol=1e-6)
    assert (found.plan >= 0).all()
    assert found.cost == pytest.approx(float((found.plan * cost).sum()))
    assert found.cost >= ot.emd2(p, q, cost) - 1e-6


def test_the_cost_tends_to_exact_transport_as_eps_falls() -> None:
    for seed in range(5):
        p, q, cost = problem(seed)
        exact = ot.emd2(p, q, cost)
        gaps = [
            entropic_plan(p, q, cost, eps=eps, iterations=3_000).cost - exact
            for eps in (0.5, 0.05, 0.005)
        ]
        assert gaps[0] >= gaps[1] >= gaps[2] >= -1e-9
        assert gaps[2] < 0.005


def test_the_plan_is_that_of_the_reference_library() -> None:
    for seed in range(5):
        p, q, cost = problem(seed)
        reference = ot.sinkhorn(
            p, q, cost, 0.05, method="sinkhorn_log", numItermax=10_000, stopThr=1e-12
        )
        np.testing.assert_allclose(
            entropic_plan(p, q, cost, eps=0.05, iterations=5_000).plan, reference, atol=1e-6
        )


def test_eps_is_a_twentieth_of_the_largest_cost_unless_given() -> None:
    p, q, cost = problem(0)
    assert entropic_plan(p, q, 3 * cost).cost == entropic_plan(p, q, 3 * cost, eps=0.15).cost


def test_a_tiny_eps_is_solved_in_the_log_domain() -> None:
    """exp(-cost / eps) is 0 there, and a plan of zeros would cost nothing."""
    p, q, cost = problem(0)
    found = entropic_plan(p, q, 0.5 + 0.5 * cost, eps=5e-4, iterations=3_000)
    np.testing.assert_allclose(found.plan.sum(axis=0), q, atol=1e-3)
    assert found.cost == pytest.approx(ot.emd2(p, q, 0.5 + 0.5 * cost), abs=0.01)


@given(seeds, st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_costs_scale_with_the_ground_cost(seed: int, factor: float) -> None:
    p, q, cost = problem(seed)
    assert entropic_plan(p, q, factor * cost).cost == pytest.approx(
        factor * entropic_plan(p, q, cost).cost, rel=1e-6
    )


@pytest.mark.journey
@given(seeds)
@settings(max_examples=20, deadline=None)
def test_the_objective_is_concave_in_the_ground_cost(seed: int) -> None:
    p, q, one = problem(seed)
    two = problem(seed + 1)[2]
    ends = [entropic_plan(p, q, cost, eps=0.1, iterations=2_000).objective for cost in (one, two)]
    assert (
        entropic_plan(p, q, (one + two) / 2, eps=0.1, iterations=2_000).objective
        >= sum(ends) / 2 - 1e-6
    )


def test_against_a_certain_target_there_is_one_plan_and_its_cost_is_linear() -> None:
    p, _, one = problem(0)
    two = problem(1)[2]
    for label in range(4):
        target = np.eye(4)[label]
        for cost in (one, two, 0.3 * one + 0.7 * two):
            assert entropic_plan(p, target, cost).cost == pytest.approx(float(p @ cost[:, label]))
            assert ot.emd2(p, target, cost) == pytest.approx(float(p @ cost[:, label]))


def test_from_a_distribution_to_itself_costs_nothing() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 3))
    p = rng.dirichlet(np.ones(6))
    assert (
        entropic_plan(p, p, squared_distances(points, points), eps=1e-3, iterations=2_000).cost
        < 1e-6
    )


def test_classes_without_mass_and_costs_of_zero_are_no_trouble() -> None:
    p, q, cost = problem(0)
    wider = np.insert(cost, 2, 5.0, axis=0)
    assert entropic_plan(np.insert(p, 2, 0.0), q, wider, eps=0.05).cost == pytest.approx(
        entropic_plan(p, q, cost, eps=0.05).cost
    )
    np.testing.assert_allclose(entropic_plan(p, q, np.zeros((6, 4))).plan, np.outer(p, q))


@pytest.mark.journey
@given(seeds)
@settings(max_examples=20, deadline=None)
def test_transport_to_itself_is_the_general_solver_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, masses = rng.normal(size=(7, 3)), rng.dirichlet(np.ones(7), size=3)
    cost = squared_distances(points, points)
    eps = 0.05 * float(cost.max())
    found = self_transport(masses, cost, eps=eps, iterations=60)
    for mass, value in zip(masses, found, strict=True):
        assert value == pytest.approx(
            entropic_plan(mass, mass, cost, eps=eps, iterations=3_000).objective,
            abs=2e-3 * cost.max(),
        )


def test_transport_of_a_certain_answer_to_itself_is_free_and_a_small_eps_is_refused() -> None:
    cost = squared_distances(np.arange(4.0)[:, None], np.arange(4.0)[:, None])
    np.testing.assert_allclose(self_transport(np.eye(4), cost, eps=1.0), 0, atol=1e-12)
    far = np.pad(cost, (0, 1), constant_values=1e6)  # a class that no answer names costs nothing
    answers = np.full((1, 4), 0.25)
    np.testing.assert_allclose(
        self_transport(np.pad(answers, ((0, 0), (0, 1))), far, eps=1.0),
        self_transport(answers, cost, eps=1.0),
    )
    with pytest.raises(ValueError, match="hundredth"):
        self_transport(np.eye(4), cost, eps=0.01)


# --- whitening and likelihood


@pytest.mark.parametrize("shape", [(60, 20), (30, 50)], ids=["N > D", "N < D"])
def test_both_forms_of_whitening_are_the_obvious_one(shape: tuple[int, int]) -> None:
    evidence = teacher(n=shape[0], d=shape[1])
    features = prepare(evidence).features
    rows = oracles.whitened(evidence)
    np.testing.assert_allclose(whitened_cosines(features), rows @ rows.T, atol=1e-4)


def test_likelihood_is_the_best_over_sharpness() -> None:
    evidence = teacher(apart=0.5)
    data = prepare(evidence)
    costs = image_costs(data)
    rows = np.arange(60)

    def mean(sharpness: float) -> float:
        logs = np.log(data.prior) - sharpness * costs.astype(np.float64)
        own = logs[rows, data.labels] - np.log(data.prior[data.labels])
        return float((own - np.logaddexp.reduce(logs, axis=1)).mean())

    best = max(mean(2**power) for power in np.linspace(0, 10, 400))
    assert float(information_gains(costs, data).mean()) == pytest.approx(best, abs=1e-4)


def test_likelihood_knows_neither_scale_nor_a_row_s_own_constant() -> None:
    data = prepare(teacher(apart=0.5))
    costs = image_costs(data)
    moved = 3 * costs + np.random.default_rng(0).normal(size=(60, 1))
    np.testing.assert_allclose(
        information_gains(moved, data), information_gains(costs, data), atol=2e-2
    )
    np.testing.assert_allclose(information_gains(np.ones((60, 4)), data), 0, atol=1e-12)
    assert information_gains(1 - data.one_hot, data).mean() == pytest.approx(np.log(4), abs=1e-6)


# --- the family


@pytest.mark.parametrize("space", [*SPACES, "images"])
@pytest.mark.parametrize("shape", [(40, 12), (24, 40)], ids=["N > D", "N < D"])
def test_costs_are_exact_transport_with_each_sample_left_out(
    space: str, shape: tuple[int, int]
) -> None:
    evidence = teacher(apart=0.7, n=shape[0], d=shape[1])
    found = (
        image_costs(prepare(evidence))
        if space == "images"
        else label_geometry(evidence, space).sample_costs()
    )
    for n in range(0, shape[0], 5):
        cost, answer = oracles.ground_cost(evidence, space, n), oracles.answer(evidence, space, n)
        assert found[n, evidence.labels[n]] == pytest.approx(
            float(ot.emd2(answer, np.eye(4)[evidence.labels[n]], np.ascontiguousarray(cost))),
            abs=1e-3,
        )


def test_the_ground_cost_is_the_mean_of_what_the_samples_see() -> None:
    evidence = teacher(apart=0.7, n=40, d=12)
    assert evidence.probabilities is not None
    for space in SPACES:
        seen = np.array([oracles.ground_cost(evidence, space, n) for n in range(40)])  # (N, C_t, C)
        shares = evidence.probabilities / evidence.probabilities.sum(axis=0)
        np.testing.assert_allclose(
            label_geometry(evidence, space).cost_matrix(),
            np.einsum("ni,nij->ij", shares, seen),
            atol=1e-3,
        )


def test_aggregate_cost_lies_between_exact_transport_and_the_instances() -> None:
    """Transport is convex, so the mean answer is no dearer than the answers; in the space of names
    no sample is left out.
    """
    for seed in range(5):
        evidence = teacher(seed)
        found = label_geometry(evidence, "names")
        exact = ot.emd2(
            found.mean_answer(),
            found.data.prior,
            np.ascontiguousarray(found.cost_matrix(), dtype=np.float64),
        )
        whole, single = (
            -SCORES[name].value(evidence)
            for name in ("transport_names_aggregate", "transport_names")
        )
        assert exact - 1e-6 <= whole
        assert exact <= single + 1e-6
        assert whole <= exact + 0.05


def test_a_teacher_with_the_task_s_own_classes_and_no_doubt_is_at_no_distance() -> None:
    evidence = teacher()
    same = replace(
        evidence,
        probabilities=np.eye(4, dtype=np.float32)[evidence.labels],
        teacher_embeddings=evidence.class_embeddings,
    )
    for name in (
        "transport_names",
        "transport_names_debiased",
        "transport_names_aggregate_debiased",
    ):
        assert SCORES[name].value(same) == pytest.approx(0, abs=1e-5)
        assert SCORES[name].value(evidence) < -0.05
    assert SCORES["transport_names_relative"].value(same) == pytest.approx(np.log(4), abs=1e-3)


def test_a_copy_with_permuted_classes_keeps_its_place_if_its_names_move_too() -> None:
    """Names: kept with the names, lost without them. Prototypes and the default: the same in
    both.
    """
    evidence = teacher(apart=3.0)
    assert evidence.probabilities is not None
    assert evidence.teacher_embeddings is not None
    assert evidence.classifier_weights is not None
    rows = np.roll(np.arange(7), 1)
    moved = replace(
        evidence,
        probabilities=evidence.probabilities[:, rows],
        classifier_weights=evidence.classifier_weights[rows],
    )
    named = replace(moved, teacher_embeddings=evidence.teacher_embeddings[rows])
    for name in ("transport_names", "transport_names_relative"):
        value = SCORES[name].value
        assert value(named) == pytest.approx(value(evidence), abs=1e-5)
        assert value(moved) < value(evidence) - 0.1
    for name in ("transport_prototypes", "transport_prototypes_relative", resolve().name):
        value = SCORES[name].value
        assert value(named) == pytest.approx(value(evidence), abs=1e-4)
        assert value(moved) == pytest.approx(value(evidence), abs=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "transport_images_relative",
        "transport_prototypes_relative",
        "transport_classifier_relative",
        "transport_names",
    ],
)
def test_a_teacher_of_the_task_itself_is_first_and_one_of_shuffled_labels_last(name: str) -> None:
    """One probe, read by a teacher that separates its classes well, by two that do less, and by one
    that does not.
    """
    zoo = {apart: _reader(apart) for apart in (3.0, 1.0, 0.5, 0.0)}
    values = [SCORES[name].value(evidence) for evidence in zoo.values()]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[1] + 0.01


def _reader(apart: float) -> Evidence:
    return teacher(7, apart=apart, n=200)


@pytest.mark.parametrize(
    "name",
    ["transport_images_relative", "transport_prototypes_relative", "transport_classifier_relative"],
)
def test_no_sample_helps_its_own_label(name: str) -> None:
    """Noise with more features than samples: class means that held the sample would tell its
    label.
    """
    values = [SCORES[name].value(teacher(seed, apart=0.0, n=60, d=300)) for seed in range(10)]
    assert (
        np.mean(values) < 0.06
    )  # of log 4 = 1.39; the best of many sharpnesses is never much below 0


@pytest.mark.parametrize("name", ["transport_images_relative", "transport_prototypes_relative"])
def test_neither_the_number_of_classes_nor_idle_ones_matter(name: str) -> None:
    evidence = teacher(apart=0.7)
    assert evidence.probabilities is not None
    split = np.concatenate([evidence.probabilities / 2] * 2, axis=1)
    idle = np.concatenate([evidence.probabilities, np.zeros((60, 50), dtype=np.float32)], axis=1)
    for answers in (split, idle):
        assert SCORES[name].value(replace(evidence, probabilities=answers)) == pytest.approx(
            SCORES[name].value(evidence), abs=1e-4
        )


def test_a_teacher_without_a_head_stands_where_one_with_empty_answers_stands() -> None:
    evidence = teacher(apart=0.7)
    empty = replace(evidence, probabilities=np.full((60, 7), 1 / 7, dtype=np.float32))
    headless = replace(evidence, probabilities=None)
    assert resolve().value(headless) == pytest.approx(resolve().value(empty), abs=0.05)


def test_a_class_of_one_sample_stands_at_the_mean_of_the_others_without_it() -> None:
    points = np.array([[0.0, 3.0], [2.0, 1.0], [4.0, 2.0], [9.0, 9.0]])
    labels = np.array([0, 0, 0, 1])
    data = ProbeData(points, labels, np.array([3.0, 1.0]), None)
    means, left_out = class_means(points, data)
    assert means.tolist() == [[2.0, 2.0], [9.0, 9.0]]
    assert left_out.tolist() == [[3.0, 1.5], [2.0, 2.5], [1.0, 2.0], [2.0, 2.0]]
    costs = image_costs(data)
    assert costs[3, 1] == 1.0  # nothing of its class is left without it
    assert (costs[:3, 0] != 1.0).all()


def test_a_classifier_of_another_shape_than_the_answers_is_not_applicable() -> None:
    evidence = teacher()
    assert evidence.classifier_weights is not None
    few = replace(evidence, classifier_weights=evidence.classifier_weights[:-1])
    with pytest.raises(NotApplicable, match="are not one row of the features' width for each"):
        label_geometry(few, "classifier")
