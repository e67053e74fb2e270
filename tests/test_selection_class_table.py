"""Before they start, the commands say which classes a task has and how many images of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from selection.rank import main as rank
from selection.report.class_table import announce, class_table, first_files
from selection.task import Task
from tests.test_selection_task import folder
from zoo.errors import Unavailable


@pytest.fixture
def flowers(tmp_path: Path) -> Task:
    folder(tmp_path / "flowers" / "train", {"daisy": 10, "rose": 20})
    folder(tmp_path / "flowers" / "eval", {"daisy": 5})
    folder(tmp_path / "flowers" / "unlabelled", {".": 3}, first=100)
    return Task.open(tmp_path / "flowers")


def test_each_class_has_a_row_with_its_images_in_each_split(flowers: Task) -> None:
    assert class_table(flowers) == "\n".join(
        [
            "flowers: 2 classes, 15 to 20 images each, 35 labelled images, 3 without labels;"
            " validation cut from train",
            "class  train  validation  test",
            "daisy      8           2     5",
            "rose      16           4     0",
        ]
    )


def test_images_that_cannot_be_read_are_not_counted(flowers: Task) -> None:
    names = [flowers.train.name(i) for i in range(24)]
    unread = [next(name for name in names if "rose" in name), flowers.test.name(0)]
    pool = flowers.unlabelled
    assert pool is not None
    flowers.unreadable = dict.fromkeys([*unread, pool.name(0)], "no image")
    assert class_table(flowers) == "\n".join(
        [
            "flowers: 2 classes, 14 to 19 images each, 33 labelled images, 2 more that cannot be"
            " read, 3 without labels; validation cut from train",
            "class  train  validation  test",
            "daisy      8           2     4",
            "rose      15           4     0",
        ]
    )


def test_of_many_classes_the_largest_and_the_smallest_are_shown(tmp_path: Path) -> None:
    folder(tmp_path, {f"c{i:03d}": 3 + i % 10 for i in range(100)})
    lines = class_table(Task.open(tmp_path)).splitlines()
    assert ": 100 classes, 3 to 12 images each, 750 labelled images; " in lines[0]
    assert lines[0].endswith("test and validation cut from train")
    assert len(lines) == 11
    assert [line.split()[0] for line in lines[2:]] == [
        "c009", "c019", "c029", "c039", "...", "c060", "c070", "c080", "c090",
    ]  # fmt: skip
    assert lines[2].split()[1:] == ["8", "2", "2"]
    assert lines[-1].split()[1:] == ["2", "0", "1"]
    assert lines[6].strip() == "... 92 more"


def test_the_table_fits_a_terminal_and_hostile_names(tmp_path: Path) -> None:
    folder(tmp_path, {"\x1b[31m" + "long name " * 12: 5, "b": 5})
    task = Task.open(tmp_path)
    table = class_table(task, width=40).splitlines()[1:]
    assert all(len(line) <= 40 for line in table)
    assert "\x1b" not in class_table(task) + "".join(first_files(task))


def test_the_first_files_of_each_class_are_named(flowers: Task) -> None:
    lines = list(first_files(flowers))
    assert [line for line in lines if not line.startswith(" ")] == ["daisy", "rose"]
    assert lines[3] == "  test        eval/daisy/0.png, eval/daisy/1.png, eval/daisy/2.png"
    assert lines[7] == "  test        -"
    assert lines[1].count("train/daisy/") == 3


def test_it_is_said_on_stderr_with_the_warnings_once(
    flowers: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    announce(flowers, files=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("flowers: 2 classes")
    assert shown.err.count("warning: eval/ is used as the test split") == 1
    assert "eval/daisy/0.png" in shown.err


def test_only_the_main_process_says_it(
    flowers: Task, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    announce(flowers)
    assert capsys.readouterr().err == ""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    folder(tmp_path / "data" / "train", {"a": 10, "b": 10})
    return folder(tmp_path / "data" / "holdout", {"a": 5, "b": 5}).parent


def test_rank_says_it_before_the_first_model_is_asked(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Unavailable("the first model")

    monkeypatch.setattr("selection.probing.evaluate.evaluate_candidates", stop)
    assert rank(["--task", str(data), "--show-files"]) == 1
    shown, said = capsys.readouterr()
    assert shown == ""
    assert said.startswith("data: 2 classes, 15 images each")
    assert said.index("holdout/a/0.png") < said.index("the first model")


@pytest.mark.journey
def test_rank_says_the_warnings_of_the_task_once(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank(["--task", str(data), "--models", "resnet_mnist"]) == 0
    shown, said = capsys.readouterr()
    assert (shown + said).count("holdout/ is used as the test split") == 1
    assert "images each" not in shown
