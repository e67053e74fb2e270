"""Folders whose labels stand in a file beside the images, as people and tools make them.

Each function fills an empty folder with images of three classes. Class number c is pictures of red
value c, so that a label can be checked against its image.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("ant", "bee", "cat")
EACH = 5  # images a class
SPLITS = (("train", 6), ("valid", 2), ("test", 3))

Make = Callable[[Path], None]
Naming = Callable[[int, int], str]  # of class number and place
Rows = Iterable[Sequence[object]]


def png(red: int, blue: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, blue)).save(buffer, "PNG")
    return buffer.getvalue()


LABELS = [label for label in range(len(CLASSES)) for _ in range(EACH)]
NAMES = [CLASSES[label] for label in LABELS]
IMAGES = [png(label, i) for i, label in enumerate(LABELS)]


def in_place(label: int, i: int) -> str:
    return f"{label}_{i}.png"


def in_class_folders(label: int, i: int) -> str:
    return f"{CLASSES[label]}/{i}.png"


def numbered(folder: Path, each: int = EACH, name: Naming = in_place) -> list[tuple[str, int]]:
    """Write ``each`` images a class; their paths below ``folder`` and their class numbers."""
    rows = []
    for i in range(each):
        for label in range(len(CLASSES)):
            path = folder / name(label, i)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(label, i))
            rows.append((name(label, i), label))
    return rows


def pictures(folder: Path, each: int = EACH, name: Naming = in_place) -> list[tuple[str, str]]:
    """Write ``each`` images a class; their paths below ``folder`` and their class names."""
    return [(path, CLASSES[label]) for path, label in numbered(folder, each, name)]


def moved(rows: Iterable[tuple[str, str]], change: Callable[[str], str]) -> list[tuple[str, str]]:
    return [(change(path), name) for path, name in rows]


def write(path: Path, rows: Rows, join: str = ",", encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(join.join(map(str, row)) for row in rows) + "\n"
    path.write_text(text, encoding=encoding, newline="")


def table(root: Path, rows: Rows, head: str = "file,label", **how: str) -> None:
    """``labels.csv`` with a header."""
    write(root / "labels.csv", [head.split(","), *rows], **how)


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def parquet(root: Path, columns: Mapping[str, Any], group: int = 1000) -> None:
    pq.write_table(pa.table(dict(columns)), root / "train.parquet", row_group_size=group)


# --- one file for all images: CSV and its kin


def csv_of_file_names(root: Path) -> None:
    write(root / "metadata.csv", [("file_name", "label"), *pictures(root)])


def csv_without_header(root: Path) -> None:
    write(root / "list.csv", pictures(root))


def ids_without_header(root: Path) -> None:
    rows = pictures(root, name=lambda label, i: f"image_{label}{i}.png")
    write(root / "a.csv", moved(rows, lambda path: path[:-4]))


def csv_of_semicolons(root: Path) -> None:
    write(root / "labels.csv", [("Datei", "Klasse"), *pictures(root)], ";")


def csv_with_bom(root: Path) -> None:
    table(root, pictures(root), "file_name,label", encoding="utf-8-sig")


def csv_in_utf_16(root: Path) -> None:
    write(root / "a.csv", [("file", "label"), *pictures(root)], "\t", encoding="utf-16")


def csv_with_windows_lines(root: Path) -> None:
    table(root, [(path, f"{name}\r") for path, name in pictures(root)], "file,label\r")


def csv_with_excels_line(root: Path) -> None:
    write(root / "labels.csv", [("sep=;",), ("file", "label"), *pictures(root)], ";")


def tsv(root: Path) -> None:
    write(root / "labels.tsv", [("path", "class"), *pictures(root)], "\t")


def quoted_names_with_commas(root: Path) -> None:
    rows = pictures(root, name=lambda label, i: f"{label}, no {i}.png")
    table(root, [(f'"{path}"', f'"{name}"') for path, name in rows])


def extra_columns(root: Path) -> None:
    rows = [(i, p, 640 + i, 480, c, "me") for i, (p, c) in enumerate(pictures(root))]
    table(root, rows, ",filename,width,height,label,annotator")


def number_and_name_of_a_class(root: Path) -> None:
    rows = [(path, label, CLASSES[label]) for path, label in numbered(root)]
    table(root, rows, "file,class_id,class_name")


def repeated_rows(root: Path) -> None:
    rows = pictures(root)
    table(root, [*rows, *rows[:4]])


def one_hot(root: Path) -> None:
    rows = [(path, *(int(label == c) for c in range(3))) for path, label in numbered(root)]
    write(root / "_classes.csv", [("filename", " ant", " bee", " cat"), *rows])


def one_hot_of_floats(root: Path) -> None:
    paths = numbered(root / "input")
    rows = [(path[:-4], *(float(label == c) for c in range(3))) for path, label in paths]
    write(root / "truth.csv", [("image", *CLASSES), *rows])


def label_studio(root: Path) -> None:
    rows = [(f"/data/upload/3/{p}", i, c, 3.5) for i, (p, c) in enumerate(pictures(root))]
    write(root / "project-3.csv", [("image", "id", "choice", "lead_time"), *rows])


def checksums_beside(root: Path) -> None:
    rows = pictures(root)
    table(root, rows)
    write(root / "md5sums.txt", [(f"{i:032x}", p) for i, (p, _) in enumerate(rows)], "  ")
    write(root / "readme.txt", [("Photos of 2024",)])
    write(root / "settings.json", [('{"size": 4}',)])


# --- one file for all images: what paths look like


def windows_paths(root: Path) -> None:
    rows = pictures(root, name=lambda label, i: f"photos/{label}/{i}.png")
    table(root, moved(rows, lambda path: path.replace("/", "\\")))


def paths_below_a_folder(root: Path) -> None:
    table(root, pictures(root / "images"))


def absolute_paths(root: Path) -> None:
    table(root, moved(pictures(root / "images"), lambda path: f"{root}/images/{path}"))


def paths_of_another_machine(root: Path) -> None:
    table(root, moved(pictures(root / "img"), lambda path: rf"C:\Users\me\pets\img\{path}"))


def paths_beside_the_folder(root: Path) -> None:
    table(root, moved(pictures(root.parent / "elsewhere"), lambda path: f"../elsewhere/{path}"))


def file_addresses(root: Path) -> None:
    rows = pictures(root, name=lambda label, i: f"a b/{label}{i}.png")
    table(root, moved(rows, lambda path: f"file://{root}/{path}".replace(" ", "%20")))


def ids_with_leading_zeros(root: Path) -> None:
    rows = pictures(root / "train", name=lambda label, i: f"000{label}{i}.png")
    table(root, moved(rows, lambda path: path[:-4]), "id,breed")


def other_case(root: Path) -> None:
    rows = pictures(root, name=lambda label, i: f"IMG_{label}{i}.PNG")
    table(root, moved(rows, str.lower))


def table_in_a_folder_beside(root: Path) -> None:
    table(root / "annotations", pictures(root / "images"))


def paths_from_the_tables_folder(root: Path) -> None:
    table(root / "meta", moved(pictures(root / "data"), lambda path: f"../data/{path}"))


def folders_that_are_no_classes(root: Path) -> None:
    table(root, pictures(root, name=lambda label, i: f"patient_0{i}/{label}.png"))


def masks_beside(root: Path) -> None:
    numbered(root / "masks", name=lambda label, i: f"{label}_{i}_mask.png")
    table(root, pictures(root / "images"))


# --- one file for all images: JSON, Parquet, lists


def json_lines(root: Path) -> None:
    rows = [(json.dumps({"file_name": path, "label": name}),) for path, name in pictures(root)]
    write(root / "metadata.jsonl", rows)


def json_records(root: Path) -> None:
    records = [{"image": path, "label": name} for path, name in pictures(root)]
    dump(root / "labels.json", {"version": 1, "data": records})


def json_of_paths(root: Path) -> None:
    dump(root / "labels.json", dict(pictures(root)))


def json_of_classes(root: Path) -> None:
    rows = pictures(root)
    dump(root / "labels.json", {c: [path for path, name in rows if name == c] for c in CLASSES})


def json_columns(root: Path) -> None:
    paths, names = zip(*pictures(root), strict=True)
    dump(root / "labels.json", {"path": paths, "label": names})


def json_of_one_label_lists(root: Path) -> None:
    dump(root / "labels.json", [{"file_name": p, "tags": [name]} for p, name in pictures(root)])


def coco_of_classes(root: Path) -> None:
    rows = list(enumerate(numbered(root)))
    coco = {
        "images": [{"id": 100 + i, "file_name": path} for i, (path, _) in rows],
        "annotations": [{"image_id": 100 + i, "category_id": 7 + c} for i, (_, c) in rows],
        "categories": [{"id": 7 + c, "name": name} for c, name in enumerate(CLASSES)],
    }
    dump(root / "train2021.json", coco)


def parquet_of_paths(root: Path) -> None:
    paths, names = zip(*pictures(root), strict=True)
    pq.write_table(pa.table({"file_name": paths, "label": names}), root / "metadata.parquet")


def list_of_paths_and_labels(root: Path) -> None:
    write(root / "all.txt", pictures(root / "data"), " ")


def list_with_tabs(root: Path) -> None:
    write(root / "all.txt", pictures(root), "\t")


def list_with_names_of_blanks(root: Path) -> None:
    write(root / "all.lst", pictures(root, name=lambda c, i: f"my photo {c} {i}.png"), " ")


def numbers_with_names_beside(root: Path) -> None:  # as CVAT and Datumaro export ImageNet lists
    write(root / "all.txt", numbered(root / "images"), " ")
    write(root / "synsets.txt", [(name,) for name in CLASSES])


def numbers_from_one(root: Path) -> None:
    write(root / "all.txt", [(path, c + 1) for path, c in numbered(root / "images")], " ")
    write(root / "classes.txt", enumerate(CLASSES), " ")


def list_of_folders(root: Path) -> None:  # as Food-101
    rows = pictures(root / "images", name=in_class_folders)
    write(root / "meta" / "all.txt", [(path[:-4],) for path, _ in rows])


ONE_FILE: tuple[Make, ...] = (
    csv_of_file_names,
    csv_without_header,
    ids_without_header,
    csv_of_semicolons,
    csv_with_bom,
    csv_in_utf_16,
    csv_with_windows_lines,
    csv_with_excels_line,
    tsv,
    quoted_names_with_commas,
    extra_columns,
    number_and_name_of_a_class,
    repeated_rows,
    one_hot,
    one_hot_of_floats,
    label_studio,
    checksums_beside,
    windows_paths,
    paths_below_a_folder,
    absolute_paths,
    paths_of_another_machine,
    paths_beside_the_folder,
    file_addresses,
    ids_with_leading_zeros,
    other_case,
    table_in_a_folder_beside,
    paths_from_the_tables_folder,
    folders_that_are_no_classes,
    masks_beside,
    json_lines,
    json_records,
    json_of_paths,
    json_of_classes,
    json_columns,
    json_of_one_label_lists,
    coco_of_classes,
    parquet_of_paths,
    list_of_paths_and_labels,
    list_with_tabs,
    list_with_names_of_blanks,
    numbers_with_names_beside,
    numbers_from_one,
    list_of_folders,
)


# --- splits: 6 training, 2 validation and 3 test images a class


def imagefolder(root: Path) -> None:
    for split, each in SPLITS:
        rows = pictures(root / split, each)
        write(root / split / "metadata.csv", [("file_name", "label"), *rows])


def split_column(root: Path) -> None:
    rows = []
    for split, each in (("Train", 6), ("val", 2), ("TEST", 3)):
        rows += [(f"{split}/{path}", name, split) for path, name in pictures(root / split, each)]
    table(root, rows, "file,label,split")


def paths_in_folders_of_splits(root: Path) -> None:
    rows = []
    for split, each in SPLITS:
        rows += [(f"{split}/{path}", name) for path, name in pictures(root / split, each)]
    write(root / "metadata.csv", [("file_name", "label"), *rows])


def a_list_for_each_split(root: Path) -> None:
    for split, each in SPLITS:
        rows = pictures(root / "images" / split, each)
        write(root / f"{split}.txt", [(f"images/{split}/{p}", name) for p, name in rows], " ")


def a_table_for_each_split(root: Path) -> None:
    for split, each in SPLITS:
        rows = pictures(root / f"{split}_images", each)
        rows = [(f"{split}_images/{path}", name) for path, name in rows]
        write(root / f"{split}_labels.csv", [("id", "label"), *rows])


def one_hot_in_each_split(root: Path) -> None:  # as Roboflow
    for split, each in SPLITS:
        paths = numbered(root / split, each)
        rows = [(path, *(int(label == c) for c in range(3))) for path, label in paths]
        write(root / split / "_classes.csv", [("filename", *CLASSES), *rows])


def annotations_of_the_validation_split(root: Path) -> None:  # as Tiny ImageNet
    pictures(root / "train", 6, lambda label, i: f"{CLASSES[label]}/images/{i}.png")
    rows = pictures(root / "val" / "images", 2, lambda label, i: f"val_{label}{i}.png")
    write(root / "val" / "val_annotations.txt", [(*row, 0, 1, 2, 3) for row in rows], "\t")
    pictures(root / "test", 3, lambda label, i: f"{CLASSES[label]}/images/{i}.png")


def parquet_with_a_split_column(root: Path) -> None:
    rows = [(s, c, i) for s, each in SPLITS for c in range(3) for i in range(each)]
    columns = {
        "image": [png(label, i) for _, label, i in rows],
        "label": [CLASSES[label] for _, label, _ in rows],
        "split": [split for split, _, _ in rows],
    }
    parquet(root, columns)


def class_folders_and_tables_of_flat_splits(root: Path) -> None:  # as GTSRB of Kaggle
    for split, each in (("Valid", 2), ("Test", 3)):
        rows = [(f"{split}/{path}", name) for path, name in pictures(root / split, each)]
        write(root / f"{split}.csv", [("Path", "ClassId"), *rows])
    rows = pictures(root / "Train", 6, in_class_folders)
    write(root / "Train.csv", [("Path", "ClassId"), *((f"Train/{p}", n) for p, n in rows)])


def one_json_of_splits(root: Path) -> None:
    splits = {}
    for split, each in SPLITS:
        rows = pictures(root / "images" / split, each)
        splits[split] = [{"image": f"images/{split}/{p}", "label": name} for p, name in rows]
    dump(root / "dataset.json", splits)


WITH_SPLITS: tuple[Make, ...] = (
    class_folders_and_tables_of_flat_splits,
    one_json_of_splits,
    imagefolder,
    split_column,
    paths_in_folders_of_splits,
    a_list_for_each_split,
    a_table_for_each_split,
    one_hot_in_each_split,
    annotations_of_the_validation_split,
    parquet_with_a_split_column,
)


# --- two label columns


def two_labels(root: Path) -> None:
    rows = [(path, label // 2, CLASSES[label]) for path, label in numbered(root)]
    table(root, rows, "file,coarse_label,fine_label")


def two_labels_in_parquet(root: Path) -> None:
    coarse = [label // 2 for label in LABELS]
    parquet(root, {"img": IMAGES, "coarse_label": coarse, "fine_label": NAMES})


def two_labels_saved(root: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "img": datasets.Image(),
            "coarse_label": datasets.ClassLabel(names=["x", "y"]),
            "fine_label": datasets.ClassLabel(names=list(CLASSES)),
        }
    )
    rows = {
        "img": [{"bytes": image, "path": None} for image in IMAGES],
        "coarse_label": [label // 2 for label in LABELS],
        "fine_label": LABELS,
    }
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(root))


TWO_LABELS: tuple[Make, ...] = (two_labels, two_labels_in_parquet, two_labels_saved)


# --- what is refused


def table_of(label: Callable[[int, int], object], head: str = "file,label") -> Make:
    """A table whose labels are ``label(row, class number)``."""

    def make(root: Path) -> None:
        rows = [(path, label(i, c)) for i, (path, c) in enumerate(numbered(root))]
        table(root, rows, head)

    return make


def many_hot(root: Path) -> None:
    rows = [(path, 1, int(label == 1), int(label == 2)) for path, label in numbered(root)]
    write(root / "_classes.csv", [("filename", *CLASSES), *rows])


def many_hot_list(root: Path) -> None:
    write(root / "all.txt", [(p, "1 0 1" if c else "0 1 1") for p, c in numbered(root)], " ")


def one_row_a_label(root: Path) -> None:
    rows = pictures(root)
    table(root, [*rows, *((path, "wet") for path, _ in rows)])


def lists_in_json(root: Path) -> None:
    rows = [{"file_name": path, "labels": [name, "wet"]} for path, name in pictures(root)]
    dump(root / "labels.json", rows)


def lists_in_parquet(root: Path) -> None:
    parquet(root, {"image": IMAGES, "labels": [[c, (c + 1) % 3] for c in LABELS]})


def fractions_in_parquet(root: Path) -> None:
    parquet(root, {"image": IMAGES, "label": [label + 0.25 for label in LABELS]})


def boxes_of_a_table(root: Path) -> None:
    rows = [(path, 640, 480, name, 1, 2, 30, 40) for path, name in pictures(root)]
    head = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
    write(root / "_annotations.csv", [head, *rows])


def boxes_of_coco(root: Path) -> None:
    rows = list(enumerate(numbered(root)))
    box = [0, 0, 2, 2]
    coco = {
        "images": [{"id": i, "file_name": path} for i, (path, _) in rows],
        "annotations": [{"image_id": i, "category_id": c, "bbox": box} for i, (_, c) in rows],
        "categories": [{"id": c, "name": name} for c, name in enumerate(CLASSES)],
    }
    dump(root / "_annotations.coco.json", coco)


def boxes_of_yolo(root: Path) -> None:
    for split in ("train", "valid"):
        for path, label in numbered(root / split / "images"):
            name = f"{path[:-4]}.txt"
            write(root / split / "labels" / name, [(label, 0.5, 0.5, 0.25, 0.25)], " ")
    (root / "data.yaml").write_text("names: [ant, bee, cat]\n")


def boxes_of_ultralytics(root: Path) -> None:
    for split in ("train", "val"):
        for path, label in numbered(root / "images" / split):
            name = f"{path[:-4]}.txt"
            write(root / "labels" / split / name, [(label, 0.5, 0.5, 0.25, 0.25)], " ")


def boxes_of_voc(root: Path) -> None:
    for path, _ in pictures(root / "JPEGImages"):
        text = f"<annotation><filename>{path}</filename><object><bndbox/></object></annotation>"
        write(root / "Annotations" / f"{path[:-4]}.xml", [(text,)])


def two_tables(root: Path) -> None:
    for name in ("first.csv", "second.csv"):
        write(root / name, [("file", "label"), *pictures(root)])


def addresses(root: Path) -> None:
    rows = moved(pictures(root), lambda path: f"https://example.org/{path}")
    table(root, rows, "url,label")


def encoded_in_csv(root: Path) -> None:
    rows = [(base64.b64encode(image), name) for image, name in zip(IMAGES, NAMES, strict=True)]
    table(root, [(image.decode(), name) for image, name in rows], "image,label")


def pixels_in_csv(root: Path) -> None:
    rows = [[label] * 17 for label in LABELS]
    write(root / "train.csv", [("label", *(f"pixel{i}" for i in range(16))), *rows])


def unquoted_commas(root: Path) -> None:
    table(root, [*pictures(root), ("0_0.png", "ant", "large")])


def nothing_is_there(root: Path) -> None:
    write(root / "train.txt", [(f"/nowhere/a{i}.jpg", i % 3) for i in range(9)], " ")


def label_studio_json(root: Path) -> None:
    pictures(root / "images")
    tasks = [{"id": i, "data": {"image": "/a.png"}, "annotations": []} for i in range(3)]
    dump(root / "export.json", tasks)


def unknown_label_column(root: Path) -> None:  # as HAM10000
    rows = []
    for part in "12":
        names = pictures(root / f"HAM_images_part_{part}", 2, lambda c, i, p=part: f"{p}{c}{i}.png")
        rows += [(path, name, 30) for path, name in names]
    write(root / "meta.csv", [("image_id", "dx", "age"), *rows])


def only_a_header(root: Path) -> None:
    pictures(root)
    table(root, [])


def no_text(root: Path) -> None:
    pictures(root)
    (root / "labels.csv").write_bytes(os.urandom(64) + b"\0\0\0")


def several_negatives(root: Path) -> None:
    parquet(root, {"image": IMAGES, "label": [label - 3 for label in LABELS]})


def _both(i: int, c: int) -> tuple[str, str]:
    return CLASSES[c], CLASSES[(c + 1 + i % 2) % 3]


_MULTI_LABEL = "several labels a sample .*: a multi-label task, which is not supported"
_REGRESSION = "fractions .* make a regression task, which is not supported"
_BOXES = "boxes, not classes"

REFUSED: dict[str, tuple[Make, str]] = {
    "lists with bars": (table_of(lambda i, c: "|".join(_both(i, c))), _MULTI_LABEL),
    "lists with semicolons": (table_of(lambda i, c: ";".join(_both(i, c))), _MULTI_LABEL),
    "lists in quotes": (table_of(lambda i, c: f'"{",".join(_both(i, c))}"'), _MULTI_LABEL),
    "lists of Python": (table_of(lambda i, c: f'"{list(_both(i, c))}"'), _MULTI_LABEL),
    "lists with blanks": (table_of(lambda i, c: ("wet", "dry", "wet dry")[c]), _MULTI_LABEL),
    "JSON of Label Studio": (label_studio_json, "export of Label Studio.* as CSV or JSON-MIN"),
    "a label column of its own name": (
        unknown_label_column,
        r"meta.csv lists images that are here; .*--label-column COLUMN .*image_id, dx, age",
    ),
    "minus one and one": (table_of(lambda i, c: 1 - 2 * (i % 2)), "1 and -1 only, .* as 0 and 1"),
    "many hot": (many_hot, _MULTI_LABEL),
    "many hot list": (many_hot_list, _MULTI_LABEL),
    "a row a label": (one_row_a_label, _MULTI_LABEL),
    "lists in JSON": (lists_in_json, _MULTI_LABEL),
    "lists in Parquet": (lists_in_parquet, _MULTI_LABEL),
    "fractions": (table_of(lambda i, c: f"{i / 7:.3f}", "file,age"), _REGRESSION),
    "fractions in Parquet": (fractions_in_parquet, _REGRESSION),
    "boxes of a table": (boxes_of_a_table, f"{_BOXES} .*--label-column class"),
    "boxes of COCO": (boxes_of_coco, _BOXES),
    "boxes of YOLO": (boxes_of_yolo, _BOXES),
    "boxes of Ultralytics": (boxes_of_ultralytics, _BOXES),
    "boxes of VOC": (boxes_of_voc, _BOXES),
    "two tables": (
        two_tables,
        r"several files of labels .first.csv, second.csv.; .* --task .*first.csv",
    ),
    "addresses": (
        addresses,
        r"holds addresses .https://example.org/0_0.png., and nothing is downloaded",
    ),
    "encoded in CSV": (encoded_in_csv, "encoded images as text"),
    "pixels in CSV": (pixels_in_csv, "pixels as numbers"),
    "unquoted commas": (unquoted_commas, "row 17, has 3 cells, 2 are expected; .*'large'"),
    "nothing is there": (
        nothing_is_there,
        r"none of the 9 images .* no file '/nowhere/a0.jpg', '/nowhere/a1.jpg'",
    ),
    "only a header": (only_a_header, "no rows"),
    "no text": (no_text, "no text file"),
    "several negatives": (several_negatives, "several negative numbers .-3, -2, -1."),
}
