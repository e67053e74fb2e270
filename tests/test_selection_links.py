"""Links in a task's folder: those that lead out of it are followed, those within it are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selection.sources.layouts.folder import find_images
from selection.task import Task
from zoo.errors import UserError


def fill(folder: Path, count: int, seed: int) -> Path:
    """``count`` images in ``folder``, no two alike."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """20 training and 5 test images of each of daisy and roses."""
    for seed, split in enumerate(("train", "test")):
        for label, name in enumerate(("daisy", "roses")):
            fill(
                tmp_path / "flowers" / split / name,
                20 if split == "train" else 5,
                10 * seed + label,
            )
    return tmp_path / "flowers"


def class_counts(task: Task) -> dict[str, int]:
    """The training and validation images of each class."""
    labels = np.concatenate([task.train.labels, task.validation.labels])
    return {name: int((labels == label).sum()) for label, name in enumerate(task.classes)}


LEFT_OUT = "a link to a folder of the same task is left out ({})"


@pytest.mark.parametrize(
    ("link", "target", "shown"),
    [
        ("train/roses/folderlink", "test/daisy", "test/daisy"),
        ("train/roses/folderlink", "train/daisy", "train/daisy"),
        ("train/roses/folderlink", "", "."),
        ("train/roses/folderlink", "..", ".."),
        ("train/tulips", "train/roses", "train/roses"),
        ("validation", "test", "test"),
        ("unlabelled", "test", "test"),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_a_link_to_a_folder_of_the_same_task_is_left_out(
    flowers: Path, link: str, target: str, shown: str, relative: bool
) -> None:
    up = Path(*[".."] * link.count("/"))
    (flowers / link).symlink_to(up / target if relative else (flowers / target).resolve())
    task = Task.open(flowers, duplicates=False)
    assert class_counts(task) == {"daisy": 20, "roses": 20}
    assert len(task.test) == 10 and task.unlabelled is None
    assert task.warnings == [LEFT_OUT.format(f"{link} -> {shown}")]


def test_links_that_lead_out_of_the_task_are_followed(tmp_path: Path, flowers: Path) -> None:
    linked = tmp_path / "linked"
    for split in ("train", "test"):  # classes are links
        (linked / split).mkdir(parents=True)
        for name in ("daisy", "roses"):
            (linked / split / name).symlink_to(flowers / split / name)
    splits = tmp_path / "splits"
    splits.mkdir()
    for split in ("train", "test"):  # splits are links
        (splits / split).symlink_to(flowers / split)
    (tmp_path / "whole").symlink_to(flowers)
    for root in (linked, splits, tmp_path / "whole"):
        task = Task.open(root, duplicates=False)
        assert class_counts(task) == {"daisy": 20, "roses": 20} and len(task.test) == 10
        assert task.warnings == []


def test_a_link_within_what_links_lead_to_is_left_out(tmp_path: Path, flowers: Path) -> None:
    (flowers / "train" / "roses" / "folderlink").symlink_to("../../test/daisy")
    splits = tmp_path / "splits"
    splits.mkdir()
    for split in ("train", "test"):
        (splits / split).symlink_to(flowers / split)
    task = Task.open(splits, duplicates=False)
    assert class_counts(task) == {"daisy": 20, "roses": 20}
    assert task.warnings == [LEFT_OUT.format("train/roses/folderlink -> ../flowers/test/daisy")]


def test_links_into_a_hidden_folder_of_the_task_are_followed(tmp_path: Path) -> None:
    for label, name in enumerate(("cats", "dogs")):
        fill(tmp_path / "pets" / ".store" / name, 10, label)
        (tmp_path / "pets" / name).symlink_to(Path(".store", name))
    task = Task.open(tmp_path / "pets", duplicates=False)
    assert task.classes == ("cats", "dogs") and task.warnings == []


def test_folders_of_nothing_but_links_within_the_task_are_refused(flowers: Path) -> None:
    (flowers / "train").rename(flowers / "images")
    (flowers / "train").mkdir()
    for name in ("daisy", "roses"):
        (flowers / "train" / name).symlink_to(flowers / "images" / name)
    with pytest.raises(UserError) as refused:
        Task.open(flowers)
    assert str(refused.value) == (
        f"{flowers}: train/ holds nothing but links to folders of the same task (train/daisy ->"
        " images/daisy and train/roses -> images/roses), which would be read twice; move the"
        " folders that they lead to out of the task"
    )


def test_unlabelled_images_are_listed_where_they_lie(flowers: Path) -> None:
    (flowers / "a").symlink_to("train")
    paths, broken = find_images(flowers)
    assert len(paths) == 50 and broken == 0
    assert not any(path.startswith("a/") for path in paths)


def test_a_linked_file_is_a_copy_which_the_search_for_duplicates_says(flowers: Path) -> None:
    for i in range(3):
        (flowers / "train" / "roses" / f"l{i}.png").symlink_to(f"../../test/daisy/{i}.png")
    task = Task.open(flowers)
    assert class_counts(task) == {"daisy": 20, "roses": 23}
    two_classes, two_splits, _ = task.warnings
    assert two_classes.startswith("3 pictures stand under two classes (train/roses/l0.png = ")
    assert two_splits.startswith("3 of 10 test images also stand in train (test/daisy/0.png = ")
