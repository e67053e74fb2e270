"""The benchmarks of texts: their tasks, their cells, and choices of a teacher, on made texts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.record import append_rows
from benchmarks.students import text_cells, text_tasks, text_teachers, texts
from benchmarks.students.text_cells import SEEDS, TextBlock, blocks, cells
from benchmarks.students.text_tasks import ORACLE, SOURCES, SampledTexts, make
from distill.comparison import compare
from distill.experiment import prepare
from distill.options import Options
from distill.run import RunFolder
from distill.training.trainer import train
from selection.task import Task
from tests.text_setting import CLASSES, sentences, write_text_teacher
from zoo.errors import UserError

LABELS = 4


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of made sentences laid out as in ../shared/text, one with a validation split of its own
    and class names in its README.
    """
    for name, splits in (
        ("made", {"train": 90, "test": 30}),
        ("listed", {"train": 60, "validation": 12, "test": 30}),
    ):
        folder = tmp_path / "shared" / "text" / name
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(
            f"# {name}\n\nClasses (label order): {', '.join(CLASSES)}\nRows: some\n"
        )
        for place, (split, count) in enumerate(splits.items()):
            found, labels = sentences(count, seed=place)
            named = [f"{text} {split} {i}" for i, text in enumerate(found)]
            pq.write_table(pa.table({"text": named, "label": labels}), folder / f"{split}.parquet")
    monkeypatch.setenv("TEACHER_ZOO_SHARED", str(tmp_path / "shared"))
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(text_tasks, "VALIDATION", 15)
    monkeypatch.setattr(text_tasks, "ALONE_VALIDATION", 6)
    monkeypatch.setattr(
        text_tasks,
        "SOURCES",
        {
            "made": SampledTexts(dataset="made", classes=CLASSES),
            "listed": SampledTexts(dataset="listed"),
        },
    )
    return tmp_path


def opened(name: str, pool: str, world: Path) -> Task:
    folder = make(name, pool, world / "tasks", labels=LABELS)
    return Task.open(str(folder), duplicates=False)


def contents(task: Task, name: str) -> set[bytes]:
    split = getattr(task, name)
    return {split.raw(i) for i in range(len(split))}


def test_the_same_texts_are_labelled_with_the_pool_and_without(world: Path) -> None:
    alone, pool, oracle = (opened("made", kind, world) for kind in ("alone", "pool", ORACLE))
    assert set(alone.classes) == set(CLASSES)
    assert np.bincount(alone.train.labels).tolist() == [LABELS] * 3
    assert contents(alone, "train") == contents(pool, "train")
    assert alone.unlabelled is None and len(alone.validation) == 6
    assert pool.unlabelled is not None and len(pool.validation) == 15
    assert len(pool.unlabelled) == 90 - 15 - 3 * LABELS
    parts = [contents(pool, name) for name in ("train", "unlabelled", "validation", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 90 + 30
    assert oracle.unlabelled is None
    assert contents(oracle, "train") == contents(pool, "train") | contents(pool, "unlabelled")


def test_a_set_may_list_its_classes_and_have_its_own_validation(world: Path) -> None:
    task = opened("listed", "pool", world)
    assert set(task.classes) == set(CLASSES)
    assert len(task.validation) == 12
    assert task.unlabelled is not None and len(task.unlabelled) == 60 - 3 * LABELS
    weather = {"rain", "snow", "sun", "storm", "cloud", "wind", "fog", "heat"}
    for row in range(len(task.train)):
        words = set(task.train.raw(row).decode().replace(",", "").replace("?", "").split())
        assert bool(words & weather) == (task.classes[task.train.labels[row]] == "weather")


def test_a_missing_set_is_named(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(text_tasks.SOURCES, "none", SampledTexts(dataset="none"))
    with pytest.raises(UserError, match="is not there"):
        make("none", "pool", world / "tasks")


def test_the_cells_begin_with_the_most_telling_and_hold_the_whole_table() -> None:
    order = list(cells())
    assert {block.task for block in order[:5]} == set(SOURCES)
    assert all(block.pool == "pool" and block.seeds == 1 for block in order[:5])
    assert len({block.name for block in blocks()}) == len(blocks()) == 4 * len(SOURCES) + 2
    reached = {(b.name, m, s) for b in order for m in b.methods for s in range(b.seeds)}
    wanted = {(b.name, m, s) for b in blocks() for m in b.methods for s in range(SEEDS)}
    assert reached == wanted


@pytest.mark.journey
def test_records_hold_accuracy_f1_gap_and_what_is_missing(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.metrics import f1_score

    from benchmarks.students.text_cells import card

    block = TextBlock(task="made", pool="pool", student="bert-1x64", methods=("plain", "probe_kd"))
    teacher = write_text_teacher(world / "teacher")
    folder = make("made", "pool", world / "tasks", labels=LABELS)
    options = Options(
        task=str(folder), student=block.student, method="plain", epochs=2, duplicates=False
    )
    train(
        prepare(options, offline=True, cards=(card(teacher, "made-teacher"),)),
        options,
        block.folder,
    )
    assert block.begun
    monkeypatch.setattr(texts, "source_run", lambda block: RunFolder(block.folder))
    comparison = texts.train(TextBlock(**{**vars(block), "seeds": 1}))
    partly = texts.train(block, budget=0)
    found = {record.setting["method"]: record for record in texts.records_of(block, partly)}
    assert set(found) == {"plain", "probe_kd"}
    taught = found["probe_kd"]
    results = comparison.of("probe_kd")[0].results()
    assert taught.value == pytest.approx(100 * results["test"]["accuracy"])
    assert taught.low is not None and taught.high is not None
    assert taught.low <= taught.value <= taught.high
    expected = f1_score(results["test"]["labels"], results["test"]["predicted"], average="macro")
    assert taught.setting["macro_f1"] == pytest.approx(100 * expected)
    assert taught.setting["missing_seeds"] == [1, 2] and tuple(taught.seeds) == (0,)
    assert taught.setting["teachers"].keys() == {"made-teacher"}  # type: ignore[attr-defined]
    assert "made_pool_bert-1x64.probe_kd" in texts.table(list(found.values()))
    monkeypatch.setattr(texts, "blocks", lambda: [block, TextBlock(**{**vars(block), "task": "x"})])
    *_, missing = texts.records()
    assert missing.name == "texts.missing" and missing.value == 2 + 2 + 3 + 3
    assert missing.setting[block.name] == {"plain": 2, "probe_kd": 2}
    assert compare(RunFolder(block.folder), ["plain"], seeds=1, offline=True).of("plain")


def test_regret_is_that_of_tasks_whose_students_are_all_there(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {
            "task": task,
            "scores": {"good": {"a": 2.0, "b": 1.0}, "bad": {"a": 1.0, "b": 2.0, "c": None}},
            "seconds": {"us": 2.0},
        }
        for task in ("one", "two")
    ]
    append_rows(text_teachers.work() / text_teachers.KEPT_SCORES, rows)
    truth = np.array([[60.0, 50.0, 40.0], [70.0, 50.0, 45.0], [70.0, np.nan, 45.0]])
    found = text_teachers.regrets(["one", "two", "three"], ["a", "b", "c"], truth)
    values = {record.name.rsplit(".", 1)[1]: record for record in found}
    assert values["good"].value == pytest.approx(0.0)
    assert values["bad"].value == pytest.approx(15.0)
    assert values["bad"].setting == {"one": 10.0, "two": 20.0}
    assert values["static_prior"].value == pytest.approx(0.0)
    assert values["us"].value == 2.0


def test_a_teacher_that_knows_the_task_is_left_out() -> None:
    assert text_teachers.knows("trec-specialist", "trec")
    assert not text_teachers.knows("trec-specialist", "clinc")
    assert all(task != other for task, other in text_cells.SPECIALISTS.items())


def test_a_decoy_has_the_weights_of_its_model_in_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file, save_file

    monkeypatch.setenv("TEACHER_ZOO_SHARED", str(tmp_path))
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    source = tmp_path / "text_models" / text_cells.MINILM
    source.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (source / name).write_text(json.dumps({"name": name}))
    weight = np.arange(60, dtype=np.float32).reshape(3, 20)
    save_file({"w": weight}, source / "model.safetensors")
    mixed = load_file(text_teachers.shuffled() / "model.safetensors")["w"]
    assert mixed.shape == weight.shape and not np.array_equal(mixed, weight)
    assert np.array_equal(np.sort(mixed, axis=None), np.sort(weight, axis=None))
