from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measures import MEASURES, choice, ndcg, over_tasks, paired, regret, weighted_tau
from selection.scores.interval import paired_task_draws, task_draws

TRUTH = np.array([0.5, 0.9, 0.7, 0.6])


@pytest.mark.journey
@pytest.mark.parametrize("name", MEASURES)
def test_the_truth_itself_is_the_best_score(name: str) -> None:
    best = MEASURES[name](TRUTH, TRUTH)
    assert best == pytest.approx(0.0 if "regret" in name else 1.0)
    assert MEASURES[name](TRUTH, -TRUTH) != pytest.approx(best)


@pytest.mark.parametrize("name", MEASURES)
@given(seed=st.integers(0, 10_000))
def test_measures_read_the_order_of_the_score_only(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, score = rng.uniform(size=(2, 9))
    expected = MEASURES[name](truth, score)
    assert MEASURES[name](truth, np.exp(3 * score) - 5) == pytest.approx(expected)
    order = rng.permutation(9)
    assert MEASURES[name](truth[order], score[order]) == pytest.approx(expected)


def test_regret_counts_what_the_first_k_miss() -> None:
    score = np.array([4.0, 1.0, 2.0, 3.0])  # first the worst, then the third, then the second
    assert [regret(TRUTH, score, k) for k in (1, 2, 3, 4)] == pytest.approx([0.4, 0.3, 0.2, 0.0])
    assert choice(TRUTH, score) == 0.5


def test_a_score_that_ties_all_is_as_good_as_chance() -> None:
    assert regret(TRUTH, np.zeros(4)) == pytest.approx(0.9 - TRUTH.mean(), abs=0.05)
    assert weighted_tau(TRUTH, np.zeros(4)) == 0.0


def test_a_cell_that_is_missing_is_passed_over_and_a_score_that_does_not_apply_comes_last() -> None:
    truth = np.array([0.5, np.nan, 0.7, 0.6])
    assert regret(truth, np.array([0.0, 9.0, 2.0, 1.0])) == 0.0
    assert regret(truth, np.array([0.0, 9.0, np.nan, -1.0])) == pytest.approx(0.2)
    assert weighted_tau(truth, np.array([1.0, 0.0, 3.0, 2.0])) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="measured"):
        regret(np.full(3, np.nan), np.zeros(3))


def test_ndcg_counts_the_first_five_by_their_gain_over_the_worst() -> None:
    truth = np.array([1.0, 0.0, 0.0])
    assert ndcg(truth, np.array([2.0, 3.0, 1.0])) == pytest.approx(1 / np.log2(3))


def test_intervals_hold_the_mean_and_shrink_with_more_tasks() -> None:
    rng = np.random.default_rng(0)
    few, many = over_tasks(rng.normal(1, 1, (8, 2))), over_tasks(rng.normal(1, 1, (200, 2)))
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)
    with_gaps = np.array([[1.0, np.nan], [3.0, 3.0]])
    assert over_tasks(with_gaps).value == 2.0


def test_the_paired_difference_sees_what_unpaired_noise_would_hide() -> None:
    rng = np.random.default_rng(1)
    one = [[(rng.uniform(size=500) < 0.5).astype(float) for _ in range(2)] for _ in range(12)]
    two = [[np.where(rng.uniform(size=500) < 0.04, 0.0, hits) for hits in seeds] for seeds in one]
    found = paired(one, two)
    assert 0 < found.low < found.value < found.high < 0.04
    assert found.below < 0.01
    assert paired(one, one).value == 0.0


def test_draws_over_tasks_and_images_have_the_textbooks_spread() -> None:
    rng = np.random.default_rng(2)
    tasks = rng.normal(size=(100, 1))
    mean, drawn = task_draws(tasks, draws=4_000)
    assert mean == pytest.approx(tasks.mean())
    assert drawn.std() == pytest.approx(tasks.std() / 10, rel=0.1)
    images = rng.normal(0.1, 1.0, 400)  # one task, one seed
    mean, drawn = paired_task_draws([[images]], draws=4_000)
    assert mean == pytest.approx(images.mean())
    assert drawn.std() == pytest.approx(images.std() / 20, rel=0.1)
