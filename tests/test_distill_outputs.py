"""Stored outputs on images and on rendered views: computed once, resumed, shared with ranking."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.data.batch import TeacherOutputs
from distill.data.pixels import pixel_packing
from distill.data.samples import Samples, open_samples
from distill.data.views import ImageAugmentation, render
from distill.teachers.outputs import HIDDEN, LOGITS, RenderedViews, teacher_outputs
from distill.teachers.prepared import PreparedTeachers
from selection.probing import store as store_module
from selection.probing.store import StoreKey, TeacherStore
from selection.task import Task
from tests.distill_setting import write_task, write_teacher
from zoo.errors import TeacherError
from zoo.sources import folder
from zoo.split_teacher import SplitTeacher
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey


class MeanOutputs(NamedTuple):
    features: Tensor
    logits: Tensor | None


class MeanColours:
    """A teacher whose features are the view's mean colours, and whose logits are twice that."""

    device = torch.device("cpu")
    feature_dim = num_classes = 3
    classifier = None

    def __init__(
        self, *, gain: float = 1.0, head: bool = True, stop_after: int | None = None
    ) -> None:
        self.gain, self.head, self.stop_after, self.images = gain, head, stop_after, 0

    def view(self, pixels: Tensor) -> Tensor:
        return pixels

    def forward(self, inputs: Tensor) -> MeanOutputs:
        if self.stop_after is not None and self.images >= self.stop_after:
            raise KeyboardInterrupt
        self.images += len(inputs)
        features = inputs.mean((2, 3)) * self.gain
        return MeanOutputs(features, 2 * features if self.head else None)


AUGMENTATION = ImageAugmentation()
KEY = StoreKey(model="t", revision="r", preprocessing="p")


@pytest.fixture
def pixels() -> Samples:
    rng = np.random.default_rng(0)
    return Samples(
        inputs=rng.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8),
        labels=np.zeros(20, np.int64),
        usable=np.arange(20),
        digest="d",
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SHARD_ROWS", 8)


def on_views(
    pixels: Samples,
    folder: Path,
    teacher: Any,
    *,
    count: int = 2,
    key: StoreKey = KEY,
    augmentation: ImageAugmentation = AUGMENTATION,
    seed: int = 3,
) -> TeacherOutputs:
    def load() -> Any:
        if isinstance(teacher, Exception):
            raise teacher
        return teacher

    views = RenderedViews(augmentation=augmentation, seed=seed, count=count)
    return teacher_outputs(TeacherStore(folder), key, pixels, load, views=views)


def seen(pixels: Samples, index: Tensor, view: int) -> Tensor:
    """The pixels of a view, as a student sees them."""
    return render(
        torch.from_numpy(pixels.inputs),
        index,
        torch.full_like(index, view),
        augmentation=AUGMENTATION,
        seed=3,
        size=8,
    ).inputs


def test_outputs_are_those_of_the_seeded_views(pixels: Samples, tmp_path: Path) -> None:
    outputs = on_views(pixels, tmp_path, MeanColours())
    assert outputs.features is not None
    assert outputs.logits is not None
    assert outputs.features.shape == (2, 20, 3)
    assert outputs.features.dtype == torch.float16
    index = torch.tensor([17, 2])
    for view in range(2):
        expected = seen(pixels, index, view).mean((2, 3))
        assert torch.allclose(outputs.features[view, index].float(), expected, atol=1e-3)
    assert torch.allclose(outputs.logits.float(), 2 * outputs.features.float(), atol=2e-3)


def test_lower_states_are_stored_apart_and_are_what_the_teacher_has(
    pixels: Samples, tmp_path: Path
) -> None:
    teacher = Teacher.load(folder.card(write_teacher(tmp_path / "zoo")), largest=24)
    assert teacher.preprocessing.input_size == (24, 24)
    key = dataclasses.replace(KEY, content=HIDDEN)
    outputs = on_views(pixels, tmp_path, teacher, key=key)
    assert outputs.features is None
    assert outputs.logits is None
    assert outputs.hidden is not None
    assert outputs.hidden.shape[:2] == (2, 20)
    index = torch.tensor([3, 11])
    split = SplitTeacher(teacher)
    expected = split.pooled(split.lower(teacher.view(seen(pixels, index, 1))))
    assert torch.allclose(outputs.hidden[1, index].float(), expected, rtol=5e-3, atol=5e-3)


def test_nothing_is_computed_twice_and_more_views_add_to_what_is_stored(
    pixels: Samples, tmp_path: Path
) -> None:
    first = on_views(pixels, tmp_path, MeanColours())
    teacher = MeanColours()
    again = on_views(pixels, tmp_path, teacher)
    assert teacher.images == 0
    assert torch.equal(again.features, first.features)
    more = on_views(pixels, tmp_path, teacher, count=3)
    assert teacher.images == 20
    assert torch.equal(more.features[:2], first.features)


def test_a_stopped_run_keeps_its_shards(pixels: Samples, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        on_views(pixels, tmp_path, MeanColours(stop_after=20))
    teacher = MeanColours()
    outputs = on_views(pixels, tmp_path, teacher)
    assert teacher.images == 20  # of 40: the three shards of view 0 were there
    fresh = on_views(pixels, tmp_path / "new", MeanColours())
    assert torch.equal(outputs.features, fresh.features)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_computed_anew(
    pixels: Samples, tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = on_views(pixels, tmp_path, MeanColours())
    shard = sorted(tmp_path.rglob("rows-*"))[1]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 0x40
    shard.write_bytes({"cut": bytes(data[:-9]), "flip": bytes(data), "empty": b""}[harm])
    teacher = MeanColours()
    assert torch.equal(on_views(pixels, tmp_path, teacher).features, expected.features)
    assert 0 < teacher.images <= 8
    assert capsys.readouterr().err.count("are damaged") == 1


def test_a_vanished_teacher_is_no_loss_where_all_is_stored(pixels: Samples, tmp_path: Path) -> None:
    expected = on_views(pixels, tmp_path, MeanColours())
    outputs = on_views(pixels, tmp_path, TeacherError("gone"))
    assert torch.equal(outputs.features, expected.features)
    with pytest.raises(TeacherError, match="gone"):
        on_views(pixels, tmp_path, TeacherError("gone"), count=3)


@pytest.mark.parametrize(
    "other",
    [
        {"key": dataclasses.replace(KEY, model="x")},
        {"key": dataclasses.replace(KEY, revision="x")},
        {"key": dataclasses.replace(KEY, preprocessing="x")},
        {"key": dataclasses.replace(KEY, precision="bf16")},
        {"key": dataclasses.replace(KEY, content=LOGITS)},
        {"augmentation": ImageAugmentation(colour=0.1)},
        {"seed": 4},
    ],
)
def test_outputs_are_kept_apart_by_whatever_they_depend_on(
    pixels: Samples, tmp_path: Path, other: dict[str, Any]
) -> None:
    on_views(pixels, tmp_path, MeanColours())
    teacher = MeanColours()
    on_views(pixels, tmp_path, teacher, **other)
    assert teacher.images == 40
    teacher.images = 0
    on_views(dataclasses.replace(pixels, digest="x"), tmp_path, teacher)
    assert teacher.images == 40


def test_a_teacher_without_a_head_and_logits_alone(pixels: Samples, tmp_path: Path) -> None:
    assert on_views(pixels, tmp_path, MeanColours(head=False)).logits is None
    key = dataclasses.replace(KEY, content=LOGITS)
    assert on_views(pixels, tmp_path / "b", MeanColours(), key=key).features is None
    with pytest.raises(TeacherError, match="no logits"):
        on_views(pixels, tmp_path / "c", MeanColours(head=False), key=key)


def test_a_teacher_that_answers_nan_is_named(pixels: Samples, tmp_path: Path) -> None:
    for gain in (float("nan"), float("inf")):
        with pytest.raises(TeacherError, match="t answers with NaN or infinity"):
            on_views(pixels, tmp_path, MeanColours(gain=gain))


def test_a_full_disk_keeps_what_was_written(
    pixels: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = TeacherStore.write, []

    def full(*given: Any, **named: Any) -> None:
        calls.append(given)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(*given, **named)

    monkeypatch.setattr(TeacherStore, "write", full)
    with pytest.raises(OSError, match="No space"):
        on_views(pixels, tmp_path, MeanColours())
    monkeypatch.setattr(TeacherStore, "write", real)
    teacher = MeanColours()
    on_views(pixels, tmp_path, teacher)
    assert teacher.images == 40 - 16


def test_outputs_that_cannot_fit_are_refused_before_they_are_computed(
    pixels: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1000, 521, 479))
    teacher = MeanColours()
    with pytest.raises(OSError, match="do not fit"):
        on_views(pixels, tmp_path, teacher)  # 2 views of 20 images x 6 numbers x 2 bytes = 480
    assert teacher.images == 0
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1000, 520, 480))
    on_views(pixels, tmp_path, teacher)


class CountingTeachers:
    """Counts the images that all teachers of this process run, by wrapping ``Teacher.forward``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.images = 0
        forward = Teacher.forward

        def counted(teacher: Teacher, inputs: Tensor) -> Any:
            self.images += len(inputs)
            return forward(teacher, inputs)

        monkeypatch.setattr(Teacher, "forward", counted)


def stored_directly(
    home: Path, key: StoreKey, teacher: Teacher, task: Task, rows: Sequence[int]
) -> None:
    """Store the outputs of a teacher on some training images, as a ranking does."""
    from selection.probing.store import NewRows
    from selection.sources.images import image_digest

    images = [task.train.sample(row) for row in rows]
    outputs = teacher.outputs(images)
    arrays = {"features": outputs.features, "logits": outputs.logits}
    digests = [image_digest(task.train.raw(row)) for row in rows]
    TeacherStore(home).write(key, digests, NewRows(arrays, {}))


def test_images_as_they_are_get_the_outputs_of_a_ranking_and_only_the_rest_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    task = Task.open(str(write_task(tmp_path / "squares")))
    card = folder.card(write_teacher(tmp_path / "zoo" / "one"))
    teacher = Teacher.load(card)
    rows = list(range(0, len(task.train), 2))
    stored_directly(
        tmp_path / "home" / "features", StoreKey.of(card, device="cpu"), teacher, task, rows
    )
    whole = teacher.outputs([task.train.sample(row) for row in range(len(task.train))])
    pixels = open_samples([task.train], pixel_packing(16), folder=tmp_path / "pixels")
    counting = CountingTeachers(monkeypatch)
    outputs = PreparedTeachers((card,)).outputs(card, pixels)
    trial = 2  # images that every teacher runs when it is loaded
    assert counting.images == len(task.train) - len(rows) + trial
    assert outputs.features is not None
    np.testing.assert_allclose(outputs.features[0].numpy(), whole.features, rtol=2e-3, atol=2e-3)
    counting.images = 0
    PreparedTeachers((card,)).outputs(card, pixels)
    assert counting.images == 0


def test_other_input_sizes_are_other_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    task = Task.open(str(write_task(tmp_path / "squares")))
    card = folder.card(write_teacher(tmp_path / "zoo" / "one"))
    pixels = open_samples([task.train], pixel_packing(16), folder=tmp_path / "pixels")
    whole = PreparedTeachers((card,)).outputs(card, pixels)
    small = PreparedTeachers((card,), teacher_size=24).outputs(card, pixels)
    assert not torch.equal(whole.features, small.features)
    assert len(list((tmp_path / "home" / "features").glob("*/key.json"))) == 2


def test_a_damaged_image_is_not_shown_to_a_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    path = write_task(tmp_path / "squares")
    task = Task.open(str(path))
    (path / task.train.name(4)).write_bytes(b"no image")
    pixels = open_samples([task.train], pixel_packing(16), folder=tmp_path / "pixels")
    assert 4 not in pixels.usable
    card = folder.card(write_teacher(tmp_path / "zoo" / "one"))
    outputs = PreparedTeachers((card,)).outputs(card, pixels)
    assert outputs.features is not None
    assert not outputs.features[0, 4].any()
    assert outputs.features[0].any(dim=1).sum() == len(task.train) - 1
