"""The CIFAR-100 protocol, on a few noise images: its networks, its losses, its one command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.students import cifar100
from benchmarks.students.cifar100 import RECIPES, main, measure
from benchmarks.students.cifar_setting import Setting, pack, pixels

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images a class of noise, as the ``datasets`` library writes them."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        labels = np.repeat(np.arange(100), 2)
        encoded = []
        for label in labels:
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, label + 2, (32, 32, 3), dtype=np.uint8)).save(
                buffer, "PNG"
            )
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        note = {
            "info": {
                "features": {
                    "image": {"_type": "Image"},
                    "label": {"names": [f"c{i}" for i in range(100)]},
                }
            }
        }
        table = pa.table({"image": encoded, "label": pa.array(labels, pa.int64())})
        pq.write_table(
            table.replace_schema_metadata({b"huggingface": json.dumps(note).encode()}),
            folder / f"{split}.parquet",
        )
    return folder


def small(data: Path, folder: Path, **changes: Any) -> Setting:
    return Setting(
        **{
            "device": "cpu",
            "epochs": 2,
            "images": 64,
            "test_images": 20,
            "data": data,
            "folder": folder,
            **changes,
        }
    )


def test_the_networks_are_those_of_the_papers() -> None:
    import timm

    import benchmarks.students.cifar_resnet  # noqa: F401

    networks = {
        name: timm.create_model(name, num_classes=100) for name in ("resnet8x4", "resnet32x4")
    }
    sizes = {
        name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()
    }
    assert sizes == {
        "resnet8x4": 1_233_540,
        "resnet32x4": 7_433_860,
    }  # as the papers' code counts them


@pytest.mark.parametrize("name", list(RECIPES))
def test_the_losses_are_those_of_the_papers(name: str) -> None:
    import torch.nn.functional as F

    from distill.data.batch import Batch, StudentState, TeacherOutputs

    torch.manual_seed(0)
    mine, said, labels = torch.randn(8, 100) * 2, torch.randn(8, 100) * 3, torch.arange(8)
    method, settings = RECIPES[name]

    class Shape:
        feature_dim, hidden_shape, low_shape = 256, (256, 8, 8), (128, 16, 16)

    recipe = cifar100._recipe(method, settings, Shape(), 0)  # type: ignore[arg-type]
    batch = Batch(
        view=torch.zeros(8, 3, 32, 32),
        labels=labels,
        index=labels,
        teacher_outputs=(TeacherOutputs(logits=said),),
    )
    state = StudentState(
        logits=mine, features=mine, hidden=mine[:, :, None, None], low=mine[:, :, None, None]
    )
    found = float(sum(recipe(batch, state, progress=1.0).values()))

    def kl(t: float, a: torch.Tensor, b: torch.Tensor) -> float:
        return (
            float(F.kl_div(F.log_softmax(a / t, 1), F.softmax(b / t, 1), reduction="batchmean"))
            * t
            * t
        )

    ce = float(F.cross_entropy(mine, labels))
    if name == "plain":
        assert found == pytest.approx(ce)
    elif name == "kd":
        assert found == pytest.approx(0.1 * ce + 0.9 * kl(4, mine, said), rel=1e-5)
    elif name == "kd_ls":
        a, b = ((z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True) for z in (mine, said))
        assert found == pytest.approx(
            0.1 * ce + 9 * kl(2, a, b), rel=0.02
        )  # their deviation divides by C - 1
    else:
        chosen = F.one_hot(labels, 100).bool()
        p, q = F.softmax(said / 4, 1), F.softmax(mine / 4, 1)
        two = [torch.stack([x[chosen], 1 - x[chosen]], 1) for x in (q, p)]
        rest = [x.masked_select(~chosen).view(8, 99) / (1 - x[chosen])[:, None] for x in (q, p)]
        parts = [float(F.kl_div(a.log(), b, reduction="batchmean")) * 16 for a, b in (two, rest)]
        assert found == pytest.approx(ce + parts[0] + 8 * parts[1], rel=1e-4)


def test_the_schedule_falls_after_epochs_150_180_and_210(data: Path, tmp_path: Path) -> None:
    schedule = cifar100._schedule(Setting(device="cpu", data=data, folder=tmp_path))
    rates = [schedule.at(epoch * 781 / (240 * 781)) for epoch in range(240)]
    falls = [epoch for epoch in range(1, 240) if rates[epoch] < rates[epoch - 1]]
    assert falls == [150, 180, 210]
    assert rates[0] == pytest.approx(0.05)
    assert rates[-1] == pytest.approx(0.05e-3)


def test_the_images_of_a_part_are_of_all_classes_and_parts_of_files_make_the_whole(
    data: Path, tmp_path: Path
) -> None:
    one = pixels(small(data, tmp_path / "a", images=150), "train")
    counts = np.bincount(one.labels, minlength=100)
    assert (counts.min(), counts.max()) == (1, 2)
    pack(data, tmp_path / "packed", parts=3)
    assert sorted(p.name for p in (tmp_path / "packed").iterdir()) == [
        "test.parquet",
        *(f"train-{i}.parquet" for i in range(3)),
    ]
    other = pixels(small(tmp_path / "packed", tmp_path / "b", images=150), "train")
    assert np.array_equal(one.inputs, other.inputs)
    assert np.array_equal(one.labels, other.labels)


@pytest.mark.journey
def test_one_command_trains_all_and_a_second_call_reads_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        cifar100, "TEACHER", "resnet8x4"
    )  # a smaller one: the command is tested, not the teacher
    setting = small(data, tmp_path)
    records = measure(setting)
    assert [r.name for r in records if r.name.count(".") == 1] == [
        f"cifar100.{n}" for n in ("teacher", *RECIPES)
    ]
    for record in records:
        assert record.setting["whole_protocol"] is False
        assert "not the published protocol" in record.unit or "images/s" in record.unit
    assert "published 76.32" in capsys.readouterr().out
    assert (
        len(list((setting.home / "outputs").glob("*/rows-*.safetensors"))) == setting.epochs
    )  # a view an epoch

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("distill.training.loop.fit", refuse)
    again = measure(setting)
    assert [(r.name, r.value) for r in again] == [(r.name, r.value) for r in records]


@pytest.mark.journey
def test_missing_data_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--data", str(tmp_path), "--folder", str(tmp_path / "f")]) == 2
    assert "$TEACHER_ZOO_SHARED" in capsys.readouterr().err
