"""Stored answers: replayed views, resumed and verified shards."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.batch import TeacherOutputs
from distill.data.pixels import Pixels
from distill.data.views import STILL, Augmentation, render
from distill.teachers import outputs
from distill.teachers.outputs import OutputsKey, open_outputs
from zoo.errors import TeacherError, UserError


class Said(NamedTuple):
    features: Tensor
    logits: Tensor | None


class Mean:
    """A teacher whose features are the view's mean colours, and whose logits are twice that."""

    device = torch.device("cpu")
    feature_dim = num_classes = 3

    def __init__(
        self, *, gain: float = 1.0, head: bool = True, stop_after: int | None = None
    ) -> None:
        self.gain, self.head, self.stop_after, self.images = gain, head, stop_after, 0

    def view(self, pixels: Tensor) -> Tensor:
        return pixels

    def forward(self, inputs: Tensor) -> Said:
        if self.stop_after is not None and self.images >= self.stop_after:
            raise KeyboardInterrupt
        self.images += len(inputs)
        features = inputs.mean((2, 3)) * self.gain
        return Said(features, 2 * features if self.head else None)


AUGMENTATION = Augmentation()
KEY = OutputsKey(
    dataset="d",
    teacher="t",
    revision="r",
    preprocessing="p",
    augmentation=AUGMENTATION.key,
    view_seed=3,
)


@pytest.fixture
def pixels() -> Pixels:
    rng = np.random.default_rng(0)
    return Pixels(
        images=rng.integers(0, 256, (20, 3, 8, 8), dtype=np.uint8),
        labels=np.zeros(20, np.int64),
        usable=np.arange(20),
        digest="d",
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "SHARD", 8)


def stored(
    pixels: Pixels,
    folder: Path,
    teacher: Any,
    *,
    views: int = 2,
    key: OutputsKey = KEY,
    **options: Any,
) -> TeacherOutputs:
    def load() -> Any:
        if isinstance(teacher, Exception):
            raise teacher
        return teacher

    return open_outputs(
        pixels,
        key,
        load,
        augmentation=AUGMENTATION,
        views=views,
        folder=folder,
        batch_size=5,
        **options,
    )


def test_lower_states_are_stored_apart_and_are_what_the_teacher_has(
    pixels: Pixels, tmp_path: Path
) -> None:
    from tests.distill_setting import write_teacher
    from zoo.sources import folder
    from zoo.split_teacher import SplitTeacher
    from zoo.teacher import Teacher

    teacher = Teacher.load(folder.card(write_teacher(tmp_path / "zoo")), largest=24)
    assert teacher.preprocessing.input_size == (24, 24)
    key = dataclasses.replace(KEY, what=("hidden",))
    found = stored(pixels, tmp_path, teacher, key=key)
    assert found.features is None and found.logits is None and found.hidden is not None
    assert found.hidden.shape[:2] == (2, 20)
    index = torch.tensor([3, 11])
    shown = render(
        torch.from_numpy(pixels.images),
        index,
        torch.ones_like(index),
        augmentation=AUGMENTATION,
        seed=3,
        size=8,
    )
    split = SplitTeacher(teacher)
    own = split.pooled(split.lower(teacher.view(shown.pixels)))
    assert torch.allclose(found.hidden[1, index].float(), own, rtol=5e-3, atol=5e-3)


def test_answers_are_those_of_the_seeded_views(pixels: Pixels, tmp_path: Path) -> None:
    found = stored(pixels, tmp_path, Mean())
    assert found.features is not None
    assert found.logits is not None
    assert found.features.shape == (2, 20, 3)
    assert found.features.dtype == torch.float16
    index = torch.tensor([17, 2])
    for view in range(2):
        number = torch.full_like(index, view)
        shown = render(
            torch.from_numpy(pixels.images),
            index,
            number,
            augmentation=AUGMENTATION,
            seed=3,
            size=8,
        )
        assert torch.allclose(
            found.features[view, index].float(), shown.pixels.mean((2, 3)), atol=1e-3
        )
    assert torch.allclose(found.logits.float(), 2 * found.features.float(), atol=2e-3)


def test_stored_answers_are_not_computed_again_and_more_views_add_to_them(
    pixels: Pixels, tmp_path: Path
) -> None:
    first = stored(pixels, tmp_path, Mean())
    teacher = Mean()
    again = stored(pixels, tmp_path, teacher, check=3)
    assert teacher.images == 3  # the records that were checked
    assert torch.equal(again.features, first.features)
    more = stored(pixels, tmp_path, teacher, views=3, check=0)
    assert teacher.images == 3 + 20
    assert torch.equal(more.features[:2], first.features)


def test_a_stopped_run_keeps_its_shards(pixels: Pixels, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stored(pixels, tmp_path, Mean(stop_after=20))
    teacher = Mean()
    found = stored(pixels, tmp_path, teacher, check=0)
    assert teacher.images == 20  # of 40: the three shards of view 0 were there
    assert torch.equal(found.features, stored(pixels, tmp_path / "new", Mean()).features)


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_shard_is_computed_anew(
    pixels: Pixels, tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = stored(pixels, tmp_path, Mean())
    shard = sorted(tmp_path.rglob("view0001*"))[1]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 0x40
    shard.write_bytes({"cut": bytes(data[:-9]), "flip": bytes(data), "empty": b""}[harm])
    assert torch.equal(stored(pixels, tmp_path, Mean()).features, expected.features)
    assert capsys.readouterr().err.count("damaged") == 1


def test_a_teacher_that_changed_is_refused(pixels: Pixels, tmp_path: Path) -> None:
    stored(pixels, tmp_path, Mean())
    with pytest.raises(UserError, match="not what it answers now"):
        stored(pixels, tmp_path, Mean(gain=1.3))


def test_a_vanished_teacher_is_no_loss_where_all_is_stored(
    pixels: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = stored(pixels, tmp_path, Mean())
    found = stored(pixels, tmp_path, TeacherError("gone"))
    assert torch.equal(found.features, expected.features)
    assert "gone" in capsys.readouterr().err
    with pytest.raises(TeacherError, match="gone"):
        stored(pixels, tmp_path, TeacherError("gone"), views=3)


def test_whatever_the_answers_depend_on_changes_the_folder(pixels: Pixels, tmp_path: Path) -> None:
    others = [
        dataclasses.replace(KEY, **{name: f"{getattr(KEY, name)}x"})
        for name in ("dataset", "teacher", "revision", "preprocessing", "augmentation")
    ]
    others += [dataclasses.replace(KEY, view_seed=4), dataclasses.replace(KEY, what=("features",))]
    assert len({key.digest for key in [KEY, *others]}) == 8


def test_no_head_and_features_alone(pixels: Pixels, tmp_path: Path) -> None:
    assert stored(pixels, tmp_path, Mean(head=False)).logits is None
    key = dataclasses.replace(KEY, what=("features",))
    assert stored(pixels, tmp_path / "b", Mean(), key=key).logits is None
    with pytest.raises(TeacherError, match="no logits"):
        stored(
            pixels, tmp_path / "c", Mean(head=False), key=dataclasses.replace(KEY, what=("logits",))
        )


def test_a_teacher_that_answers_nan_is_named(pixels: Pixels, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="NaN or infinity"):
        stored(pixels, tmp_path, Mean(gain=float("nan")))


def test_a_full_disk_keeps_what_was_written(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = outputs.write_bytes, []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(outputs, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        stored(pixels, tmp_path, Mean())
    monkeypatch.setattr(outputs, "write_bytes", real)
    teacher = Mean()
    stored(pixels, tmp_path, teacher, check=0)
    assert teacher.images == 40 - 16


def test_answers_that_cannot_fit_are_refused_before_they_are_computed(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1000, 761, 239))
    teacher = Mean()
    with pytest.raises(OSError, match="do not fit"):
        stored(pixels, tmp_path, teacher, views=1)  # 20 images x 6 numbers x 2 bytes = 240
    assert teacher.images == 0
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(1000, 760, 240))
    stored(pixels, tmp_path, teacher, views=1)


def test_the_still_view_has_one_answer(pixels: Pixels, tmp_path: Path) -> None:
    found = open_outputs(pixels, KEY, lambda: Mean(), augmentation=STILL, views=1, folder=tmp_path)
    expected = torch.from_numpy(pixels.images).float().mean((2, 3)) / 255
    assert torch.allclose(found.features[0].float(), expected, atol=1e-3)
