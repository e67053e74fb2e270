"""The train command from task to exported student, on coloured squares and teachers of random
weights.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from distill.experiment import prepare
from distill.kinds.classes import ACCURACY
from distill.kinds.image import IMAGE
from distill.options import Options, settings_of
from distill.run import RunFolder
from distill.teachers.cards import columns
from distill.train import main
from distill.training.live import TrainingView
from distill.training.results import verdict
from distill.training.run_config import to_config
from selection.probing.store import TeacherStore
from tests.distill_setting import train_options, write_ranking, write_task, write_teacher
from tests.places import ROOT, flipped
from zoo.errors import UserError

Shown = pytest.CaptureFixture[str]
PLAIN = [0.8] * 10  # validation accuracy by epoch
# whose 300 validation images make an accuracy of 0.8 sure to 0.046
TASK: Any = SimpleNamespace(class_counts=SimpleNamespace(validation=[100, 200]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_task(folder / "squares", unlabelled=20)
    teachers = [
        write_teacher(folder / "zoo" / "headed", seed=1),
        write_teacher(folder / "zoo" / "bare", seed=2, classes=0, licence="cc-by-nc-4.0"),
    ]
    write_ranking(folder / "ranking.json", str(folder / "squares"), teachers)
    write_ranking(folder / "empty.json", str(folder / "squares"), [])
    return folder


@pytest.fixture(autouse=True)
def home(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(world / "home"))


pytestmark = pytest.mark.usefixtures("one_thread")


def command(world: Path, out: Path, *more: str) -> list[str]:
    return train_options(world, out, "--offline", *more)


def resume(run: Path, *more: str) -> int:
    """The exit status of ``--resume``."""
    return main(["--out", str(run), "--resume", "--device", "cpu", "--no-control", *more])


@pytest.mark.journey
def test_from_task_to_student(world: Path, tmp_path: Path, capsys: Shown) -> None:
    more = ("--unlabelled", str(world / "more"), "--show-files")
    assert main(command(world, tmp_path / "run", *more)) == 0
    shown = capsys.readouterr()
    assert " classes, " in shown.err.splitlines()[0]
    assert ", 20 without labels" in shown.err.splitlines()[0]
    assert "  validation  " in shown.err
    assert "steps (2 epochs of" in shown.err
    assert "4 labelled and 4 unlabelled" in shown.err
    assert "cc-by-nc-4.0" in shown.err
    assert "on validation." in shown.out
    run = RunFolder(tmp_path / "run")
    config, lines = run.config(), run.metrics()
    assert [t["id"] for t in config["teachers"]] == ["headed", "bare"]
    assert all(len(t["sha"]) == 40 for t in config["teachers"])
    assert config["task"]["unlabelled"] == 20
    assert [line["epoch"] for line in lines] == [0, 1]
    assert set(lines[0]["terms"]) == {"cross_entropy", "answers"}
    assert sum(t["weight"] for t in lines[0]["teachers"]) == pytest.approx(1, abs=1e-4)
    assert all(0 <= t["agreement"] <= 1 for t in lines[0]["teachers"])
    results = run.results()
    for split in ("validation", "test"):
        one = results[split]
        assert one["low"] <= one["accuracy"] <= one["high"]
        assert len(one["predicted"]) == one["samples"] > 0
    assert sorted(p.name for p in run.student.iterdir()) == ["config.json", "model.safetensors"]
    assert "cc-by-nc-4.0" in (run.path / "README.md").read_text()
    assert any((run.path / "tensorboard").iterdir())


@pytest.mark.journey
@pytest.mark.parametrize("method", ["transport", "feature", "talk", "committee"])
def test_every_kind_of_recipe_trains_a_student(world: Path, tmp_path: Path, method: str) -> None:
    assert (
        main(command(world, tmp_path / "run", "--method", method, "--epochs", "1", "--no-control"))
        == 0
    )
    lines = RunFolder(tmp_path / "run").metrics()
    assert len(lines) == 1
    assert "answers" in lines[0]["terms"]
    assert RunFolder(tmp_path / "run").finished


@pytest.mark.journey
def test_a_finished_run_is_not_trained_again_and_needs_resume(
    world: Path, tmp_path: Path, capsys: Shown
) -> None:
    assert main(command(world, tmp_path / "run", "--no-control")) == 0
    weights = (tmp_path / "run" / "student" / "model.safetensors").stat().st_mtime_ns
    assert main(command(world, tmp_path / "run", "--no-control")) == 2
    assert "--resume" in capsys.readouterr().err
    assert resume(tmp_path / "run") == 0
    assert (tmp_path / "run" / "student" / "model.safetensors").stat().st_mtime_ns == weights
    assert resume(tmp_path / "run", "--epochs", "9") == 2
    assert "--epochs 2" in capsys.readouterr().err
    for option, value in (
        ("--seed", "1"),
        ("--batch-size", "16"),
        ("--set", "weight=3"),
        ("--rate", "0.5"),
    ):
        assert resume(tmp_path / "run", option, value) == 2
        err = capsys.readouterr().err
        assert f"the run was made with {'no --set' if option == '--set' else option}" in err
        assert f"this command says {value}" in err
    assert resume(tmp_path / "run", "--seed", "0") == 0
    assert resume(tmp_path / "nothing") == 2
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.journey
def test_resuming_gives_the_same_student(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from distill.training import loop

    assert main(command(world, tmp_path / "whole", "--no-control")) == 0
    real, calls = loop.Tally.add, []

    def stop(self: Any, *args: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(self, *args)

    monkeypatch.setattr(loop.Tally, "add", stop)
    assert main(command(world, tmp_path / "cut", "--no-control")) == 130
    assert capsys.readouterr().err.rstrip().endswith(" --no-control --resume")
    monkeypatch.setattr(loop.Tally, "add", real)
    assert not RunFolder(tmp_path / "cut").finished
    assert resume(tmp_path / "cut") == 0
    one, two = (
        (tmp_path / name / "student" / "model.safetensors").read_bytes()
        for name in ("whole", "cut")
    )
    assert one == two


@pytest.mark.journey
def test_an_empty_committee_trains_plainly_and_says_so(
    world: Path, tmp_path: Path, capsys: Shown
) -> None:
    assert main(command(world, tmp_path / "run", "--ranking", str(world / "empty.json"))) == 0
    assert "none of the teachers helps" in capsys.readouterr().err
    assert RunFolder(tmp_path / "run").config()["method"] == "plain"
    assert "None: trained on labels alone" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--method", "probe_kdd"], "did you mean 'probe_kd'"),
        (["--method", "kd"], "not know all 3 classes"),
        (["--set", "weigth=2"], "did you mean 'weight'"),
        (["--set", "weight"], "expected NAME=VALUE"),
        (["--student", "test_efficentnet"], "did you mean 'test_efficientnet'"),
        (["--ranking", "/no/where.json"], "selection.rank"),
        (["--task", "/no/where"], "no task"),
        (["--optimizer", "lion"], "adamw"),
        (["--student-args", "{"], "is not a JSON object"),
        (["--student-args", "[1]"], "not an object"),
        (["--rate", "0"], "--rate"),
        (["--push", "a/b"], "--offline"),
        (["--device", "cuda:77"], "--device cpu"),
    ],
)
def test_wrong_input_is_a_sentence_and_leaves_no_run(
    world: Path, tmp_path: Path, capsys: Shown, change: list[str], words: str
) -> None:
    assert main([*command(world, tmp_path / "run", "--no-control"), *change]) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(err) == 1
    assert words in err[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.journey
def test_a_vanished_teacher_is_no_loss_where_its_answers_are_stored(
    world: Path, tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world / "zoo", tmp_path / "zoo")
    write_ranking(tmp_path / "ranking.json", str(world / "squares"), [tmp_path / "zoo" / "headed"])
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    more = ("--no-control", "--ranking", str(tmp_path / "ranking.json"))
    assert main(command(world, tmp_path / "one", *more)) == 0
    shutil.rmtree(tmp_path / "zoo")
    assert main(command(world, tmp_path / "two", *more, "--seed", "1")) == 0
    assert "its stored outputs serve" in capsys.readouterr().err
    assert main(command(world, tmp_path / "three", *more, "--method", "talk")) == 1
    assert "headed cannot be used" in capsys.readouterr().err


@pytest.mark.journey
def test_nan_is_a_sentence_and_status_1(world: Path, tmp_path: Path, capsys: Shown) -> None:
    assert main([*command(world, tmp_path / "run", "--no-control"), "--rate", "1e9"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert errors[0].startswith("error: the loss became NaN or infinite at step")
    assert "smaller --rate" in errors[0]


@pytest.mark.journey
def test_a_full_disk_before_training_leaves_no_run_and_the_same_command_goes_on(
    world: Path, tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))

    def full(store: TeacherStore, *given: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device", str(store.folder))

    with monkeypatch.context() as patch:
        patch.setattr(TeacherStore, "write", full)
        assert main(command(world, tmp_path / "run", "--no-control")) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(command(world, tmp_path / "run", "--no-control")) == 0


@pytest.mark.journey
def test_a_damaged_stored_answer_is_computed_anew(
    world: Path, tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    assert main(command(world, tmp_path / "one", "--no-control")) == 0
    shard = sorted((tmp_path / "home").rglob("rows-*.safetensors"))[0]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 255
    shard.write_bytes(data)
    assert main(command(world, tmp_path / "two", "--no-control")) == 0
    assert (
        "damaged (its checksum does not match); they are computed anew" in capsys.readouterr().err
    )
    one, two = (
        (tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("one", "two")
    )
    assert one == two


def test_the_verdict_is_honest() -> None:
    def results(right: int) -> dict[str, Any]:
        return {
            "validation": {
                "accuracy": right / 100,
                "predicted": [0] * right + [1] * (100 - right),
                "labels": [0] * 100,
            }
        }

    assert verdict(results(90), results(60), "probe_kd", kind=IMAGE).startswith("The teachers help")
    assert verdict(results(60), results(90), "probe_kd", kind=IMAGE).startswith(
        "None of the teachers helps here"
    )
    assert verdict(results(80), results(80), "probe_kd", kind=IMAGE).startswith("Too close to call")


def _view() -> TrainingView:
    return TrainingView(
        "probe_kd",
        epochs=10,
        figure=ACCURACY,
        control=PLAIN,
        margin=partial(ACCURACY.margin, task=TASK),
    )


def test_falling_behind_a_finished_control_is_warned_of_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TrainingView(
        "probe_kd",
        epochs=10,
        figure=ACCURACY,
        control=PLAIN,
        margin=partial(ACCURACY.margin, task=TASK),
    ) as live:
        for epoch in range(10):
            live.epoch(
                {
                    "epoch": epoch,
                    "validation_accuracy": 0.5,
                    "loss": 1.0,
                    "terms": {},
                    "train_accuracy": 0.4,
                }
            )
    err = capsys.readouterr().err
    assert err.count("seem to hurt") == 1
    assert "after epoch 3" in err
    with TrainingView(
        "probe_kd",
        epochs=10,
        figure=ACCURACY,
        control=PLAIN,
        margin=partial(ACCURACY.margin, task=TASK),
    ) as live:
        live.epoch(
            {
                "epoch": 5,
                "validation_accuracy": 0.79,
                "loss": 1.0,
                "terms": {},
                "train_accuracy": None,
            }
        )
    assert "seem to hurt" not in capsys.readouterr().err


def test_settings_are_name_and_value() -> None:
    assert settings_of(["weight=2", "loss = dkd"]) == {"weight": "2", "loss": "dkd"}
    with pytest.raises(UserError, match="NAME=VALUE"):
        settings_of(["=3"])


def test_a_teachers_columns_are_found_by_name() -> None:
    assert columns(("tench, Tinca tinca", "red_fox", "Dog"), ("dog", "tench")) == (2, 0)
    assert columns(("cat", "dog"), ("dog", "bird")) is None
    assert columns(("dog", "dog"), ("dog",)) is None
    assert columns(None, ("dog",)) is None


@pytest.mark.journey
def test_the_onnx_student_is_written(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert main([*command(world, tmp_path / "run"), "--method", "plain", "--onnx"]) == 0
    assert (tmp_path / "run" / "student" / "model.onnx").stat().st_size > 1000
    assert (
        json.loads((tmp_path / "run" / "student" / "config.json").read_text())["num_classes"] == 3
    )


@pytest.mark.journey
def test_training_needs_none_of_what_an_air_gapped_machine_lacks(
    world: Path, tmp_path: Path
) -> None:
    absent = ("faiss", "ot", "duckdb", "datasets", "plotly", "tensorboard")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}));"  # None: not installed
        "from distill.train import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command(world, tmp_path / "run", "--no-control")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert RunFolder(tmp_path / "run").finished
    assert "no page of the run: plotly" in done.stderr


def test_a_student_may_start_from_a_folder(world: Path, tmp_path: Path, capsys: Shown) -> None:
    from distill.student.image_student import ImageSpec, ImageStudent

    start = world / "zoo" / "headed"
    spec = ImageSpec.of(str(start), size=32, pretrained=True, model_args={})
    assert spec.architecture == "test_resnet"
    mine, again = (
        ImageStudent.create(spec, ("a", "b"), seed=0),
        ImageStudent.create(spec, ("a", "b"), seed=1),
    )
    kept, other = mine.network.state_dict(), again.network.state_dict()
    assert torch.equal(kept["conv1.0.weight"], other["conv1.0.weight"])
    assert not torch.equal(kept["fc.weight"], other["fc.weight"])
    assert all(p.requires_grad for p in mine.parameters())
    assert mine.mean.flatten().tolist() == [0.5] * 3
    fresh = ImageSpec.of(str(start), size=32, pretrained=False, model_args={})
    drawn = ImageStudent.create(fresh, ("a", "b"), seed=0).network.state_dict()
    assert not torch.equal(kept["conv1.0.weight"], drawn["conv1.0.weight"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not one of a timm model"):
        ImageSpec.of(str(tmp_path / "empty"), size=32, pretrained=True, model_args={})


def test_a_dataset_of_the_hub_is_opened_at_the_commit_that_was_ranked(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selection.ranking import Ranking
    from selection.task import Task

    opened, commits = Task.open(str(world / "squares")), []
    opened.revision = "c" * 40

    def open_at(spec: str, *, revision: str | None, **_: object) -> Task:
        commits.append(revision)
        return opened

    monkeypatch.setattr(Task, "open", open_at)
    ranking = Ranking.load(world / "ranking.json")
    split = ranking.split | {"revision": "c" * 40}
    dataclasses.replace(ranking, task="org/name", split=split).save(tmp_path / "ranking.json")
    options = Options(
        task="hf:org/name", student="test_efficientnet", ranking=str(tmp_path / "ranking.json")
    )
    experiment = prepare(options)
    assert commits == ["c" * 40]
    assert to_config(options, experiment)["task"]["revision"] == "c" * 40


@pytest.mark.journey
def test_distillation_after_a_ranking_runs_a_teacher_on_no_probe_image_again(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_images: list[int]
) -> None:
    from selection.rank import Settings, rank
    from selection.task import Task

    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    task = Task.open(str(world / "squares"))
    ranking = rank(str(world / "squares"), Settings(models=("resnet_mnist",), probe_size=15))
    dataclasses.replace(ranking, committee=("resnet_mnist",)).save(tmp_path / "ranking.json")
    run_images.clear()
    monkeypatch.setattr("distill.training.trainer.measure_costs", lambda *_, **__: None)
    more = ("--no-control", "--views", "1", "--ranking", str(tmp_path / "ranking.json"))
    assert main(command(world, tmp_path / "run", *more)) == 0
    trial = 2  # random images that tell whether a teacher works
    assert sum(run_images) == trial + len(task.train) - 15 + len(task.validation)
    run_images.clear()
    assert main(command(world, tmp_path / "again", *more, "--seed", "1")) == 0
    assert run_images == []


@pytest.mark.slow
def test_two_processes_train_one_student_and_one_of_them_writes(
    world: Path, tmp_path: Path
) -> None:
    launch = "accelerate.commands.launch --cpu --num_processes 2 --num_machines 1"
    settings = "--mixed_precision no --dynamo_backend no -m distill.train --accumulate 2"
    given = command(world, tmp_path / "run", "--no-control")
    done = subprocess.run(
        [sys.executable, "-m", *launch.split(), *settings.split(), *given],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert [line["epoch"] for line in RunFolder(tmp_path / "run").metrics()] == [0, 1]
    assert done.stdout.count("student:") == 1


def _verdict(out: str) -> str:
    (line,) = (line for line in out.splitlines() if line.endswith("points on validation."))
    return line


@pytest.mark.journey
@pytest.mark.parametrize("name", ["config.json", "results.json"])
def test_a_damaged_control_is_trained_anew_to_the_same_student(
    world: Path, tmp_path: Path, name: str, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    assert main(command(world, tmp_path / "first")) == 0
    verdict = _verdict(capsys.readouterr().out)
    (control,) = (tmp_path / "home" / "distill" / "controls").iterdir()
    before = {path: path.read_bytes() for path in (control / "student").iterdir()}
    content = (control / name).read_bytes()
    (control / name).write_bytes(flipped(content, 8 * (len(content) // 2) + 1))
    assert main(command(world, tmp_path / "second")) == 0
    shown = capsys.readouterr()
    assert f"{name} is damaged" in shown.err
    assert _verdict(shown.out) == verdict
    assert {path: path.read_bytes() for path in before} == before
    assert (control / name).read_bytes() == content


def test_a_second_training_in_the_same_folder_is_refused(
    world: Path, tmp_path: Path, capsys: Shown
) -> None:
    out = tmp_path / "run"
    with RunFolder(out).locked(wait=False):
        before = sorted(out.rglob("*"))
        assert main(command(world, out, "--method", "plain")) == 2
        assert sorted(out.rglob("*")) == before
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: another training is writing to {out}: wait until it has ended, or give another"
        " --out"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--out", "OLD"], "holds a run already"),
        (["--out", "FILE"], "is a file; --out takes a folder"),
        (["--out", "FILE/run"], "is a file, not a folder"),
        (["--student", "resnet_18"], "did you mean"),
        (["--student", "FOLDER"], "expected config.json"),
        (["--size", "8", "--student", "vgg11"], "larger --size"),
        (["--student-args", '{"depth": 3}'], "does not accept"),
        (["--pretrained", "--student", "resnet10t_of_mine"], "no student"),
        (["--precision", "fp8"], "valid: fp32, bf16"),
        (["--method", "transprot"], "did you mean 'transport'"),
        (["--set", "wight=2"], "weight"),
        (["--device", "cuda:99"], "not at hand"),
        (["--push", "birds/student"], "--offline forbids"),
    ],
)
@pytest.mark.journey
def test_what_can_be_refused_is_refused_before_the_task_is_opened(
    world: Path,
    tmp_path: Path,
    arguments: list[str],
    reason: str,
    capsys: Shown,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("distill.experiment.prepare", lambda *_, **__: pytest.fail("begun"))
    Path("FILE").write_text("a user's")
    Path("FOLDER").mkdir()
    RunFolder.create(Path("OLD"), {"seed": 0}, resume=False)
    assert main([*command(world, tmp_path / "run"), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert reason in lines[-1]
    assert lines[-1].startswith("error: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.journey
def test_a_resumed_run_remembers_that_it_has_no_control(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    out = tmp_path / "run"
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    assert main(command(world, out, "--no-control", "--epochs", "1")) == 0
    (out / "results.json").unlink()  # as if it had been stopped at its end
    assert main(["--out", str(out), "--resume", "--device", "cpu"]) == 0
    assert RunFolder(out).finished
    assert not (tmp_path / "home" / "distill" / "controls").exists()
    (out / "results.json").unlink()
    assert main(["--out", str(out), "--resume", "--device", "cpu", "--control"]) == 0
    assert (tmp_path / "home" / "distill" / "controls").exists()
    assert "on validation." in capsys.readouterr().out


@pytest.mark.journey
def test_a_finished_run_is_passed_on_at_once(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    out = tmp_path / "run"
    assert main(command(world, out, "--no-control", "--epochs", "1")) == 0
    summary = capsys.readouterr().out
    monkeypatch.setattr("distill.experiment.prepare", lambda *_, **__: pytest.fail("begun"))
    assert main(["--out", str(out), "--resume", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == summary
    assert main(["--out", str(out), "--resume", "--device", "cpu", "--seed", "5"]) == 2
    assert "--seed 0" in capsys.readouterr().err
