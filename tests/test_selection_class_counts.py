"""Images by class and split, and what is said of small classes before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selection.probe import Probe
from selection.ranking import Ranking, Row
from selection.report.legend import KNN, meanings
from selection.report.table import class_lines
from selection.report.verdict import expected
from selection.scores.knn import accuracy_by_class
from selection.sources.class_counts import ClassCounts, some
from selection.task import Task
from tests.ranking_setting import ranking
from zoo.errors import UserError


def folder(root: Path, counts: dict[str, int], *, grey: int | None = None) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            if grey is not None:
                pixels[:] = grey
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def test_three_hundred_and_twenty_to_two_is_said(tmp_path: Path) -> None:
    task = Task.open(folder(tmp_path / "bolts", {"ok": 320, "defect": 2}))
    assert task.class_counts.by_split() == {
        "train": [2, 205],
        "validation": [0, 51],
        "test": [0, 64],
    }
    assert task.class_counts.unbalanced
    assert task.class_counts.commonest("test") == ("ok", 1.0)
    assert task.warnings == [
        "unbalanced classes, 102 to 1: 'ok' (205 training images), 'defect' (2 training images);"
        " read balanced accuracy and the accuracy by class, not accuracy alone",
        "no validation and no test image of 'defect' (2 training images): how well it is"
        " recognised cannot be measured there",
    ]


def test_a_test_folder_with_one_class_is_said(tmp_path: Path) -> None:
    classes = dict.fromkeys(("daisy", "rose", "tulip"), 8)
    folder(tmp_path / "task" / "train", classes)
    folder(tmp_path / "task" / "test", {"rose": 4})
    warnings = Task.open(tmp_path / "task").warnings
    assert warnings[-1] == (
        "no test image of 'daisy' (6 training images), 'tulip' (6 training images): how well they"
        " are recognised cannot be measured there"
    )


def test_many_absent_classes_are_counted(tmp_path: Path) -> None:
    classes = {f"class {i}": 3 for i in range(9)}
    warning = Task.open(folder(tmp_path / "task", classes)).warnings[-1]
    assert "'class 4' (2 training images) and 4 more" in warning


@pytest.mark.parametrize("images", [4, 5, 6, 9])
def test_four_images_give_each_split_one(tmp_path: Path, images: int) -> None:
    task = Task.open(folder(tmp_path / "task", {"ok": 40, "defect": images}))
    counts = task.class_counts
    assert counts.train[0] >= 2 and counts.validation[0] >= 1 and counts.test[0] >= 1
    assert not any("no test" in text or "no validation" in text for text in task.warnings)


def test_of_three_images_two_are_learnt_from_and_one_is_tested(tmp_path: Path) -> None:
    """A probe and heads out of fold need two training images of a class; what lacks is said."""
    task = Task.open(folder(tmp_path / "task", {"ok": 40, "defect": 3}))
    counts = task.class_counts
    assert (counts.train[0], counts.validation[0], counts.test[0]) == (2, 0, 1)
    assert any(text.startswith("no validation image of 'defect'") for text in task.warnings)


def test_balanced_tasks_are_not_warned_of(tmp_path: Path) -> None:
    task = Task.open(folder(tmp_path / "task", {"a": 40, "b": 20}))
    assert task.warnings == [] and not task.class_counts.unbalanced


def test_equal_images_are_refused_rather_than_ranked(tmp_path: Path) -> None:
    task = Task.open(folder(tmp_path / "grey", {"a": 10, "b": 10}, grey=128))
    with pytest.raises(UserError, match=r"all 12 images .* equal, a plain area of colour \(128"):
        Probe.draw(task, size=12)


def test_equal_pixels_in_other_bytes_are_refused_too(tmp_path: Path) -> None:
    root = folder(tmp_path / "grey", {"a": 10}, grey=128)
    (root / "b").mkdir()
    for i in range(10):
        Image.new("RGB", (8, 8), (128, 128, 128)).save(root / "b" / f"{i}.bmp")
    with pytest.raises(UserError, match="are equal"):
        Probe.draw(Task.open(root), size=12)


def test_one_image_that_differs_is_enough(tmp_path: Path) -> None:
    root = folder(tmp_path / "grey", {"a": 10, "b": 10}, grey=128)
    for i in range(10):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(root / "b" / f"{i}.png")
    probe = Probe.draw(Task.open(root), size=12)
    assert probe.class_counts == [6, 6]


def _ranking(images: list[int]) -> Ranking:
    row = Row(
        model="m",
        revision="r",
        source="folder",
        location=None,
        value=0.1,
        low=0.0,
        high=0.2,
        knn=0.99,
        knn_balanced=0.5,
        knn_by_class=(0.0, 1.0),
        probe_size=sum(images),
        expected={"accuracy": 0.9, "low": 0.8, "high": 0.95, "level": 0.8},
    )
    return ranking(
        row,
        task="bolts",
        classes=("defect", "ok"),
        probe={"size": sum(images), "images": images},
    )


def test_the_table_says_what_knn_is_to_be_held_against() -> None:
    uneven = _ranking([2, 205])
    assert uneven.uneven and uneven.commonest == ("ok", 205 / 207)
    assert meanings(uneven)[KNN] == (
        "% of 207 images named rightly by the images that the model finds most similar (the cheap"
        " baseline); always saying 'ok': 99.0 %"
    )
    assert class_lines(uneven) == [
        "worst classes of the first model by knn (share right, of so many images):"
        " 'defect' 0.0% of 2, 'ok' 100.0% of 205"
    ]
    even = _ranking([100, 100])
    assert not even.uneven and class_lines(even) == []
    sentence = expected(even)
    assert sentence is not None and sentence.endswith("; always saying 'defect' gets 50 %.")


def test_a_ranking_of_an_earlier_version_says_nothing_more(tmp_path: Path) -> None:
    old = _ranking([2, 205])
    del old.probe["images"]
    old.save(tmp_path / "ranking.json")
    loaded = Ranking.load(tmp_path / "ranking.json")
    assert loaded.commonest is None and not loaded.uneven and class_lines(loaded) == []
    assert "always saying" not in meanings(loaded)[KNN]
    assert loaded.rows[0].knn_by_class == (0.0, 1.0)


def test_accuracy_by_class_is_the_mean_of_its_samples() -> None:
    shares = accuracy_by_class(np.array([1.0, 0.0, 0.5]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(shares, [0.5, np.nan, 0.5])


def counted(*train: int) -> ClassCounts:
    names = tuple(f"class {i}" for i in range(len(train)))
    return ClassCounts(classes=names, train=train, validation=train, test=train)


def test_ten_to_one_is_unbalanced_and_an_empty_class_counts_as_one_image() -> None:
    assert (counted(10, 1).ratio, counted(10, 1).unbalanced) == (10, True)
    assert (counted(19, 2).ratio, counted(19, 2).unbalanced) == (9.5, False)
    assert counted(7, 0).ratio == 7


def test_five_classes_are_named_and_more_are_counted() -> None:
    assert some(["a", "b", "c", "d", "e"]) == "a, b, c, d, e"
    assert some([*"abcde", *["x"] * 1_200]) == "a, b, c, d, e and 1,200 more"
