"""Students of texts from end to end: methods, a resumed run, results, page, prediction."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.experiment import Experiment
from distill.kinds.registry import training_kind
from distill.options import Options
from distill.predict import main as predict_main
from distill.run import RunFolder
from distill.teachers.prepared import PreparedTeachers
from distill.training.config import training_config
from distill.training.trainer import train
from tests.text_setting import CLASSES, text_student, text_task, write_text_teacher
from zoo.errors import UserError
from zoo.sources import folder

pytestmark = pytest.mark.journey

OPTIONS = Options(task="requests", student="bert-2x64", batch_size=8, epochs=2)
METHODS = ("kd", "probe_kd", "average", "ca_mkd", "transport", "feature", "talk", "committee")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    home = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEACHER_ZOO_HOME", str(home / "home"))
        teachers = [write_text_teacher(home / f"teacher{seed}", seed=seed) for seed in range(2)]
    cards = tuple(folder.card(path) for path in teachers)
    task = text_task()
    return Experiment(task, training_config(OPTIONS, task), PreparedTeachers(cards))


def test_what_is_left_open_follows_from_the_texts(experiment: Experiment) -> None:
    kind, training = training_kind(experiment.task), experiment.training
    assert kind.name == "text"
    assert training.student.architecture == "bert-2x64"
    assert training.student.size == 11  # the words of the longest frame, its mark, begin and end
    assert kind.resolved(training.student, training.augmentation) == {
        "max_length": 11,
        "student": "bert-2x64",
    }
    again = training_config(replace(OPTIONS, max_length=9), experiment.task)
    assert again.student.size == 9
    assert again.schedule.rate == kind.optimizers["adamw"].rate


@pytest.mark.journey
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_a_student_of_texts(
    experiment: Experiment, method: str, tmp_path: Path
) -> None:
    options = replace(OPTIONS, method=method)
    run = train(experiment, options, tmp_path / "run")
    lines = run.metrics()
    assert len(lines) == 2
    assert {entry["model"] for entry in lines[0]["teachers"]} == {"teacher0", "teacher1"}
    results = run.results()
    assert results["test"]["samples"] == 30
    assert run.config()["kind"] == "text"
    assert (run.student / "tokenizer.json").exists()


@pytest.mark.journey
def test_a_student_learns_its_words_and_a_stopped_run_ends_with_the_same_bits(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(OPTIONS, method="plain", epochs=30)
    plain = experiment.without_teachers()
    plain = replace(plain, training=training_config(options, plain.task))
    whole = train(plain, options, tmp_path / "whole")
    assert whole.results()["test"]["accuracy"] > 0.8

    class Stopped(Exception):
        pass

    def stop(run: RunFolder, line: object) -> None:
        add(run, line)  # type: ignore[arg-type]
        if len(run.metrics()) == 7:
            raise Stopped

    add = RunFolder.add_metrics
    schedule = replace(plain.training.schedule, checkpoint_seconds=0.0)
    often = replace(plain, training=replace(plain.training, schedule=schedule))
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_metrics", stop)
        with pytest.raises(Stopped):
            train(often, options, tmp_path / "stopped")
    resumed = train(often, options, tmp_path / "stopped")
    weights = (whole.student / "model.safetensors").read_bytes()
    assert (resumed.student / "model.safetensors").read_bytes() == weights


@pytest.mark.journey
def test_the_page_and_the_card_speak_of_texts(experiment: Experiment, tmp_path: Path) -> None:
    run = train(experiment, replace(OPTIONS, method="probe_kd"), tmp_path / "run", report=True)
    page = (run.path / "report.html").read_text()
    mistake = run.results()["test"]["mistakes"][0]
    assert experiment.task.test.sample(mistake["row"]) in page
    words = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.S)
    assert "test texts" in words and "image" not in words
    card = (run.path / "README.md").read_text()
    assert 'pipeline_tag: "text-classification"' in card
    assert "for texts of 11 tokens at most" in card
    assert "24 labelled and 40 unlabelled training texts" in card
    cost = run.results()["cost"]
    assert cost["noun"] == "text"
    # two layers of width 64 on 11 tokens: projections, feed-forward, attention, head
    layer = 11 * (4 * 64 * 64 + 8 * 64 * 64) + 2 * 11 * 11 * 64
    assert cost["student"]["multiply_adds"] == 2 * layer + 64 * 64 + 64 * 3


def test_an_option_for_images_is_refused_for_texts(experiment: Experiment) -> None:
    from distill.experiment import _of_kind

    with pytest.raises(UserError, match="--flip is for tasks of images, requests is one of texts"):
        _of_kind(replace(OPTIONS, flip=True), experiment.task)
    with pytest.raises(UserError, match="--student resnet18 is no student for texts"):
        _of_kind(replace(OPTIONS, student="resnet18"), experiment.task)
    left_out = _of_kind(replace(OPTIONS, student=""), experiment.task)
    assert left_out.student == "bert-2x128"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEACHER_ZOO_HOME", str(home / "home"))
        text_student(seed=3).export(home / "run" / "student")
    return home / "run"


def _json(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_texts_lines_of_stdin_and_files_are_predicted_in_order(
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "more.txt").write_text("soup, please\nsnow\n", encoding="utf-8")
    (tmp_path / "table.csv").write_text('id,text\n1,"rain, wind"\n2,tea\n', encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text('{"review": "a cake"}\n', encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("first line\nsecond line\n"))
    files = [str(tmp_path / name) for name in ("more.txt", "table.csv", "rows.jsonl")]
    given = ["a text", "-", *files, "last"]
    assert predict_main([str(exported), *given, "--format", "json", "--top", "2"]) == 0
    rows = _json(capsys.readouterr().out)
    assert [row["text"] for row in rows] == [
        "a text",
        "first line",
        "second line",
        "soup, please",
        "snow",
        "rain, wind",
        "tea",
        "a cake",
        "last",
    ]
    assert all(len(row["classes"]) == 2 for row in rows)  # type: ignore[arg-type]


def test_an_empty_text_is_a_row_with_its_reason(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict_main([str(exported), " ", "rain", "--format", "csv"]) == 0
    out, err = capsys.readouterr()
    head, empty, rain = out.splitlines()
    assert head == "text,class,probability,error"
    assert empty == '" ",,,the text is empty' or empty == " ,,,the text is empty"
    assert rain.split(",")[0] == "rain" and rain.split(",")[1] in CLASSES
    assert "text 1 could not be read: the text is empty" in err
    assert predict_main([str(exported), " "]) == 2
    assert "no text could be read; give texts" in capsys.readouterr().err


def test_a_table_without_texts_is_one_line(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.csv").write_text("id,value\n1,2\n", encoding="utf-8")
    assert predict_main([str(exported), str(tmp_path / "no.csv")]) == 2
    assert "has no column of texts (it has id, value)" in capsys.readouterr().err
    assert torch.is_grad_enabled()
