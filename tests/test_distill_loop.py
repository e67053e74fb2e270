"""The training loop: batches as a function of the step, exact resume, divergence."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.data.batches import batch_sizes
from distill.methods.recipe import Recipe, task_term
from distill.options import Options
from distill.run import RunFolder
from distill.student.student import Student
from distill.training.estimate import time_steps
from distill.training.loop import Schedule, TrainingSetup, fit
from distill.training.processes import open_accelerator, resolve_device
from distill.training.tally import Diverged
from tests.distill_setting import Drops, batches, enlarged, pixels, student
from tests.places import ROOT
from zoo.errors import UserError

SHORT = Schedule(epochs=3, batch_size=8, rate=3e-3, checkpoint_seconds=0.0)
CPU = open_accelerator("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


def validate(student: Student) -> Mapping[str, Any]:
    data = pixels(30, seed=9)
    answer = student.logits(enlarged(data.inputs)).argmax(1).numpy()
    return {"validation_accuracy": float((answer == data.labels).mean()), "teachers": []}


def trained(
    folder: Path,
    recipe: Recipe | None = None,
    *,
    schedule: Schedule = SHORT,
    seed: int = 0,
    unlabelled: int = 0,
    precision: str = "fp32",
) -> Student:
    run = RunFolder.create(folder, {"seed": seed}, resume=True)
    pupil = student(seed)
    setup = TrainingSetup(
        student=pupil,
        recipe=recipe or Drops(),
        batches=batches(pixels(unlabelled=unlabelled)),
        seed=seed,
        precision=precision,
        validate=validate,
    )
    fit(setup, schedule, run=run, accelerator=CPU)
    return pupil


def same_weights(one: Student, two: Student) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


def timeless(run: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in line.items() if k not in ("seconds", "samples_a_second")}
        for line in RunFolder(run).metrics()
    ]


@pytest.mark.journey
def test_a_student_learns_and_every_epoch_is_a_line(tmp_path: Path) -> None:
    trained(tmp_path, schedule=Schedule(epochs=12, batch_size=8, rate=3e-3))
    lines = RunFolder(tmp_path).metrics()
    assert [line["epoch"] for line in lines] == list(range(12))
    assert [line["step"] for line in lines] == list(range(3, 37, 3))
    assert lines[-1]["validation_accuracy"] > 0.9
    assert lines[-1]["loss"] == pytest.approx(sum(lines[-1]["terms"].values()))
    assert lines[-1]["terms"]["cross_entropy"] < lines[0]["terms"]["cross_entropy"]


@pytest.mark.journey
@pytest.mark.parametrize("stop_at", [0, 2, 4, 8])
def test_a_run_stopped_at_any_step_ends_with_the_same_bits(tmp_path: Path, stop_at: int) -> None:
    whole = trained(tmp_path / "whole", unlabelled=9)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", Drops(stop_at=stop_at), unlabelled=9)
    assert same_weights(whole, trained(tmp_path / "cut", unlabelled=9))
    assert timeless(tmp_path / "cut") == timeless(tmp_path / "whole")


@pytest.mark.journey
def test_a_run_may_lose_its_last_checkpoint_and_repeats_those_epochs_once(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", Drops(stop_at=7))
    (tmp_path / "cut" / "checkpoint" / "last.pt").write_bytes(b"damaged")
    assert same_weights(whole, trained(tmp_path / "cut"))
    assert [line["epoch"] for line in RunFolder(tmp_path / "cut").metrics()] == [0, 1, 2]


@pytest.mark.journey
def test_another_seed_is_another_student(tmp_path: Path) -> None:
    assert not same_weights(trained(tmp_path / "a"), trained(tmp_path / "b", seed=1))


@pytest.mark.journey
def test_training_neither_reads_nor_leaves_global_draws_in_its_result(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = trained(tmp_path / "a")
    torch.manual_seed(2)
    np.random.default_rng(0).random()
    assert same_weights(first, trained(tmp_path / "b"))


@pytest.mark.journey
def test_nan_stops_the_run_names_the_term_and_keeps_a_sound_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"step 4 \(cross_entropy\).*--rate"):
        trained(tmp_path, Drops(nan_at=4))
    kept = RunFolder(tmp_path).load_checkpoint()
    assert kept is not None
    assert kept["step"] == 4
    assert all(torch.isfinite(v.float()).all() for v in kept["learner"].values())


@pytest.mark.journey
def test_a_full_disk_keeps_the_checkpoint_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distill import run

    real, calls = run.write_checked_bytes, []

    def full(path: Path, data: Any) -> None:
        calls.append(path)
        if len(calls) > 6:
            raise OSError(28, "No space left on device", str(path))
        real(path, data)

    monkeypatch.setattr(run, "write_checked_bytes", full)
    with pytest.raises(OSError, match="No space"):
        trained(tmp_path)
    monkeypatch.setattr(run, "write_checked_bytes", real)
    assert RunFolder(tmp_path).load_checkpoint() is not None
    assert same_weights(trained(tmp_path), trained(tmp_path.parent / "whole"))


def test_timing_a_few_steps_changes_nothing() -> None:
    pupil, recipe = student(), Drops()
    before = copy.deepcopy((pupil.state_dict(), recipe.state_dict()))
    setup = TrainingSetup(student=pupil, recipe=recipe, batches=batches(pixels()), seed=0)
    assert time_steps(setup, SHORT, CPU) > 0
    for old, new in zip(before, (pupil.state_dict(), recipe.state_dict()), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert all(p.grad is None for p in pupil.parameters())


def test_the_rate_rises_falls_and_ends_at_nothing() -> None:
    rates = [Schedule(epochs=1, rate=1.0, warmup=0.1).at(i / 100) for i in range(101)]
    assert rates[10] == pytest.approx(1.0)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0, abs=1e-9)
    steps = Schedule(epochs=1, rate=1.0, warmup=0.0, milestones=(0.5, 0.75))
    assert [steps.at(p) for p in (0.4, 0.6, 0.8)] == pytest.approx([1, 0.1, 0.01])


def test_batches_are_a_function_of_the_step() -> None:
    data = pixels(12, unlabelled=40)
    one, other = batches(data, views=3), batches(data, views=3)
    later = [other.at(step) for step in (7, 3)][1]
    assert torch.equal(one.at(3).view, later.view)
    assert torch.equal(one.at(3).index, later.index)
    assert not torch.equal(one.at(3).index, batches(data, views=3, seed=1).at(3).index)


def test_parts_make_up_the_batch() -> None:
    source = batches(pixels(12, unlabelled=40))
    whole = source.at(5)
    parts = [source.at(5, part=part, parts=4) for part in range(4)]
    assert sorted(torch.cat([p.index for p in parts]).tolist()) == sorted(whole.index.tolist())
    assert all(int((p.labels >= 0).sum()) in (0, 1) for p in parts)


def test_labelled_and_unlabelled_images_share_a_batch_and_all_are_seen() -> None:
    data = pixels(12, unlabelled=40)
    source = batches(data, batch_size=8)
    assert source.sizes == (2, 6)
    seen = [source.at(step) for step in range(source.steps_an_epoch)]
    for batch in seen:
        assert (batch.labels >= 0).tolist() == [True] * 2 + [False] * 6
        assert (batch.labels == torch.from_numpy(data.labels)[batch.index]).all()
    assert len({int(i) for b in seen for i in b.index if i >= 12}) == 40
    alone = batches(data, use_unlabelled=False)
    assert alone.steps_an_epoch == source.steps_an_epoch
    assert all(int(alone.at(step).index.max()) < 12 for step in range(10))


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "share", "expected"),
    [
        (640, 0, None, (64, 0, 10)),
        (100, 100, None, (32, 32, 3)),
        (10, 990, None, (16, 48, 21)),
        (10, 990, 0.5, (32, 32, 31)),
        (3, 0, None, (64, 0, 1)),
    ],
)
def test_how_a_batch_is_made_up(
    labelled: int, unlabelled: int, share: float | None, expected: tuple[int, int, int]
) -> None:
    assert tuple(batch_sizes(labelled, unlabelled, 64, share)) == expected


def test_answers_belong_to_the_image_and_view_of_the_batch() -> None:
    data = pixels(12, unlabelled=4)
    stored = torch.arange(3)[:, None] * 100 + torch.arange(16)[None]  # view * 100 + image
    table = TeacherOutputs(features=stored[..., None].half())
    source = batches(data, views=3, teachers=(table,))
    for step in (0, 4, 9):
        batch = source.at(step)
        said = batch.teacher_outputs[0].features
        assert said is not None
        assert torch.equal(said[:, 0].long() % 100, batch.index)
        view = torch.div(said[:, 0].long(), 100, rounding_mode="floor")
        assert source.inputs[batch.index].shape[0] == len(view)
        from distill.data.views import render

        again = render(
            source.inputs,
            batch.index,
            view,
            augmentation=source.settings.augmentation,
            seed=source.settings.view_seed,
            size=32,
        )
        assert torch.equal(again.inputs, batch.view)


def test_one_stored_view_is_the_image_as_it_is_and_the_students_views_are_all_new() -> None:
    data = pixels(8)
    table = TeacherOutputs(
        features=torch.arange(8)[None, :, None].half()
    )  # one view: the image's number
    source = batches(data, views=1, teachers=(table,))
    batch, later = source.at(0), source.at(1)  # the whole set, twice
    for one in (batch, later):
        assert one.teacher_outputs[0].features is not None
        assert torch.equal(one.teacher_outputs[0].features[:, 0].long(), one.index)
    assert not torch.equal(batch.view[batch.index.argsort()], later.view[later.index.argsort()])


def test_blends_count_as_unlabelled() -> None:
    from dataclasses import replace

    source = batches(pixels(24))
    mixed = replace(source.settings.augmentation, mix=1.0)
    blended = replace(source, settings=replace(source.settings, augmentation=mixed))
    assert (blended.at(0).labels == -1).all()


@pytest.mark.journey
def test_without_the_recipe_the_student_answers_the_same(tmp_path: Path) -> None:
    recipe = Drops()
    pupil = trained(tmp_path, recipe)
    data = enlarged(pixels(6).inputs)
    before = pupil.logits(data)
    del recipe
    assert torch.equal(before, pupil.logits(data))


def test_devices_and_precisions_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match="cuda:99"):
        resolve_device("cuda:99")
    with pytest.raises(UserError, match="bf16"):
        Options(precision="fp8")


@pytest.mark.journey
def test_bf16_trains(tmp_path: Path) -> None:
    trained(tmp_path, precision="bf16")
    assert len(RunFolder(tmp_path).metrics()) == 3


class Linear(Recipe):
    """Cross-entropy with nothing drawn, so that parts add up to the whole."""

    def forward(
        self, batch: Batch, student: StudentState, *, progress: float
    ) -> dict[str, torch.Tensor]:
        return {"cross_entropy": task_term(student.logits, batch)}


def test_parts_accumulate_to_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    steps = []
    for accumulate in (1, 2):
        schedule = Schedule(
            epochs=1, batch_size=8, rate=1e-2, warmup=0.0, optimizer="sgd", accumulate=accumulate
        )
        pupil = student().eval()  # batch normalisation would know the parts
        pupil.train = lambda mode=True, pupil=pupil: pupil  # type: ignore[method-assign, assignment, misc]
        setup = TrainingSetup(student=pupil, recipe=Linear(), batches=batches(pixels()), seed=0)
        run = RunFolder.create(tmp_path / str(accumulate), {}, resume=True)
        fit(setup, schedule, run=run, accelerator=CPU)
        assert run.metrics()[0]["step"] == 3
        steps.append(pupil.network.get_classifier().weight.detach().clone())
    before = student().network.get_classifier().weight
    assert not torch.allclose(steps[0], before, atol=1e-4)
    assert torch.allclose(steps[0], steps[1], atol=1e-5)


PARENT = """
import os, random, signal, sys, time, torch
from pathlib import Path
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
from tests.test_distill_loop import Schedule, same_weights, timeless, trained
home, schedule = Path(sys.argv[1]), Schedule(epochs=20, batch_size=8, rate=3e-3, checkpoint_seconds=0.0)

def start(name):
    child = os.fork()  # torch is imported once
    if not child:
        torch.save(trained(home / name, schedule=schedule).state_dict(), home / (name + ".pt"))
        os._exit(0)
    return child

def step(name):
    file = home / name / "checkpoint" / "last.pt"
    return file.stat().st_mtime_ns if file.exists() else 0

os.waitpid(start("whole"), 0)
draw, kills = random.Random(0), 0
while kills < 20 and not (home / "cut.pt").exists():
    child, before = start("cut"), step("cut")
    while step("cut") == before and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.15))
    try:
        os.kill(child, signal.SIGKILL)
        kills += not (home / "cut.pt").exists()
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
if not (home / "cut.pt").exists():
    os.waitpid(start("cut"), 0)
one, two = (torch.load(home / (n + ".pt"), weights_only=True) for n in ("whole", "cut"))
assert all(torch.equal(one[n], two[n]) for n in one), "other weights"
assert timeless(home / "cut") == timeless(home / "whole"), "other metrics"
assert not list((home / "cut").rglob(".*.part")), "litter"
print(kills)
"""  # noqa: E501


@pytest.mark.slow
def test_kill_9_twenty_times_at_random_and_the_weights_are_the_same(tmp_path: Path) -> None:
    code = PARENT.format(root=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10
