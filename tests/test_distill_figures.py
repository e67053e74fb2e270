"""Figures of any kind: known values, intervals, improvements in pairs; a kind of real-valued terms
in verdict, comparison and page.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.comparison import Comparison, TeacherFigures, _result, best_of
from distill.kinds.classes import ACCURACY, BALANCED, MACRO_F1
from distill.kinds.image import IMAGE
from distill.kinds.registry import TRAINING_KINDS
from distill.report.advice import advice
from distill.report.comparison_page import page as comparison_page
from distill.report.comparison_table import text_table
from distill.report.comparison_words import best_method, column_meanings, headline, heads
from distill.report.run_page import page
from distill.run import RunFolder
from distill.student.model_card import model_card
from distill.training.figures import Entry, Figure
from distill.training.live import TrainingView
from distill.training.results import (
    control_results,
    split_metrics,
    summary_lines,
    verdict,
    warnings_of,
)
from distill.training.trained import TrainedStudent
from selection.scores.balanced import balanced_difference, balanced_gap_recovered
from selection.scores.interval import accuracy, accuracy_difference, gap_recovered
from selection.scores.resampled import macro_f1, resampled, root_mean
from tests.test_distill_page import plain_text, run_of

NDCG = Figure(
    name="ndcg", words="NDCG@10", head="NDCG@10", meaning="the order of a list", units="users"
)
RMSE = Figure(
    name="rmse",
    words="RMSE",
    head="RMSE",
    meaning="the error of a rating",
    statistic=root_mean,
    higher_is_better=False,
)


def entry(**terms: Any) -> dict[str, Any]:
    """A split of 6 samples, and what is known of each figure."""
    split: dict[str, Any] = {"samples": 6, "terms": terms}
    return split | NDCG.kept(split) | RMSE.kept(split)


def drawn(shift: float = 0.0, *, seed: int = 0) -> dict[str, Any]:
    """400 squared errors of standard deviation 1 + ``shift``, and NDCG of 50 users."""
    rng = np.random.default_rng(seed)
    errors = ((1 + shift) * rng.normal(size=400)) ** 2
    gains = np.clip(rng.uniform(size=50) - shift, 0, 1)
    return entry(rmse=errors.tolist(), ndcg=gains.tolist()) | {"samples": 400}


# --- values by hand


def test_values_are_those_of_hand() -> None:
    split = entry(ndcg=[1.0, 0.5, None, 0.0], rmse=[1.0, 1.0, 9.0, 9.0, 1.0, 3.0])
    assert split["ndcg"] == pytest.approx(0.5)  # of the three users with a relevant item
    assert split["rmse"] == 2.0  # the root of 24 / 6
    assert split["ndcg_low"] < 0.5 < split["ndcg_high"]
    assert NDCG.count(split) == 3 and RMSE.count(split) == 6
    assert NDCG.interval(split).low == split["ndcg_low"]
    json.dumps(split, allow_nan=False)


def test_a_user_without_an_item_changes_nothing() -> None:
    with_none, without = (entry(ndcg=terms) for terms in ([1.0, None, 0.5, 0.0], [1.0, 0.5, 0.0]))
    assert {**with_none, "terms": 0} == {**without, "terms": 0}
    assert NDCG.improvement([with_none], [entry(ndcg=[0.5, None, 0.5, 0.0])]) == NDCG.improvement(
        [without], [entry(ndcg=[0.5, 0.5, 0.0])]
    )


def test_a_figure_without_a_number_is_unknown() -> None:
    nobody = entry(ndcg=[None, None])
    assert "ndcg" not in nobody and not NDCG.known(nobody) and not RMSE.known(nobody)
    with pytest.raises(ValueError, match="no sample or user"):
        NDCG.value(nobody)
    with pytest.raises(ValueError, match="does not hold what its RMSE"):
        RMSE.value(nobody)


def test_the_interval_of_rmse_mostly_holds_the_truth() -> None:
    ends = [RMSE.interval(drawn(seed=seed)) for seed in range(60)]
    inside = sum(found.low <= 1.0 <= found.high for found in ends)
    assert 52 <= inside <= 60  # 57 are expected
    widths = [found.high - found.low for found in ends]
    # the delta method: 2 * 1.96 * sqrt(2 / n) / 2
    assert np.mean(widths) == pytest.approx(3.92 * (2 / 400) ** 0.5 / 2, rel=0.1)


def test_macro_f1_is_that_of_sklearn_for_any_weights() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(1)
    labels, predicted = rng.integers(4, size=(2, 80))
    labels[labels == 3] = 2  # a class that is only predicted
    terms, weights = np.array([labels, predicted], dtype=float), rng.random(80)
    expected = f1_score(labels, predicted, average="macro", sample_weight=weights)
    assert macro_f1(terms, weights) == pytest.approx(expected)
    split = {"labels": labels.tolist(), "predicted": predicted.tolist()}
    assert MACRO_F1.value(split) == pytest.approx(f1_score(labels, predicted, average="macro"))


# --- improvements


def test_lower_is_better_turns_the_sign() -> None:
    good, bad = drawn(), drawn(0.3)
    found = RMSE.improvement([good], [bad])
    assert found.value == pytest.approx(bad["rmse"] - good["rmse"])
    assert 0 < found.low < found.value < found.high
    turned = RMSE.improvement([bad], [good])
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert NDCG.improvement([good], [bad]).low > 0


def test_pairs_are_resampled_together_and_alike_each_time() -> None:
    seeds = [drawn(seed=seed) for seed in range(3)]
    better = [drawn(-0.1, seed=seed) for seed in range(3)]
    found = RMSE.improvement(better, seeds)
    assert found == RMSE.improvement(better, seeds)
    assert found.value == pytest.approx(np.mean([0.1 * each["rmse"] for each in seeds]))
    # each error is smaller by the same share: only the size of the errors is unsure
    assert found.high - found.low < 0.03
    apart = RMSE.improvement(better, [seeds[1], seeds[2], seeds[0]])
    assert apart.high - apart.low > 3 * (found.high - found.low)
    assert RMSE.improvement(seeds, seeds).high == 0
    with pytest.raises(ValueError, match="not paired"):
        RMSE.improvement(better[:2], seeds)


def test_seeds_that_disagree_widen_an_improvement() -> None:
    plain = drawn()
    steady = NDCG.improvement([drawn(-0.1)] * 3, [plain] * 3)
    wild = NDCG.improvement([drawn(-0.3), drawn(-0.1), drawn(0.1)], [plain] * 3)
    assert wild.high - wild.low > 2 * (steady.high - steady.low)


def test_the_share_of_the_gap_needs_a_gap() -> None:
    plain, student, teacher = drawn(0.4), drawn(0.2), drawn()
    found = RMSE.recovered([student], [plain], teacher)
    assert found is not None
    assert found.value == pytest.approx(0.5) and 0 < found.low < found.high < 1
    assert RMSE.recovered([student], [teacher], plain) is None


def test_equal_units_are_drawn_together_with_the_same_spread() -> None:
    terms = np.repeat([[0.0, 1.0]], 50, axis=1)[:, :100]
    apart = terms + np.linspace(0, 1e-9, 100)  # no two are equal
    together, alone = (resampled(root_mean, [[t]], draws=2_000).draws.std() for t in (terms, apart))
    assert together == pytest.approx(alone, rel=0.1)


def test_accuracy_and_balanced_accuracy_are_counted_as_ever() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(3, size=90)

    def answers(share: float) -> tuple[Any, Entry]:
        hits = rng.random(90) < share
        predicted = np.where(hits, labels, (labels + 1) % 3)
        return hits, {"labels": labels.tolist(), "predicted": predicted.tolist()}

    (a, first), (b, second), (c, third) = answers(0.7), answers(0.5), answers(0.95)
    assert ACCURACY.interval(first) == accuracy(a)
    assert ACCURACY.improvement([first], [second]) == accuracy_difference([a], [b])
    assert ACCURACY.recovered([first], [second], third) == gap_recovered([a], [b], c)
    assert BALANCED.improvement([first], [second]) == balanced_difference([a], [b], labels)
    assert BALANCED.recovered([first], [second], third) == balanced_gap_recovered(
        [a], [b], c, labels
    )


# --- as it is shown


def test_a_figure_shows_shares_in_per_cent_and_others_as_numbers() -> None:
    split = entry(ndcg=[0.5] * 4, rmse=[4.0] * 6)
    ndcg, rmse = NDCG.interval(split), RMSE.interval(split)
    assert NDCG.of_units(ndcg, 4, "users") == "NDCG@10 0.500 (0.500 to 0.500) of 4 users"
    assert RMSE.text(rmse, sign=True) == "+2.000 (+2.000 to +2.000)"
    assert (RMSE.shown(2.0), ACCURACY.shown(0.5)) == ("2.000", "50.0 %")
    assert (RMSE.change, BALANCED.change) == ("of RMSE", "points of balanced accuracy")
    assert (RMSE.rounded(1.23456), ACCURACY.rounded(0.123456)) == (1.2346, 12.35)


# --- a kind of real-valued terms

PAIRS = dataclasses.replace(
    IMAGE,
    name="made up",
    noun="pair",
    nouns="pairs",
    figures=(RMSE, NDCG),
    decided_by=lambda task: RMSE,
    input_words=lambda size: "a user and an item",
)
GOOD, PLAIN = drawn(), drawn(0.3)


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAINING_KINDS, PAIRS.name, PAIRS)


def results(split: dict[str, Any]) -> dict[str, Any]:
    return {"validation": split, "test": split, "decided_by": "rmse"}


def test_the_verdict_speaks_of_the_kinds_figure() -> None:
    said = verdict(results(GOOD), results(PLAIN), "kd", kind=PAIRS)
    assert said.startswith(
        f"The teachers help: kd {GOOD['rmse']:.3f}, plain {PLAIN['rmse']:.3f}, improvement +0."
    )
    assert "of RMSE on validation" in said and "%" not in said
    harm = verdict(results(PLAIN), results(GOOD), "kd", kind=PAIRS)
    assert harm.startswith("None of the teachers helps here")
    lines = summary_lines(GOOD, None, "test", kind=PAIRS)
    assert lines[0].startswith(f"test: RMSE {GOOD['rmse']:.3f} (")
    assert lines[0].endswith(" of 400 pairs") and len(lines) == 2


def test_the_page_and_the_card_of_such_a_run_have_no_classes(tmp_path: Path) -> None:
    epochs = [{"validation_rmse": 1.4}, {"validation_rmse": 1.3}]
    control = control_results(results(GOOD), results(PLAIN), epochs, kind=PAIRS)
    assert control["curve"] == [1.4, 1.3]
    assert control["lift"]["value"] > 0 and "terms" not in control["test"]
    of_run = results(GOOD) | {"control": control, "verdict": "The teachers help."}
    run = run_of(tmp_path / "run", of_run, ("1", "2"), kind=PAIRS.name)
    for epoch in range(2):
        run.add_metrics({"epoch": epoch, "validation_rmse": 1.2})
    text = page(run, {})
    words = plain_text(text)
    assert f"The RMSE of the student is {GOOD['rmse']:.3f} on the 400 test pairs" in words
    assert "RMSE on validation by epoch" in words
    assert f"test plain control 400 {PLAIN['rmse']:.3f} (" in words
    for word in ("accuracy", "Confusion", "Every class", "image", " points"):
        assert word not in words, word
    card = model_card(run.config(), of_run)
    assert "| split | pairs | RMSE | NDCG@10 |" in card
    assert "accuracy" not in card.lower()
    student = TrainedStudent.of(run)
    assert student.figures["rmse"].value == GOOD["rmse"] and student.test is None
    assert "test RMSE" in student._repr_html_()


def test_classes_are_no_matter_where_no_figure_counts_them(tmp_path: Path) -> None:
    kind = dataclasses.replace(PAIRS, figures=(RMSE, ACCURACY))
    answers = {"labels": [0, 1, 1], "predicted": [0, 0, 0], "calibration_error": 0.3}
    split = GOOD | answers
    metrics = split_metrics({"test": split}, "test", ("a", "b"))
    assert warnings_of(metrics, "test", kind=kind) == []
    assert [line.split()[0] for line in summary_lines(split, metrics, "test", kind=kind)] == [
        "test:",
        "accuracy",
        "calibration",
    ]
    config = {"method": "plain", "kind": PAIRS.name}
    assert len(advice(config, {"test": split, "decided_by": "rmse"}, metrics).steps) == 1
    assert warnings_of(metrics, "test", kind=IMAGE)
    assert (ACCURACY.column, BALANCED.column) == ("accuracy %", "balanced %")


def compared(folder: Path) -> Comparison:
    runs = {}
    for method, split in (("plain", PLAIN), ("kd", GOOD)):
        run = RunFolder.create(folder / method, {}, resume=True)
        run.add_metrics({"epoch": 0, "validation_rmse": split["rmse"]})
        run.finish(results(split), "a card")
        runs[method, 0] = run
    teacher = TeacherFigures(model="org/t", validation={"rmse": 0.9}, test=drawn(-0.1))
    empty = Comparison(
        name="t",
        classes=("1", "2"),
        runs=runs,
        lines=(),
        teachers=(teacher,),
        figure=RMSE,
        commonest=None,
        kind=PAIRS,
    )
    lines = tuple(_result(method, empty, None) for method in ("plain", "kd"))
    return dataclasses.replace(empty, lines=lines)


def test_a_comparison_of_such_runs(tmp_path: Path) -> None:
    comparison = compared(tmp_path)
    plain, kd = comparison.lines
    assert kd.lift and kd.lift == RMSE.improvement([GOOD], [PLAIN])
    assert kd.recovered and kd.recovered.value == pytest.approx(0.75)
    assert (plain.lift, plain.by_class) == (None, ())
    assert headline(comparison).startswith("The teachers help: kd, the best method on validation")
    assert "improves the RMSE on test by +0." in headline(comparison)
    assert heads(comparison) == [
        "method",
        "seeds",
        "validation RMSE",
        "test RMSE",
        "NDCG@10",
        "lift, RMSE",
        "gap recovered %",
    ]
    assert [head for head, _ in column_meanings(comparison)] == heads(comparison)[2:]
    table = text_table(comparison)
    row = f"kd 1 of 1 {GOOD['rmse']:.3f} {GOOD['rmse']:.3f} {GOOD['ndcg']:.3f} +0."
    assert row in " ".join(table.split())
    assert "accuracy" not in table and "points" not in table
    text = comparison_page(comparison)
    assert "RMSE on validation, mean over seeds" in text
    assert 'id="confusion"' not in text and "by class" not in plain_text(text)


def test_a_teacher_without_the_deciding_figure_leaves_the_gap_unknown(tmp_path: Path) -> None:
    whole = compared(tmp_path)
    teacher = TeacherFigures(model="org/t", validation={"ndcg": 0.5}, test={"samples": 400})
    lines = (dataclasses.replace(whole.lines[1], recovered=None),)
    table = text_table(dataclasses.replace(whole, teachers=(teacher,), lines=lines))
    assert "unknown" in table.splitlines()[3]


def test_the_best_is_best_in_the_figures_own_direction() -> None:
    values = {"a": {"rmse": 0.9, "ndcg": 0.1}, "b": {"rmse": 1.0, "ndcg": 0.2}}
    assert best_of(values, RMSE, PAIRS) == "a"
    assert best_of(values, NDCG, PAIRS) == "b"
    values["c"] = {"ndcg": 0.3}
    assert best_of(values, RMSE, PAIRS) == "c"  # by the figure that all have
    assert best_of({}, RMSE, PAIRS) is None


def test_the_best_method_has_the_least_error(tmp_path: Path) -> None:
    whole = compared(tmp_path)
    _, kd = whole.lines
    worse = dataclasses.replace(kd, method="average", deciding=2.0)
    found = best_method(dataclasses.replace(whole, lines=(*whole.lines, worse)))
    assert found is kd


def test_the_live_view_warns_where_an_error_is_larger(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingView(
        "kd", epochs=4, figure=RMSE, control=[1.0] * 4, margin=lambda plain: 0.2
    ) as live:
        for epoch, value in enumerate((3.0, 0.5, 1.1, 1.3)):
            line = {"epoch": epoch, "validation_rmse": value, "loss": 1.0, "terms": {}}
            live.epoch(line | {"train_accuracy": None})
    assert "after epoch 4 the student has 1.300 on validation RMSE" in capsys.readouterr().err
