"""Tasks of texts: what is read as one, with the right labels and splits, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selection.kinds.kind import CorruptSample
from selection.kinds.registry import KINDS
from selection.kinds.text import TEXT
from selection.probe import Probe
from selection.sources.images import CorruptImage
from selection.task import Task
from zoo.errors import UserError

CLASSES = ("bad", "good")
ROOT = Path(__file__).parents[1]


def rows(each: int = 10) -> list[tuple[str, str]]:
    """Texts that say their class: ``good`` and ``bad`` in turn."""
    nouns = [
        "battery",
        "screen",
        "case",
        "charger",
        "cable",
        "box",
        "lens",
        "strap",
        "lid",
        "handle",
    ]
    return [
        (f"this {name} {nouns[i % 10]}, bought {i} days ago, is {name}", name)
        for i in range(each)
        for name in CLASSES
    ]


def csv(
    path: Path, cells: Sequence[Sequence[str]], head: str = "text,label", join: str = ","
) -> None:
    quoted = [join.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
    path.write_text("\n".join([head, *quoted]) + "\n")


def check(task: Task, count: int = 20) -> None:
    assert task.kind is TEXT
    assert task.classes == CLASSES
    splits = (task.train, task.validation, task.test)
    assert sum(map(len, splits)) == count
    for split in splits:
        for i in range(len(split)):
            assert split.sample(i).endswith(CLASSES[split.labels[i]])


def as_csv(root: Path) -> Path:
    csv(root / "reviews.csv", rows())
    return root / "reviews.csv"


def as_tsv(root: Path) -> Path:
    csv(root / "reviews.tsv", rows(), "review\tcategory", "\t")
    return root / "reviews.tsv"


def as_semicolons(root: Path) -> Path:
    csv(root / "reviews.csv", rows(), "id;comment;sentiment".removeprefix("id;"), ";")
    return root / "reviews.csv"


def as_jsonl(root: Path) -> Path:
    lines = [json.dumps({"sentence": text, "label": name}) for text, name in rows()]
    (root / "reviews.jsonl").write_text("\n".join(lines))
    return root / "reviews.jsonl"


def as_parquet(root: Path) -> Path:
    texts, names = zip(*rows(), strict=True)
    numbers = [CLASSES.index(name) for name in names]
    (root / "labels.txt").write_text("\n".join(CLASSES))
    pq.write_table(pa.table({"text": texts, "label": numbers}), root / "train.parquet")
    return root


def as_files_by_split(root: Path) -> Path:
    csv(root / "train.csv", rows()[:12])
    csv(root / "valid.csv", rows()[12:16])
    csv(root / "test.csv", rows()[16:])
    return root


def as_text_files(root: Path) -> Path:
    for i, (text, name) in enumerate(rows()):
        split = "train" if i < 14 else "test"
        (root / split / name).mkdir(parents=True, exist_ok=True)
        (root / split / name / f"{i}.txt").write_text(text)
    return root


def as_class_folders(root: Path) -> Path:
    for i, (text, name) in enumerate(rows()):
        (root / name).mkdir(exist_ok=True)
        (root / name / f"{i}.txt").write_text(text)
    return root


FORMS = (
    as_csv,
    as_tsv,
    as_semicolons,
    as_jsonl,
    as_parquet,
    as_files_by_split,
    as_text_files,
    as_class_folders,
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_texts_are_read_with_their_labels(form: Callable[[Path], Path], tmp_path: Path) -> None:
    check(Task.open(form(tmp_path)))


def test_splits_of_files_are_kept(tmp_path: Path) -> None:
    task = Task.open(as_files_by_split(tmp_path))
    assert (len(task.train), len(task.validation), len(task.test)) == (12, 4, 4)
    assert task.test.name(0) == "test.csv#0"


def test_a_column_of_splits_is_read(tmp_path: Path) -> None:
    cells = [(*row, "train" if i < 14 else "test") for i, row in enumerate(rows())]
    csv(tmp_path / "all.csv", cells, "text,label,split")
    task = Task.open(tmp_path / "all.csv")
    check(task)
    assert len(task.test) == 6


def test_line_breaks_commas_and_a_million_letters_stay_in_their_text(tmp_path: Path) -> None:
    long = "word " * 200_000 + "is good"
    cells = [("first line,\nsecond line is bad", "bad"), (long, "good"), *rows()]
    csv(tmp_path / "t.csv", cells)
    task = Task.open(tmp_path / "t.csv", duplicates=False)
    texts = {text for split in (task.train, task.validation, task.test) for text in split.samples()}
    assert "first line,\nsecond line is bad" in texts
    assert long in texts


def test_empty_texts_are_said_and_missing_labels_are_the_pool(tmp_path: Path) -> None:
    cells = [("  ", "good"), ("no idea", ""), ("none either", ""), *rows()]
    csv(tmp_path / "t.csv", cells)
    task = Task.open(tmp_path / "t.csv")
    check(task)
    assert task.unlabelled is not None
    assert sorted(task.unlabelled.samples()) == ["no idea", "none either"]
    assert any("1 of 23 texts" in text and "are empty" in text for text in task.warnings)


@pytest.mark.parametrize("form", ["lines", "table", "folder"])
def test_a_pool_of_texts(form: str, tmp_path: Path) -> None:
    as_csv(tmp_path)
    texts = ["first of the pool", "second of the pool", rows()[0][0]]
    pool = tmp_path / {"lines": "more.txt", "table": "more.csv", "folder": "more"}[form]
    if form == "lines":
        pool.write_text("\n".join(texts) + "\n\n")
    elif form == "table":
        csv(pool, [(text,) for text in texts], "text")
    else:
        pool.mkdir()
        for i, text in enumerate(texts):
            (pool / f"{i}.txt").write_text(text)
    task = Task.open(tmp_path / "reviews.csv", unlabelled=pool)
    assert task.unlabelled is not None
    assert sorted(task.unlabelled.samples()) == texts[:2]  # the third is a copy
    assert any("1 of 3 unlabelled texts are copies" in text for text in task.warnings)


def test_latin_letters_are_read_and_said(tmp_path: Path) -> None:
    body = "text,label\n" + "".join(f"caf\xe9 {text},{name}\n" for text, name in quoted())
    (tmp_path / "t.csv").write_bytes(body.encode("cp1252"))
    task = Task.open(tmp_path / "t.csv")
    assert task.train.sample(0).startswith("café")
    assert sum("is read as Windows-1252" in text for text in task.warnings) == 1


def quoted() -> list[tuple[str, str]]:
    return [(text.replace(",", ""), name) for text, name in rows()]


def mixed(root: Path) -> None:
    (root / "t.csv").write_bytes(b"text,label\ncaf\xc3\xa9,good\ncaf\xe9,bad\n")


def pair(root: Path) -> None:
    csv(root / "t.csv", [("a", "b", "x")] * 8, "premise,hypothesis,label")


def numbered_pair(root: Path) -> None:
    csv(root / "t.csv", [("a", "b", "x")] * 8, "sentence1,sentence2,label")


def no_label(root: Path) -> None:
    csv(root / "t.csv", [("a b", "2", "3")] * 8, "text,length,time")


def one_class(root: Path) -> None:
    csv(root / "t.csv", [(text, "good") for text, _ in rows()])


def fractions(root: Path) -> None:
    csv(root / "t.csv", [(text, f"0.{i}1") for i, (text, _) in enumerate(rows()[:9])])


def several_labels(root: Path) -> None:
    csv(root / "t.csv", [(text, name, "x") for text, name in rows()], "text,label,category")


def binary(root: Path) -> None:
    (root / "t.csv").write_bytes(bytes(range(256)) * 20)


REFUSED = {
    mixed: "line 3 .*not in UTF-8, 1 others are: two encodings",
    pair: "several text columns: 'premise', 'hypothesis'; say which: --text-column premise",
    numbered_pair: "several text columns: 'sentence1', 'sentence2'",
    no_label: "has no column 'label'.*--label-column",
    one_class: r"one class only \('good'\) with two or more labelled training texts",
    fractions: "regression task, which is not supported",
    several_labels: "several label columns",
    binary: "holds no texts that are known here",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_is_no_task_of_texts_is_refused_in_a_sentence(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path)
    with pytest.raises(UserError, match=REFUSED[make]) as caught:
        Task.open(tmp_path / "t.csv", kind="text")
    assert "\n" not in str(caught.value)


def test_a_first_row_that_is_a_text_is_no_header(tmp_path: Path) -> None:
    body = [("this text is good, and longer than any name", "good"), *rows()]
    (tmp_path / "t.csv").write_text("".join(f'"{text}","{name}"\n' for text, name in body))
    with pytest.raises(UserError, match=r"holds no texts that are known here"):
        Task.open(tmp_path / "t.csv", kind="text")


def test_minus_one_among_names_of_classes_is_no_label(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", [("nobody knows", "-1"), *rows()])
    task = Task.open(tmp_path / "t.csv")
    check(task)
    assert task.unlabelled is not None and [*task.unlabelled.samples()] == ["nobody knows"]


def test_the_number_of_a_row_is_no_label(tmp_path: Path) -> None:
    csv(tmp_path / "train.tsv", rows(), "sentence\tlabel", "\t")
    csv(
        tmp_path / "test.tsv",
        [(str(i), text) for i, (text, _) in enumerate(rows(3))],
        "index\tsentence",
        "\t",
    )
    task = Task.open(tmp_path)
    check(task)
    assert any("no test split is read" in text for text in task.warnings)


@pytest.mark.parametrize("place", ["unlabelled", "train/unsup"])
def test_folders_of_texts_without_classes_are_the_pool(place: str, tmp_path: Path) -> None:
    as_text_files(tmp_path)
    (tmp_path / place).mkdir()
    (tmp_path / place / "a.txt").write_text("whatever this is")
    task = Task.open(tmp_path)
    check(task)
    assert task.unlabelled is not None and [*task.unlabelled.samples()] == ["whatever this is"]


def test_the_only_table_of_a_folder_is_the_task(tmp_path: Path) -> None:
    as_csv(tmp_path)
    check(Task.open(tmp_path))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    as_class_folders(tmp_path)
    (tmp_path / "bad" / "x.txt").write_bytes(bytes(range(1, 32)) * 20 + b"\xff")
    with pytest.raises(UserError, match=r"x\.txt is no text file: \d+ of its letters"):
        Task.open(tmp_path)


def test_an_open_quote_is_named(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", rows())
    with (tmp_path / "t.csv").open("a") as file:
        file.write('"never closed,good\n')
    with pytest.raises(UserError, match=r"no readable table: .*put quotes around texts"):
        Task.open(tmp_path / "t.csv")


def dataset(each: int = 10) -> dict[str, Any]:
    import datasets

    texts, names = zip(*rows(each), strict=True)
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=[*CLASSES])}
    )
    return datasets.DatasetDict(
        {
            "train": datasets.Dataset.from_dict(
                {"text": texts, "label": [CLASSES.index(name) for name in names]}, features
            )
        }
    )


def test_a_dataset_of_texts_that_was_saved(tmp_path: Path) -> None:
    dataset().save_to_disk(tmp_path / "saved")  # type: ignore[attr-defined]
    check(Task.open(tmp_path / "saved"))


def test_a_dataset_of_texts_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selection.sources.hub._load", lambda *_, **__: dataset())
    task = Task.open("hf:org/reviews")
    check(task)
    assert task.train.name(0).startswith("train#")
    with pytest.raises(UserError, match=r"hf:org/reviews has no image column"):
        Task.open("hf:org/reviews", kind="image")


def test_named_columns_decide(tmp_path: Path) -> None:
    cells = [("x", text, "1", name) for text, name in rows()]
    csv(tmp_path / "t.csv", cells, "text,note,label,verdict")
    check(Task.open(tmp_path / "t.csv", text_column="note", label_column="verdict"))
    with pytest.raises(UserError, match=r"--text-column nte: .*did you mean 'note'"):
        Task.open(tmp_path / "t.csv", text_column="nte")


def test_the_kind_can_be_named(tmp_path: Path) -> None:
    check(Task.open(as_csv(tmp_path), kind="text"))
    with pytest.raises(UserError, match=r"did you mean 'text'"):
        Task.open(tmp_path / "reviews.csv", kind="txt")
    with pytest.raises(UserError, match="holds no texts that are known here"):
        Task.open(ROOT / "docs", kind="text")


def test_copies_of_texts_stay_on_one_side_and_are_said(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", [row for row in rows(12) for _ in range(2)])
    task = Task.open(tmp_path / "t.csv")
    assert any("48 of 48 labelled texts show only 24 wordings" in text for text in task.warnings)
    train = set(task.train.samples())
    assert not train & set(task.test.samples()) and not train & set(task.validation.samples())


def test_a_probe_of_texts(tmp_path: Path) -> None:
    task = Task.open(as_csv(tmp_path))
    probe = Probe.draw(task, size=8)
    assert probe.kind is TEXT
    assert [
        text.endswith(CLASSES[label])
        for text, label in zip(probe.samples, probe.labels, strict=True)
    ]
    assert probe.digest == Probe.draw(Task.open(tmp_path / "reviews.csv"), size=8).digest


def test_equal_texts_are_refused(tmp_path: Path) -> None:
    csv(tmp_path / "t.csv", [("the same", name) for _, name in rows()])
    with pytest.raises(UserError, match=r"texts drawn from the task t are equal"):
        Probe.draw(Task.open(tmp_path / "t.csv", duplicates=False), size=8)


def test_what_is_no_utf8_is_a_corrupt_sample() -> None:
    assert issubclass(CorruptImage, CorruptSample)
    with pytest.raises(CorruptSample, match="UTF-8"):
        TEXT.decode(b"\xff\xfe", None)


def test_no_code_asks_for_a_kind_outside_the_kinds_own_rooms() -> None:
    names = "|".join(KINDS)
    asked = [f'kind == "{name}"' for name in KINDS] + [f'kind.name == "{name}"' for name in KINDS]
    asked += ["kind is TEXT", "kind is IMAGE"]
    rooms = ("kinds",)
    for path in ROOT.glob("[sd]*/**/*.py"):
        if (
            path.parts[len(ROOT.parts)] in ("selection", "distill")
            and path.parent.name not in rooms
        ):
            assert not [words for words in asked if words in path.read_text()], (path, names)
