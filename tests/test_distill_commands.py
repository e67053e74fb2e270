"""What ``distill.train`` and ``distill.compare`` say and ask beside the training itself: copies,
images that cannot be read, runs of earlier versions, large downloads, Ctrl-C.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch

from distill.compare import main as compare
from distill.experiment import Experiment, prepare
from distill.options import Options, from_config, to_json
from distill.run import RunFolder
from distill.train import _summary
from distill.train import main as train
from selection.task import Task
from tests.distill_setting import CLASSES, train_options, write_task
from tests.ranking_setting import ranking as ranking_of
from zoo.card import ModelCard
from zoo.errors import UserError

Shown = pytest.CaptureFixture[str]
LARGE = ModelCard(id="org/large", source="hub", weight_bytes=3 * 10**9)
REFUSED = (
    "error: this would download 1 model, 3.0 GB, about 5 min at 10 MB/s (assumed, none was measured"
    " yet); more than 2 GB needs --yes, or a limit: --top 1, --offline, or rank again with --where"
    " 'params_total < 50e6'; nothing was downloaded"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))


def plain(folder: Path, *, duplicates: bool = True) -> Experiment:
    options = Options(
        task=str(folder),
        student="test_efficientnet",
        method="plain",
        size=32,
        duplicates=duplicates,
    )
    return prepare(options)


# --- copies and images that cannot be read


def with_test_folder(root: Path, copies: int) -> Path:
    """36 training images and 9 test images, of which the first ``copies`` stand in train too."""
    squares = write_task(root / "squares", per_class=15)
    for name in CLASSES:
        paths = sorted((squares / name).iterdir())
        (root / "task" / "train").mkdir(parents=True, exist_ok=True)
        (root / "task" / "test" / name).mkdir(parents=True)
        for path in paths[:3]:
            shutil.move(path, root / "task" / "test" / name)
        shutil.move(squares / name, root / "task" / "train")
    tests = sorted((root / "task" / "test").rglob("*.png"))
    for path in tests[:copies]:
        place = root / "task" / "train" / path.parent.name / f"copy of {path.name}"
        shutil.copy(path, place)
    return root / "task"


def test_accuracy_without_copies_stands_in_the_results_and_is_printed(
    tmp_path: Path, capsys: Shown
) -> None:
    experiment = plain(with_test_folder(tmp_path, copies=4))
    labels = experiment.split("test").labels
    wrong = {0, 1, 2, 8}  # three of the four copies, and one of the five others
    answers = [(label + (row in wrong)) % 3 for row, label in enumerate(labels.tolist())]
    logits = 9 * torch.eye(3)[torch.tensor(answers)]
    given = {9: logits}
    student: Any = SimpleNamespace(
        logits=lambda chunk: given.get(len(chunk), torch.zeros(len(chunk), 3))
    )
    results = experiment.results(student)
    assert results["test"]["accuracy"] == pytest.approx(5 / 9)
    new = results["test"]["without_copies"]
    assert (new["samples"], new["accuracy"]) == (5, pytest.approx(0.8))
    assert new["low"] < 0.8 < new["high"]
    assert "without_copies" not in results["validation"]

    run = RunFolder.create(tmp_path / "run", {"classes": list(CLASSES)}, resume=False)
    run.finish(results, "a card")
    _summary(run)
    lines = capsys.readouterr().out.splitlines()
    assert "test, without copies from the other splits: 80.0 % of 5 images" in lines
    assert not any(line.startswith("validation, without") for line in lines)


def test_without_copies_no_second_accuracy_is_printed(tmp_path: Path, capsys: Shown) -> None:
    experiment = plain(with_test_folder(tmp_path, copies=0))
    student: Any = SimpleNamespace(logits=lambda chunk: torch.zeros(len(chunk), 3))
    results = experiment.results(student)
    assert "without_copies" not in results["test"]
    run = RunFolder.create(tmp_path / "run", {"classes": list(CLASSES)}, resume=False)
    run.finish(results, "a card")
    _summary(run)
    assert "without copies" not in capsys.readouterr().out


@pytest.mark.parametrize("duplicates", [True, False])
def test_unreadable_images_are_said_once_with_and_without_the_search_for_duplicates(
    tmp_path: Path, capsys: Shown, duplicates: bool
) -> None:
    folder = write_task(tmp_path / "squares")
    for path in sorted((folder / "red").iterdir())[:6]:
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    experiment = plain(folder, duplicates=duplicates)
    damaged = sum(experiment.task.train.name(i).startswith("red") for i in range(24))
    assert (len(experiment.samples.usable) < len(experiment.samples)) == (damaged > 0)
    said = [line for line in capsys.readouterr().err.splitlines() if "cannot be read" in line]
    assert any("a Git LFS pointer, not the image: run git lfs pull" in line for line in said)
    assert sum("images cannot be read and are left out" in line for line in said) == 1


# --- runs of earlier versions


def config_of(options: Options, cards: tuple[ModelCard, ...] = ()) -> dict[str, Any]:
    """``config.json`` as far as a command reads it before it opens the task."""
    return {
        "options": to_json(options),
        "method": options.method,
        "seed": options.seed,
        "classes": list(CLASSES),
        "task": {"name": "squares"},
        "teachers": [asdict(card) for card in cards],
    }


def test_a_run_that_was_begun_before_copies_were_looked_for_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    config = config_of(Options(task="squares", student="test_efficientnet", method="plain"))
    assert from_config(config)[0].duplicates is True
    del config["options"]["duplicates"]
    assert from_config(config)[0].duplicates is False
    RunFolder.create(tmp_path / "run", config, resume=False)
    opened: list[bool] = []

    def opening(task: str, *, duplicates: bool, **_: object) -> NoReturn:
        opened.append(duplicates)
        raise UserError(f"{task} was asked for")

    monkeypatch.setattr(Task, "open", opening)
    resume = ["--out", str(tmp_path / "run"), "--resume", "--device", "cpu"]
    assert train(resume) == 2
    assert opened == [False]
    assert "squares was asked for" in capsys.readouterr().err
    assert train([*resume, "--duplicates"]) == 2
    assert "the run was made with --duplicates False, this command says True" in (
        capsys.readouterr().err
    )
    assert opened == [False]


# --- large downloads


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which tasks were opened: after the download was agreed to. Nothing is on this machine."""
    tasks: list[str] = []

    def opening(task: str, **_: object) -> NoReturn:
        tasks.append(task)
        raise UserError("far enough")

    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: False)
    monkeypatch.setattr(Task, "open", opening)
    return tasks


def ranking(path: Path) -> Path:
    """A ranking whose committee is replaced in the test."""
    ranking_of(task="squares", classes=CLASSES).save(path)
    return path


def test_train_downloads_much_only_with_yes(
    tmp_path: Path, reached: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    ranking(tmp_path / "ranking.json")
    command = train_options(tmp_path, tmp_path / "run")
    monkeypatch.setattr("distill.experiment.committee_cards", lambda *_, **__: (LARGE,))
    assert train(command) == 2
    assert (capsys.readouterr().err.splitlines()[-1], reached) == (REFUSED, [])
    assert train([*command, "--yes"]) == 2
    shown = capsys.readouterr().err
    assert "download: 1 model, 3.0 GB, about 5 min" in shown
    assert shown.splitlines()[-1] == "error: far enough"
    assert reached == [str(tmp_path / "squares")]
    assert train([*command, "--method", "plain"]) == 2  # needs no teacher
    assert "download" not in capsys.readouterr().err


def test_compare_downloads_much_only_with_yes(
    tmp_path: Path, reached: list[str], capsys: Shown
) -> None:
    options = Options(task="squares", student="test_efficientnet", ranking="ranking.json")
    run = RunFolder.create(tmp_path / "run", config_of(options, (LARGE,)), resume=False)
    command = [str(run.path), "--methods", "plain,probe_kd", "--device", "cpu"]
    assert compare(command) == 2
    assert (capsys.readouterr().err.splitlines()[-1], reached) == (REFUSED, [])
    assert compare([*command, "--yes"]) == 2
    shown = capsys.readouterr().err
    assert "download: 1 model, 3.0 GB, about 5 min" in shown
    assert shown.splitlines()[-1] == "error: far enough"
    assert reached == ["squares"]


# --- Ctrl-C


def test_an_interrupted_comparison_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    def interrupt(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("distill.comparison.compare", interrupt)
    run = RunFolder.create(tmp_path / "run", {}, resume=False).path
    assert compare([str(run), "--seeds", "2", "--device", "cpu"]) == 130
    assert capsys.readouterr().err == (
        f"error: stopped; the cells that ended are kept in {run}, one at work goes on at its last"
        f" epoch; to go on: python -m distill.compare {run} --seeds 2 --device cpu\n"
    )
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint", "config.json"]
