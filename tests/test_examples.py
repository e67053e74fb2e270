"""Every example runs as its first lines say, and the site includes those that are to be copied."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

pytestmark = pytest.mark.journey
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run_example(name: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments],
        cwd=folder,
        env=os.environ
        | {"TEACHER_ZOO_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


def test_a_ranking_is_printed_and_saved(folder: Path) -> None:
    lines = run_example("first_ranking", folder=folder).splitlines()
    assert "resnet_mnist" in lines[1]  # of the packaged teachers, for digits
    assert lines[-1].startswith("committee: resnet_mnist")
    assert (folder / "ranking.json").is_file()


def test_a_student_is_trained_and_opens_in_timm(folder: Path) -> None:
    assert "torch.Size([1, 10])" in run_example("train_a_student", "digits", folder=folder)


def test_a_new_score_ranks(folder: Path) -> None:
    assert "resnet_mnist" in run_example("new_score", folder=folder).splitlines()[1]


def test_a_new_method_trains(folder: Path) -> None:
    run_example("first_ranking", folder=folder)
    run_example("new_method", "digits", "ranking.json", "run", folder=folder)
    assert (folder / "run" / "student" / "model.safetensors").is_file()


def test_a_new_source_reaches_the_catalogue(folder: Path) -> None:
    (folder / "models.csv").write_text("repository,license\norg/model,mit\nnope,mit\n")
    assert "2 models that csv knows" in run_example("new_source", "models.csv", folder=folder)


def test_the_site_shows_the_files_to_copy() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("add_a_*.md"))
    copied = [path.name for path in EXAMPLES if path.name.startswith("new_")]
    assert len(copied) == 3
    assert all(f'\n--8<-- "examples/{name}"\n' in pages for name in copied)
