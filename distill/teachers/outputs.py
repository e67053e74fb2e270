"""The committee's stored answers on seeded views of the training images."""

from __future__ import annotations

import errno
import hashlib
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from distill.batch import TeacherOutputs
from distill.data.pixels import Pixels
from distill.data.views import Augmentation, render
from zoo.errors import TeacherError, UserError
from zoo.files import write_bytes, write_json
from zoo.terminal.progress import Progress, note

if TYPE_CHECKING:
    from zoo.split_teacher import SplitTeacher
    from zoo.teacher import Teacher

SHARD = 2048  # images a shard
FORMAT = "1"
WHAT = ("features", "logits")
HIDDEN = ("hidden",)  # kept apart: few methods ask for it, and it is the largest
HALF_MAX = 65504.0

Shard = tuple[int, int]  # view, first image
Shards = dict[Shard, dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class OutputsKey:
    """What stored answers depend on; anything else may change between two runs that share them.

    ``dataset`` is ``Pixels.digest``; ``view_seed`` and ``augmentation`` fix what view v of image i
    shows.
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


def open_outputs(
    pixels: Pixels,
    key: OutputsKey,
    load: Callable[[], Teacher],
    *,
    augmentation: Augmentation,
    views: int,
    folder: Path,
    batch_size: int = 64,
    check: int = 3,
) -> TeacherOutputs:
    """The stored answers for ``key``; what is missing is computed, shard by shard, and kept.

    Shards of a stopped run are used again, a damaged one is computed anew. ``check`` records of
    stored shards are recomputed and compared: ``UserError`` where they differ (other weights under
    the same name, or other preprocessing). ``load()`` is called once; where everything is stored
    and the teacher cannot be loaded any more, the stored answers serve and a note says so. Raises
    ``TeacherError`` of ``load`` otherwise, ``OSError`` on a full disk.
    """
    from filelock import FileLock

    home = folder / key.digest
    home.mkdir(parents=True, exist_ok=True)
    wanted = [(view, start) for view in range(views) for start in range(0, len(pixels), SHARD)]
    with FileLock(str(home) + ".lock"):  # of several processes one computes, the others read
        write_json(home / "key.json", vars(key))
        found = {shard: data for shard in wanted if (data := _read(home, shard, key)) is not None}
        try:
            reader = _OutputsReader(load(), pixels, augmentation, key, batch_size)
        except TeacherError as error:
            if len(found) < len(wanted):
                raise
            note(f"{key.teacher} cannot be loaded any more ({error}); its stored answers serve")
            return _joined(found, wanted)
        if found:
            _verify(found, reader, home, check)
        _complete(found, wanted, reader, home)
    return _joined(found, wanted)


class _OutputsReader:
    """Asks one teacher, or its lower layers alone, about views. Raises ``CannotSplit`` where these
    are asked for in vain.
    """

    def __init__(
        self,
        teacher: Teacher,
        pixels: Pixels,
        augmentation: Augmentation,
        key: OutputsKey,
        batch_size: int,
    ) -> None:
        self.teacher, self.pixels, self.augmentation = teacher, pixels, augmentation
        self.key, self.batch_size = key, batch_size
        self.images = torch.from_numpy(pixels.images)
        self.usable = torch.from_numpy(pixels.usable).to(teacher.device)
        self.split: SplitTeacher | None = None
        self.width = teacher.feature_dim + teacher.num_classes  # numbers stored of one image
        if "hidden" in key.what:
            from zoo.split_teacher import GRID, SplitTeacher

            self.split = SplitTeacher(teacher)
            self.width = self.split.channels * GRID * GRID

    def records(self, view: int, rows: Tensor) -> dict[str, Tensor]:
        """What is stored of view ``view`` of ``rows`` (n,): each (n, ...) float16 on the CPU."""
        found: dict[str, list[Tensor]] = {}
        for chunk in rows.split(self.batch_size):
            index = chunk.to(self.teacher.device)
            shown = render(
                self.images,
                index,
                torch.full_like(index, view),
                augmentation=self.augmentation,
                seed=self.key.view_seed,
                size=self.pixels.size,
                partners=self.usable,
            )
            for name, value in self._answer(shown.pixels).items():
                if value is not None:
                    found.setdefault(name, []).append(_half(value, self.key.teacher).cpu())
        if not found:
            raise TeacherError(f"{self.key.teacher} has no {' or '.join(self.key.what)} to store")
        return {name: torch.cat(parts) for name, parts in found.items()}

    def _answer(self, pixels: Tensor) -> Mapping[str, Tensor | None]:
        """What is to be stored of views (B, 3, s, s)."""
        inputs = self.teacher.view(pixels)
        if self.split is not None:
            return {"hidden": self.split.pooled(self.split.lower(inputs))}
        answer = self.teacher.forward(inputs)
        return {name: getattr(answer, name) for name in self.key.what}


def _half(value: Tensor, teacher: str) -> Tensor:
    if not bool(torch.isfinite(value).all()):
        raise TeacherError(f"{teacher} answers with NaN or infinity on some training images")
    return value.clamp(-HALF_MAX, HALF_MAX).half()


def _complete(found: Shards, wanted: list[Shard], reader: _OutputsReader, home: Path) -> None:
    """Add the missing shards; what the disk cannot hold is refused before an hour is spent on
    it.
    """
    images, teacher = len(reader.pixels), reader.key.teacher
    missing = sum(
        min(SHARD, images - start) for view, start in wanted if (view, start) not in found
    )
    size = 2 * missing * reader.width  # bytes
    if size > shutil.disk_usage(home).free:
        raise OSError(
            errno.ENOSPC, f"{size / 1e6:.0f} MB of answers of {teacher} do not fit", str(home)
        )
    if size > 1e6:
        note(f"storing {missing} answers of {teacher}, {size / 1e6:.0f} MB, in {home}")
    asking = Progress.default().over(f"asking {teacher}", unit="images", total=missing)
    with asking as meter:  # an image counts once a view
        for view, start in wanted:
            if (view, start) in found:
                continue
            rows = torch.arange(start, min(start + SHARD, images))
            found[view, start] = reader.records(view, rows)
            _write(home, (view, start), reader.key, found[view, start])
            meter.advance(len(rows))


def _verify(found: Shards, reader: _OutputsReader, home: Path, check: int) -> None:
    """Recompute ``check`` stored records, spread over the shards; fp16 and another device change
    them by well under 5 %.
    """
    rng = np.random.default_rng(zlib.crc32(home.name.encode()))
    shards = sorted(found)
    for _ in range(check):
        view, start = shards[int(rng.integers(len(shards)))]
        stored = found[view, start]
        row = int(rng.integers(len(next(iter(stored.values())))))
        for name, value in reader.records(view, torch.tensor([start + row])).items():
            expected = value[0].float()
            same = name in stored and stored[name].shape[1:] == value.shape[1:]
            if (
                not same
                or float((stored[name][row].float() - expected).norm())
                > 0.05 * float(expected.norm()) + 1e-3
            ):
                raise UserError(
                    f"the answers of {reader.key.teacher} stored in {home} are not what it answers"
                    f" now (view {view}, image {start + row}, {name}): its weights or preprocessing"
                    f" changed under the same revision {reader.key.revision[:12]}; delete that"
                    " folder to store them anew"
                )


def _joined(found: Shards, wanted: list[Shard]) -> TeacherOutputs:
    views = sorted({view for view, _ in wanted})
    names = set.intersection(*(set(found[shard]) for shard in wanted))
    return TeacherOutputs(
        **{
            name: torch.stack(
                [
                    torch.cat([found[shard][name] for shard in wanted if shard[0] == view])
                    for view in views
                ]
            )
            for name in names
        }
    )


def _path(home: Path, shard: Shard) -> Path:
    return home / f"view{shard[0]:04d}-{shard[1]:08d}.safetensors"


def _write(home: Path, shard: Shard, key: OutputsKey, data: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    meta = {
        "format": FORMAT,
        "key": key.digest,
        "view": str(shard[0]),
        "start": str(shard[1]),
        "crc": str(_crc(data)),
    }
    write_bytes(
        _path(home, shard), save({n: t.contiguous() for n, t in data.items()}, metadata=meta)
    )


def _read(home: Path, shard: Shard, key: OutputsKey) -> dict[str, Tensor] | None:
    """A stored shard, or None where there is none; a damaged one is taken away, so that it is
    computed anew.
    """
    from safetensors import SafetensorError, safe_open

    path = _path(home, shard)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            data = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if (
            meta.get("key") == key.digest
            and meta.get("format") == FORMAT
            and meta.get("crc") == str(_crc(data))
        ):
            return data
        reason = "its checksum does not match"
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error)
    note(
        f"stored answers {path.name} of {key.teacher} are damaged ({reason}); they are computed"
        " anew"
    )
    path.unlink()
    return None


def _crc(data: dict[str, Tensor]) -> int:
    value = 0
    for name in sorted(data):
        value = zlib.crc32(
            data[name].contiguous().numpy().tobytes(), zlib.crc32(name.encode(), value)
        )
    return value
