"""How often changed copies are found as duplicates, different pictures taken for ones, and at what
cost.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from benchmarks.record import BenchRecord
from benchmarks.shared import existing_shared
from selection.duplicates.search import find_duplicates
from selection.sources.split import Rows, Split
from selection.task import Task

IMAGES, COPIES = 2_000, 200
# the thresholds were chosen on all but the last
DATASETS = ("tf_flowers", "cifar10", "smiles", "fashion_mnist", "mnist", "digits", "cifar100")


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def _half(image: Image.Image) -> Image.Image:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)))


def _cropped(image: Image.Image) -> Image.Image:
    right, bottom = max(1, round(image.width / 20)), max(1, round(image.height / 20))
    return image.crop((right, 0, image.width, image.height - bottom))


def _brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.1)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg_50": _jpeg,
    "half_size": _half,
    "crop_5": _cropped,
    "brightness_10": _brighter,
}


class Copies:
    """Changed copies of images, handed out as PNG files."""

    def __init__(self, split: Split, change: Callable[[Image.Image], Image.Image]) -> None:
        self._split, self._change = split, change

    def __len__(self) -> int:
        return len(self._split)

    def raw(self, row: int) -> bytes:
        buffer = io.BytesIO()
        self._change(self._split.sample(row)).save(buffer, "PNG")
        return buffer.getvalue()

    def name(self, row: int) -> str:
        return f"copy of {self._split.name(row)}"

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        yield b"copies"


def run(out: Path) -> list[BenchRecord]:
    """Detection by kind of change, and images that are grouped though nothing was copied."""
    records = []
    for name in DATASETS:
        spec = name if name == "digits" else str(existing_shared("datasets", name))
        images = _some(Task.open(spec, duplicates=False).train, IMAGES)
        start = time.perf_counter()
        alone = find_duplicates({"images": images}).groups["images"]
        seconds = time.perf_counter() - start
        grouped = float((alone >= 0).mean())
        line = f"{name:14s} {len(images)} images, {1e4 * seconds / len(images):5.0f} s per 10,000;"
        line += f" grouped as they are {grouped:.2%};"
        records += [
            _record(f"{name}.grouped", grouped, "share", len(images)),
            _record(
                f"{name}.seconds",
                1e4 * seconds / len(images),
                "s per 10,000",
                len(images),
            ),
        ]
        for change, changed in CHANGES.items():
            chosen = images.subset(np.flatnonzero(alone < 0)[:COPIES])
            rows = np.arange(len(chosen))
            copies = Split(
                Copies(chosen, changed),
                rows,
                np.full_like(rows, -1),
                chosen.classes,
                chosen.kind,
            )
            groups = find_duplicates({"images": images, "copies": copies}).groups
            originals = groups["images"][np.flatnonzero(alone < 0)[:COPIES]]
            share = float(((originals == groups["copies"]) & (originals >= 0)).mean())
            line += f" {change} {share:.1%}"
            records.append(_record(f"{name}.{change}", share, "share", len(chosen)))
        print(line, flush=True)
    return records


def _some(split: Split, count: int) -> Split:
    rows = np.random.default_rng(0).permutation(len(split))[:count]
    return split.subset(np.sort(rows))


def _record(
    name: str,
    value: float,
    unit: str,
    images: int,
) -> BenchRecord:
    error = 1.96 * float(np.sqrt(max(value * (1 - value), 1 / images) / images))
    is_share = unit == "share"
    return BenchRecord(
        name=f"duplicates.{name}",
        value=value,
        unit=unit,
        low=max(value - error, 0.0) if is_share else value,
        high=min(value + error, 1.0) if is_share else value,
        spread="95 % of a binomial" if is_share else "one run",
        seeds=(0,),
        setting={"images": images},
    )
