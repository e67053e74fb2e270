"""The distillation benchmark: its tasks and its list of cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.students import distillation_tasks
from benchmarks.students.distillation import ALL, BLOCKS
from benchmarks.students.distillation_tasks import SampledDataset, make
from distill.comparison import BEST_SINGLE
from distill.methods.registry import METHODS, configure
from distill.options import settings_of
from selection.task import Task
from zoo.errors import UserError

CLASSES = 6


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of six classes laid out as in ../shared: 20 training and 5 test images a class, no
    two alike.
    """
    home = tmp_path / "shared" / "datasets" / "toy"
    home.mkdir(parents=True)
    (home / "labels.txt").write_text("".join(f"kind {i}\n" for i in range(CLASSES)))
    for split, count in (("train", 20), ("test", 5)):
        labels = np.tile(np.arange(CLASSES), count)
        images = [
            {"bytes": b"P5 2 2 255\n" + bytes([i % 256, label, count, 0]), "path": None}
            for i, label in enumerate(labels)
        ]
        pq.write_table(pa.table({"image": images, "label": labels}), home / f"{split}.parquet")
    monkeypatch.setenv("TEACHER_ZOO_SHARED", str(tmp_path / "shared"))
    monkeypatch.setitem(
        distillation_tasks.SOURCES,
        "toy",
        SampledDataset(dataset="toy", labels=4, validation=12, classes=3),
    )
    return tmp_path


def contents(task: Task, name: str) -> set[bytes]:
    split = getattr(task, name)
    return {split.raw(i) for i in range(len(split))}


def test_a_task_with_a_pool_holds_the_same_labelled_images_and_the_rest_without_labels(
    world: Path,
) -> None:
    alone, pool = (
        Task.open(make("toy", which, world / "tasks"), duplicates=False)
        for which in ("alone", "pool")
    )
    assert len(alone.classes) == 3 and alone.classes == pool.classes
    assert np.bincount(alone.train.labels).tolist() == [4, 4, 4]
    assert contents(alone, "train") == contents(pool, "train")
    assert alone.unlabelled is None
    assert pool.unlabelled is not None
    assert len(pool.unlabelled) == 3 * 20 - 12 - 12
    parts = [contents(pool, name) for name in ("train", "unlabelled", "validation", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 3 * 25
    assert len(pool.test) == 15


def test_a_task_is_made_once_and_a_missing_dataset_is_named(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("toy", "alone", world / "tasks")
    before = (folder / "train.parquet").stat().st_mtime_ns
    assert make("toy", "alone", world / "tasks") == folder
    assert (folder / "train.parquet").stat().st_mtime_ns == before
    monkeypatch.setitem(
        distillation_tasks.SOURCES, "none", SampledDataset(dataset="none", labels=4, validation=12)
    )
    with pytest.raises(UserError, match="is not there"):
        make("none", "alone", world / "tasks")


def test_every_cell_can_be_named_and_configured() -> None:
    assert len({block.name for block in BLOCKS}) == len(BLOCKS)
    for method in {method for block in BLOCKS for method in block.methods}:
        name, *settings = method.split(":")
        configure("probe_kd" if name == BEST_SINGLE else name, settings_of(settings))
    assert {method.split(":")[0] for method in ALL} >= set(METHODS) - {
        "kd"
    }  # kd needs teachers of the same label space


def test_every_registered_benchmark_can_be_run() -> None:
    import importlib

    from benchmarks.run import BENCHMARKS

    for name, module in BENCHMARKS.items():
        assert callable(importlib.import_module(module).run), name
    assert "distillation" in BENCHMARKS
