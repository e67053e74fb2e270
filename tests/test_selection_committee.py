"""Laws of the committee: gains fall, copies add nothing, nobody is a valid answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from selection.committee import TeacherBenefit, benefit_of, select_committee, select_members
from selection.scores.registry import SCORES
from tests.test_selection_scores import teacher


def benefits(seed: int = 0, teachers: int = 6, n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"t{i}": rng.gamma(1.0, 0.5, n) * rng.integers(0, 2, n) for i in range(teachers)}


def joint(chosen: tuple[str, ...], values: dict[str, np.ndarray]) -> float:
    return float(np.max([values[name] for name in chosen], axis=0).mean())


def test_gains_fall_and_sum_to_what_is_covered() -> None:
    found = select_members(benefits(), size=5)
    gains = [member.gain for member in found.members]
    assert gains == sorted(gains, reverse=True)
    assert sum(gains) == pytest.approx(found.covered)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_within_its_guarantee_of_the_best_set(seed: int) -> None:
    values = benefits(seed)
    best = max(joint(chosen, values) for chosen in itertools.combinations(values, 3))
    found = select_members(values, size=3)
    assert (1 - 1 / np.e) * best <= found.covered <= best + 1e-12


def test_a_copy_of_a_member_is_never_chosen() -> None:
    values = benefits()
    first = select_members(values, size=1).models[0]
    values["a-copy"] = values[first].copy()
    chosen = select_members(values, size=7).models
    assert len({first, "a-copy"} & set(chosen)) == 1


def test_teachers_that_know_nothing_make_an_empty_committee() -> None:
    assert select_members({"a": np.zeros(10), "b": np.full(10, 1e-4)}, size=3).models == ()
    assert select_members({}, size=3).models == ()


def test_complements_beat_two_good_twins() -> None:
    left, right = np.r_[np.ones(50), np.zeros(50)], np.r_[np.zeros(50), np.full(50, 0.8)]
    values = {"left": left, "left-twin": left * 0.99, "right": right}
    assert select_members(values, size=2).models == ("left", "right")


def test_order_of_the_mapping_does_not_matter() -> None:
    values = benefits()
    assert select_members(values, size=3) == select_members(
        dict(reversed(list(values.items()))), size=3
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_teacher_that_knows_nothing_never_joins_one_that_knows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    good, lucky = rng.gamma(4.0, 0.4, 60), np.zeros(60)
    good[:3], lucky[:3] = (
        0.0,
        1.0,
    )  # facility location alone would take it: it is best on three samples
    assert select_members({"good": good, "lucky": lucky}, size=3).models == ("good",)


def test_a_copy_that_would_only_shift_the_average_never_joins() -> None:
    strong, weak = np.r_[np.full(130, 2.0), np.zeros(70)], np.r_[np.zeros(130), np.full(70, 2.0)]
    values = {"strong": strong, "weak": weak}
    values["strong-copy"] = values[
        "strong"
    ].copy()  # counting it twice would improve the average of the answers
    assert select_members(values, size=3).models == ("strong", "weak")


def test_a_teacher_must_add_more_than_it_costs() -> None:
    left, right = np.r_[np.ones(50), np.zeros(50)], np.r_[np.zeros(50), np.full(50, 0.9)]
    values = {"left": left, "right": right}
    assert select_members(values, size=2).models == ("left", "right")
    assert select_members(values, size=2, costs={"right": 0.5}).models == ("left",)
    assert select_members(values, size=2, costs={"left": 0.01, "right": 0.01}).models == (
        "left",
        "right",
    )


def known(answers: np.ndarray, labels: np.ndarray) -> TeacherBenefit:
    """What teachers with these answers (n, C) know."""
    classes = answers.shape[1]
    own = answers[np.arange(len(labels)), labels]
    return TeacherBenefit(
        np.maximum(0.0, np.log(own * classes)),
        answers,
        labels,
        tuple(f"c{i}" for i in range(classes)),
    )


def experts(n: int = 400) -> tuple[dict[str, TeacherBenefit], np.ndarray]:
    """Two teachers that each know two of four classes, a near-copy of the first, and one that knows
    nothing.
    """
    labels = np.arange(n) % 4
    rng = np.random.default_rng(0)

    def expert(mine: tuple[int, ...], sure: float) -> np.ndarray:
        answers = np.full((n, 4), 0.25)
        for row in np.flatnonzero(np.isin(labels, mine)):
            answers[row] = (1 - sure) / 3
            answers[row, labels[row]] = sure
        return answers

    near = expert((0, 1), 0.9) + rng.uniform(0, 0.02, (n, 4))
    said = {
        "ab": expert((0, 1), 0.9),
        "ab-near": near / near.sum(axis=1, keepdims=True),
        "cd": expert((2, 3), 0.8),
        "nothing": np.full((n, 4), 0.25),
    }
    return {name: known(answers, labels) for name, answers in said.items()}, labels


def test_the_facts_say_who_covers_what_and_what_each_adds() -> None:
    teachers, labels = experts()
    found = select_committee(teachers, size=3)
    assert found.models == ("ab", "cd")
    ab, cd = found.members
    assert ab.classes == ("c0", "c1")
    assert cd.classes == ("c2", "c3")
    assert ab.gain == pytest.approx(np.log(3.6) / 2)
    assert cd.gain == pytest.approx(np.log(3.2) / 2)
    assert ab.alone == pytest.approx(
        0.5 + 0.25 / 2, abs=0.13
    )  # where it knows nothing, ties go to the first class
    assert cd.together == 1.0
    assert found.uncovered == ()
    assert "2 of at most 3" in found.sentence
    assert len(labels) == 400


def test_a_near_duplicate_is_named_as_such_and_never_joins() -> None:
    found = select_committee(experts()[0], size=4)
    passed = {one.model: one for one in found.passed}
    assert passed["ab-near"].twin == "ab"
    assert passed["ab-near"].why == "its answers are those of ab"
    assert passed["nothing"].twin is None
    assert "worse, by" in passed["nothing"].why


def test_classes_that_nobody_knows_are_named() -> None:
    teachers = experts()[0]
    found = select_committee({"ab": teachers["ab"]}, size=3)
    assert found.uncovered == ("c2", "c3")


def test_no_committee_is_an_answer_with_its_reason() -> None:
    found = select_committee({"nothing": experts()[0]["nothing"]}, size=3)
    assert found.models == ()
    assert found.sentence.startswith("none: no model tells these classes better")
    assert found.uncovered == ("c0", "c1", "c2", "c3")
    assert select_committee({}, size=3).sentence == "none: no model could be read"


def test_reasons_are_plain_json() -> None:
    import json

    reasons = select_committee(experts()[0], size=2).reasons()
    assert json.loads(json.dumps(reasons)) == reasons
    assert reasons["images"] == 400
    assert set(reasons) == {"sentence", "images", "members", "passed", "uncovered"}


def test_the_benefit_of_a_real_head_answers_the_simplex_and_a_perfect_copy_is_its_twin() -> None:
    evidence, other = teacher(0, apart=1.0), teacher(1, apart=0.5)
    one = benefit_of(evidence)
    np.testing.assert_allclose(one.answers.sum(axis=1), 1.0)
    assert one.benefit.shape == (len(one.labels),)
    assert (one.benefit >= 0).all()
    found = select_committee(
        {"a": one, "copy": benefit_of(evidence), "b": benefit_of(other)}, size=3
    )
    assert "copy" not in found.models
    assert next(passed.twin for passed in found.passed if passed.model == "copy") == "a"


def test_the_first_of_the_ranking_joins_first_if_it_adds_anything() -> None:
    values = benefits()
    best, second = select_members(values, size=2).models
    assert select_members(values, size=2, lead=second).models[0] == second
    assert select_members(values, size=2, lead=best) == select_members(values, size=2)
    values["ignorant"] = np.zeros(200)
    assert select_members(values, size=2, lead="ignorant").models == (best, second)


def test_a_mean_benefit_is_the_default_score_but_for_the_zero() -> None:
    evidence = teacher(apart=0.3)  # classes that overlap: no sample is sure, and some lose
    gained = SCORES["transport_images_relative"].terms
    assert gained is not None
    assert gained(evidence).min() < 0
    assert benefit_of(evidence).benefit == pytest.approx(np.maximum(0, gained(evidence)))
