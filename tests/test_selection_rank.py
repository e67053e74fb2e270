"""Ranking end to end on the packaged teachers: order, cache, faults of models, faults of users."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selection.probe import Probe
from selection.probing.budget import Budget, CostModel
from selection.probing.prober import LocalProber, ProbeStore
from selection.probing.store import TeacherStore
from selection.rank import Settings, main, rank
from selection.ranking import Ranking
from selection.recall.candidates import candidates
from selection.task import Task
from tests.places import ROOT
from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.errors import Unavailable, UserError
from zoo.home import feature_folder
from zoo.sources import folder

pytestmark = pytest.mark.journey

SMALL = folder.small_zoo()
MODELS = ("resnet_mnist", "resnet_fashion", "resnet_cifar10")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "home"


def catalogue(zoo: Path, path: Path) -> Path:
    with Catalogue.open(path, write=True) as book:
        book.upsert(folder.cards(zoo))
        book.publish()
    return path


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Three packaged teachers in a folder of one's own."""
    for name in MODELS:
        shutil.copytree(SMALL / name, tmp_path / "zoo" / name)
    return tmp_path / "zoo"


def edit(model: Path, **changes: object) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | changes))


def pictures(where: Path, classes: dict[str, int], size: tuple[int, int] = (24, 24)) -> Path:
    rng = np.random.default_rng(0)
    for place, (name, count) in enumerate(classes.items()):
        (where / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.normal(80 * place + 40, 40, (*size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(where / name / f"{i}.png")
    return where


@pytest.mark.journey
def test_digits_are_ranked_by_the_packaged_zoo_and_mnist_teaches_best() -> None:
    found = rank("digits", Settings(probe_size=100, models=MODELS, also=("linear_probe",)))
    assert found.catalogue == "small zoo"
    assert found.rows[0].model == "resnet_mnist"
    assert found.committee[0] in MODELS
    for row in found.rows:
        assert row.low is not None
        assert row.value is not None
        assert row.high is not None
        assert row.low <= row.value <= row.high
        assert re.fullmatch("[0-9a-f]{40}", row.revision)
        assert 0 <= (row.scores["linear_probe"] or 0) <= 1
        assert row.seconds


@pytest.mark.journey
def test_the_command_prints_a_table_and_writes_the_contract(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, page = tmp_path / "r.json", tmp_path / "r.html"
    arguments = [
        "--task",
        "digits",
        "--probe-size",
        "60",
        "--models",
        "resnet_*",
        "--out",
        str(out),
        "--report",
        str(page),
    ]
    assert main([*arguments, "--also", "knn,logme"]) == 0
    shown, said = capsys.readouterr()
    assert said.startswith("digits: 10 classes, 174 to 183 images each, 1,797 labelled images;")
    assert said.splitlines()[2].split() == ["0", "114", "28", "36"]
    assert said.index("validation") < said.index("probing" if "probing" in said else "[1/")
    assert "174 to 183" not in shown
    assert "resnet_mnist" in shown
    assert "committee:" in shown
    assert "logme" in shown
    assert "no catalogue yet, so the small zoo inside this package was ranked" in shown
    assert Ranking.load(out).rows[0].value is not None
    assert "<html" in page.read_text()[:200]


@pytest.mark.journey
def test_a_second_run_loads_no_teacher_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first = rank("digits", Settings(probe_size=60, models=MODELS))
    monkeypatch.setattr(
        "zoo.teacher.Teacher.load", lambda *_, **__: pytest.fail("a teacher was loaded")
    )
    second = rank("digits", Settings(probe_size=60, models=MODELS))
    assert [(r.model, r.value, r.low, r.high, r.group) for r in first.rows] == [
        (r.model, r.value, r.low, r.high, r.group) for r in second.rows
    ]
    assert first.committee == second.committee


@pytest.mark.journey
def test_another_seed_draws_another_probe() -> None:
    one, two = (
        rank("digits", Settings(probe_size=40, models=MODELS[:1], seed=seed)) for seed in (0, 1)
    )
    assert one.probe["digest"] != two.probe["digest"]
    assert one.split == two.split


def test_offline_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    assert (
        rank("digits", Settings(probe_size=40, models=MODELS[:2], offline=True)).rows[0].value
        is not None
    )


def test_offline_as_a_library_leaves_the_process_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datasets
    from huggingface_hub import constants

    seen: list[tuple[bool, bool]] = []

    def load(*_: object, **__: object) -> None:
        seen.append((constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
        raise ConnectionError("offline mode is enabled")

    monkeypatch.setattr(datasets, "load_dataset", load)
    environment = dict(os.environ)
    with pytest.raises(Unavailable, match="hf:org/name"):
        rank("hf:org/name", Settings(offline=True))
    assert seen == [(True, True)]
    assert dict(os.environ) == environment
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


@pytest.mark.journey
def test_killed_in_the_middle_it_repeats_no_finished_model(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-u",
        "-m",
        "selection.rank",
        "--task",
        "digits",
        "--probe-size",
        "200",
        "--models",
        ",".join(MODELS),
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stderr is not None
        first = next(line for line in run.stderr if line.startswith("[1/"))
        os.kill(run.pid, signal.SIGKILL)
    finished = re.sub(r"^\[1/3\] (\S+):.*", r"\1", first.strip())
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    repeated = re.findall(r"^\[\d/3\] (\S+):", again.stderr, flags=re.M)
    assert finished not in repeated
    assert len(repeated) <= 2
    assert all(name in again.stdout for name in MODELS)


@pytest.mark.journey
def test_permuted_rows_lose_names_but_not_prototypes(zoo: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    order = np.roll(np.arange(10), 3)
    for copy, names_too in (("moved", True), ("mislabelled", False)):
        shutil.copytree(zoo / "resnet_fashion", zoo / copy)
        weights = load_file(zoo / copy / "model.safetensors")
        head = [
            name
            for name, tensor in weights.items()
            if tensor.shape[0] == 10 and name.rsplit(".", 1)[0].endswith(("fc", "classifier"))
        ]
        assert head
        save_file(
            {name: t[order] if name in head else t for name, t in weights.items()},
            zoo / copy / "model.safetensors",
        )
        config = json.loads((zoo / copy / "config.json").read_text())
        if names_too:
            edit(zoo / copy, label_names=[config["label_names"][i] for i in order])
    task = Task.open("digits")
    found = rank(
        task,
        Settings(
            probe_size=100,
            catalogue=catalogue(zoo, tmp_path / "c.duckdb"),
            score="transport_prototypes",
            also=("transport_names",),
        ),
    )
    rows = {row.model: row for row in found.rows}
    for copy in ("moved", "mislabelled"):
        assert rows[copy].value == pytest.approx(rows["resnet_fashion"].value, rel=1e-3)
    names = {model: row.scores["transport_names"] for model, row in rows.items()}
    assert names["moved"] == pytest.approx(names["resnet_fashion"], rel=1e-4)
    assert abs((names["mislabelled"] or 0) - (names["resnet_fashion"] or 0)) > 1e-3


def test_faulty_models_are_rows_with_a_reason(zoo: Path, tmp_path: Path) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(zoo / "resnet_mnist", zoo / name))

    (broken("no-weights") / "model.safetensors").unlink()
    (broken("pickle") / "model.safetensors").rename(zoo / "pickle" / "pytorch_model.bin")
    cut = broken("truncated") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1000])
    (broken("huge-header") / "model.safetensors").write_bytes(
        struct.pack("<Q", 10_000_000_000) + b"{}"
    )
    edit(broken("other-shape"), num_classes=11)
    edit(broken("unknown-network"), architecture="../../x")
    found = rank("digits", Settings(probe_size=40, catalogue=catalogue(zoo, tmp_path / "c.duckdb")))
    failed = {row.model: row.error or "" for row in found.rows if row.value is None}
    assert set(failed) == {
        "no-weights",
        "pickle",
        "truncated",
        "huge-header",
        "other-shape",
        "unknown-network",
    }
    assert [row.model for row in found.rows[:3]] == [
        m for m in [r.model for r in found.rows] if m in MODELS
    ]
    assert "pickle" in failed["pickle"]
    assert "safetensors" in failed["no-weights"]
    assert all(len(reason) > 10 for reason in failed.values())


def test_every_model_failing_is_status_1(zoo: Path, tmp_path: Path) -> None:
    for name in MODELS:
        (zoo / name / "model.safetensors").write_bytes(b"no")
    with pytest.raises(Unavailable, match="all 3 models failed"):
        rank("digits", Settings(probe_size=40, catalogue=catalogue(zoo, tmp_path / "c.duckdb")))


def test_a_teacher_trained_on_the_task_is_warned_of(tmp_path: Path, zoo: Path) -> None:
    readme = zoo / "resnet_fashion" / "README.md"
    readme.write_text("---\nlicense: apache-2.0\ndatasets:\n- me/my-data\n---\n")
    task = pictures(tmp_path / "mydata", {"a": 12, "b": 12})
    found = rank(
        str(task), Settings(probe_size=10, catalogue=catalogue(zoo, tmp_path / "c.duckdb"))
    )
    assert [w for w in found.warnings if "resnet_fashion was trained on me/my-data" in w]
    assert not [w for w in found.warnings if "resnet_mnist" in w]


def test_a_class_with_one_image_is_dropped_with_a_warning(tmp_path: Path) -> None:
    task = pictures(tmp_path / "t", {"a": 20, "b": 20, "lonely": 1})
    found = rank(str(task), Settings(probe_size=20, models=MODELS[:1]))
    assert any("lonely" in warning for warning in found.warnings)
    assert "lonely" not in found.classes


WRONG = [
    (["--task", "no-such-folder"], "no-such-folder"),
    (["--task", "EMPTY"], "EMPTY"),
    (["--task", "ONE"], "class"),
    (["--task", "CORRUPT"], "read"),
    (["--task", "GOOD", "--score", "trasport"], "did you mean 'transport'"),
    (["--task", "GOOD", "--models", "resnet_mnst"], "did you mean 'resnet_mnist'"),
    (["--task", "GOOD", "--where", "licence = 'x'"], "license"),
    (["--task", "GOOD", "--where", "num_classes >"], "not understood"),
    (["--task", "GOOD", "--where", "num_classes > 1000000"], "no model"),
    (["--task", "GOOD", "--top", "0"], "--top 0"),
    (["--task", "GOOD", "--probe-size", "1"], "--probe-size 1"),
    (["--task", "GOOD", "--device", "gpu"], "expected cpu"),
    (["--task", "GOOD", "--catalogue", "absent.duckdb"], "absent.duckdb"),
    (["--task", "GOOD", "--max-size", "lots"], "20GB"),
    (["--task", "GOOD", "--budget", "0"], "expected a time such as 90s, 20m or 2h"),
    (["--task", "GOOD", "--budget", "5x"], "--budget '5x'"),
    (["--task", "GOOD", "--budget-gb", "-1"], "--budget-gb '-1'"),
    (["--task", "GOOD", "--ray", "local:0"], "expected local:N"),
    (["--task", "GOOD", "--out", "FILE/ranking.json"], "FILE is a file, not a folder"),
    (["--task", "GOOD", "--report", "FILE/new/page.html"], "FILE is a file, not a folder"),
    (["--task", "GOOD", "--out", "PIPE"], "a pipe or a socket; give a regular file"),
    (["--task", "GOOD", "--report", "PIPE"], "a pipe or a socket; give a regular file"),
    (["--task", "GOOD", "--out", "x", "--report", "./x"], "--out and --report name the same file"),
    (["--task", "FILE", "--out", "FILE"], "--task and --out name the same file"),
    (["--task", "GOOD", "--out", "GOOD"], "GOOD is a folder"),
    ([], "--task"),
]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("a user's")
    os.mkfifo(tmp_path / "PIPE")
    pictures(tmp_path / "ONE", {"only": 8})
    pictures(tmp_path / "GOOD", {"a": 8, "b": 8})
    for i in range(16):
        name = tmp_path / "CORRUPT" / "ab"[i % 2] / f"{i}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if line.startswith("error:")]) == 1
    assert says in error[-1]
    assert not (tmp_path / "home" / "features").exists() or not list(
        (tmp_path / "home" / "features").rglob("*.npz")
    )


def test_more_candidates_than_the_limit_are_taken_by_the_prior(zoo: Path, tmp_path: Path) -> None:
    found = candidates(
        ("shirt", "trouser"), catalogue=catalogue(zoo, tmp_path / "c.duckdb"), most=1
    )
    assert [card.id for card in found.cards] == ["resnet_fashion"]
    assert (found.known, found.loadable, found.left_out) == (3, 3, 2)


def test_models_and_where_meet(zoo: Path, tmp_path: Path) -> None:
    book = catalogue(zoo, tmp_path / "c.duckdb")
    found = candidates(
        ("a",), catalogue=book, where="num_classes = 10", models=("*mnist", "resnet_cifar10")
    )
    assert {card.id for card in found.cards} == {"resnet_mnist", "resnet_cifar10"}
    with pytest.raises(UserError, match="no model"):
        candidates(("a",), catalogue=book, where="num_classes = 11", models=("*mnist",))


def test_a_home_that_takes_no_files_is_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "good", {"a": 8, "b": 8})
    (tmp_path / "file").write_text("a user's")
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "file"))
    assert main(["--task", str(tmp_path / "good"), "--models", "resnet_mnist"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {tmp_path / 'file'} takes no files")
    assert "set TEACHER_ZOO_HOME" in error
    assert (tmp_path / "file").read_text() == "a user's"


@pytest.mark.journey
def test_a_reader_that_leaves_early_loses_no_file(tmp_path: Path, zoo: Path) -> None:
    pictures(tmp_path / "good", {"a": 8, "b": 8})
    words = f"--task {tmp_path / 'good'} --models resnet_mnist --out {tmp_path / 'r.json'}"
    done = subprocess.run(
        f"{sys.executable} -m selection.rank {words} | true",
        shell=True,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert [row.model for row in Ranking.load(tmp_path / "r.json").rows] == ["resnet_mnist"]


@pytest.mark.journey
def test_a_full_disk_is_a_sentence_and_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "full"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", small], check=False
        ).returncode
    ):
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "selection.rank", "--task", "digits", "--probe-size", "400"],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"TEACHER_ZOO_HOME": str(small)},
        )
    finally:
        subprocess.run(["umount", small], check=True)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def forwarded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every run of a teacher from here on: its id, and on how many images."""
    from zoo.teacher import Teacher

    seen: list[tuple[str, int]] = []
    outputs = Teacher.outputs

    def counted(self: Teacher, images: list[Image.Image], **options: object) -> object:
        seen.append((self.card.id, len(images)))
        return outputs(self, images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Teacher, "outputs", counted)
    return seen


@pytest.mark.journey
def test_a_budget_asks_in_rounds_and_runs_no_image_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = forwarded(monkeypatch)
    found = rank("digits", Settings(probe_size=200, models=("resnet_*",), top=1, budget=600.0))
    rounds = found.candidates["rounds"]
    assert [one["images"] for one in rounds] == [64, 128, 200]
    assert rounds[0]["models"] == found.candidates["probed"] == len(found.rows)
    assert rounds[2]["models"] == len(found.finalists) < len(found.rows)
    assert found.finalists == found.rows[: len(found.finalists)]
    for row in found.rows:
        assert sum(count for model, count in seen if model == row.model) == row.probe_size
        assert (row.dropped is None) == (row.probe_size == 200) == (row.group is not None)
    assert [row.probe_size for row in found.rows] == sorted(
        (row.probe_size for row in found.rows), reverse=True
    )
    assert found.rows[0].model == "resnet_mnist"
    assert found.committee[0] in {row.model for row in found.rows}


@pytest.mark.journey
def test_what_one_run_stored_serves_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    budgeted, plain = (
        Settings(probe_size=200, models=("resnet_*",), budget=seconds) for seconds in (600.0, None)
    )
    first = rank("digits", budgeted)
    seen = forwarded(monkeypatch)
    whole = rank("digits", plain)
    read = {row.model: row.probe_size or 0 for row in first.rows}
    run: dict[str, int] = {}
    for model, count in seen:
        run[model] = run.get(model, 0) + count
    assert run == {
        model: 200 - size for model, size in read.items() if size < 200
    }  # only what was missing
    seen.clear()
    again = rank("digits", budgeted)
    assert seen == []
    assert [(r.model, r.value, r.low, r.high, r.probe_size, r.dropped) for r in again.rows] == [
        (r.model, r.value, r.low, r.high, r.probe_size, r.dropped) for r in first.rows
    ]
    values = {row.model: row.value for row in whole.rows}
    assert all(
        row.value == values[row.model] for row in again.finalists
    )  # bit for bit, in whatever steps it was run


@pytest.mark.journey
def test_answers_do_not_depend_on_the_steps_they_were_made_in(home: Path) -> None:
    settings = Settings(probe_size=200, models=MODELS)
    stepwise = rank("digits", replace(settings, budget=600.0, top=3))
    shutil.rmtree(home)
    once = {row.model: row.value for row in rank("digits", settings).rows}
    assert {row.model: row.value for row in stepwise.finalists} == {
        row.model: once[row.model] for row in stepwise.finalists
    }


def prober(budget: Budget, size: int = 200) -> LocalProber:
    probe = Probe.draw(Task.open("digits"), size=size)
    store = ProbeStore(probe, TeacherStore(feature_folder()), device="cpu")
    return LocalProber(store, Settings(device="cpu"), budget)


def small_cards(*names: str) -> list[ModelCard]:
    return [card for card in folder.cards(SMALL, source="small") if card.id in names]


@pytest.mark.journey
def test_a_model_stops_between_batches_and_goes_on_from_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [card] = small_cards("resnet_mnist")
    short = Budget()
    monkeypatch.setattr(short, "left", lambda: -1.0)
    [stopped] = prober(short).probe([card], 200)
    assert stopped.outputs is None
    assert stopped.skipped == "budget"
    assert stopped.error == "the budget ended after 32 of 200 images"
    seen = forwarded(monkeypatch)
    [done] = prober(Budget()).probe([card], 200)
    assert done.outputs is not None
    assert len(done.outputs.features) == 200
    assert sum(count for _, count in seen) == 168


def test_a_model_that_cannot_end_in_time_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = small_cards(*MODELS)
    seen = forwarded(monkeypatch)
    results = list(prober(Budget()).probe(cards, 200, deadline=-math.inf))
    assert [(result.skipped, result.error) for result in results] == [("budget", None)] * 3
    assert seen == []


@pytest.mark.journey
def test_a_measured_bandwidth_holds_no_second_of_another_models_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from zoo.teacher import Teacher

    cards, other = small_cards(*MODELS), small_cards("vit_mnist")[0]
    loaded = {card.id: Teacher.load(card) for card in cards}
    outputs = Teacher.outputs

    def slow(self: Teacher, *arguments: Any, **options: Any) -> object:
        time.sleep(1.0)  # the next model has been loaded long before this one is done
        return outputs(self, *arguments, **options)

    monkeypatch.setattr(Teacher, "load", lambda card, **_: loaded[card.id])
    monkeypatch.setattr(Teacher, "outputs", slow)
    monkeypatch.setattr(CostModel, "download_bytes", lambda self, card: 100_000_000)
    running = prober(Budget(600.0), size=32)
    for _ in running.probe(cards, 32):
        pass
    assert running.costs.load_seconds(other) < 1.0  # 1.3 and more with the run in it


def test_a_budget_that_is_spent_says_in_one_line_that_nothing_could_be_probed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--task", "digits", "--probe-size", "40", "--budget", "0.001s"]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert "no model could be probed within the budget" in error[-1]
    assert "16 did not fit" in error[-1]


@pytest.mark.journey
def test_a_download_that_does_not_fit_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with Catalogue.open(tmp_path / "c.duckdb", write=True) as book:
        far = ModelCard(
            id="far/away",
            source="hub",
            location="far/away",
            sha="a" * 40,
            loadable=True,
            weight_bytes=10**9,
        )
        book.upsert([*folder.cards(SMALL, source="small"), far])
        book.publish()
    out = tmp_path / "r.json"
    arguments = [
        "--task",
        "digits",
        "--probe-size",
        "40",
        "--catalogue",
        str(tmp_path / "c.duckdb"),
    ]
    assert (
        main([*arguments, "--models", "far/away,*mnist", "--budget-gb", "0.9", "--out", str(out)])
        == 0
    )
    assert json.loads(out.read_text())["candidates"]["left_out"] == {
        "budget": 0,
        "budget_gb": 1,
        "limit": 0,
    }
    shown = capsys.readouterr().out
    assert "left unprobed: 1 for their download" in shown
    assert "2 probed" in shown
