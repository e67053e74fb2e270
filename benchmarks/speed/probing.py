"""What probing costs over the bare network: encoded images -> features, against forward alone."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.record import BenchRecord
from zoo.card import ModelCard
from zoo.teacher import Teacher, load_ahead

_IMAGES = 128
_BATCH = 64
_ROUNDS = 5
# pixels (width, height): as tf_flowers in ../shared, and as photographs on the Hub
_SIZES = {"thumbnail": (170, 128), "photo": (500, 375)}


def run(out: Path) -> list[BenchRecord]:
    """Images per second of the whole path over the bare forward, and what loading ahead saves.

    The network is timm's ResNet-18 with random weights at 224 x 224, since only its cost matters,
    and the images are seeded JPEG files in memory, so that it runs on any machine. ``out`` is not
    written to.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    records = []
    with TemporaryDirectory() as folder:
        cards = [_write(Path(folder) / f"resnet18-{seed}", seed=seed) for seed in range(3)]
        teacher = Teacher.load(cards[0], device=device)
        for kind, size in _SIZES.items():
            records += _throughput(teacher, kind, [_jpeg(size, seed) for seed in range(_IMAGES)])
        records.append(
            _loading(cards, [_jpeg(_SIZES["thumbnail"], seed) for seed in range(_BATCH)], device)
        )
    for record in records:
        print(
            f"{record.name:32} {record.value:10.3f} {record.unit:16} [{record.low:.3f},"
            f" {record.high:.3f}]"
        )
    return records


class Seconds(NamedTuple):
    """How long a piece of work took."""

    wall: float
    processor: float  # over all threads


def _throughput(teacher: Teacher, kind: str, files: Sequence[bytes]) -> list[BenchRecord]:
    """Bare forward and whole path in turn, so that load hits all alike."""
    import torch
    from PIL import Image

    prepared = torch.stack([teacher.prepare(Image.open(io.BytesIO(data))) for data in files])
    inputs = [teacher.normalise(pixels) for pixels in prepared.split(_BATCH)]

    def bare() -> None:
        features = [teacher.forward(batch).features for batch in inputs]
        torch.cat(features).cpu()

    def whole() -> None:
        teacher.outputs((Image.open(io.BytesIO(data)) for data in files), batch_size=_BATCH)

    def prepare() -> None:
        for data in files:
            teacher.prepare(Image.open(io.BytesIO(data)))

    parts = {
        "bare": bare,
        "whole": whole,
        "prepare": prepare,
    }
    rounds = [{name: _seconds(part) for name, part in parts.items()} for _ in range(_ROUNDS)]
    prepare_seconds = median([part["prepare"].wall for part in rounds])
    setting = {
        "model": "resnet18, random weights",
        "input": 224,
        "images": len(files),
        "jpeg": _SIZES[kind],
        "batch": _BATCH,
        "device": str(teacher.device),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "prepare_ms_per_image_one_thread": 1e3 * prepare_seconds / len(files),
    }
    ratios = {
        "whole_over_bare": [part["bare"].wall / part["whole"].wall for part in rounds],
        # what other processes do not blur
        "whole_over_bare_cpu_time": [
            part["bare"].processor / part["whole"].processor for part in rounds
        ],
    }
    rates = {name: [len(files) / part[name].wall for part in rounds] for name in ("whole", "bare")}
    records = []
    for values_by_name, unit in ((ratios, "ratio"), (rates, "images/s")):
        for name, values in values_by_name.items():
            records.append(_record(f"probing.{kind}.{name}", values, unit, setting))
    return records


def _loading(cards: Sequence[ModelCard], files: Sequence[bytes], device: str) -> BenchRecord:
    """Seconds for three teachers one after the other, over those with the next loading ahead."""
    from PIL import Image

    def serial() -> None:
        for card in cards:
            Teacher.load(card, device=device).outputs(
                Image.open(io.BytesIO(data)) for data in files
            )

    def ahead() -> None:
        for loaded in load_ahead(cards, device=device):
            assert isinstance(loaded.teacher, Teacher)
            loaded.teacher.outputs(Image.open(io.BytesIO(data)) for data in files)

    ratios = [_seconds(serial).wall / _seconds(ahead).wall for _ in range(_ROUNDS)]
    setting = {
        "teachers": len(cards),
        "model": "resnet18, random weights",
        "images": len(files),
        "device": device,
    }
    return _record("probing.load_ahead_gain", ratios, "ratio", setting)


def _record(
    name: str,
    values: Sequence[float],
    unit: str,
    setting: dict[str, object],
) -> BenchRecord:
    return BenchRecord(
        name=name,
        value=median(values),
        unit=unit,
        low=min(values),
        high=max(values),
        spread=f"least and greatest of {_ROUNDS} rounds, value is the median",
        setting=setting,
        seeds=(0,),
    )


def _seconds(work: Callable[[], None]) -> Seconds:
    start, processor = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - start, time.process_time() - processor)


def _jpeg(size: tuple[int, int], seed: int) -> bytes:
    """A seeded picture of ``size`` (width, height) as rich in structure, and costly, as a photo."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(
        rng.integers(
            0,
            256,
            (9, 12, 3),
            dtype=np.uint8,
        )
    ).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(np.float32) + rng.normal(0, 12, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _write(folder: Path, *, seed: int) -> ModelCard:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir()
    save_file(
        {
            name: part.contiguous()
            for name, part in timm.create_model("resnet18").state_dict().items()
        },
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(
        json.dumps(
            {
                "architecture": "resnet18",
                "num_classes": 1000,
                "pretrained_cfg": {
                    "input_size": [3, 224, 224],
                    "interpolation": "bilinear",
                    "crop_pct": 0.875,
                },
            }
        )
    )
    return ModelCard(id=folder.name, source="folder", location=str(folder))
