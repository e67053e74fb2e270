"""Networks of transformers without a head as teachers: every method trains, or is refused before
the teachers work.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import distill.compare
import distill.train
from distill.run import RunFolder
from tests.distill_setting import train_options, write_ranking, write_task
from tests.tiny_families import save, tiny
from zoo.home import feature_folder

pytest.importorskip("transformers")
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.journey]
Shown = pytest.CaptureFixture[str]
SHORT = ("--epochs", "1", "--views", "1", "--no-control", "--offline")


# Methods that differ in what they need of a teacher, or in what they do with it.
TRIED = (
    *("plain", "kd", "probe_kd", "transport", "feature", "talk", "one_way"),
    *("committee", "committee_random", "ca_mkd"),
)


def world(folder: Path, *teachers: str) -> Path:
    """A task, and a ranking whose committee are tiny networks of these classes."""
    write_task(folder / "squares")
    folders = [folder / "zoo" / name for name in teachers]
    for path in folders:
        save(tiny(path.name), path)
    write_ranking(folder / "ranking.json", str(folder / "squares"), folders)
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))


def test_every_method_trains_but_the_one_that_needs_names(tmp_path: Path, capsys: Shown) -> None:
    teachers = ("Dinov2Model", "CLIPVisionModel", "ViTMAEModel")
    folder = world(tmp_path, *teachers)
    run = folder / "run"
    assert distill.train.main(train_options(folder, run, *SHORT, "--method", "committee")) == 0
    given = [str(run), "--methods", ",".join(TRIED), "--device", "cpu", "--offline"]
    assert distill.compare.main(given) == 0
    shown = capsys.readouterr()
    lines = {
        line["method"]: line for line in json.loads((run / "compare.json").read_text())["lines"]
    }
    assert set(lines) == set(TRIED)
    assert [name for name, line in lines.items() if line["test"] is None] == ["kd"]
    assert f"{', '.join(teachers)} do not know all 3 classes" in shown.out + shown.err
    page = (run / "compare.html").read_text()
    figures = json.loads(page.split('id="figures">')[1].split("</script>")[0])
    assert len(figures["curves"]["data"]) == len(TRIED) - 1
    config = RunFolder(run).config()
    assert [teacher["id"] for teacher in config["teachers"]] == list(teachers)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("kd", "SwinModel does not know all 3 classes of the task by name: use --method probe_kd"),
        ("talk", "SwinModel cannot be run from the middle .* its layers need more than the state"),
        ("committee", "SwinModel cannot be run from the middle .*: use --method probe_kd"),
        ("ca_mkd", "raise --top to 2"),
    ],
)
def test_what_cannot_run_is_refused_before_the_teacher_works(
    tmp_path: Path, capsys: Shown, method: str, reason: str
) -> None:
    folder = world(tmp_path, "SwinModel")
    run = folder / "run"
    assert distill.train.main(train_options(folder, run, *SHORT, "--method", method)) == 2
    error = capsys.readouterr().err
    assert re.search(rf"--method {method} cannot run here: .*{reason}", error), error
    assert not list(feature_folder().glob("*/rows-*")), "the teacher's outputs were computed"
    assert not run.exists()
