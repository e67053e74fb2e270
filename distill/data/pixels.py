"""The images of a run, decoded once to a working size and held in a memory map."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zoo.errors import UserError
from zoo.files import write_json
from zoo.terminal.progress import Progress

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from selection.task import Split

Bytes = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
CHUNK = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """N decoded images of one size.

    images   (N, 3, s, s) uint8, a memory map: shorter side resized to s (bilinear with antialias), centre-cropped
    labels   (N,) int64 in [0, C), or -1 where an image is unlabelled or could not be decoded
    usable   (n,) int64, the rows whose image could be decoded, in order
    digest   hex, of the source images and of how they were resized
    """  # noqa: E501

    images: Bytes
    labels: Labels
    usable: Labels
    digest: str

    @property
    def size(self) -> int:
        """s, in pixels."""
        return int(self.images.shape[-1])

    def __len__(self) -> int:
        return len(self.images)

    def chunks(self, rows: Labels) -> Iterator[Tensor]:
        """The images ``rows`` (n,) as uint8 tensors (at most ``CHUNK``, 3, s, s), in order.

        A split of 100,000 images is read piece by piece, never copied out of its map as a whole.
        """
        import torch

        for start in range(0, len(rows), CHUNK):
            yield torch.from_numpy(self.images[rows[start : start + CHUNK]])


def square(image: Image, size: int) -> Bytes:
    """``image`` as (3, size, size) uint8, exactly as timm's evaluation transform does it at
    ``crop_pct`` 1, bilinear.
    """
    from torchvision.transforms.functional import center_crop, resize

    cropped = center_crop(resize(image, size), [size, size]).convert("RGB")
    return np.ascontiguousarray(np.asarray(cropped, dtype=np.uint8).transpose(2, 0, 1))


def working_size(split: Split, size: int, *, sample: int = 16) -> int:
    """The size to store training images at, for a student of input ``size``: what the images have,
    up to twice ``size``.

    The teachers look at the same view as the student, at this size; an image smaller than the
    student's input is stored as it is. Judged by the median shorter side of ``sample`` images.
    """
    sides = []
    for row in np.linspace(0, len(split) - 1, num=min(sample, len(split))).astype(int):
        try:
            sides.append(min(split.image(int(row)).size))
        except ValueError:
            continue
    return int(min(np.median(sides), 2 * size)) if sides else size


def open_pixels(
    splits: Sequence[Split], *, size: int, folder: Path, what: str = "decoding"
) -> Pixels:
    """The images of ``splits``, one after the other, at ``size``; decoded into ``folder`` where
    they are not there yet.

    Decoding goes on where a stopped run left off. A damaged image becomes a black row that is not
    ``usable``. Raises ``UserError`` where no image at all can be decoded, and ``OSError`` where the
    disk is full (what was done is kept).
    """
    from filelock import FileLock

    text = json.dumps([[s.digest for s in splits], size, "bilinear-centre-1"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    home, labels = (
        folder / digest[:24],
        np.concatenate([np.asarray(s.labels, dtype=np.int64) for s in splits]),
    )
    shape = (len(labels), 3, size, size)
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(str(home) + ".lock"):  # of several processes one decodes
        damaged = np.asarray(_decode(splits, home, shape, what), dtype=np.int64)
    usable = np.setdiff1d(np.arange(len(labels)), damaged)
    if not len(usable):
        raise UserError(
            f"none of the {len(labels)} images can be decoded: give images that open in a viewer"
        )
    labels[damaged] = -1
    # copy-on-write: torch wants an array that it may write to, and the file must never change
    images = np.memmap(home / "pixels.u8", dtype=np.uint8, mode="c", shape=shape)
    return Pixels(images=images, labels=labels, usable=usable, digest=digest)


def _decode(splits: Sequence[Split], home: Path, shape: tuple[int, ...], what: str) -> list[int]:
    """Write what is missing of ``pixels.u8`` chunk by chunk, ``progress.json`` follows each;
    returns the damaged rows.

    Plain writes, not a memory map: a full disk is then an error that can be caught, not a killed
    process.
    """
    file, row_bytes = home / "pixels.u8", int(np.prod(shape[1:]))
    done, damaged = _progress(home / "progress.json")
    if done and (not file.exists() or file.stat().st_size < done * row_bytes):
        done, damaged = 0, []  # cut off behind our back
    if done == shape[0]:
        return damaged
    read = _reader(splits, shape[-1])
    with (
        open(file, "r+b" if done else "wb") as out,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        Progress.default().over(what, unit="images", total=shape[0], done=done) as meter,
    ):
        out.truncate(done * row_bytes)
        out.seek(done * row_bytes)
        for start in range(done, shape[0], CHUNK):
            rows = range(start, min(start + CHUNK, shape[0]))
            for row, pixels in zip(rows, pool.map(read, rows), strict=True):
                if pixels is None:
                    damaged.append(row)
                out.write((np.zeros(shape[1:], np.uint8) if pixels is None else pixels).tobytes())
            out.flush()
            os.fsync(out.fileno())
            write_json(home / "progress.json", {"done": rows.stop, "damaged": damaged})
            meter.at(rows.stop)
    return damaged


def _progress(path: Path) -> tuple[int, list[int]]:
    try:
        raw = json.loads(path.read_text())
        return int(raw["done"]), list(raw["damaged"])
    except (OSError, ValueError, KeyError):
        return 0, []


def _reader(splits: Sequence[Split], size: int) -> Callable[[int], Bytes | None]:
    starts = np.cumsum([0] + [len(s) for s in splits])

    def read(row: int) -> Bytes | None:
        which = int(np.searchsorted(starts, row, side="right")) - 1
        try:
            return square(splits[which].image(int(row - starts[which])), size)
        except ValueError:  # CorruptImage: one bad photograph must not end a run
            return None

    return read


class Stream:
    """An endless, seeded order of ``rows``: pass after pass, each a new permutation, a function of
    the position alone.

    So any position can be asked for in any order, and a resumed run draws what the stopped one
    would have drawn.
    """

    def __init__(self, rows: Labels, *, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self._orders: dict[int, Labels] = {}

    def take(self, start: int, count: int) -> Iterator[tuple[int, Labels]]:
        """Positions ``start`` to ``start + count`` as (pass number, rows) pieces."""
        while count > 0:
            number, offset = divmod(start, len(self.rows))
            piece = self._order(number)[offset : offset + count]
            yield number, piece
            start, count = start + len(piece), count - len(piece)

    def _order(self, number: int) -> Labels:
        if number not in self._orders:
            self._orders = {n: o for n, o in self._orders.items() if n == number - 1}
            self._orders[number] = self.rows[
                np.random.default_rng([self.seed, number]).permutation(len(self.rows))
            ]
        return self._orders[number]
