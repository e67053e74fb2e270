"""A task opens from folders, Parquet, the Hub's library and ``digits``; its splits never mix; wrong
input is one sentence.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from selection.kinds.image import IMAGE
from selection.sources.images import CorruptImage
from selection.sources.split import Split, by_class, class_names, cut
from selection.task import SPLIT_SEED, Task
from tests.places import SHARED
from zoo.errors import Unavailable, UserError


def png(red: int, blue: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, blue)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(root: Path, classes: Mapping[str, int], *, first: int = 0) -> Path:
    """Class number c is pictures of red value c, so that a label can be checked against its
    image.
    """
    for label, (name, count) in enumerate(sorted(classes.items())):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            (root / name / f"{i}.png").write_bytes(png(label, i % 256))
    return root


def parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: pa.Array,
    names: Sequence[str] | None = None,
    raw: bool = False,
) -> None:
    column = (
        pa.array(images, pa.binary())
        if raw
        else pa.array(
            [{"bytes": one, "path": None} for one in images],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    )
    table = pa.table({"image": column, "label": labels})
    if names is not None:
        features = {
            "image": {"_type": "Image"},
            "label": {"_type": "ClassLabel", "names": list(names)},
        }
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def colours(split: Split) -> list[int]:
    return [split.sample(i).getpixel((0, 0))[0] for i in range(len(split))]  # type: ignore[index]


def everything(task: Task) -> list[str]:
    return [
        split.name(i)
        for split in (task.train, task.validation, task.test)
        for i in range(len(split))
    ]


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    share=st.floats(0.05, 0.9),
    seed=st.integers(0, 9),
)
def test_a_cut_is_a_stratified_partition(counts: list[int], share: float, seed: int) -> None:
    labels = (
        np.random.default_rng(seed)
        .permutation(np.repeat(np.arange(len(counts)), counts))
        .astype(np.int64)
    )
    stay, go = cut(labels, len(counts), share=share, seed=[seed])
    assert sorted([*stay, *go]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        gone = int((labels[go] == label).sum())
        assert gone == (0 if count < 3 else min(max(round(share * count), 1), count - 2))
    again = cut(labels, len(counts), share=share, seed=[seed])
    assert np.array_equal(stay, again[0]) and np.array_equal(go, again[1])


@given(labels=st.lists(st.integers(-1, 4), max_size=50))
def test_by_class_finds_each_position_once(labels: list[int]) -> None:
    array = np.asarray(labels, dtype=np.int64)
    assert [rows.tolist() for rows in by_class(array, 5)] == [
        np.flatnonzero(array == label).tolist() for label in range(5)
    ]


@given(names=st.lists(st.text(max_size=300), max_size=8))
@pytest.mark.journey
def test_class_names_are_printable_and_distinct(names: list[str]) -> None:
    clean = class_names(names)
    assert len(set(clean)) == len(names)
    assert all(
        name
        and len(name) < 220
        and not any(ord(letter) < 32 or ord(letter) == 127 for letter in name)
        for name in clean
    )


def test_a_folder_of_classes_is_cut_into_three(tmp_path: Path) -> None:
    task = Task.open(str(folder(tmp_path / "pets", {"dog": 50, "cat": 20, "ant": 10})))
    assert (task.name, task.classes) == ("pets", ("ant", "cat", "dog"))
    assert [
        np.bincount(split.labels).tolist() for split in (task.test, task.validation, task.train)
    ] == [
        [2, 4, 10],
        [2, 3, 8],
        [6, 13, 32],
    ]
    assert len(set(everything(task))) == 80
    for split in (task.train, task.validation, task.test):
        assert colours(split) == split.labels.tolist()
    assert task.unlabelled is None and task.warnings == [] and task.split_seed == SPLIT_SEED


def test_splits_that_are_there_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "t"
    for name, first, count in (("train", 0, 10), ("test", 10, 5), ("val", 20, 3)):
        folder(root / name, {"a": count, "b": count}, first=first)
    task = Task.open(str(root))
    assert [len(split) for split in (task.train, task.validation, task.test)] == [20, 6, 10]
    assert all(task.test.name(i).startswith("test/") for i in range(10))
    shutil.rmtree(root / "val")
    assert [
        len(split) for split in vars(Task.open(str(root))).values() if isinstance(split, Split)
    ] == [16, 4, 10]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder(tmp_path, {"car": 5, "plane": 5})
    folder(tmp_path / "train", {"steam": 5, "diesel": 5})
    assert Task.open(str(tmp_path)).classes == ("car", "plane", "train")


def test_litter_is_passed_over_and_content_beats_extension(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 4, "b": 4})
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "notes.txt",
        "a/.hidden.png",
        "a/Thumbs.db",
        "b/labels.csv",
        "__MACOSX/a/0.png",
        ".git/b/1.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"litter")
    (tmp_path / "a" / "a png.jpg").write_bytes(png(0, 101))
    (tmp_path / "a" / "no extension").write_bytes(png(0, 102))
    (tmp_path / "a" / "deep").mkdir()
    (tmp_path / "a" / "deep" / "x.PNG").write_bytes(png(0, 103))
    task = Task.open(str(tmp_path))
    assert task.classes == ("a", "b") and len(everything(task)) == 11 and task.warnings == []
    assert colours(task.train) == task.train.labels.tolist()


def test_loops_of_links_end_and_broken_links_are_counted(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 4, "b": 4})
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "b" / "linked.png").symlink_to(tmp_path / "a" / "0.png")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    task = Task.open(str(tmp_path))
    assert len(everything(task)) == 9 and task.broken_links == 2


def test_hostile_folder_names(tmp_path: Path) -> None:
    names = [
        b"\x1b[31mred",
        b"caf\xc3\xa9",
        "\u202etxt".encode(),
        b"bad\xff",
        b"new\nline",
        b"a\\b",
    ]
    for name in names:
        os.mkdir(os.path.join(os.fsencode(tmp_path), name))
        for i in range(4):
            with open(os.path.join(os.fsencode(tmp_path), name, b"%d\xfe.png" % i), "wb") as file:
                file.write(png(i))
    task = Task.open(str(tmp_path))
    assert set(task.classes) == {"[31mred", "café", "txt", "bad\ufffd", "new line", "a\\b"}
    json.dumps([task.classes, everything(task)], ensure_ascii=False).encode("utf-8")
    assert len(task.digest) == 64


def test_one_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    folder(tmp_path / "train", {"cafe\u0301": 4, "b": 4})
    folder(tmp_path / "test", {"caf\u00e9": 2, "b": 2})
    task = Task.open(str(tmp_path))
    assert task.classes == ("b", "caf\u00e9") and np.bincount(task.test.labels).tolist() == [2, 2]


def test_a_class_of_one_image_is_dropped_with_a_warning(tmp_path: Path) -> None:
    folder(tmp_path / "train", {"ant": 5, "bee": 1, "cat": 5})
    folder(tmp_path / "test", {"ant": 2, "bee": 2, "cat": 2, "dog": 2})
    task = Task.open(str(tmp_path))
    assert task.classes == ("ant", "cat")
    assert task.test.labels.tolist() == [0, 0, 1, 1] and colours(task.test) == [0, 0, 2, 2]
    assert any("'bee' (1)" in warning for warning in task.warnings) and any(
        "4 of 8 test images" in warning for warning in task.warnings
    )


@pytest.mark.parametrize(("layout", "message"), [
    ({}, "holds no images"),
    ({"a": 3}, "one class only .'a'.*two sub-folders"),
    ({"a": 1, "b": 1}, "no class with two or more"),
    ({"a": 5, "b": 1}, "one class only .'a'.*'b' .1"),
    ({"": 3}, "no sub-folders"),
])  # fmt: skip
def test_wrong_folders(tmp_path: Path, layout: dict[str, int], message: str) -> None:
    for name, count in layout.items():
        folder(tmp_path, {name: count})
    with pytest.raises(UserError, match=message):
        Task.open(str(tmp_path))


def test_no_such_task_names_the_nearest(tmp_path: Path) -> None:
    folder(tmp_path / "flowers", {"a": 3, "b": 3})
    with pytest.raises(UserError, match=r"did you mean .*flowers'"):
        Task.open(str(tmp_path / "flower"))
    with pytest.raises(UserError, match="did you mean 'digits'"):
        Task.open("digit")
    with pytest.raises(UserError, match="is a file"):
        Task.open(str(tmp_path / "flowers" / "a" / "0.png"))
    with pytest.raises(UserError, match="no such folder"):
        Task.open("")


def test_unlabelled_images_come_from_three_places(tmp_path: Path) -> None:
    root = folder(tmp_path / "t", {"a": 5, "b": 5})
    folder(root, {"unlabelled": 3}, first=50)
    more = folder(tmp_path / "more", {"deep/er": 4}, first=60)
    task = Task.open(str(root), unlabelled=more)
    assert task.classes == ("a", "b") and task.unlabelled is not None
    assert sorted(task.unlabelled.name(i) for i in range(7)) == sorted(
        [f"unlabelled/{i}.png" for i in (50, 51, 52)]
        + [f"deep/er/{i}.png" for i in (60, 61, 62, 63)]
    )
    assert task.unlabelled.labels.tolist() == [-1] * 7
    assert sorted(task.unlabelled.sample(i).getpixel((0, 0))[2] for i in range(7)) == [
        50,
        51,
        52,
        60,
        61,
        62,
        63,
    ]  # type: ignore[index]
    assert task.digest == Task.open(str(root)).digest
    assert (
        len(
            {
                task.unlabelled.digest,
                task.unlabelled.subset([0, 1]).digest,
                task.unlabelled.subset([5, 6]).digest,
            }
        )
        == 3
    )


def test_an_unlabelled_folder_never_brings_the_task_back(tmp_path: Path) -> None:
    folder(tmp_path / "all" / "t", {"a": 5, "b": 5})
    folder(tmp_path / "all", {"pool": 2}, first=70)
    task = Task.open(str(tmp_path / "all" / "t"), unlabelled=tmp_path / "all")
    assert task.unlabelled is not None and [
        task.unlabelled.name(i) for i in range(len(task.unlabelled))
    ] == [
        "pool/70.png",
        "pool/71.png",
    ]
    with pytest.raises(UserError, match="holds no images that the task does not hold"):
        Task.open(str(tmp_path / "all" / "t"), unlabelled=tmp_path / "all" / "t" / "a")
    with pytest.raises(UserError, match=r"did you mean .*pool"):
        Task.open(str(tmp_path / "all" / "t"), unlabelled=tmp_path / "all" / "pol")


def test_unlabelled_parquet_is_never_the_tasks_own(tmp_path: Path) -> None:
    for name, n in (("train", 8), ("test", 2), ("pool", 3)):
        parquet(
            tmp_path / f"{name}.parquet",
            [png(i % 2, 10 * n + i) for i in range(n)],
            pa.array([i % 2 for i in range(n)]),
            ["a", "b"],
        )
    task = Task.open(str(tmp_path), unlabelled=tmp_path)
    assert task.unlabelled is not None and [
        task.unlabelled.name(i) for i in range(len(task.unlabelled))
    ] == [
        "pool.parquet#0",
        "pool.parquet#1",
        "pool.parquet#2",
    ]
    (tmp_path / "pool.parquet").rename(tmp_path / "unlabelled.parquet")
    task = Task.open(str(tmp_path))
    assert task.unlabelled is not None and task.unlabelled.labels.tolist() == [-1] * 3


@pytest.mark.parametrize("raw", [False, True])
def test_parquet_with_names_in_its_metadata(tmp_path: Path, raw: bool) -> None:
    labels = [2, 0, 1, 1, None, 0, 2, 2, -1, 0]
    images = [png(label if label is not None and label >= 0 else 99) for label in labels]
    parquet(tmp_path / "train.parquet", images, pa.array(labels), ["cat", "ant", "bee"], raw)
    parquet(tmp_path / "test.parquet", images[:3], pa.array(labels[:3]), ["cat", "ant", "bee"], raw)
    task = Task.open(str(tmp_path))
    assert task.classes == ("cat", "ant", "bee")
    assert (len(task.train), len(task.validation), len(task.test)) == (6, 2, 3)
    for split in (task.train, task.validation, task.test):
        assert colours(split) == split.labels.tolist()
    assert task.unlabelled is not None and colours(task.unlabelled) == [99, 99]


def test_sharded_parquet_in_a_data_folder(tmp_path: Path) -> None:
    for shard in range(2):
        labels = [shard, 1 - shard, shard, 1 - shard]
        parquet(
            tmp_path / "data" / f"train-0000{shard}-of-00002.parquet",
            [png(one, 9) for one in labels],
            pa.array(labels),
            ["a", "b"],
        )
    parquet(
        tmp_path / "data" / "validation-00000-of-00001.parquet",
        [png(1), png(0)],
        pa.array([1, 0]),
        ["a", "b"],
    )
    task = Task.open(str(tmp_path))
    assert len(task.train) + len(task.test) == 8 and len(task.validation) == 2
    assert colours(task.train) == task.train.labels.tolist() and colours(task.validation) == [1, 0]


def test_label_columns_of_text_and_bare_numbers(tmp_path: Path) -> None:
    texts = ["oak", "elm", None, "oak", "elm", ""]
    six = [png(9, i) for i in range(6)]
    parquet(tmp_path / "text" / "train.parquet", six, pa.array(texts).dictionary_encode())
    task = Task.open(str(tmp_path / "text"))
    assert task.classes == ("elm", "oak") and task.train.labels.tolist() == [1, 0, 1, 0]
    assert task.unlabelled is not None and len(task.unlabelled) == 2
    parquet(tmp_path / "bare" / "train.parquet", six[:5], pa.array([7.0, 3.0, 7.0, 3.0, None]))
    task = Task.open(str(tmp_path / "bare"))
    assert task.classes == ("3", "7") and task.unlabelled is not None and len(task.unlabelled) == 1
    (tmp_path / "bare" / "labels.txt").write_text("\n".join(f"n{i}" for i in range(8)))
    task = Task.open(str(tmp_path / "bare"))
    assert task.classes == ("n3", "n7") and task.train.labels.tolist() == [1, 0, 1, 0]
    assert "6 classes" in task.warnings[0]


def test_a_test_split_without_labels_is_cut_from_train(tmp_path: Path) -> None:
    parquet(
        tmp_path / "train.parquet",
        [png(i % 2) for i in range(20)],
        pa.array([i % 2 for i in range(20)]),
        ["a", "b"],
    )
    parquet(tmp_path / "test.parquet", [png(9)] * 3, pa.array([-1] * 3), ["a", "b"])
    task = Task.open(str(tmp_path))
    assert len(task.test) == 4 and colours(task.test) == task.test.labels.tolist()
    assert "a test split is cut from train" in task.warnings[0]


def test_a_row_without_bytes_is_a_corrupt_image(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", [None] * 4, pa.array([0, 1, 0, 1]), ["a", "b"])
    with pytest.raises(CorruptImage, match="no image bytes"):
        Task.open(str(tmp_path), duplicates=False).train.sample(0)
    with pytest.raises(UserError, match=r"cannot, 4 the row holds no image bytes .train.parquet#0"):
        Task.open(str(tmp_path))


@pytest.mark.parametrize(("labels", "names", "message"), [
    (pa.array([0, 1, 5, 1]), ["a", "b"], "label 5 in .*2 class names .0 to 1"),
    (pa.array([0, 1, -7, 1]), ["a", "b"], "label -7"),
    (pa.array([0.5, 1.0, 1.0, 0.5]), ["a", "b"], "holds double; whole numbers or text"),
    (pa.array([None] * 4, pa.int64()), ["a", "b"], "no class with two or more"),
    (pa.array([[0], [1], [0], [1, 0]]), None, "several labels a sample .*: a multi-label task"),
])  # fmt: skip
def test_wrong_parquet_labels(
    tmp_path: Path, labels: pa.Array, names: list[str] | None, message: str
) -> None:
    parquet(tmp_path / "train.parquet", [png(0)] * 4, labels, names)
    with pytest.raises(UserError, match=message):
        Task.open(str(tmp_path))


def test_wrong_parquet_files(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match="no readable Parquet"):
        Task.open(str(tmp_path))
    pq.write_table(pa.table({"pixels": [1], "label": [0]}), tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"no column 'image' .it has: pixels, label"):
        Task.open(str(tmp_path))
    (tmp_path / "train.parquet").rename(tmp_path / "test.parquet")
    with pytest.raises(UserError, match=r"no train.parquet"):
        Task.open(str(tmp_path))


def test_digest_is_of_content_not_of_place(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"a": 6, "b": 6})
    first = Task.open(str(one)).digest
    assert Task.open(str(one)).digest == first
    two = tmp_path / "two" / "other name"
    shutil.copytree(one, two)
    assert Task.open(str(two)).digest == first
    (two / "a").rename(two / "c")
    assert Task.open(str(two)).digest != first
    (two / "c").rename(two / "a")
    content = bytearray((two / "b" / "3.png").read_bytes())
    content[-20] ^= 1
    (two / "b" / "3.png").write_bytes(content)
    assert Task.open(str(two)).digest != first


def test_digest_sees_labels_names_and_rows() -> None:
    split = Task.open("digits").test
    others = [
        Split(split.source, split.rows, split.labels[::-1].copy(), split.classes, IMAGE),
        Split(split.source, split.rows, split.labels, split.classes[::-1], IMAGE),
        split.subset(range(1, len(split))),
        split.subset([1, 0, *range(2, len(split))]),
    ]
    assert len({one.digest for one in [split, *others]}) == 5


def test_order_of_creation_does_not_matter(tmp_path: Path) -> None:
    for root, order in (("one", range(30)), ("two", reversed(range(30)))):
        for name in ("a", "b"):
            (tmp_path / root / name).mkdir(parents=True)
        for i in order:
            (tmp_path / root / "ab"[i % 2] / f"{i}.png").write_bytes(png(i))
    one, two = Task.open(str(tmp_path / "one")), Task.open(str(tmp_path / "two"))
    assert everything(one) == everything(two) and one.digest == two.digest
    whole = one.train.source
    assert [whole.name(row) for row in range(30)] == sorted(whole.name(row) for row in range(30))


def test_the_cut_stays_the_same_from_version_to_version() -> None:
    task = Task.open("digits")
    assert task.test.rows[:6].tolist() == [2, 8, 9, 20, 21, 22] and task.validation.rows[
        :6
    ].tolist() == [1, 3, 27, 31, 34, 38]
    labels = np.zeros(100, dtype=np.int64)
    assert not np.array_equal(
        cut(labels, 1, share=0.2, seed=[1])[1], cut(labels, 1, share=0.2, seed=[2])[1]
    )


def test_parquet_digest_sees_every_sampled_byte_and_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    parquet(path, [png(0, i) for i in range(8)], pa.array([0, 1] * 4), ["a", "b"])
    task = Task.open(str(tmp_path))
    other = Split(
        task.train.source, task.train.rows[1:2], task.train.labels[:1], task.classes, IMAGE
    )
    assert task.train.subset([0]).digest != other.digest
    first = task.digest
    content = bytearray(path.read_bytes())
    content[40] ^= 1  # in the first image
    path.write_bytes(content)
    assert Task.open(str(tmp_path)).digest != first


def test_parquet_digest_sees_labels_and_bytes(tmp_path: Path) -> None:
    def digest(labels: list[int], red: int = 0) -> str:
        parquet(
            tmp_path / "train.parquet",
            [png(red, i) for i in range(8)],
            pa.array(labels),
            ["a", "b"],
        )
        return Task.open(str(tmp_path)).digest

    assert digest([0, 1] * 4) == digest([0, 1] * 4)
    assert len({digest([0, 1] * 4), digest([1, 0] * 4), digest([0, 1] * 4, red=1)}) == 3


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    task = Task.open("digits")
    pixels, labels = load_digits(return_X_y=True)
    assert task.classes == tuple("0123456789") and [
        len(s) for s in (task.train, task.validation, task.test)
    ] == [1151, 287, 359]
    for i in (0, 5, 1150):
        row = int(task.train.rows[i])
        expected = np.rint(pixels[row].reshape(8, 8) * 255 / 16)
        assert (
            np.array_equal(np.asarray(task.train.sample(i))[..., 1], expected)
            and task.train.labels[i] == labels[row]
        )


def test_an_existing_folder_beats_a_built_in_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "digits", {"a": 3, "b": 3})
    monkeypatch.chdir(tmp_path)
    assert Task.open("digits").classes == ("a", "b")


def test_a_hub_dataset_through_its_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"picture": datasets.Image(), "fine": datasets.ClassLabel(names=["b", "a"])}
    )
    rows = {
        "picture": [{"bytes": png(i % 2), "path": None} for i in range(10)],
        "fine": [i % 2 for i in range(10)],
    }
    loaded = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=features))
    asked: list[Any] = []

    def load(path: str, config: str | None, revision: str | None) -> Any:
        asked.append((path, config, revision))
        return loaded

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("selection.sources.hub._connection_fault", lambda path: None)
    task = Task.open("hf:someone/birds:small")
    assert (
        asked == [("someone/birds", "small", None)]
        and task.revision is None
        and task.name == "someone/birds:small"
        and task.classes == ("b", "a")
    )
    assert (
        colours(task.train) == task.train.labels.tolist()
        and len(everything(task)) == 10
        and len(task.digest) == 64
    )

    commit = "c0ffee" + "0" * 34
    address = f"hf://datasets/someone/birds@{commit}/train.parquet"
    loaded["train"].info.download_checksums = {address: {"num_bytes": 9}}
    assert Task.open("hf:someone/birds").revision == commit
    assert Task.open("hf:someone/birds", revision=commit).revision == commit
    assert asked[-1] == ("someone/birds", None, commit)
    with pytest.raises(UserError, match=f"at revision {commit}, and f00d is wanted"):
        Task.open("hf:someone/birds", revision="f00d")

    def unreachable(*given: object, **named: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(Unavailable, match=r"could not be fetched .no route"):
        Task.open("hf:someone/birds")
    with pytest.raises(Unavailable, match="--offline reads only what is on this machine"):
        Task.open("hf:someone/birds", offline=True)
    with pytest.raises(UserError, match="names no Hub dataset"):
        Task.open("hf:../../etc/passwd")
    folder(tmp_path / "someone" / "birds", {"a": 3, "b": 3})
    with pytest.raises(UserError, match="a local folder"):
        Task.open("hf:someone/birds")


@pytest.mark.parametrize(
    ("name", "sizes"), [("tf_flowers", (2347, 587, 736)), ("cifar100", (40_000, 10_000, 10_000))]
)
@pytest.mark.journey
def test_the_collected_datasets_open(name: str, sizes: tuple[int, int, int]) -> None:
    path = SHARED / "datasets" / name
    if not path.is_dir():
        pytest.skip(f"{path} is not here")
    task = Task.open(str(path), duplicates=False)
    assert (len(task.train), len(task.validation), len(task.test)) == sizes
    assert list(task.classes) == (path / "labels.txt").read_text().split("\n")[: len(task.classes)]
    assert task.train.sample(7).mode == "RGB"
