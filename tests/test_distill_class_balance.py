"""What a run does for small classes, and what it says of them."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from distill.data.batch import Batch
from distill.data.batches import Batches, BatchSettings
from distill.data.class_balance import BalancedStream, class_terms
from distill.data.samples import Samples, refuse_equal_samples
from distill.data.views import ImageAugmentation
from distill.kinds.classes import ACCURACY, BALANCED, class_mean, split_results
from distill.kinds.image import IMAGE
from distill.methods.recipe import task_term
from distill.options import Options, from_config, to_json
from distill.student.model_card import model_card
from distill.teachers.probe_head import fit
from distill.training.config import training_config
from distill.training.figures import Figure
from distill.training.results import (
    _wrapped,
    control_results,
    split_metrics,
    summary_lines,
    verdict,
    warnings_of,
)
from selection.task import Task
from tests.distill_setting import squares
from zoo.errors import UserError

SKEWED = np.repeat([0, 1, 2], [80, 16, 4])
CLASSES = ("red", "green", "blue")


def test_weights_are_inverse_to_the_images_and_of_mean_one() -> None:
    weights = class_terms("weights", SKEWED, 3).weights
    assert weights is not None
    torch.testing.assert_close(weights, 100 / 3 / torch.tensor([80.0, 16.0, 4.0]))
    assert float(weights[torch.from_numpy(SKEWED)].mean()) == pytest.approx(1.0)


def test_effective_weights_follow_the_effective_number() -> None:
    weights = class_terms("effective", SKEWED, 3).weights
    assert weights is not None
    number = 1 - 0.999 ** np.array([80, 16, 4])
    assert float(weights[2] / weights[0]) == pytest.approx(number[0] / number[2], rel=1e-5)


def test_a_class_without_images_has_no_weight() -> None:
    weights = class_terms("weights", SKEWED[:96], 3).weights
    assert weights is not None and weights[2] == 0 and bool(torch.isfinite(weights).all())


@pytest.mark.parametrize("kind", [None, "sampling"])
def test_other_kinds_leave_the_cross_entropy_as_it_is(kind: str | None) -> None:
    assert class_terms(kind, SKEWED, 3) == (None, None)


def _batch(labels: torch.Tensor, **more: torch.Tensor) -> Batch:
    count = len(labels)
    view = torch.empty(count, 3, 1, 1)
    return Batch(view=view, labels=labels, index=torch.arange(count), **more)


def test_the_task_term_weighs_and_adjusts_as_torch_would() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, -1, 2, 0, -1])
    known = labels >= 0
    weights, prior = torch.tensor([0.5, 2.0, 3.0]), torch.tensor([-0.1, -2.0, -4.0])
    torch.testing.assert_close(
        task_term(logits, _batch(labels, class_weights=weights)),
        cross_entropy(logits[known], labels[known], weight=weights),
    )
    torch.testing.assert_close(
        task_term(logits, _batch(labels, log_prior=prior)),
        cross_entropy(logits[known] + prior, labels[known]),
    )


def _rows(stream: BalancedStream, start: int, count: int) -> list[tuple[int, int]]:
    return [(number, int(row)) for number, piece in stream.take(start, count) for row in piece]


def test_a_balanced_stream_shows_classes_equally_and_every_image_in_turn() -> None:
    rows = np.arange(100) + 1000
    drawn = _rows(BalancedStream(rows, SKEWED, seed=1), 0, 240)
    labels = SKEWED[[row - 1000 for _, row in drawn]]
    assert np.bincount(labels).tolist() == [80, 80, 80]
    reds = [row for (_, row), label in zip(drawn, labels, strict=True) if label == 0]
    assert sorted(reds) == list(range(1000, 1080))
    blues = [number for (number, _), label in zip(drawn, labels, strict=True) if label == 2]
    assert blues == sorted(blues) and blues[-1] == 19  # 20 passes of 4 images


def test_a_balanced_stream_is_a_function_of_the_position() -> None:
    whole = _rows(BalancedStream(np.arange(100), SKEWED, seed=3), 0, 50)
    edges = [0, 1, 7, 8, 31, 50]
    fresh = [
        _rows(BalancedStream(np.arange(100), SKEWED, seed=3), start, stop - start)
        for start, stop in pairwise(edges)
    ]
    assert list(chain.from_iterable(fresh)) == whole
    assert _rows(BalancedStream(np.arange(100), SKEWED, seed=4), 0, 50) != whole


def _batches(kind: str | None) -> Batches:
    images, _ = squares(100)
    pixels = Samples(inputs=images, labels=SKEWED, usable=np.arange(100), digest="skewed")
    settings = BatchSettings(
        batch_size=30,
        size=16,
        augmentation=ImageAugmentation(flip=False),
        seed=0,
        class_balance=kind,
        classes=3,
    )
    return Batches.build(pixels, settings)


def test_batches_carry_the_balance() -> None:
    plain, sampled = _batches(None).at(0), _batches("sampling").at(0)
    assert plain.class_weights is None and plain.log_prior is None
    assert torch.bincount(sampled.labels, minlength=3).tolist() == [10, 10, 10]
    weighted, adjusted = _batches("weights").at(0), _batches("logits").at(0)
    assert weighted.class_weights is not None and adjusted.log_prior is not None
    for other in (weighted, adjusted):  # the same images in the same views
        assert torch.equal(other.view, plain.view)
    shares = torch.tensor([80.5, 16.5, 4.5]) / 101.5
    torch.testing.assert_close(adjusted.log_prior, shares.log())


def test_a_balanced_head_leaves_the_frequencies_out() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(SKEWED)
    features = torch.randn(100, 8, generator=generator) + torch.eye(8)[labels]
    natural = fit(features, labels, num_classes=3)
    balanced = fit(features, labels, num_classes=3, balanced=True)
    prior = (torch.tensor([80.5, 16.5, 4.5]) / 101.5).log()
    torch.testing.assert_close(
        balanced.predict(features) - natural.predict(features),
        -prior.expand(100, 3),
        atol=1e-4,
        rtol=1e-4,
    )


def _task(folder: Path, counts: tuple[int, ...]) -> Task:
    from PIL import Image

    for name, count in zip(CLASSES, counts, strict=False):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8), name).save(folder / name / f"{i}.png")
    return Task.open(folder)


def _kind(task: Task, option: str) -> str | None:
    options = Options(student="test_efficientnet", method="plain", class_balance=option)
    return training_config(options, task).class_balance


def test_auto_acts_on_unbalanced_tasks_alone(tmp_path: Path) -> None:
    even, skewed = _task(tmp_path / "even", (12, 12)), _task(tmp_path / "skewed", (100, 5))
    assert _kind(even, "auto") is None
    assert _kind(skewed, "auto") == "logits"
    assert _kind(skewed, "none") is None
    assert _kind(even, "logits") == "logits"
    with pytest.raises(UserError, match="class-balance"):
        Options(class_balance="often")


def test_an_old_run_goes_on_without_balance() -> None:
    options = to_json(Options(task="t", student="s"))
    del options["class_balance"]
    config = {"options": options, "method": "plain", "seed": 0, "teachers": []}
    assert from_config(config)[0].class_balance == "none"


def _results(predicted: Any, labels: Any = SKEWED, *, by: Figure = BALANCED) -> dict[str, Any]:
    logits = torch.eye(3)[torch.as_tensor(predicted)] * 9
    split = split_results(np.asarray(labels), logits, CLASSES)
    return {"validation": split, "test": split, "decided_by": by.name}


ALWAYS_RED = np.zeros(100, dtype=int)


def test_results_hold_every_figure_beside_accuracy() -> None:
    split = _results(ALWAYS_RED)["test"]
    assert split["accuracy"] == 0.8 and split["commonest"] == "red"
    assert split["balanced_accuracy"] == pytest.approx(1 / 3)
    assert split["commonest_share"] == 0.8
    assert split["calibration_error"] == pytest.approx(0.2, abs=0.01)
    assert split["classes"][2]["samples"] == 4
    assert split["classes"][2]["recall"]["value"] == 0.0
    assert class_mean(ALWAYS_RED == SKEWED, SKEWED) == pytest.approx(1 / 3)


def test_the_summary_says_what_a_blind_student_is_worth() -> None:
    results = _results(ALWAYS_RED)
    metrics = split_metrics(results, "test", CLASSES)
    lines = summary_lines(results["test"], metrics, "test", kind=IMAGE)
    assert lines[0].startswith("test: 80.0 % (")
    assert lines[1].startswith("  balanced accuracy 33.3 % (")
    assert lines[2].startswith("  macro-F1 29.6 % (")  # F1 of red is 2 * 80 / (80 + 100)
    assert lines[3] == "  always saying 'red': 80.0 %"
    assert lines[4] == "  worst classes: green 0 of 16, blue 0 of 4, red 80 of 80"
    assert warnings_of(metrics, "test", kind=IMAGE) == [
        "on test the student never says 'green', 'blue': read the balanced accuracy, not the"
        " accuracy"
    ]


def test_a_class_without_image_is_said_after_training() -> None:
    results = _results(ALWAYS_RED[:96], SKEWED[:96])
    metrics = split_metrics(results, "test", CLASSES)
    assert warnings_of(metrics, "test", kind=IMAGE)[0] == (
        "no test image of 'blue': the test accuracy says nothing of it"
    )
    assert (
        "the mean over 2 of 3 classes"
        in summary_lines(results["test"], metrics, "test", kind=IMAGE)[1]
    )


def test_long_lists_of_classes_break_between_classes() -> None:
    names = [f"a rather long class name {i}" for i in range(8)]
    labels = np.repeat(range(8), 2)
    split = split_results(labels, torch.eye(8)[torch.from_numpy(labels)], names)
    metrics = split_metrics({"test": split}, "test", names)
    lines = summary_lines(split, metrics, "test", kind=IMAGE)
    assert all(len(line) <= 80 for line in lines)
    assert sum("2 of 2" in line for line in lines) >= 2


@pytest.mark.journey
def test_balanced_accuracy_decides_where_classes_are_unbalanced() -> None:
    wrong_reds = SKEWED.copy()
    wrong_reds[:30] = 1  # knows the small classes, errs on 30 of the 80 red ones
    balanced = verdict(_results(wrong_reds), _results(ALWAYS_RED), "probe_kd", kind=IMAGE)
    assert balanced.startswith("The teachers help: probe_kd 87.5 %, plain 33.3 %")
    assert "points of balanced accuracy on validation" in balanced
    by_accuracy = [_results(p, by=ACCURACY) for p in (wrong_reds, ALWAYS_RED)]
    assert verdict(*by_accuracy, "probe_kd", kind=IMAGE).startswith(
        "Too close to call whether the teachers help: probe_kd 70.0 %, plain 80.0 %"
    )
    lift = BALANCED.improvement([_results(wrong_reds)["test"]], [_results(ALWAYS_RED)["test"]])
    assert lift.value == pytest.approx(0.875 - 1 / 3)


def test_no_verdict_without_a_validation_image_of_a_class() -> None:
    student, plain = (_results(p[:96], SKEWED[:96]) for p in (SKEWED, ALWAYS_RED))
    assert verdict(student, plain, "kd", kind=IMAGE).startswith(
        "Whether the teachers help cannot be told: no validation image of 'blue'; on the other"
    )


def test_results_of_an_earlier_version_are_read() -> None:
    new = _results(ALWAYS_RED)
    kept = ("accuracy", "low", "high", "predicted", "labels")
    old = {
        split: {"images": new[split]["samples"]} | {name: new[split][name] for name in kept}
        for split in ("validation", "test")
    }
    metrics = split_metrics(old, "test", CLASSES)
    assert metrics is not None
    assert metrics.balanced.value == pytest.approx(1 / 3)
    assert verdict(old, old, "probe_kd", kind=IMAGE).startswith("Too close to call")
    absent = _results(ALWAYS_RED[:96], SKEWED[:96])
    for entry in absent["validation"]["classes"]:
        entry["images"] = entry.pop("samples")
    said = verdict(absent, absent, "kd", kind=IMAGE)
    assert said.startswith("Whether the teachers help cannot be told: no validation image of")


def test_the_card_has_the_figures_by_class() -> None:
    config = {
        "plan": {"student": {"architecture": "x", "size": 32}, "class_balance": "logits"},
        "classes": list(CLASSES),
        "options": {"task": "bolts"},
        "method": "plain",
        "seed": 0,
        "teachers": [],
        "task": {"digest": "d" * 64, "labelled": 1, "unlabelled": 0},
        "versions": {},
    }
    card = model_card(config, _results(ALWAYS_RED))
    assert "| test | 100 | 80.0 (71.1 to 86.7) | 33.3 (" in card
    assert "| 80.0, red |" in card
    assert "| blue | 4 | 0.0 (0.0 to 49.0) | never |" in card
    assert "> **Warning:** on test the student never says 'green', 'blue'" in card
    assert "--class-balance logits" in card


def test_equal_images_are_refused() -> None:
    images = np.full((6, 3, 8, 8), 128, dtype=np.uint8)
    pixels = Samples(inputs=images, labels=SKEWED[:6], usable=np.arange(6), digest="grey")
    with pytest.raises(UserError, match="all 6 training images are equal"):
        refuse_equal_samples(pixels, nouns="images")
    images[5, 0, 0, 0] = 0
    refuse_equal_samples(pixels, nouns="images")


def test_unlabelled_images_are_of_no_class() -> None:
    labels = np.concatenate([SKEWED, np.full(900, -1)])
    for kind, place in (("weights", "weights"), ("logits", "log_prior")):
        with_pool, without = (class_terms(kind, given, 3) for given in (labels, SKEWED))
        torch.testing.assert_close(getattr(with_pool, place), getattr(without, place))
    prior = class_terms("logits", SKEWED, 3).log_prior
    assert prior is not None
    torch.testing.assert_close(prior.exp(), torch.tensor([80.5, 16.5, 4.5]) / 101.5)


def test_classes_of_one_size_go_through_their_images_in_orders_of_their_own() -> None:
    drawn = _rows(BalancedStream(np.arange(40), np.repeat([0, 1], 20), seed=5), 0, 40)
    rows = [row for _, row in drawn]
    first, second = ([row % 20 for row in rows if row // 20 == label] for label in (0, 1))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_a_lift_that_may_be_chance_is_too_close_to_call() -> None:
    reds = np.zeros(100, dtype=int)
    better, worse = (np.where(np.arange(100) < wrong, 1, 0) for wrong in (28, 30))
    for first, second, sign in ((better, worse, "+2.0"), (worse, better, "-2.0")):
        first, second = (np.roll(first, 40), second)
        said = verdict(
            _results(first, reds, by=ACCURACY),
            _results(second, reds, by=ACCURACY),
            "kd",
            kind=IMAGE,
        )
        assert said.startswith("Too close to call whether the teachers help: kd")
        assert f"difference {sign}" in said  # and no word of the two classes without images


def test_a_wrong_answer_counts_for_no_class() -> None:
    hits = np.array([False, True, True, True])
    assert class_mean(hits, np.array([0, 0, 1, 1])) == 0.75
    assert class_mean(hits, np.array([1, 1, 0, 0])) == 0.75


def test_a_control_is_kept_as_figures_without_its_images() -> None:
    student, plain = _results(SKEWED), _results(ALWAYS_RED)
    epochs = [
        {"validation_accuracy": 0.8},  # of a version that kept no other
        {"validation_accuracy": 0.9, "validation_balanced_accuracy": 0.4},
    ]
    kept = control_results(student, plain, epochs, kind=IMAGE)
    assert kept["curve"] == [0.8, 0.4]
    assert kept["lift"]["value"] == pytest.approx(2 / 3)
    assert kept["test"]["accuracy"] == 0.8
    assert not {"predicted", "labels", "confidence", "reliability"} & set(kept["test"])


def test_a_line_of_exactly_eighty_letters_is_not_broken() -> None:
    first, second = "x" * 69, "y" * 10
    assert _wrapped("  worst:  ", [first, second]) == [f"  worst:  {first},", f"    {second}"]
    assert len(f"  worst:  {first},") == 80
