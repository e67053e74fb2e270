"""Folders as people have them: each is read as what it is, or refused with the right word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from selection.sources.layouts.split_names import (
    by_pairs,
    loose_key,
    numbered_family,
    read_name,
    read_names,
)
from selection.sources.split import Split
from selection.task import Task
from zoo.errors import UserError

PETS = ("cats", "dogs")


class Reading(NamedTuple):
    """What a layout is: its classes, images by split, images without labels, and what is said."""

    classes: tuple[str, ...]
    train: int
    validation: int
    test: int
    unlabelled: int = 0
    says: tuple[str, ...] = ()


def with_classes(*splits: str, count: int = 10, classes: tuple[str, ...] = PETS) -> dict[str, int]:
    """``count`` images of each class in each of ``splits``."""
    return {f"{split}/{name}": count for split in splits for name in classes}


def make(root: Path, layout: Mapping[str, int]) -> Path:
    """Make folders with so many images each; a path with a suffix is one small other file."""
    root.mkdir()
    rng = np.random.default_rng(0)  # no two images alike: copies would be reported
    for inside, count in layout.items():
        path = root / inside
        if path.suffix and not count:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("file")
            continue
        path.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / f"{number}.png")
    return root


NO_TEST = Reading(PETS, 12, 4, 4)  # 10 images a class, cut twice by 20 %
WITH_TEST = Reading(PETS, 16, 4, 10)  # and 5 images a class in the test split
WITH_BOTH = Reading(PETS, 20, 10, 10)
TRAIN, FIVE = with_classes("train"), 5


def beside_train(name: str) -> dict[str, int]:
    return TRAIN | with_classes(name, count=FIVE)


USED = r"{}/ is used as the {} split"


def as_test(name: str) -> Reading:
    return WITH_TEST._replace(says=(USED.format(re.escape(name), "test"),))


READ: dict[str, tuple[dict[str, int], Reading]] = {
    # plain
    "torchvision ImageFolder": (with_classes("."), NO_TEST),
    "Keras, train and test": (beside_train("test"), WITH_TEST),
    "fastai, train and valid": (
        TRAIN | with_classes("valid", count=5),
        Reading(PETS, 16, 10, 4),
    ),
    "Roboflow": (
        beside_train("test") | with_classes("valid", count=5) | {"README.roboflow.txt": 0},
        WITH_BOTH,
    ),
    "upper case": (with_classes("TRAIN") | with_classes("Test", count=5), WITH_TEST),
    # names of splits
    **{
        name: (beside_train(name), as_test(name))
        for name in (
            "eval", "evaluation", "holdout", "hold-out", "Hold_Out", "test_set", "testset", "tst",
            "Test-Images", "test_data", "test2", "testing_images", "TestSet", "test_224x224",
        )
    },
    "train_set and test_set": (
        with_classes("train_set") | with_classes("test_set", count=5),
        as_test("test_set"),
    ),
    "training_data and dev-set": (
        with_classes("training_data") | with_classes("dev-set", count=5),
        Reading(PETS, 16, 10, 4, says=(USED.format("dev-set", "validation"),)),
    ),
    "tr and te": (with_classes("tr") | with_classes("te", count=5), as_test("te")),
    "a prefix that all share": (
        with_classes("flowers_train") | with_classes("flowers_test", count=5),
        as_test("flowers_test"),
    ),
    "other prefixes": (
        with_classes("pets-train-v2") | with_classes("new-eval-shelter", count=5),
        as_test("new-eval-shelter"),
    ),
    "train, eval and test": (
        beside_train("test") | with_classes("eval", count=5),
        WITH_BOTH._replace(says=(USED.format("eval", "validation"),)),
    ),
    "train, val, test and holdout": (
        beside_train("test") | with_classes("val", "holdout", count=5),
        WITH_BOTH._replace(says=("holdout/ is not used",)),
    ),
    "an unknown folder beside test": (
        with_classes("my photos") | with_classes("test", count=5),
        WITH_TEST._replace(says=(USED.format("my photos", "training"),)),
    ),
    "another language": (
        with_classes("entrenamiento") | with_classes("prueba", count=5),
        as_test("prueba"),
    ),
    # what is not used
    "to_predict": (
        TRAIN | {"to_predict": 7},
        NO_TEST._replace(says=("to_predict/ holds 7 images without classes .* --unlabelled .*",)),
    ),
    "flat test": (
        TRAIN | {"test": 7},
        NO_TEST._replace(says=("test/ holds 7 images without classes and is not used",)),
    ),
    "Kaggle, test in test": (
        with_classes("train/train") | {"test/test": 7},
        NO_TEST._replace(says=("test/ holds 7 images without classes",)),
    ),
    "Keras, test/unknown": (
        TRAIN | {"test/unknown": 7},
        NO_TEST._replace(says=("test/ holds 7 images without classes",)),
    ),
    "Intel": (
        with_classes("seg_train/seg_train") | with_classes("seg_test/seg_test", count=5)
        | {"seg_pred/seg_pred": 3},
        WITH_TEST._replace(says=(USED.format("seg_test", "test"), "seg_pred/ holds 3 images")),
    ),
    "tiny ImageNet": (
        {"train/n01443537/images": 10, "train/n01629819/images": 10, "val/images": 6,
         "test/images": 6, "wnids.txt": 0},
        Reading(("n01443537", "n01629819"), 12, 4, 4, says=("val/ holds 6", "test/ holds 6")),
    ),
    "an unknown folder beside splits": (
        beside_train("test") | {"figures": 2, "press": 1},
        WITH_TEST._replace(says=("figures/ and press/ next to train/ are no splits",)),
    ),
    "leftovers beside train": (
        TRAIN | {"raw": 9, "misc": 2},
        NO_TEST._replace(says=("raw/ holds 9 images without", "misc/ holds 2")),
    ),
    "the same classes in an unknown folder": (
        TRAIN | with_classes("shelter"),
        NO_TEST._replace(says=("shelter/ next to train/ is no split and is not used",)),
    ),
    "originals beside their split": (
        beside_train("test") | with_classes("."),
        WITH_TEST._replace(says=("cats/ and dogs/ next to train/",)),
    ),
    "a Windows copy": (
        beside_train("test") | with_classes("train (1)", "test - Copy"),
        WITH_TEST._replace(says=(r"train \(1\)/ is a second training", "test - Copy/ is a second")),
    ),
    "strays in splits": (
        beside_train("test") | {"train": 3, "test": 1},
        WITH_TEST._replace(
            says=("3 images directly in train/ have", "1 image directly in test/ has")
        ),
    ),
    "strays beside classes": (
        with_classes(".") | {"": 2},
        NO_TEST._replace(says=("2 images directly in .* have no class",)),
    ),
    "to_predict beside classes": (
        with_classes(".") | {"to_predict": 5},
        NO_TEST._replace(says=("to_predict/ holds 5 images without classes",)),
    ),
    "Test-set beside classes": (
        with_classes(".") | {"Test-set": 5},
        NO_TEST._replace(says=("Test-set/ holds 5 images without classes",)),
    ),
    "a copy within, as of cell images": (
        with_classes(".", "pet_images"),
        NO_TEST._replace(says=("pet_images/ repeats the class folders",)),
    ),
    "test between the classes": (
        with_classes(".") | with_classes("test", count=5),
        WITH_TEST._replace(says=("test/ is used as the test split of the class folders",)),
    ),
    "an empty split": (
        TRAIN | with_classes("test", count=0),
        NO_TEST._replace(says=("test/ holds no image",)),
    ),
    # joined
    "folds": (
        with_classes("fold1", "fold2", "fold_3", count=5),
        Reading(PETS, 20, 4, 6, says=("fold1/, fold2/ and fold_3/ .*: joined as one",)),
    ),
    "parts with other classes": (
        {"part1/ant": 5, "part1/bee": 5, "part2/ant": 5, "part2/bee": 5, "part2/cat": 5},
        Reading(("ant", "bee", "cat"), 15, 5, 5, says=("part1/ and part2/",)),
    ),
    "sets of letters": (
        with_classes("set_a", "set_b", count=5),
        Reading(PETS, 12, 4, 4, says=("set_a/ and set_b/ .*: joined as one",)),
    ),
    "batches": (with_classes("batch1", "batch2", count=5), NO_TEST._replace(says=("batch1/ and",))),
    "folds and a test split": (
        with_classes("fold_0", "fold_1", count=5) | with_classes("test", count=5),
        WITH_TEST._replace(says=("fold_0/ and fold_1/ .* one labelled set$",)),
    ),
    "train1 and train2": (
        with_classes("train1", "train2", count=5) | with_classes("test", count=5),
        WITH_TEST._replace(says=("train1/ and train2/ are joined as the training split",)),
    ),
    # wrapped
    "unpacked one level deep": (
        with_classes("pets"),
        NO_TEST._replace(says=("pets/ is the only folder with images",)),
    ),
    "unpacked three levels deep": (
        {f"archive/dataset/dataset/{name}": n for name, n in beside_train("test").items()}
        | {"archive/README.md": 0, "__MACOSX/archive": 3},
        WITH_TEST,
    ),
    "data/images/train": (
        {f"data/images/{name}": n for name, n in beside_train("val").items()}
        | {"data/labels/a.txt": 0},
        Reading(PETS, 16, 10, 4),
    ),
    "a wrapper in the split": (
        with_classes("train/pets") | with_classes("test/images", count=5), WITH_TEST,
    ),
    "train alone": (TRAIN, NO_TEST),
    "CVAT": (
        {f"images/{name}": n for name, n in beside_train("test").items()}, WITH_TEST,
    ),
    "litter": (
        beside_train("test")
        | {".ipynb_checkpoints": 2, "train/.ipynb_checkpoints": 2, "__MACOSX": 1,
           "train/cats/Thumbs.db": 0, "@eaDir/train/cats": 2},
        WITH_TEST,
    ),
    "a pool": (beside_train("test") | {"unlabelled/deep": 6}, WITH_TEST._replace(unlabelled=6)),
    "pools by other names": (
        {"data/Unlabeled_Images": 3, "data/train/unlabelled": 2}
        | {f"data/{name}": n for name, n in TRAIN.items()},
        NO_TEST._replace(unlabelled=5),
    ),
    # class-major and pairs
    "splits in classes": (
        {"cats/train": 10, "cats/test": 5, "dogs/train": 10, "dogs/test": 5},
        WITH_TEST._replace(says=("splits are read from the folders in each class folder",)),
    ),
    "splits in classes, one without": (
        {"ant/Train": 10, "ant/Val": 5, "bee/Train": 10, "bee/Val": 5, "cat": 10},
        Reading(("ant", "bee", "cat"), 24, 10, 6, says=("cat/ holds no splits",)),
    ),
    **{
        f"{join.format('split', 'class')} with folders": (
            {
                f"{join.format(split, name)}/{inner}": 5
                for split in ("train", "test")
                for name, folders in (("cats", ("siam", "persian")), ("dogs", ("pug", "beagle")))
                for inner in folders
            },
            Reading(PETS, 16, 4, 20, says=("names are read as split and class: .* are taken tog",)),
        )
        for join in ("{}_{}", "{}-{}", "{}.{}")
    },
    "class_split with folders in some": (
        {"cats_train/old": 5, "cats_train/young": 5, "dogs_train": 10, "cats_test": 5}
        | {"dogs_test": 5},
        WITH_TEST._replace(says=("'cats' of the test split; the folders below are taken tog",)),
    ),
    "split_class with images beside folders": (
        {"train_cats": 7, "train_cats/young": 3, "train_dogs": 10, "test_cats": 5, "test_dogs": 5},
        WITH_TEST._replace(says=("names are read as split and class: .* are taken together",)),
    ),
    "split_class beside a split": (
        {"train_cats/old": 5, "train_cats/young": 5, "train_dogs/old": 5, "train_dogs/young": 5}
        | with_classes("test", count=5),
        WITH_TEST._replace(says=("names are read as split and class: .* are taken together",)),
    ),
    "train with classes beside test_class": (
        TRAIN | {"test_cats": 5, "test_dogs": 5},
        WITH_TEST._replace(says=("names are read as split and class",)),
    ),
    "split_class beside a flat test": (
        {"train_cats": 10, "train_dogs": 10, "test": 5},
        NO_TEST._replace(says=("test/ holds 5 images without classes and is not used",)),
    ),
    "names of split and class": (
        {"train_cats": 10, "train_dogs": 10, "test_cats": 5, "test_dogs": 5},
        WITH_TEST._replace(says=("names are read as split and class",)),
    ),
    # classes written in two ways
    "case of class names": (
        TRAIN | {"test/Cats": 5, "test/DOGS": 5},
        WITH_TEST._replace(says=("other spelling: test/Cats/ as class 'cats'",)),
    ),
    "separators of class names": (
        {"train/golden_retriever": 10, "train/pug": 10, "test/Golden Retriever": 5, "test/pug": 5},
        Reading(("golden_retriever", "pug"), 16, 4, 10),
    ),
    "one class in test": (TRAIN | {"test/cats": 5}, Reading(PETS, 16, 4, 5)),
    "a class that train lacks": (
        beside_train("test") | {"test/birds": 4},
        WITH_TEST._replace(says=("4 of 14 test images have a class .* .'birds'., and are not",)),
    ),
    # real classes with such names
    "train among vehicles": (
        {"car": 10, "plane": 10, "train": 10},
        Reading(("car", "plane", "train"), 18, 6, 6, says=("train/ is taken as a class",)),
    ),
    "trains, cars, tests": (
        {"trains": 10, "cars": 10, "tests": 10},
        Reading(("cars", "tests", "trains"), 18, 6, 6),
    ),
    "test among papers": (
        {"exam": 10, "quiz": 10, "test": 10},
        Reading(("exam", "quiz", "test"), 18, 6, 6, says=("test/ is taken as a class",)),
    ),
    "a class train in splits": (
        with_classes("train", classes=("car", "train"))
        | with_classes("test", count=5, classes=("car", "train")),
        Reading(("car", "train"), 16, 4, 10),
    ),
    "valid and invalid": ({"valid": 10, "invalid": 10}, Reading(("invalid", "valid"), 12, 4, 4)),
    "masks": ({"mask": 10, "no_mask": 10}, Reading(("mask", "no_mask"), 12, 4, 4)),
    "numbers": (
        {str(i): 3 for i in range(10)},
        Reading(tuple("0123456789"), 20, 0, 10, says=(r"^no validation image of '0' .* 5 more",)),
    ),
    "Teachable Machine": (
        {"Class 1": 10, "Class 2": 10}, Reading(("Class 1", "Class 2"), 12, 4, 4),
    ),
    "new and old": ({"new": 10, "old": 10}, Reading(("new", "old"), 12, 4, 4)),
    "unmarked sub-classes": (
        {"cats/persian": 5, "cats/siamese": 5, "dogs/pug": 5, "dogs/beagle": 5},
        NO_TEST._replace(says=(r"cats/ and dogs/ are one class each.*\(persian and siamese\)",)),
    ),
    "days of recording": (
        {"cats/2024-01": 5, "cats/2024-02": 5, "dogs/2024-01": 5, "dogs/2024-02": 5}, NO_TEST,
    ),
    "images and masks of each class": (
        {"cats/images": 10, "dogs/images": 10}, NO_TEST,
    ),
}  # fmt: skip

FLAT = r"no class folders and no labels file"

# what a reading must not be taken for
READ |= {
    "a split by a longer name beside one class": (
        {"training_set/steam": 5, "training_set/diesel": 5, "car": 5},
        Reading(
            ("diesel", "steam"),
            6,
            2,
            2,
            says=("car/ next to training_set/ is no split and is not used",),
        ),
    ),
    "trains by kind, cars, buses": (
        {"train/steam": 5, "train/diesel": 5, "car": 5, "bus": 5},
        Reading(("bus", "car", "train"), 12, 4, 4, says=("train/ is taken as a class beside",)),
    ),
    "each class by the others' names": (
        {"1/2": 5, "1/3": 5, "2/1": 5, "2/3": 5, "3/1": 5, "3/2": 5},
        Reading(("1", "2", "3"), 18, 6, 6),
    ),
    "classes, and their validation beside them": (
        with_classes(".") | with_classes("val", count=5),
        Reading(PETS, 16, 10, 4, says=("val/ is used as the validation split of the class",)),
    ),
    "raw and images as classes": ({"raw": 5, "images": 5}, Reading(("images", "raw"), 6, 2, 2)),
    "an empty validation split": (
        beside_train("test") | {"val": 0},
        WITH_TEST._replace(says=("val/ holds no image",)),
    ),
}
READ |= {
    "a run trained into the task": (
        with_classes(".")
        | {f"run/{name}": 0 for name in ("config.json", "metrics.jsonl", "checkpoint/last.pt")}
        | {"run/tensorboard": 2, "new/config.json": 0, "new/checkpoint": 1},
        Reading(
            PETS,
            12,
            4,
            4,
            says=("class folder 'new' holds no image", "class folder 'run' holds no image"),
        ),
    ),
}

REFUSED: dict[str, tuple[dict[str, int], str]] = {
    "train and test without classes": ({"train": 8, "test": 4}, rf"test/ and train/ hold .*{FLAT}"),
    "the same, wrapped": (
        {"data/images/train": 8, "data/images/val": 4, "data/labels/train/0.txt": 0},
        rf"data/images/val/ hold images but {FLAT}",
    ),
    "train alone, flat": ({"train": 8}, rf"train/ holds 8 images but {FLAT}"),
    "images alone, flat": ({"images": 8}, rf"images/ holds 8 images but {FLAT}"),
    "Label Studio": ({"images": 8, "images/labels.json": 0}, FLAT),
    "folds without classes": ({"fold1": 4, "fold2": 4, "fold3": 4}, FLAT),
    "COCO": ({"train2017": 8, "val2017": 4, "annotations/a.json": 0}, FLAT),
    "train and a leftover": ({"train": 8, "raw": 3}, FLAT),
    "images and masks": ({"images": 8, "masks": 8}, FLAT),
    "flat train, test with classes": (
        {"train": 8} | with_classes("test"), rf"train/ holds .*{FLAT}, unlike test/",
    ),
    "train and test beside classes": (
        {"train": 8, "test": 8, "car": 8}, "cannot tell whether test/ and train/ are splits or",
    ),
    "one class and to_predict": ({"cats": 5, "to_predict": 5}, "one class only .'cats'"),
    "single": ({"photos": 8}, FLAT),
    "one class": ({"roses": 8}, "one class only .'roses'"),
    "one class in train": ({"train/cats": 5, "test/cats": 5, "test/dogs": 5}, "one class only"),
    "two domains": (
        with_classes("amazon", "dslr"),
        "amazon/ and dslr/ hold the same folders .cats and dogs.: cannot tell .*--task .*amazon",
    ),
    "a grid of properties": (
        {"apple/fresh": 5, "apple/rotten": 5, "pear/fresh": 5, "pear/rotten": 5},
        "cannot tell whether they are splits or classes",
    ),
    "splits in some of the classes": (
        {"cats/train": 5, "cats/test": 5, "dogs/train": 5, "dogs/test": 5, "fox": 5, "owl": 5},
        "cats/ and dogs/ hold the same folders .test and train.: cannot tell",
    ),
    "more numbers than persons": (
        {f"person{i}/{k:02d}": 5 for i in (1, 2) for k in (1, 2, 3)},
        "person1/ and person2/ hold the same folders .01, 02 and 03.: cannot tell",
    ),
    # Kaggle's breast histopathology: 0 and 1 are the classes
    "classes 0 and 1 of each patient": (
        with_classes("8863", "8864", "8865", classes=("0", "1")),
        "8863/, 8864/ and 8865/ hold the same folders .0 and 1.: cannot tell",
    ),
    "numbers in two collections": (
        {"images/1": 5, "images/2": 5, "photos/1": 5, "photos/2": 5},
        "images/ and photos/ hold the same folders .1 and 2.: cannot tell",
    ),
    "no training split": (
        with_classes("val", "test"), "no training split with class folders",
    ),
    "flat train, val and test with classes": (
        with_classes("val", "test") | {"train": 4}, "no training split with class folders",
    ),
    "train and one other": (
        {"train/steam": 5, "train/diesel": 5, "car": 5}, "cannot tell whether train/ and car/",
    ),
    "flat train beside labelled classes": (
        {"train": 5} | with_classes("labelled"), "cannot tell whether labelled/ and train/",
    ),
    "images with splits beside docs": (
        {f"images/{name}": n for name, n in TRAIN.items()} | {"docs": 2},
        "cannot tell whether images/ and docs/ are classes.*--task .*images",
    ),
    "folds with splits": (
        with_classes("fold1/train", "fold1/test", "fold2/train", "fold2/test"),
        "hold splits of their own .test and train.; give one of them, such as --task .*fold1",
    ),
    "two versions": (
        with_classes("color/train", "color/test", "gray/train", "gray/test"),
        "color/ and gray/ hold splits of their own",
    ),
    "labelled and pool": (
        with_classes("labelled/train", "labelled/test") | {"pool": 9},
        "labelled/ holds splits of its own .test and train., unlike pool/: they are no classes of"
        " one task; for one of them give --task .*labelled, and --unlabelled .*pool if its images",
    ),
    "one class with splits": (
        {"cats/train": 9, "cats/test": 3, "dogs": 9, "fish": 9},
        "cats/ holds splits of its own .test and train., unlike dogs/ and fish/",
    ),
    **{
        f"{join.format('split', 'class')} with the same folders": (
            {
                f"{join.format(split, name)}/{age}": 5
                for split in splits for name in PETS for age in ("old", "young")
            },
            "hold the same folders .old and young.: cannot tell whether the classes are cats and"
            f" dogs, or old and young; for the first rename {first}/ to {split}/cats/, for the"
            f" second move the images of {first}/old/ to {split}/old/, and all others likewise",
        )
        for join, splits, first, split in (
            ("{}_{}", ("train", "test"), "test_cats", "test"),
            ("{}-{}", ("train", "val", "test"), "test-cats", "test"),
            ("{}.{}", ("train", "test"), "test.cats", "test"),
            ("{1}_{0}", ("train", "test"), "cats_test", "test"),
            ("x/{}_{}", ("train", "test"), "x/test_cats", "x/test"),
            ("{}_{}", ("train",), "train_cats", "train"),
        )
    },
    "a zip": ({"train.zip": 0}, "holds no images; .* train.zip is an archive: unpack it"),
    "arrays": ({"x_train.npy": 0}, "holds no images; .* x_train.npy is NumPy arrays"),
    "a workbook": (
        {"images": 9, "labels.xlsx": 0},
        "images/ holds 9 images .* labels.xlsx is a spreadsheet: save it as CSV",
    ),
    "nothing": ({}, "holds no images"),
    "a folder of images": ({"": 4}, "holds 4 files but no sub-folders"),
}  # fmt: skip


def classes_in_paths(split: Split) -> bool:
    """Whether each image lies in a folder that is named as its class."""
    return all(
        loose_key(split.classes[label]) in loose_key(split.name(i))
        for i, label in enumerate(split.labels)
    )


@pytest.mark.parametrize("name", READ)
def test_a_layout_is_read(name: str, tmp_path: Path) -> None:
    layout, reading = READ[name]
    task = Task.open(make(tmp_path / "task", layout))
    splits = (task.train, task.validation, task.test)
    assert task.classes == reading.classes
    assert tuple(map(len, splits)) == (reading.train, reading.validation, reading.test)
    assert len(task.unlabelled or ()) == reading.unlabelled
    assert all(map(classes_in_paths, splits))
    for sentence in reading.says:
        assert any(re.search(sentence, text) for text in task.warnings), (sentence, task.warnings)
    if not reading.says and name not in SPOKEN:
        assert task.warnings == []


SPOKEN = {
    "unpacked three levels deep",
    "data/images/train",
    "CVAT",
    "separators of class names",
    "pools by other names",
    "valid and invalid",
    "trains, cars, tests",
    "one class in test",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layout_that_is_not_clear_is_refused(name: str, tmp_path: Path) -> None:
    layout, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as refused:
        Task.open(make(tmp_path / "task", layout))
    assert str(tmp_path / "task") in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("names", "begin"),
    [
        (("cat.{}", "dog.{}"), "cat and dog"),
        (("Abyssinian_{:03d}", "great_pyrenees_{:03d}"), "Abyssinian and great_pyrenees"),
        (("cat ({})", "dog ({})"), "cat and dog"),
        (("c{}", "d{}", "e{}", "f{}", "g{}"), "c, d, e, f and 1 more"),
        (("cat.{}",), None),
        (("{}",), None),
        (("IMG_{}", "notes"), None),
        (("{}_cat", "{}_dog"), None),
    ],
)
@pytest.mark.parametrize("place", ["train", "."])
def test_classes_in_the_names_of_files_are_told(
    names: tuple[str, ...], begin: str | None, place: str, tmp_path: Path
) -> None:
    root = make(tmp_path / "task", {place: 0})
    for i in range(3):
        for name in names:
            (root / place / f"{name.format(i)}.jpg").write_bytes(b"image")
    with pytest.raises(UserError, match=r"expected one sub-folder of images a class") as refused:
        Task.open(root)
    if begin is None:
        assert "names begin" not in str(refused.value)
        return
    first = names[0].format(0)
    assert str(refused.value).endswith(
        f"in the same folder. Their names begin with {begin}: if these are the classes, move the"
        f" images into a folder for each, or write {root / place}/metadata.csv with lines such as"
        f" {first}.jpg,{begin.partition(' and ')[0].partition(',')[0]} below file_name,label"
    )


def test_links_to_themselves_are_counted_as_broken(tmp_path: Path) -> None:
    root = make(tmp_path / "task", with_classes("."))
    for inside in ("loop", "cats/loop.png"):
        (root / inside).symlink_to(root / inside)
    (root / "dogs" / "up").symlink_to(root)
    task = Task.open(root)
    assert task.classes == PETS
    assert task.broken_links == 1  # cats/loop.png
    assert task.warnings == ["a link to a folder of the same task is left out (dogs/up -> .)"]


def test_names_say_which_split_they_are() -> None:
    kinds = [read_name(name).kind for name in ("TrainData", "val-2017", "testset", "hold out")]
    assert kinds == ["train", "validation", "test", "holdout"]
    words = ("trains", "contest", "valiant", "deviled egg", "evaluator", "1")
    assert [read_name(name).kind for name in words] == [None] * len(words)
    assert by_pairs(["train_a", "train_b", "test_a", "test_c"]) == {}
    assert numbered_family(["fold1", "fold_2"])
    assert not numbered_family(["a1", "b1"])
    assert [name.kind for name in read_names(["pets_train", "pets_test"])] == ["train", "test"]
