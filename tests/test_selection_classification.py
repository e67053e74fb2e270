"""Figures beside accuracy: balanced accuracy, accuracy by class, calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import beta
from sklearn import metrics as oracle

from selection.scores.balanced import (
    balanced_accuracy,
    balanced_difference,
    balanced_gap_recovered,
)
from selection.scores.classification import (
    calibration_error,
    classification_metrics,
    reliability,
)
from selection.scores.interval import accuracy, accuracy_difference

OK_AND_DEFECT = np.repeat([0, 1], [320, 2])


def test_a_detector_that_never_says_defect() -> None:
    figures = classification_metrics(OK_AND_DEFECT, np.zeros(322, dtype=int), ("ok", "defect"))
    assert figures.accuracy.value == pytest.approx(320 / 322)
    assert figures.balanced.value == 0.5
    assert figures.commonest == "ok"
    assert figures.commonest_share == pytest.approx(320 / 322)
    assert figures.confusion == ((320, 0), (2, 0))
    assert figures.never_predicted == ("defect",)
    assert figures.absent == ()
    ok, defect = figures.classes
    assert ok.recall is not None and ok.recall.value == 1.0
    assert defect.recall is not None and defect.recall.value == 0.0
    assert (defect.samples, defect.predicted, defect.precision) == (2, 0, None)
    assert defect.recall.high > 0.5  # two images say next to nothing
    assert figures.worst(1) == (defect,)
    assert figures.macro_f1.value == pytest.approx(640 / 642 / 2)


def test_a_class_without_images_is_absent_and_does_not_count() -> None:
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    figures = classification_metrics(labels, predicted, ("a", "b", "c"))
    assert figures.absent == ("c",)
    assert figures.classes[2].recall is None
    assert figures.classes[2].precision == 0.0  # it was predicted once, wrongly
    assert figures.balanced.value == 0.75


@pytest.mark.parametrize("classes", [2, 7])
def test_the_figures_are_scikit_learns(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = rng.choice(classes, 200, p=rng.dirichlet(np.ones(classes)))
    predicted = np.where(rng.random(200) < 0.6, labels, rng.choice(np.unique(labels), 200))
    names = [f"class {i}" for i in range(classes)]
    figures = classification_metrics(labels, predicted, names)
    assert figures.balanced.value == pytest.approx(
        oracle.balanced_accuracy_score(labels, predicted)
    )
    f1 = figures.macro_f1
    assert f1.value == pytest.approx(oracle.f1_score(labels, predicted, average="macro"))
    assert f1.low < f1.value < f1.high
    report = oracle.classification_report(
        labels,
        predicted,
        labels=range(classes),
        target_names=names,
        output_dict=True,
        zero_division=np.nan,
    )
    for entry in figures.classes:
        row = report[entry.name]
        assert entry.samples == row["support"]
        if entry.recall is not None:
            assert entry.recall.value == pytest.approx(row["recall"])
        if entry.precision is not None:
            assert entry.precision == pytest.approx(row["precision"])


def test_figures_are_plain_values_for_json() -> None:
    figures = classification_metrics(
        np.array([0, 1, 1]),
        np.array([0, 1, 0]),
        ("a", "b", "c"),
        probabilities=np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]]),
    )
    plain = json.loads(json.dumps(figures.to_dict(), allow_nan=False))
    assert plain["balanced"]["value"] == 0.75
    assert plain["calibration_error"] == pytest.approx(abs(1.6 - 2) / 3 + 0.6 / 3)
    assert plain["classes"][1]["recall"]["value"] == 0.5
    assert plain["classes"][2] == {
        "name": "c",
        "samples": 0,
        "predicted": 0,
        "recall": None,
        "precision": None,
    }


def test_f1_and_the_interval_of_precision_follow_from_the_counts() -> None:
    labels, predicted = np.array([0] * 8 + [1] * 4), np.array([0] * 6 + [1] * 5 + [0])
    figures = classification_metrics(labels, predicted, ("a", "b", "c"))
    a, b, c = figures.classes
    assert (a.right, b.right, c.right) == (6, 3, 0)
    assert a.f1 == pytest.approx(oracle.f1_score(labels, predicted, pos_label=0))
    assert b.f1 == pytest.approx(oracle.f1_score(labels, predicted, pos_label=1))
    assert c.f1 is None and c.precision_interval is None
    assert b.precision_interval == accuracy(np.array([True] * 3 + [False] * 2))


def test_a_reliability_diagram_has_the_bins_that_hold_answers() -> None:
    labels = np.repeat([0, 1], [80, 20])
    (only,) = reliability(np.tile([0.81, 0.19], (100, 1)), labels)
    assert (only.low, only.high) == (12 / 15, 13 / 15)
    assert (only.samples, only.accuracy) == (100, 0.8)
    assert only.confidence == pytest.approx(0.81)
    low, high = reliability(np.array([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]]), np.array([0, 1, 1]))
    assert (low.samples, low.accuracy, low.high) == (2, 0.5, 9 / 15)  # the edge is below
    assert (high.samples, high.accuracy, high.confidence) == (1, 1.0, 1.0)


def test_unpaired_and_missing_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="3 labels and 2 predictions"):
        classification_metrics(np.zeros(3, dtype=int), np.zeros(2, dtype=int), ("a", "b"))
    with pytest.raises(ValueError, match="at least one sample"):
        classification_metrics(np.zeros(0, dtype=int), np.zeros(0, dtype=int), ("a", "b"))


def test_calibration_error_is_the_distance_of_confidence_from_accuracy() -> None:
    labels = np.repeat([0, 1], [80, 20])
    said = np.tile([0.8, 0.2], (100, 1))
    assert calibration_error(said, labels) == pytest.approx(0.0)
    sure = np.tile([1.0, 0.0], (100, 1))
    assert calibration_error(sure, labels) == pytest.approx(0.2)
    halves = np.concatenate([np.tile([0.9, 0.1], (50, 1)), np.tile([0.6, 0.4], (50, 1))])
    expected = 0.5 * (1.0 - 0.9) + 0.5 * (0.6 - 0.6)
    assert calibration_error(halves, labels) == pytest.approx(expected)


def test_balanced_accuracy_of_equal_classes_has_the_interval_of_accuracy() -> None:
    labels = np.tile([0, 1, 2, 3], 100)
    hits = np.random.default_rng(0).random(400) < 0.7
    balanced, plain = balanced_accuracy([hits], labels), accuracy(hits)
    assert balanced.value == pytest.approx(plain.value)
    assert balanced.low == pytest.approx(plain.low, abs=0.006)
    assert balanced.high == pytest.approx(plain.high, abs=0.006)


def test_a_class_without_images_is_not_blamed_on_the_student() -> None:
    figures = classification_metrics(np.array([0, 1]), np.array([0, 0]), ("a", "b", "c"))
    assert figures.never_predicted == ("b",)


def test_one_class_has_jeffreys_interval() -> None:
    balanced = balanced_accuracy([np.array([True, True, True, False])], np.zeros(4, dtype=int))
    low, high = beta(3.5, 1.5).ppf([0.025, 0.975])
    assert (balanced.low, balanced.high) == pytest.approx((low, high), abs=0.02)


def test_seeds_that_disagree_leave_balanced_accuracy_open() -> None:
    labels = np.tile([0, 1], 100)
    balanced = balanced_accuracy([labels >= 0, labels < 0], labels)
    assert balanced.value == 0.5
    assert balanced.low < 0.05 and balanced.high > 0.95


def test_a_lead_that_may_be_chance_is_no_gap() -> None:
    labels, teacher = np.array([0, 0, 1, 1]), np.ones(4, dtype=bool)
    plain = np.array([True, True, False, True])
    assert balanced_difference([teacher], [plain], labels).value == 0.25
    assert balanced_gap_recovered([teacher], [plain], teacher, labels) is None


@pytest.mark.slow
def test_the_interval_of_balanced_accuracy_covers() -> None:
    rng, sizes = np.random.default_rng(1), (100, 20, 5)
    labels = np.repeat(range(len(sizes)), sizes)
    covered = 0
    for _ in range(60):
        truths = rng.uniform(0.3, 0.95, len(sizes))
        interval = balanced_accuracy([rng.random(len(labels)) < truths[labels]], labels)
        covered += interval.low <= truths.mean() <= interval.high
    assert covered >= 54


def test_two_images_of_a_class_decide_nothing() -> None:
    """Of 64 ok images all are right for both; of two defects both, or none."""
    labels = np.repeat([0, 1], [64, 2])
    none, both = labels == 0, labels >= 0
    lift = balanced_difference([both], [none], labels)
    assert lift.value == 0.5
    assert not lift.decided
    many = np.repeat([0, 1], [64, 20])
    assert balanced_difference([many >= 0], [many == 0], many).decided


def test_the_difference_is_paired_and_follows_the_sign() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 500)
    worse = rng.random(1000) < 0.6
    better = worse | (rng.random(1000) < 0.2)
    lift = balanced_difference([better, better], [worse, worse], labels)
    plain = accuracy_difference([better, better], [worse, worse])
    assert lift.value == pytest.approx(plain.value)
    assert lift.low == pytest.approx(plain.low, abs=0.01)
    back = balanced_difference([worse, worse], [better, better], labels)
    assert back.value == pytest.approx(-lift.value)
    assert back.high < 0
    with pytest.raises(ValueError, match="not paired"):
        balanced_difference([better], [worse, worse], labels)


def test_a_student_that_is_the_teacher_recovers_the_gap() -> None:
    labels = np.repeat([0, 1], [400, 40])
    plain, teacher = labels == 0, np.ones(440, dtype=bool)
    recovered = balanced_gap_recovered([teacher], [plain], teacher, labels)
    assert recovered is not None and recovered.value == pytest.approx(1.0)
    assert balanced_gap_recovered([teacher], [teacher], teacher, labels) is None
