"""The committee's stored answers on seeded views of the training images."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from distill.data import Pixels, Progress, write_bytes
from distill.views import Augmentation, render
from zoo.errors import TeacherError, UserError

if TYPE_CHECKING:
    from zoo.split import SplitTeacher
    from zoo.teacher import Teacher

SHARD = 2048  # images a shard
FORMAT = "1"
WHAT = ("features", "logits")
HIDDEN = ("hidden",)  # kept apart: few methods ask for it, and it is the largest
HALF_MAX = 65504.0


@dataclass(frozen=True, kw_only=True)
class OutputsKey:
    """What stored answers depend on; anything else may change between two runs that share them.

    ``dataset`` is ``Pixels.digest``; ``view_seed`` and ``augmentation`` fix what view v of image i shows.
    """

    dataset: str
    teacher: str
    revision: str
    preprocessing: str
    augmentation: str
    view_seed: int
    what: tuple[str, ...] = WHAT

    @property
    def digest(self) -> str:
        """The folder's name."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherOutputs:
    """What one teacher says of V views of N images, indexed by image, never by step.

    features  (V, N, D) float16, pooled, or None
    logits    (V, N, C_t) float16, the teacher's own head, or None for a teacher without one
    hidden    (V, N, c, g, g) float16, its own lower state on a grid (``SplitTeacher.pooled``), or None
    """

    key: OutputsKey
    features: Tensor | None = None
    logits: Tensor | None = None
    hidden: Tensor | None = None

    @property
    def views(self) -> int:
        """V."""
        return int(next(t for t in (self.features, self.logits, self.hidden) if t is not None).shape[0])

    def to(self, device: str | torch.device) -> TeacherOutputs:
        """The same answers, held on ``device``."""
        both = {name: getattr(self, name) for name in WHAT + HIDDEN}
        return TeacherOutputs(key=self.key, **{name: None if t is None else t.to(device) for name, t in both.items()})


def estimate(images: int, views: int, *, width: int) -> int:
    """Bytes that the answers of one teacher, ``width`` numbers an image, take on disk and in memory."""
    return 2 * images * views * width


def open_outputs(pixels: Pixels, key: OutputsKey, load: Callable[[], Teacher], *, augmentation: Augmentation, views: int,
                 folder: Path, batch_size: int = 64, check: int = 3, on_progress: Progress | None = None,
                 on_note: Callable[[str], None] | None = None) -> TeacherOutputs:
    """The stored answers for ``key``; what is missing is computed, shard by shard, and kept.

    Shards of a stopped run are used again, a damaged one is computed anew. ``check`` records of stored shards are
    recomputed and compared: ``UserError`` where they differ (other weights under the same name, or other preprocessing).
    ``load()`` is called at most once; where everything is stored and the teacher cannot be loaded any more, the stored
    answers serve and ``on_note`` is told. Raises ``TeacherError`` of ``load`` otherwise, ``OSError`` on a full disk.
    """
    from filelock import FileLock

    note = on_note or (lambda text: None)
    home = folder / key.digest
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(str(home) + ".lock"):  # of several processes one computes, the others read
        return _opened(pixels, key, load, augmentation, views, home, batch_size, check, on_progress, note)


def _opened(pixels: Pixels, key: OutputsKey, load: Callable[[], Teacher], augmentation: Augmentation, views: int, home: Path,
            batch_size: int, check: int, on_progress: Progress | None, note: Callable[[str], None]) -> TeacherOutputs:
    write_bytes(home / "key.json", json.dumps(vars(key), indent=1).encode())
    wanted = [(view, start) for view in range(views) for start in range(0, len(pixels), SHARD)]
    found = {shard: data for shard in wanted if (data := _read(home, shard, key, note)) is not None}
    try:
        teacher = load()
    except TeacherError as error:
        if len(found) < len(wanted):
            raise
        note(f"{key.teacher} cannot be loaded any more ({error}); its stored answers serve")
        return _joined(key, found, wanted)
    runner = _Runner(teacher, pixels, augmentation, key, batch_size)
    if found and check:
        _verify(found, runner, key, home, check)
    missing = sum(min(SHARD, len(pixels) - start) for view, start in wanted if (view, start) not in found)
    _announce(runner, home, missing, note)
    for done, shard in enumerate(wanted):
        if shard not in found:
            found[shard] = runner.shard(*shard)
            _write(home, shard, key, found[shard])
        if on_progress:
            on_progress(done + 1, len(wanted))
    return _joined(key, found, wanted)


def _announce(runner: _Runner, home: Path, records: int, note: Callable[[str], None]) -> None:
    """Say how much will be written, and refuse what the disk cannot hold before an hour is spent on it."""
    size = estimate(records, 1, width=runner.width)
    if size > shutil.disk_usage(home).free:
        raise OSError(errno.ENOSPC, f"{size / 1e6:.0f} MB of answers of {runner.key.teacher} do not fit", str(home))
    if size > 1e6:
        note(f"storing {records} answers of {runner.key.teacher}, {size / 1e6:.0f} MB, in {home}")


class _Runner:
    """Runs one teacher, or its lower layers alone, over views. Raises ``CannotSplit`` where these are asked for in vain."""

    def __init__(self, teacher: Teacher, pixels: Pixels, augmentation: Augmentation, key: OutputsKey, batch_size: int) -> None:
        self.teacher, self.pixels, self.augmentation = teacher, pixels, augmentation
        self.key, self.batch_size = key, batch_size
        self.images = torch.from_numpy(pixels.images)
        self.split: SplitTeacher | None = None
        if "hidden" in key.what:
            from zoo.split import SplitTeacher

            self.split = SplitTeacher(teacher)

    @property
    def width(self) -> int:
        """How many numbers are stored of one image."""
        if self.split is not None:
            from zoo.split import GRID

            return self.split.channels * GRID * GRID
        return self.teacher.feature_dim + self.teacher.num_classes

    def _ask(self, pixels: Tensor) -> dict[str, Tensor | None]:
        """What is to be stored of views (B, 3, s, s)."""
        inputs = self.teacher.view(pixels)
        if self.split is not None:
            return {"hidden": self.split.pooled(self.split.lower(inputs))}
        answer = self.teacher.forward(inputs)
        return {name: getattr(answer, name) for name in self.key.what}

    def records(self, view: int, rows: Tensor) -> dict[str, Tensor]:
        """What is stored of view ``view`` of ``rows`` (n,): each (n, ...) float16 on the CPU."""
        found: dict[str, list[Tensor]] = {}
        for chunk in rows.split(self.batch_size):
            index = chunk.to(self.teacher.device)
            shown = render(self.images, index, torch.full_like(index, view), augmentation=self.augmentation,
                           seed=self.key.view_seed, size=self.pixels.size)
            for name, value in self._ask(shown.pixels).items():
                if value is not None:
                    found.setdefault(name, []).append(_half(value, self.key.teacher).cpu())
        if not found:
            raise TeacherError(f"{self.key.teacher} has no {' or '.join(self.key.what)} to store")
        return {name: torch.cat(parts) for name, parts in found.items()}

    def shard(self, view: int, start: int) -> dict[str, Tensor]:
        return self.records(view, torch.arange(start, min(start + SHARD, len(self.pixels))))


def _half(value: Tensor, teacher: str) -> Tensor:
    if not bool(torch.isfinite(value).all()):
        raise TeacherError(f"{teacher} answers with NaN or infinity on some training images")
    return value.clamp(-HALF_MAX, HALF_MAX).half()


def _verify(found: dict[tuple[int, int], dict[str, Tensor]], runner: _Runner, key: OutputsKey, home: Path, check: int) -> None:
    """Recompute ``check`` stored records, spread over the shards; fp16 and another device change them by well under 5 %."""
    rng = np.random.default_rng(zlib.crc32(home.name.encode()))
    shards = sorted(found)
    for _ in range(check):
        view, start = shards[int(rng.integers(len(shards)))]
        row = int(rng.integers(len(next(iter(found[view, start].values())))))
        fresh = runner.records(view, torch.tensor([start + row]))
        for name, value in fresh.items():
            stored = found[view, start].get(name)
            expected = value[0].float()
            ok = stored is not None and stored.shape[1:] == value.shape[1:]
            if not ok or float((stored[row].float() - expected).norm()) > 0.05 * float(expected.norm()) + 1e-3:  # type: ignore[index]
                raise UserError(f"the answers of {key.teacher} stored in {home} are not what it answers now (view {view}, image "
                                f"{start + row}, {name}): its weights or preprocessing changed under the same revision "
                                f"{key.revision[:12]}; delete that folder to store them anew")


def _joined(key: OutputsKey, found: dict[tuple[int, int], dict[str, Tensor]], wanted: list[tuple[int, int]]) -> TeacherOutputs:
    views = sorted({view for view, _ in wanted})
    both: dict[str, Tensor | None] = {}
    for name in WHAT + HIDDEN:
        there = all(name in found[shard] for shard in wanted)
        both[name] = torch.stack([torch.cat([found[s][name] for s in wanted if s[0] == v]) for v in views]) if there else None
    return TeacherOutputs(key=key, **both)


def _path(home: Path, shard: tuple[int, int]) -> Path:
    return home / f"view{shard[0]:04d}-{shard[1]:08d}.safetensors"


def _write(home: Path, shard: tuple[int, int], key: OutputsKey, data: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    meta = {"format": FORMAT, "key": key.digest, "view": str(shard[0]), "start": str(shard[1]), "crc": str(_crc(data))}
    write_bytes(_path(home, shard), save({n: t.contiguous() for n, t in data.items()}, metadata=meta))


def _read(home: Path, shard: tuple[int, int], key: OutputsKey, note: Callable[[str], None]) -> dict[str, Tensor] | None:
    """A stored shard, or None where there is none; a damaged one is taken away, so that it is computed anew."""
    from safetensors import SafetensorError, safe_open

    path = _path(home, shard)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            data = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if meta.get("key") == key.digest and meta.get("format") == FORMAT and meta.get("crc") == str(_crc(data)):
            return data
        reason = "its checksum does not match"
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error)
    note(f"stored answers {path.name} of {key.teacher} are damaged ({reason}); they are computed anew")
    path.unlink()
    return None


def _crc(data: dict[str, Tensor]) -> int:
    value = 0
    for name in sorted(data):
        value = zlib.crc32(data[name].contiguous().numpy().tobytes(), zlib.crc32(name.encode(), value))
    return value
