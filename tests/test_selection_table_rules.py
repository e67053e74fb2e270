"""The single rules by which a table of images is read: cells, columns, labels, paths, splits."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from selection.sources.images import CorruptImage
from selection.sources.split import Part
from selection.sources.tables import text as text_module
from selection.sources.tables.candidates import candidates, pick, refuse_box_files
from selection.sources.tables.cells import encoded_image, is_address, is_encoded_text
from selection.sources.tables.columns import (
    Columns,
    is_label_name,
    label_column,
    listed,
    stored_image_column,
)
from selection.sources.tables.label_file import read_folder
from selection.sources.tables.labels import to_labels, typed
from selection.sources.tables.listed import parts_of_table
from selection.sources.tables.listed_columns import like_paths
from selection.sources.tables.listed_table import ListedTable, NoLabels
from selection.sources.tables.paths import FileIndex
from selection.sources.tables.splits import is_split_name, split_column, splits_of_folders
from selection.sources.tables.text import read_columns
from tests.label_tables import png
from zoo.errors import UserError


def images(root: Path, *paths: str) -> None:
    """One image of its own colour at each path."""
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(png(i, i))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def table_of(root: Path, columns: dict[str, Sequence[Any]], **more: Any) -> ListedTable:
    return ListedTable("labels.csv", FileIndex(root), columns, **more)


def rows_of(part: Part) -> dict[str, str]:
    """The class of each path; unlabelled ones are empty."""
    paths = part.source.paths  # type: ignore[attr-defined]
    names = [part.names[label] if label >= 0 else "" for label in part.labels]
    return dict(zip(paths, names, strict=True))


# --- cells


def test_short_texts_and_names_of_files_are_no_images_in_base64() -> None:
    start = "iVBORw0KGgo"
    assert is_encoded_text(start + "A" * 29)
    assert not is_encoded_text(start + "A" * 28)
    assert not is_encoded_text(start + "A" * 40 + ".png")
    assert is_address("s3://bucket/a.png")
    assert not is_address("FILE:///data/a.png")


def test_pixels_are_whole_numbers_of_eight_bits(tmp_path: Path) -> None:
    head = b"P6 4 3 255\n"
    grey = np.arange(244, 256).reshape(3, 4)
    wanted = head + np.repeat(grey[..., None], 3, axis=2).astype(np.uint8).tobytes()
    for pixels in (grey, grey[..., None], grey[None]):
        assert encoded_image(pixels.tolist(), tmp_path) == wanted
    colour = np.arange(36).reshape(3, 4, 3)
    assert encoded_image(colour.tolist(), tmp_path) == head + colour.astype(np.uint8).tobytes()
    channels_first = colour.transpose(2, 0, 1)
    assert (
        encoded_image(channels_first.tolist(), tmp_path) == head + colour.astype(np.uint8).tobytes()
    )
    for wrong in (grey + 1, grey - 245, grey / 2, np.zeros((2, 2, 2), int)):
        with pytest.raises(CorruptImage):
            encoded_image(wrong.tolist(), tmp_path)


def test_a_path_in_a_cell_is_read_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    images(tmp_path, "a/1.png")
    assert encoded_image({"bytes": None, "path": "a/1.png"}, tmp_path) == png(0, 0)
    with pytest.raises(CorruptImage, match="no file"):
        encoded_image("a\0.png", tmp_path)
    with pytest.raises(CorruptImage, match="is an address; nothing is downloaded"):
        encoded_image("https://example.org/a.png", tmp_path)


# --- columns


def test_what_is_said_about_labels_is_no_label() -> None:
    assert is_label_name("class_name") and is_label_name("labelId")
    assert not is_label_name("label_confidence") and not is_label_name("num_classes")


def test_many_columns_are_counted() -> None:
    names = [f"c{i}" for i in range(22)]
    assert listed(names[:20]).endswith("c18, c19")
    assert listed(names[:21]).endswith("c19 and 1 more")
    assert listed(names).endswith("c19 and 2 more")


def chosen_label(columns: dict[str, list[Any]], *, prefer_text: bool = False) -> str | None:
    return label_column(
        list(columns),
        {},
        lambda name: pa.chunked_array([pa.array(columns[name])]),
        named=None,
        origin="t",
        prefer_text=prefer_text,
    )


def test_columns_of_the_same_classes_are_one_and_empty_ones_are_none() -> None:
    same = {"class_id": [0, 1, 1], "class": ["a", "b", "b"], "species": ["x", "y", "y"]}
    assert chosen_label(same) == "class"
    assert chosen_label(same, prefer_text=True) == "class"
    other = {"class_id": [0, 1, 1], "species": ["x", "y", "y"]}
    assert chosen_label(other) == "class_id"
    assert chosen_label(other, prefer_text=True) == "species"
    assert chosen_label({"label": [None, None], "tag": ["a", "b"]}) == "tag"
    as_many = {"label": ["a", "a", "b", "b"], "tag": ["x", "y", "x", "y"]}
    with pytest.raises(UserError, match=r"'label' .2 classes., 'tag' .2 classes."):
        chosen_label(as_many)


def test_a_column_of_bytes_holds_images_unless_it_is_called_a_label() -> None:
    schema = pa.schema([("data", pa.binary()), ("label", pa.binary()), ("count", pa.int64())])
    assert stored_image_column(schema, {}, None, "t") == "data"
    assert stored_image_column(pa.schema([("label", pa.binary())]), {}, None, "t") is None
    assert stored_image_column(schema, {}, "label", "t") == "label"  # as the user named it
    assert stored_image_column(schema, {}, "count", "t") is None
    pixels = pa.schema([("grid", pa.list_(pa.int64()))])
    assert stored_image_column(pixels, {}, None, "t") is None
    assert stored_image_column(pixels, {}, "grid", "t") == "grid"


# --- labels


def numbers(values: list[Any], names: Sequence[str] | None = None) -> tuple[list[int], Any]:
    labels = to_labels(pa.chunked_array([pa.array(values)]), names, "t")
    return labels.numbers.tolist(), labels.names


def test_one_negative_number_beside_minus_one_means_no_label() -> None:
    assert numbers([3, -1, -100, 5]) == ([0, -1, -1, 1], ("3", "5"))
    for several in ([0, -2, -3], [0, -1, -2, -3]):
        with pytest.raises(UserError, match="several negative numbers"):
            numbers(several)


def test_numbers_of_names_end_at_the_last_name() -> None:
    assert numbers([0, 1, -1], ["a", "b"]) == ([0, 1, -1], ("a", "b"))
    for wrong in (2, -2):
        with pytest.raises(UserError, match=r"but there are 2 class names .0 to 1;"):
            numbers([0, wrong], ["a", "b"])


def test_floats_are_numbers_of_classes_up_to_what_they_hold_exactly() -> None:
    assert numbers([2.0**53, float("nan")]) == ([0, -1], (str(2**53),))
    with pytest.raises(UserError, match="whole numbers or text are expected, one class a sample"):
        numbers([1.0, 2.0**53 + 2])
    for wrong, shown in ((float("inf"), "inf"), (0.5, "0.5")):
        with pytest.raises(UserError, match=rf"and fractions .{shown}. make a regression task"):
            numbers([1.0, wrong])


def test_lists_of_one_label_are_labels() -> None:
    assert numbers([[4], [], [7]]) == ([0, -1, 1], ("4", "7"))
    with pytest.raises(UserError, match="several labels a sample"):
        numbers([[4], [7, 8]])


def test_texts_are_lists_where_their_parts_are_labels_elsewhere() -> None:
    assert numbers(["a;b", "c;d"])[1] == ("a;b", "c;d")  # each part but once
    assert numbers(["1 2", "3", "4"])[1] == ("1 2", "3", "4")  # numbers, of which few are lists
    for lists in (["a;b", "a", "b"], ["1 2", "2 3", "4"]):
        with pytest.raises(UserError, match="several labels a sample"):
            numbers(lists)


def test_numbers_with_leading_zeros_are_texts() -> None:
    assert typed(["01", "2"]).to_pylist() == ["01", "2"]
    assert typed(["0", "-10", None, "n/a"]).to_pylist() == [0, -10, None, None]
    assert typed(["0.5", "1", "nan"]).to_pylist() == [0.5, 1.0, None]


# --- rows


def test_a_row_without_label_gives_way_to_one_with(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    columns = {
        "file": ["0.png", "0.png", "1.png", "1.png", "2.png"],
        "label": [None, "a", "b", None, "a"],
    }
    warnings: list[str] = []
    parts = parts_of_table(table_of(tmp_path, columns), Columns(), warnings)
    assert rows_of(parts["train"]) == {"0.png": "a", "1.png": "b", "2.png": "a"}
    assert warnings == []


def test_few_images_with_two_labels_are_left_out_and_many_refuse_the_table(tmp_path: Path) -> None:
    paths = [f"{i}.png" for i in range(8)]
    images(tmp_path, *paths)
    labels = ["a", "b"] * 4

    def parts(conflicts: int) -> dict[str, Part]:
        columns = {"file": [*paths, *paths[:conflicts]], "label": [*labels, *["c"] * conflicts]}
        return parts_of_table(table_of(tmp_path, columns), Columns(), [])

    assert sorted(rows_of(parts(2)["train"])) == paths[2:]
    with pytest.raises(UserError, match="several labels a sample"):
        parts(3)


def test_one_file_may_stand_in_two_splits_and_is_said_once(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png")
    columns = {
        "file": ["0.png", "1.png", "0.png"],
        "label": ["a", "b", "b"],
        "split": ["train", "train", "test"],
    }
    warnings: list[str] = []
    parts = parts_of_table(table_of(tmp_path, columns), Columns(), warnings)
    assert rows_of(parts["train"]) == {"0.png": "a", "1.png": "b"}
    assert rows_of(parts["test"]) == {"0.png": "b"}
    assert warnings == []


def test_missing_files_beyond_three_are_counted(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png", "3.png")
    for missing, end in ((3, "'x2.png'"), (5, "'x2.png' and 2 more")):
        warnings: list[str] = []
        paths = ["0.png", "1.png", "2.png", "3.png", *(f"x{i}.png" for i in range(missing))]
        columns = {"file": paths, "label": ["a", "b"] * 2 + ["a"] * missing}
        parts_of_table(table_of(tmp_path, columns), Columns(), warnings)
        assert warnings[0].endswith(f"are not there: 'x0.png', 'x1.png', {end}")


def test_what_fits_several_files_is_not_missing_too(tmp_path: Path) -> None:
    images(tmp_path, "a/0.png", "b/0.png", "b/1.png", "b/2.png")
    warnings: list[str] = []
    columns = {"file": ["0.png", "1.png", "2.png"], "label": ["a", "b", "a"]}
    parts_of_table(table_of(tmp_path, columns), Columns(), warnings)
    assert len(warnings) == 1
    assert warnings[0].startswith("1 paths of labels.csv (column 'file') fit several files")


def test_a_label_column_may_be_called_as_a_split_is(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png")
    columns = {"file": ["0.png", "1.png"], "phase": ["train", "test"]}
    parts = parts_of_table(table_of(tmp_path, columns), Columns(label="phase"), [])
    assert rows_of(parts["train"]) == {"0.png": "train", "1.png": "test"}


def test_one_column_a_class_leaves_rows_of_no_class_unlabelled(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png", "2.png")
    columns = {"file": ["0.png", "1.png", "2.png"], "ant": ["1", "0", "0"], "bee": ["0", "1", "0"]}
    parts = parts_of_table(table_of(tmp_path, columns), Columns(), [])
    assert rows_of(parts["train"]) == {"0.png": "ant", "1.png": "bee", "2.png": ""}


def test_one_label_column_of_noughts_and_ones_is_no_column_a_class(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png")
    columns = {"file": ["0.png", "1.png"], "label": ["1", "0"], "blurred": ["0", "0"]}
    parts = parts_of_table(table_of(tmp_path, columns), Columns(), [])
    assert rows_of(parts["train"]) == {"0.png": "1", "1.png": "0"}


def test_numbers_count_from_one_only_where_they_fill_the_names(tmp_path: Path) -> None:
    images(tmp_path, "0.png", "1.png")
    columns = {"file": ["0.png", "1.png"], "label": ["1", "2"]}
    for names, classes in ((("a", "b"), "ab"), (("a", "b", "c"), "bc")):
        parts = parts_of_table(table_of(tmp_path, columns, names=names), Columns(), [])
        assert list(rows_of(parts["train"]).values()) == list(classes)


def test_images_in_one_folder_alone_have_no_class(tmp_path: Path) -> None:
    images(tmp_path, "all/0.png", "all/1.png")
    with pytest.raises(NoLabels, match="lists images without labels"):
        parts_of_table(table_of(tmp_path, {"1": ["all/0.png", "all/1.png"]}), Columns(), [])


def test_encoded_images_in_a_named_column_are_refused(tmp_path: Path) -> None:
    images(tmp_path, "0.png")
    encoded = base64.b64encode(png(1)).decode()
    table = table_of(tmp_path, {"file": ["0.png", encoded], "label": ["a", "b"]})
    with pytest.raises(UserError, match="holds encoded images as text"):
        parts_of_table(table, Columns(image="file"), [])


def test_most_values_of_a_column_of_paths_end_like_images() -> None:
    assert like_paths(["a.png", "b.jpg", "c"])
    assert not like_paths(["a.png", "b"])


def test_bytes_and_endless_texts_of_a_table(tmp_path: Path) -> None:
    table = table_of(tmp_path, {"a": [b"k\xc3\xa4fer", None, "x" * 4096, "x" * 4095]})
    assert table.texts("a")[:2] == ["käfer", ""]
    assert [len(text) for text in table.paths("a")] == [5, 4095]


# --- paths


def test_of_several_files_the_one_of_the_split_or_of_the_same_letters_is_meant(
    tmp_path: Path,
) -> None:
    images(tmp_path, "train/0.png", "test/0.png", "a/IMG.png", "b/img.png", "b/ximg.png")
    index = FileIndex(tmp_path)
    assert index.find("0.png") is None
    assert index.ambiguous == ["0.png (test/0.png, train/0.png)"]
    assert index.find("0.png", inside=("test",)) == "test/0.png"
    assert index.find("IMG.png") == "a/IMG.png"
    assert index.find("img.png") == "b/img.png"
    assert index.find("ximg") == "b/ximg.png"
    assert index.find("img.png", inside=("a", "b")) == "b/img.png"  # one has the same letters
    images(tmp_path / "ab", "one.png")
    assert FileIndex(tmp_path).find("b/one.png") is None
    images(tmp_path, "train/deep/0.png")
    assert FileIndex(tmp_path).find("0.png", inside=("train",)) is None  # two of the split
    assert index.fit(["0.png", "img.png"]) == 1
    assert index.ambiguous == []


def test_an_absolute_path_means_no_other_file(tmp_path: Path) -> None:
    images(tmp_path, "0.png")
    index = FileIndex(tmp_path)
    assert index.find("/elsewhere/0.png") is None
    assert index.find(str(tmp_path / "0.png")) == "0.png"


def test_letters_and_addresses_of_paths(tmp_path: Path) -> None:
    images(tmp_path, "Gr\u00fcn.png", "a b.png")
    index = FileIndex(tmp_path)
    assert index.find("gru\u0308n.PNG") == "Gr\u00fcn.png"  # as a Mac spells it
    assert index.find(f"file://{tmp_path}/a%20b.png") == "a b.png"
    assert index.find("/data/local-files/?d=a%20b.png") == "a b.png"


# --- splits


def test_names_of_columns_that_tell_splits() -> None:
    assert is_split_name("dataset_split") and is_split_name("isTrain")
    assert not is_split_name("class_set") and not is_split_name("name")


def test_a_column_tells_splits_where_one_is_of_training() -> None:
    warnings: list[str] = []
    assert split_column({"usage": ["Training", "PublicTest", "PrivateTest"]}, "t", warnings) == (
        "usage",
        ["train", "validation", "test"],
    )
    assert split_column({"is_valid": ["0", "1"]}, "t", warnings)[1] == ["train", "validation"]
    assert warnings == []
    both = {"set": ["old", "new"], "split": ["train", "test"]}
    assert split_column(both, "t", warnings) == ("split", ["train", "test"])
    assert warnings == ["the column 'set' of t names no train split and is not used"]


def test_first_folders_are_splits_where_all_are() -> None:
    assert splits_of_folders(["train/a.png", "val/b.png"]) == ["train", "validation"]
    assert splits_of_folders(["train/a.png", "cats/b.png"]) == ["train", "train"]
    assert splits_of_folders(["val/a.png", "test/b.png"]) == ["train", "train"]
    assert splits_of_folders(["fold1/a.png", "test/b.png"]) == ["train", "train"]
    assert splits_of_folders(["train/a.png", "unlabelled/b.png"]) == ["train", "unlabelled"]


# --- texts


def test_texts_of_sixteen_bits_without_a_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("file,label\na.png,ä\n".encode("utf-16-le"))
    assert read_columns(path) == {"file": ["a.png"], "label": ["ä"]}
    path.write_bytes(b"file,label\na.png,\0\n")
    with pytest.raises(UserError, match="is no text file"):
        read_columns(path)


def test_a_table_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.csv", "file,label\na.png,b\n")
    monkeypatch.setattr(text_module, "_MOST_BYTES", os.path.getsize(path))
    assert read_columns(path) == {"file": ["a.png"], "label": ["b"]}
    written(path, "file,label\na.png,bb\n")
    with pytest.raises(UserError, match="write it as Parquet"):
        read_columns(path)


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.txt", "# made by hand\na.png ant\n", {"1": ["a.png"], "2": ["ant"]}),
        ("a.csv", "sep=;\nfile;label\na.png;b\n", {"file": ["a.png"], "label": ["b"]}),
        ("a.csv", "file,x,x\na.png,b,c\n", {"file": ["a.png"], "x": ["b"], "x (2)": ["c"]}),
        ("a.csv", ",file,label\n7,a.png,b\n", {"file": ["a.png"], "label": ["b"]}),
        ("a.csv", "index,file\n0,a.png\n1,b.png\n", {"file": ["a.png", "b.png"]}),
        ("a.csv", "index,file\n1,a.png\n", {"index": ["1"], "file": ["a.png"]}),
        ("a.csv", "class\nclass\nx\n", {"1": ["class", "class", "x"]}),
        ("a.lst", "my, cat.png a\nb.png b\n", {"1": ["my, cat.png", "b.png"], "2": ["a", "b"]}),
    ],
)
def test_rows_and_heads_of_text_files(
    tmp_path: Path, name: str, text: str, columns: dict[str, list[Any]]
) -> None:
    assert read_columns(written(tmp_path / name, text)) == columns


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (
            {
                "images": [{"id": 1, "file_name": "a.png"}],
                "annotations": [
                    {"image_id": 1, "category_id": 7},
                    {"image_id": 2, "category_id": 7},
                ],
                "categories": [{"id": 7, "name": "ant"}],
            },
            {"file_name": ["a.png"], "label": ["ant"]},
        ),
        (
            {"ant": ["a.png"], "bee": ["b.png"]},
            {"image": ["a.png", "b.png"], "label": ["ant", "bee"]},
        ),
        ({"file": ["a.png"], "label": ["ant"]}, {"file": ["a.png"], "label": ["ant"]}),
        ({"a.png": {"label": "ant"}}, {"image": ["a.png"], "label": ["ant"]}),
    ],
)
def test_shapes_of_json(tmp_path: Path, value: Any, columns: dict[str, list[Any]]) -> None:
    assert read_columns(written(tmp_path / "a.json", json.dumps(value))) == columns


# --- which file


def label_files(root: Path) -> dict[str | None, str]:
    chosen = pick(root, candidates(root, Columns()))
    return {kind: file.path.name for kind, file in chosen.items()}


def lines(paths: Sequence[str], labels: Sequence[str], join: str = ",") -> str:
    return "".join(f"{path}{join}{label}\n" for path, label in zip(paths, labels, strict=True))


PATHS = ("0.png", "1.png", "2.png", "3.png")
LABELS = ("a", "b", "a", "b")


def test_a_table_goes_before_a_list_and_a_licence_is_neither(tmp_path: Path) -> None:
    images(tmp_path, *PATHS)
    written(tmp_path / "all.txt", lines(PATHS, LABELS, " "))
    assert label_files(tmp_path) == {None: "all.txt"}
    written(tmp_path / "rows.csv", "file,label\n" + lines(PATHS, LABELS))
    assert label_files(tmp_path) == {None: "rows.csv"}
    written(tmp_path / "LICENSE.csv", "file,label\n" + lines(PATHS, LABELS))
    assert label_files(tmp_path) == {None: "rows.csv"}


def test_a_column_without_repeated_values_holds_no_labels(tmp_path: Path) -> None:
    images(tmp_path, *PATHS)
    written(tmp_path / "sizes.csv", "file,bytes\n" + lines(PATHS, ("91", "92", "93", "94")))
    (file,) = candidates(tmp_path, Columns())
    assert not file.is_usable and file.is_likely
    written(tmp_path / "sizes.csv", "file,bytes\n" + lines(PATHS[:2], ("91", "92")))
    (file,) = candidates(tmp_path, Columns())
    assert file.is_usable  # two rows say nothing of what repeats


def test_a_folder_of_one_text_an_image_has_no_label_file(tmp_path: Path) -> None:
    for i in range(41):
        written(tmp_path / f"{i}.txt", "a photo\n")
    assert candidates(tmp_path, Columns()) == []
    (tmp_path / "0.txt").unlink()
    assert len(candidates(tmp_path, Columns())) == 40


def test_a_training_list_that_finds_nothing_does_not_hide_a_usable_table(tmp_path: Path) -> None:
    images(tmp_path, *PATHS)
    written(tmp_path / "train.txt", lines([f"gone/{path}" for path in "wxyz"], LABELS, ".png "))
    written(tmp_path / "rows.csv", "file,label\n" + lines(PATHS, LABELS))
    assert label_files(tmp_path) == {None: "rows.csv"}


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("0 cat\n1 dog\n", ["cat", "dog"]),
        ("1 cat\n2 dog\n", ["1 cat", "2 dog"]),
        ("cat\ndog\n", ["cat", "dog"]),
        ("cat.png 1\ndog.png 0\n", None),
    ],
)
def test_names_of_classes_beside_a_table(
    tmp_path: Path, names: str, classes: list[str] | None
) -> None:
    images(tmp_path, *PATHS)
    written(tmp_path / "all.lst", lines(PATHS, ("0", "1", "0", "1"), " "))
    written(tmp_path / "classes.txt", names)
    file = next(f for f in candidates(tmp_path, Columns()) if f.path.name == "all.lst")
    assert file.table.names == classes


def test_a_list_of_numbers_is_not_its_own_list_of_names(tmp_path: Path) -> None:
    images(tmp_path, *PATHS)
    written(tmp_path / "labels.txt", lines(("0", "1", "2", "3"), ("0", "1", "0", "1"), " "))
    (file,) = candidates(tmp_path, Columns())
    assert file.is_usable and file.table.names is None


def test_class_folders_in_a_split_beat_a_table_beside_them(tmp_path: Path) -> None:
    paths = ("ant/0.png", "ant/1.png", "bee/2.png", "bee/3.png")
    images(tmp_path / "train", *paths)
    written(tmp_path / "train" / "rows.csv", "file,label\n" + lines(paths, LABELS))
    assert read(tmp_path)[0] is None


def test_a_column_that_finds_few_of_the_files_does_not_compete(tmp_path: Path) -> None:
    images(tmp_path, *PATHS)
    columns = {"file": PATHS, "thumb": ("1.png", "x.png", "y.png", "z.png"), "label": LABELS}
    parts = parts_of_table(table_of(tmp_path, columns), Columns(), [])
    assert rows_of(parts["train"]) == dict(zip(PATHS, LABELS, strict=True))


def test_boxes_are_found_among_other_texts(tmp_path: Path) -> None:
    written(tmp_path / "labels" / "a.txt", "nothing of that kind\n")
    refuse_box_files(tmp_path, [])
    written(tmp_path / "labels" / "b.txt", "0 0.5 0.5 0.25 0.25\n")
    with pytest.raises(UserError, match=r"holds boxes, not classes .such as b.txt."):
        refuse_box_files(tmp_path, [])


# --- label files and folders


def read(root: Path) -> tuple[dict[str, dict[str, str]] | None, list[str]]:
    warnings: list[str] = []
    content = read_folder(root, Columns(), warnings)
    if content is None:
        return None, warnings
    return {kind: rows_of(part) for kind, part in content.parts.items()}, warnings


def test_texts_of_boxes_beside_two_class_folders_are_passed_over(tmp_path: Path) -> None:
    images(tmp_path, "ant/0.png", "ant/1.png", "bee/2.png", "bee/3.png")
    written(tmp_path / "0.txt", "0 0.5 0.5 0.25 0.25\n")
    assert read(tmp_path) == (None, [])


def test_a_file_that_divides_the_images_as_the_folders_do_is_not_said(tmp_path: Path) -> None:
    paths = ("ant/0.png", "ant/1.png", "bee/2.png", "bee/3.png")
    images(tmp_path, *paths)
    written(tmp_path / "rows.csv", "file,label\n" + lines(paths, ("x", "x", "y", "y")))
    assert read(tmp_path) == (None, [])
    written(tmp_path / "rows.csv", "file,label\n" + lines(paths, ("x", "x", "x", "x")))
    assert read(tmp_path) == (None, [])  # coarser, but not across
    written(tmp_path / "rows.csv", "file,label\n" + lines(paths, ("x", "y", "x", "y")))
    _, (warning,) = read(tmp_path)
    assert warning.startswith("the class folders give the labels; rows.csv gives others")


def test_of_two_folders_of_one_split_the_second_is_not_used(tmp_path: Path) -> None:
    head = "file_name,label\n"
    for folder in ("train", "val", "valid"):
        images(tmp_path / folder, *PATHS)
        written(tmp_path / folder / "metadata.csv", head + lines(PATHS, LABELS))
    parts, warnings = read(tmp_path)
    assert parts is not None
    assert sorted(parts) == ["train", "validation"]
    assert set(parts["validation"]) == {f"val/{path}" for path in PATHS}
    assert warnings[0] == "valid/ is a second validation split and is not used"


def test_a_training_table_without_labels_is_refused(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        images(tmp_path / folder, *PATHS)
        sizes = lines(PATHS, ["640,480"] * 4)
        written(tmp_path / folder / "metadata.csv", "file_name,width,height\n" + sizes)
    with pytest.raises(UserError, match="has no column 'label'"):
        read(tmp_path)


def test_the_quotes_of_csv_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), ("a, b.png", "ant")])
    assert read_columns(path) == {"file": ["a, b.png"], "label": ["ant"]}
