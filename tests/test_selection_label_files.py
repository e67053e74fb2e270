"""Labels beside the images: tables, lists and exports of tools are read as one class an image, or
refused in one sentence that says why.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selection.sources.images import CorruptImage
from selection.sources.split import Split
from selection.task import Task
from tests.label_tables import (
    CLASSES,
    EACH,
    IMAGES,
    LABELS,
    NAMES,
    ONE_FILE,
    REFUSED,
    TWO_LABELS,
    WITH_SPLITS,
    Make,
    boxes_of_a_table,
    dump,
    in_class_folders,
    moved,
    numbered,
    parquet,
    pictures,
    png,
    table,
    two_labels,
    write,
)
from zoo.errors import UserError

NUMBERS = ("0", "1", "2")


def name_of(make: Make) -> str:
    return getattr(make, "__name__", "")


def reds(split: Split) -> list[int]:
    return [split.sample(i).getpixel((0, 0))[0] for i in range(len(split))]  # type: ignore[index]


def check(task: Task, classes: Sequence[str] = CLASSES, images: int = EACH * len(CLASSES)) -> None:
    """Every image has the label of its colour; ``images`` in all three splits together."""
    splits = [task.train, task.validation, task.test]
    assert task.classes == tuple(classes)
    for split in splits:
        assert reds(split) == split.labels.tolist()
    assert sum(map(len, splits)) == images


@pytest.mark.parametrize("make", ONE_FILE, ids=name_of)
def test_one_file_for_all_images(make: Make, tmp_path: Path) -> None:
    root = tmp_path / "pets"
    root.mkdir()
    make(root)
    task = Task.open(root)
    check(task)
    assert task.name == "pets"
    assert task.digest == Task.open(root).digest


@pytest.mark.parametrize("make", WITH_SPLITS, ids=name_of)
def test_splits_that_a_table_tells_are_kept(make: Make, tmp_path: Path) -> None:
    make(tmp_path)
    task = Task.open(tmp_path)
    check(task, images=33)
    assert [len(split) for split in (task.train, task.validation, task.test)] == [18, 6, 9]
    assert not any("not used" in text for text in task.warnings), task.warnings


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_class_an_image_is_refused_in_a_sentence(name: str, tmp_path: Path) -> None:
    make, message = REFUSED[name]
    make(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        Task.open(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["pets.csv", "pets.txt", "pets.json", "pets.parquet"])
def test_a_file_is_a_task(name: str, tmp_path: Path) -> None:
    rows = moved(pictures(tmp_path / "photos"), lambda path: f"photos/{path}")
    paths, names = zip(*rows, strict=True)
    path = tmp_path / name
    if path.suffix == ".json":
        dump(path, {"path": paths, "label": names})
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"path": paths, "label": names}), path)
    else:
        write(path, rows, "," if path.suffix == ".csv" else " ")
    write(tmp_path / "other.csv", [("file", "label"), ("x.png", "y")])
    task = Task.open(path)
    check(task)
    assert task.name == "pets"


def test_numbers_without_names_are_classes_in_their_order(tmp_path: Path) -> None:
    table(tmp_path, [(path, 9 + label) for path, label in numbered(tmp_path)])
    check(Task.open(tmp_path), ("9", "10", "11"))


def test_pairs_in_json(tmp_path: Path) -> None:
    dump(tmp_path / "dataset.json", {"labels": numbered(tmp_path / "img00")})
    check(Task.open(tmp_path), NUMBERS)


def test_a_table_in_latin_1_keeps_its_letters(tmp_path: Path) -> None:
    rows = [(path, "Käfer" if label else "Bär") for path, label in numbered(tmp_path)]
    table(tmp_path, rows, encoding="latin-1")
    assert Task.open(tmp_path).classes == ("Bär", "Käfer")


def test_rows_without_a_label_are_unlabelled(tmp_path: Path) -> None:
    rows = [(p, "" if i < 4 else name) for i, (p, name) in enumerate(pictures(tmp_path, 6))]
    table(tmp_path, rows)
    task = Task.open(tmp_path)
    check(task, images=14)
    assert task.unlabelled is not None
    assert len(task.unlabelled) == 4


def test_a_folder_of_unlabelled_images_beside(tmp_path: Path) -> None:
    table(tmp_path, pictures(tmp_path / "images"))
    (tmp_path / "unlabelled").mkdir()
    for i in range(6):
        (tmp_path / "unlabelled" / f"u{i}.png").write_bytes(png(201 + i, 17))
    task = Task.open(tmp_path)
    check(task)
    assert task.unlabelled is not None
    assert len(task.unlabelled) == 6
    assert task.warnings == []


# --- splits ------------------------------------------------------------------------------------


def test_flags_of_a_split(tmp_path: Path) -> None:
    rows = [(path, name, int(i < 12)) for i, (path, name) in enumerate(pictures(tmp_path))]
    table(tmp_path, rows, "path,label,is_train")
    assert len(Task.open(tmp_path).test) == 3


def test_rows_of_no_split_are_said(tmp_path: Path) -> None:
    rows = [(*row, "train" if i < 12 else "holiday") for i, row in enumerate(pictures(tmp_path))]
    table(tmp_path, rows, "path,label,split")
    task = Task.open(tmp_path)
    check(task, images=12)
    assert "3 rows of" in task.warnings[0]
    assert "'holiday'" in task.warnings[0]


def test_a_test_table_without_labels_is_said_and_not_used(tmp_path: Path) -> None:
    tests = pictures(tmp_path / "test", 2, lambda label, i: f"t{label}_{i}.png")
    write(tmp_path / "train.csv", [("id", "label"), *pictures(tmp_path / "train")])
    write(tmp_path / "test.csv", [("id",), *((path,) for path, _ in tests)])
    submission = [(path, "ant") for path, _ in tests]
    write(tmp_path / "sample_submission.csv", [("id", "label"), *submission])
    task = Task.open(tmp_path)
    check(task)
    assert any("no test split is read" in text for text in task.warnings)


# --- what is said beside a reading -------------------------------------------------------------


def test_missing_files_are_named(tmp_path: Path) -> None:
    table(tmp_path, [*pictures(tmp_path), ("gone/one.png", "ant"), ("two.png", "bee")])
    task = Task.open(tmp_path)
    check(task)
    assert "2 images of" in task.warnings[0]
    assert "'gone/one.png', 'two.png'" in task.warnings[0]


def test_a_missing_file_is_never_another_of_that_name(tmp_path: Path) -> None:
    table(tmp_path, moved(pictures(tmp_path / "images"), lambda path: f"images/{path}"))
    pictures(tmp_path / "photos", 1)
    (tmp_path / "images" / "0_0.png").unlink()
    task = Task.open(tmp_path)
    check(task, images=14)
    assert any("'images/0_0.png'" in text for text in task.warnings)


def test_a_name_that_fits_two_files_is_not_guessed(tmp_path: Path) -> None:
    table(tmp_path, pictures(tmp_path / "images"))
    pictures(tmp_path / "photos", 1)
    task = Task.open(tmp_path)
    check(task, images=12)
    example = "3 paths of .* such as 0_0.png .images/0_0.png, photos/0_0.png."
    assert any(re.search(example, text) for text in task.warnings)


def test_an_image_with_two_labels_is_named_and_not_used(tmp_path: Path) -> None:
    table(tmp_path, [*pictures(tmp_path), ("0_0.png", "bee")])
    task = Task.open(tmp_path)
    check(task, images=14)
    assert any("1 images of" in t and "0_0.png: ant, bee" in t for t in task.warnings)


def test_images_that_no_row_names_are_counted(tmp_path: Path) -> None:
    table(tmp_path, pictures(tmp_path))
    pictures(tmp_path / "more", 2, lambda label, i: f"m{label}{i}.png")
    task = Task.open(tmp_path)
    check(task)
    assert any(text.startswith("6 images in") for text in task.warnings)


def test_class_folders_beat_a_table_that_says_otherwise(tmp_path: Path) -> None:
    rows = pictures(tmp_path, name=in_class_folders)
    table(tmp_path, [(p, "odd" if int(p[4]) % 2 else "even") for p, _ in rows], "file,parity_label")
    task = Task.open(tmp_path)
    check(task)
    assert any(f"--task {tmp_path / 'labels.csv'}" in text for text in task.warnings)
    for named in (
        Task.open(tmp_path / "labels.csv"),
        Task.open(tmp_path, label_column="parity_label"),
    ):
        assert named.classes == ("even", "odd")
    table(tmp_path, [(path, f"no {name}") for path, name in rows])
    assert Task.open(tmp_path).warnings == []


# --- columns -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", TWO_LABELS, ids=name_of)
def test_of_two_label_columns_none_is_taken_silently(make: Make, tmp_path: Path) -> None:
    make(tmp_path)
    asked = r"'coarse_label' .2 classes., 'fine_label' .3 classes.; say which: --label-column"
    with pytest.raises(UserError, match=asked):
        Task.open(tmp_path)
    task = Task.open(tmp_path, label_column="fine_label")
    check(task)
    assert task.columns.label == "fine_label"
    assert len(Task.open(tmp_path, label_column="coarse_label").classes) == 2
    with pytest.raises(UserError, match=r"--label-column fine: .* did you mean 'fine_label'"):
        Task.open(tmp_path, label_column="fine")


def test_of_two_columns_of_stored_images_none_is_taken_silently(tmp_path: Path) -> None:
    others = [png(label + 1) for label in LABELS]
    parquet(tmp_path, {"photo": IMAGES, "thumbnail": others, "label": NAMES})
    asked = "several image columns: 'photo', 'thumbnail'; say which: --image-column"
    with pytest.raises(UserError, match=asked):
        Task.open(tmp_path)
    check(Task.open(tmp_path, image_column="photo"))


def test_of_two_columns_of_paths_none_is_taken_silently(tmp_path: Path) -> None:
    pictures(tmp_path / "masks")
    rows = [(f"images/{p}", f"masks/{p}", name) for p, name in pictures(tmp_path / "images")]
    table(tmp_path, rows, "image,mask,label")
    with pytest.raises(UserError, match="several image columns: 'image', 'mask'"):
        Task.open(tmp_path)
    check(Task.open(tmp_path, image_column="image"))


@pytest.mark.parametrize("suffix", [".png", ""])
@pytest.mark.parametrize("head", ["file,label", "name,kind", ""])
def test_labels_are_not_taken_for_files_that_are_called_by_numbers(
    head: str, suffix: str, tmp_path: Path
) -> None:
    places = itertools.count()
    rows = numbered(tmp_path / "images", name=lambda label, i: f"{next(places) // 2}.png")
    named = [(path.removesuffix(".png") + suffix, label) for path, label in rows]
    write(tmp_path / "labels.csv", [*([head.split(",")] if head else []), *named])
    check(Task.open(tmp_path), NUMBERS)


def test_one_hot_columns_are_not_taken_for_files_that_are_called_by_numbers(
    tmp_path: Path,
) -> None:
    places = itertools.count()
    rows = numbered(tmp_path, name=lambda label, i: f"{next(places) // 2}.png")
    marks = [(path, *(int(label == c) for c in range(len(CLASSES)))) for path, label in rows]
    write(tmp_path / "labels.csv", [("file", *CLASSES), *marks])
    check(Task.open(tmp_path))


def test_a_column_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    rows = [(path, 600 + i, name) for i, (path, name) in enumerate(pictures(tmp_path))]
    table(tmp_path, rows, "file,height,animal")
    asked = r"no column 'label' .it has: file, height, animal.*--label-column"
    with pytest.raises(UserError, match=asked):
        Task.open(tmp_path)
    check(Task.open(tmp_path, label_column="animal"))


def test_columns_are_for_tables(tmp_path: Path) -> None:
    pictures(tmp_path, name=in_class_folders)
    for task in (str(tmp_path), "digits"):
        with pytest.raises(UserError, match=r"--label-column x: the task .* is no table"):
            Task.open(task, label_column="x")


# --- Parquet and datasets ----------------------------------------------------------------------

BASE64 = [base64.b64encode(image).decode() for image in IMAGES]
COLOURS = [np.full((4, 4, 3), (label, 0, 0)).tolist() for label in LABELS]
STORED: dict[str, tuple[Mapping[str, Any], Sequence[str]]] = {
    "img": ({"img": IMAGES, "label": LABELS}, NUMBERS),
    "picture": ({"picture": IMAGES, "category": LABELS}, NUMBERS),
    "jpg and cls": ({"jpg": IMAGES, "cls": LABELS}, NUMBERS),
    "any name": ({"data": IMAGES, "kind": LABELS}, NUMBERS),
    "target of text": ({"image": IMAGES, "target": NAMES}, CLASSES),
    "counted from one": ({"image": IMAGES, "label": [c + 1 for c in LABELS]}, ("1", "2", "3")),
    "whole floats": ({"image": IMAGES, "label": [float(c) for c in LABELS]}, NUMBERS),
    "dictionary": ({"image": IMAGES, "label": pa.array(NAMES).dictionary_encode()}, CLASSES),
    "one label a list": ({"image": IMAGES, "labels": [[c] for c in LABELS]}, NUMBERS),
    "base64": ({"image": BASE64, "label": LABELS}, NUMBERS),
    "data URI": ({"image": [f"data:image/png;base64,{t}" for t in BASE64], "y": NAMES}, CLASSES),
    "struct": ({"image": [{"bytes": b, "path": "x.png"} for b in IMAGES], "y": NAMES}, CLASSES),
    "lists of bytes": ({"image": [list(b) for b in IMAGES], "label": LABELS}, NUMBERS),
    "pixels": ({"image": COLOURS, "label": LABELS}, NUMBERS),
    "gray": ({"image": [np.full((4, 4), c).tolist() for c in LABELS], "y": LABELS}, NUMBERS),
    "file name beside": ({"image": IMAGES, "file_name": BASE64[:15], "label": LABELS}, NUMBERS),
}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("group", [4, 1000])
def test_parquet_variants(name: str, group: int, tmp_path: Path) -> None:
    columns, classes = STORED[name]
    parquet(tmp_path, columns, group)
    check(Task.open(tmp_path), classes)


def test_booleans_are_two_classes(tmp_path: Path) -> None:
    parquet(tmp_path, {"image": IMAGES, "label": [label > 0 for label in LABELS]})
    task = Task.open(tmp_path)
    assert task.classes == ("0", "1")
    assert [min(red, 1) for red in reds(task.train)] == task.train.labels.tolist()


@pytest.mark.parametrize("missing", [-1, -100, None, float("nan")])
def test_what_stands_for_no_label(missing: float | None, tmp_path: Path) -> None:
    labels = [missing if i % 5 == 0 else label for i, label in enumerate(LABELS)]
    parquet(tmp_path, {"image": IMAGES, "label": labels})
    task = Task.open(tmp_path)
    check(task, NUMBERS, 12)
    assert task.unlabelled is not None
    assert len(task.unlabelled) == 3


def test_parquet_of_paths_reads_the_files(tmp_path: Path) -> None:
    rows = numbered(tmp_path / "photos")
    image: list[dict[str, Any]] = [{"bytes": None, "path": f"photos/{path}"} for path, _ in rows]
    labels = [label for _, label in rows]
    parquet(tmp_path, {"image": image, "label": labels})
    check(Task.open(tmp_path), NUMBERS)
    image[0] = {"bytes": png(0), "path": "anything.png"}
    parquet(tmp_path, {"image": image, "label": labels})
    check(Task.open(tmp_path), NUMBERS)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    image: list[dict[str, Any]] = [{"bytes": None, "path": f"/nowhere/{i}.jpg"} for i in range(15)]
    parquet(tmp_path, {"image": image, "label": LABELS})
    with pytest.raises(UserError, match=r"none of the 15 images .* no file '/nowhere/0.jpg'"):
        Task.open(tmp_path)
    image = [{"bytes": stored, "path": "x.png"} for stored in IMAGES]
    image[7] = {"bytes": None, "path": "/nowhere/7.jpg"}
    parquet(tmp_path, {"image": image, "label": LABELS})
    source = Task.open(tmp_path).train.source
    with pytest.raises(CorruptImage, match=r"no file '/nowhere/7.jpg'"):
        source.raw(7)


def test_a_test_file_without_labels_is_said_and_not_used(tmp_path: Path) -> None:
    parquet(tmp_path, {"image": IMAGES, "label": LABELS})
    pq.write_table(pa.table({"image": IMAGES[:4]}), tmp_path / "test.parquet")
    task = Task.open(tmp_path)
    check(task, NUMBERS)
    assert any("no test split is read" in text for text in task.warnings)
    pq.write_table(pa.table({"image": IMAGES[:4], "label": [-1] * 4}), tmp_path / "test.parquet")
    task = Task.open(tmp_path)
    check(task, NUMBERS)
    assert any("4 of 4 test images have no label" in text for text in task.warnings)


@pytest.mark.parametrize("kind", ["dict", "one"])
def test_what_datasets_saved_to_disk(kind: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=list(CLASSES))
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = {"image": [{"bytes": b, "path": None} for b in IMAGES], "label": LABELS}
    saved = train = datasets.Dataset.from_dict(rows, features=features)
    if kind == "dict":
        saved = datasets.DatasetDict(train=train, test=train.select([0, 5, 10]))
    root = tmp_path / "pets"
    saved.save_to_disk(str(root))
    task = Task.open(root)
    check(task, images=18 if kind == "dict" else 15)
    assert task.name == "pets"
    assert len(task.test) == 3
    (root / ("dataset_dict.json" if kind == "dict" else "state.json")).write_text("{")
    with pytest.raises(UserError, match="no dataset that save_to_disk wrote"):
        Task.open(root)


# --- beside the refusals -----------------------------------------------------------------------


def test_names_with_separators_are_no_lists(tmp_path: Path) -> None:
    names = ("cock; rooster", "hen|biddy", "tench, Tinca tinca")
    parquet(tmp_path, {"image": IMAGES, "label": [names[label] for label in LABELS]})
    assert Task.open(tmp_path).classes == names


def test_boxes_are_read_as_classes_where_the_column_is_named(tmp_path: Path) -> None:
    boxes_of_a_table(tmp_path)
    check(Task.open(tmp_path, label_column="class"))


def test_a_spreadsheet_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "labels.xlsx").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match="spreadsheet; save it as CSV"):
        Task.open(tmp_path / "labels.xlsx")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    table(tmp_path, [*pictures(tmp_path), ("/dev/zero", "ant"), ("pipe.png", "bee")])
    task = Task.open(tmp_path)
    check(task)
    assert any("'/dev/zero', 'pipe.png'" in text for text in task.warnings)


def test_training_reads_the_columns_that_were_ranked(tmp_path: Path) -> None:
    from distill.experiment import prepare
    from distill.options import Options, from_config
    from distill.training.run_config import to_config
    from selection.ranking import Ranking
    from selection.task import SPLIT_SEED

    root = tmp_path / "pets"
    root.mkdir()
    two_labels(root)
    task = Task.open(root, label_column="fine_label")
    named = {"image_column": None, "label_column": "fine_label"}
    ranking = Ranking(
        task="pets",
        classes=task.classes,
        split={"digest": task.digest, "seed": SPLIT_SEED, **named},
        probe={},
        score="transport",
        catalogue="",
        versions={},
        rows=(),
        committee=(),
    )
    ranking.save(tmp_path / "ranking.json")
    options = Options(
        task=str(root), student="test_resnet", ranking=str(tmp_path / "ranking.json"), size=32
    )
    experiment = prepare(options)
    assert experiment.task.digest == task.digest
    config = json.loads(json.dumps(to_config(options, experiment)))
    resumed, cards = from_config(config)
    assert resumed.label_column == "fine_label"
    assert prepare(resumed, cards=cards).task.digest == task.digest


def test_lists_that_name_no_image_leave_it_to_class_folders(tmp_path: Path) -> None:
    """As in CUB-200, whose images.txt numbers the paths below images/."""
    rows = numbered(tmp_path / "images", name=in_class_folders)
    for name, column in (("images.txt", 0), ("image_class_labels.txt", 1)):
        write(tmp_path / name, [(i + 1, row[column]) for i, row in enumerate(rows)], " ")
    task = Task.open(tmp_path, duplicates=False)
    assert task.classes == CLASSES
    assert "images.txt names no image that is here; not used" in task.warnings


def test_classes_that_differ_in_case_are_said(tmp_path: Path) -> None:
    rows = numbered(tmp_path)
    names = [
        CLASSES[label].upper() if i < 7 else CLASSES[label] for i, (_, label) in enumerate(rows)
    ]
    paths = [path for path, _ in rows]
    write(tmp_path / "labels.csv", [("file", "label"), *zip(paths, names, strict=True)])
    assert Task.open(tmp_path, duplicates=False).warnings[0] == (
        "3 pairs of classes differ in upper and lower case only ('ANT' and 'ant', 'BEE' and 'bee',"
        " 'CAT' and 'cat'): where they are one class, write it in one way"
    )
