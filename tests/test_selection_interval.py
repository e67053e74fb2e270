"""Intervals hold their value, shrink with the probe, cover other probes, and decide pairs more
sharply than singles.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from selection.evidence import Evidence, Floats
from selection.scores.interval import (
    Interval,
    accuracy,
    accuracy_difference,
    around,
    mean_interval,
    score_difference,
    score_interval,
)
from selection.scores.registry import SCORES
from selection.scores.score import Score
from selection.scores.ties import undecided_pairs
from tests.test_selection_scores import teacher

pytestmark = pytest.mark.journey


def mean_score(*, terms: bool) -> Score:
    """The mean of the first feature: its truth and its spread are known."""

    def first(evidence: Evidence) -> Floats:
        return evidence.labelled().features[:, 0].astype(np.float64)

    return Score(
        name="mean",
        value=lambda evidence: float(first(evidence).mean()),
        terms=first if terms else None,
        meaning="",
        source="",
    )


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("score", list(SCORES.values()), ids=list(SCORES))
def test_the_value_lies_in_its_interval_and_is_the_scores_own(score: Score) -> None:
    for seed in range(2):
        evidence = teacher(seed, apart=0.5)
        found = score_interval(score, evidence, rng=rng(seed), draws=20)
        assert found.low <= found.value <= found.high
        assert np.isfinite([found.low, found.high]).all()
        assert found.value == pytest.approx(score.value(evidence), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("terms", [True, False])
def test_the_interval_of_a_mean_is_the_textbooks(terms: bool) -> None:
    evidence = teacher(n=400, apart=0.0)
    found = score_interval(mean_score(terms=terms), evidence, rng=rng(), draws=400)
    error = float(np.std(evidence.features[:, 0]) / np.sqrt(400))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found.high - found.value == pytest.approx(found.value - found.low, rel=0.25)


@pytest.mark.parametrize("terms", [True, False])
def test_samples_are_drawn_within_classes(terms: bool) -> None:
    evidence = teacher(n=400)
    told = replace(
        evidence, features=np.repeat(evidence.labels[:, None], 20, axis=1).astype(np.float32)
    )
    found = score_interval(mean_score(terms=terms), told, rng=rng(), draws=50)
    assert found.high - found.low == pytest.approx(0, abs=1e-9)


def test_odd_sizes_are_rescaled() -> None:
    """Classes of three keep two: halves larger than half vary less than the whole does."""
    labels = np.repeat(np.arange(60), 3)
    evidence = Evidence(
        features=rng().normal(size=(180, 2)).astype(np.float32),
        labels=labels,
        classes=tuple(str(i) for i in range(60)),
    )
    found = score_interval(mean_score(terms=False), evidence, rng=rng(), draws=400)
    within = np.mean([evidence.features[labels == c, 0].var(ddof=1) for c in range(60)])
    assert found.high - found.low == pytest.approx(
        2 * 1.96 * float(np.sqrt(within / 180)), rel=0.15
    )


def test_a_probe_with_nothing_to_leave_out_is_refused_with_its_numbers() -> None:
    with pytest.raises(ValueError, match=r"8 samples of 4 classes"):
        score_interval(SCORES["hscore"], teacher(n=8), rng=rng())
    assert score_interval(SCORES["knn"], teacher(n=8), rng=rng()).value >= 0


def test_more_samples_make_a_narrower_interval() -> None:
    for name in ("knn", "hscore"):
        small, large = (
            score_interval(SCORES[name], teacher(n=n, apart=0.5), rng=rng()) for n in (60, 960)
        )
        assert large.high - large.low < 0.6 * (small.high - small.low)


def test_a_higher_level_makes_a_wider_interval() -> None:
    for name in ("knn", "parc"):
        evidence = teacher(apart=0.5)
        narrow, wide = (
            score_interval(SCORES[name], evidence, rng=rng(), level=level) for level in (0.5, 0.99)
        )
        assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high


@pytest.mark.journey
@pytest.mark.parametrize(
    "name", ["knn", "linear_probe", "transport_prototypes_relative", "logme", "parc"]
)
def test_intervals_cover_the_mean_of_other_probes(name: str) -> None:
    """60 probes of one population: about 95 % of the intervals hold the probes' mean value; 75 % is
    beyond chance.
    """
    population = teacher(3, n=4_000, d=10, apart=0.6)
    groups = [np.flatnonzero(population.labels == c) for c in range(4)]
    found = []
    for seed in range(60):
        rows = np.concatenate([rng(seed).choice(group, 20, replace=False) for group in groups])
        found.append(
            score_interval(
                SCORES[name],
                population.at(rows),
                rng=rng(seed),
                draws=100 if SCORES[name].terms else 12,
            )
        )
    truth = np.mean([one.value for one in found])
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.75
    assert np.mean([one.high - one.low for one in found]) < 8 * np.std([one.value for one in found])


@pytest.mark.parametrize("name", ["knn", "logme"])
def test_a_teacher_and_its_copy_are_too_close_to_call(name: str) -> None:
    evidence = teacher(apart=0.5)
    gap = score_difference(SCORES[name], evidence, replace(evidence), rng=rng())
    assert gap == Interval(0.0, 0.0, 0.0)
    assert not gap.decided


@pytest.mark.parametrize("name", ["knn", "logme"])
def test_pairs_are_decided_more_sharply_than_overlap_would(name: str) -> None:
    """A second teacher who is a little worse on every sample: one probe is drawn for both, so its
    luck cancels.
    """
    good = teacher(n=200, apart=0.6)
    noise = 0.5 * rng(9).normal(size=good.features.shape).astype(np.float32)
    worse = replace(good, features=good.features + noise)
    gap = score_difference(SCORES[name], good, worse, rng=rng())
    singles = [score_interval(SCORES[name], one, rng=rng()) for one in (good, worse)]
    assert gap.high - gap.low < sum(one.high - one.low for one in singles)
    back = score_difference(SCORES[name], worse, good, rng=rng())
    assert back.value == pytest.approx(-gap.value)
    far = score_difference(
        SCORES[name], teacher(n=200, apart=3.0), teacher(n=200, apart=0.0), rng=rng()
    )
    assert far.decided
    assert far.low > 0
    assert Interval(-0.2, -0.3, -0.1).decided  # the other way round


def test_few_halves_give_the_textbooks_spread_on_average() -> None:
    """Three draws a probe: the spread is unbiased, and Student's t has two degrees of freedom."""
    evidence = teacher(n=400, apart=0.0)
    found = [
        score_interval(mean_score(terms=False), evidence, rng=rng(seed), draws=3)
        for seed in range(150)
    ]
    spreads = [(one.high - one.value) / t.ppf(0.975, df=2) for one in found]
    error = float(np.std(evidence.features[:, 0]) / np.sqrt(400))
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(error, rel=0.12)


def test_models_too_close_to_call_are_told_until_the_time_is_up() -> None:
    good = teacher(n=200, apart=3.0)
    evidence = {"good": good, "twin": replace(good), "chance": teacher(n=200, apart=0.0)}
    found = undecided_pairs(SCORES["knn"], evidence, list(evidence), lambda: 1.0)
    assert found == {("good", "twin"): True, ("good", "chance"): False}
    left = iter([1.0, 0.0])
    stopped = undecided_pairs(SCORES["knn"], evidence, list(evidence), lambda: next(left))
    assert stopped == {("good", "twin"): True}


def test_an_interval_is_widened_to_hold_its_value() -> None:
    assert around(1.0, [0.0, 0.5]).high == 1.0
    assert around(-1.0, [0.0, 0.5]).low == -1.0


def test_teachers_read_on_different_probes_are_not_compared() -> None:
    one = teacher()
    with pytest.raises(ValueError, match="same probe"):
        score_difference(SCORES["knn"], one, one.at(np.arange(40)), rng=rng())


def test_the_same_seed_gives_the_same_interval() -> None:
    for name in ("knn", "nleep"):
        assert score_interval(SCORES[name], teacher(), rng=rng(4)) == score_interval(
            SCORES[name], teacher(), rng=rng(4)
        )


def test_an_accuracy_has_wilson_s_interval() -> None:
    found = accuracy(np.array([True] * 45 + [False] * 5))
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.7864, 0.9565), abs=1e-3)
    assert accuracy(np.ones(20, dtype=bool)).high == 1.0
    with pytest.raises(ValueError, match="at least one"):
        accuracy(np.array([], dtype=bool))


def test_a_paired_difference_is_narrower_than_two_accuracies() -> None:
    hits = rng().random(400) < 0.7
    worse = hits & (rng(1).random(400) < 0.95)
    gap = accuracy_difference([hits], [worse])
    assert gap.low > 0
    assert gap.value == pytest.approx(hits.mean() - worse.mean())
    assert gap.high - gap.low < accuracy(hits).high - accuracy(hits).low
    assert gap.times(100).value == pytest.approx(100 * gap.value)
    assert Interval(0.1, -0.05, 0.2).as_points(sign=True) == "+10.0 (-5.0 to +20.0)"


def test_the_interval_of_a_mean_over_tasks_is_the_textbooks() -> None:
    values = rng().normal(size=200)
    found = mean_interval(values, draws=4_000)
    error = float(values.std() / np.sqrt(200))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
