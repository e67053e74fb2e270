"""The images of a run, decoded once to a working size and held in a memory map."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from selection.sources.images import PROBE_SIDE, CorruptImage
from zoo.errors import UserError
from zoo.files import DamagedFile, load_checked_json, write_checked_json
from zoo.terminal.progress import Progress, note

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

    images   (N, 3, s, s) uint8, a memory map: shorter side resized to s (bilinear with
             antialias), centre-cropped
    labels   (N,) int64 in [0, C), or -1 where an image is unlabelled or could not be decoded
    usable   (n,) int64, the rows whose image could be decoded, in order
    digest   hex, of the source images and of how they were resized
    digests  (N, 16) uint8, the key of each image in the store of teachers' outputs
    splits   the images themselves, one split after the other
    """

    images: Bytes
    labels: Labels
    usable: Labels
    digest: str
    digests: Bytes = field(default_factory=lambda: np.zeros((0, 16), np.uint8))
    splits: tuple[Split, ...] = ()

    @property
    def size(self) -> int:
        """s, in pixels."""
        return int(self.images.shape[-1])

    def __len__(self) -> int:
        return len(self.images)

    @property
    def groups(self) -> Labels:
        """(N,) equal numbers for images of one picture, -1 for all others, see ``Split``."""
        groups = [
            np.full(len(split), -1) if split.groups is None else split.groups
            for split in self.splits
        ]
        return np.concatenate(groups) if groups else np.full(len(self), -1)

    def image(self, row: int) -> Image:
        """Image ``row`` as teachers are shown it, like an image of the probe."""
        split, place = located(self.splits, row)
        return split.image(place, shorter=PROBE_SIDE)

    def unreadable(self) -> dict[str, str]:
        """The names of the images that could not be decoded, and why: each is read once more."""
        reasons = {}
        for row in np.setdiff1d(np.arange(len(self)), self.usable):
            split, place = located(self.splits, int(row))
            try:
                split.image(place, shorter=PROBE_SIDE)
            except CorruptImage as error:
                reasons[split.name(place)] = str(error)
        return reasons

    def chunks(self, rows: Labels) -> Iterator[Tensor]:
        """The images ``rows`` (n,) as uint8 tensors (at most ``CHUNK``, 3, s, s), in order.

        A split of 100,000 images is read piece by piece, never copied out of its map as a whole.
        """
        import torch

        for start in range(0, len(rows), CHUNK):
            yield torch.from_numpy(self.images[rows[start : start + CHUNK]])


def located(splits: Sequence[Split], row: int) -> tuple[Split, int]:
    """The split that holds ``row`` of the joined splits, and the place in it."""
    for split in splits:
        if row < len(split):
            return split, int(row)
        row -= len(split)
    raise IndexError(row)


def square(image: Image, size: int) -> Bytes:
    """``image`` as (3, size, size) uint8, exactly as timm's evaluation transform does it at
    ``crop_pct`` 1, bilinear.
    """
    from torchvision.transforms.functional import center_crop, resize

    cropped = center_crop(resize(image, size), [size, size]).convert("RGB")
    return np.ascontiguousarray(np.asarray(cropped, dtype=np.uint8).transpose(2, 0, 1))


def working_size(split: Split, size: int, *, sample: int = 16) -> int:
    """The size at which training images are stored: their size, up to twice the student's.

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
    splits: Sequence[Split],
    *,
    size: int,
    folder: Path,
    progress_name: str = "decoding",
) -> Pixels:
    """The images of ``splits``, one after the other, at ``size``; decoded once into ``folder``.

    Decoding goes on where a stopped run left off. A damaged image becomes a black row that is not
    ``usable``. Raises ``UserError`` where no image at all can be decoded, and ``OSError`` where the
    disk is full (what was done is kept).
    """
    from filelock import FileLock

    text = json.dumps([[s.digest for s in splits], size, "bilinear-centre-2"])
    digest = hashlib.sha256(text.encode()).hexdigest()
    home = folder / digest[:24]
    labels = np.concatenate([np.asarray(s.labels, dtype=np.int64) for s in splits])
    shape = (len(labels), 3, size, size)
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(str(home) + ".lock"):  # of several processes one decodes
        damaged = np.asarray(
            _decode(
                splits,
                home,
                shape,
                progress_name,
            ),
            dtype=np.int64,
        )
    usable = np.setdiff1d(np.arange(len(labels)), damaged)
    if not len(usable):
        raise UserError(
            f"none of the {len(labels)} images can be decoded: give images that open in a viewer"
        )
    labels[damaged] = -1
    # copy-on-write: torch wants an array that it may write to, and the file must never change
    images = np.memmap(
        home / "pixels.u8",
        dtype=np.uint8,
        mode="c",
        shape=shape,
    )
    return Pixels(
        images=images,
        labels=labels,
        usable=usable,
        digest=digest,
        digests=np.fromfile(home / "digests.u8", dtype=np.uint8).reshape(-1, 16),
        splits=tuple(splits),
    )


def _decode(
    splits: Sequence[Split],
    home: Path,
    shape: tuple[int, ...],
    progress_name: str,
) -> list[int]:
    """Write what is missing of ``pixels.u8`` and ``digests.u8``; returns the damaged rows.

    ``progress.json`` follows each chunk. Plain writes, not a memory map: a full disk is then an
    error that can be caught, not a killed process.
    """
    count, row_bytes = shape[0], int(np.prod(shape[1:]))
    progress = _decoded_so_far(home, row_bytes)
    done, damaged, checksums = progress.done, progress.damaged, progress.checksums
    if done == count:
        return damaged
    with (
        _appending(home / "pixels.u8", done * row_bytes) as pixels,
        _appending(home / "digests.u8", done * 16) as digests,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        Progress.default().over(
            progress_name,
            unit="images",
            total=count,
            done=done,
        ) as meter,
    ):
        decode_row = partial(_decode_row, splits, shape[-1])
        for start in range(done, count, CHUNK):
            rows = range(start, min(start + CHUNK, count))
            images = list(pool.map(decode_row, rows))
            damaged += [row for row, image in zip(rows, images, strict=True) if image.damaged]
            chunk = b"".join(image.pixels.tobytes() for image in images)
            keys = b"".join(image.digest for image in images)
            for file, content in ((pixels, chunk), (digests, keys)):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            checksums.append(zlib.crc32(keys, zlib.crc32(chunk)))
            progress = _DecodedSoFar(rows.stop, damaged, checksums)
            write_checked_json(home / "progress.json", progress._asdict())
            meter.at(rows.stop)
    return damaged


class _DecodedSoFar(NamedTuple):
    """The rows done, those of them that are damaged, and the crc32 of each chunk."""

    done: int
    damaged: list[int]
    checksums: list[int]


def _decoded_so_far(home: Path, row_bytes: int) -> _DecodedSoFar:
    """What ``progress.json`` says is done, up to the first chunk that is not as it was written."""
    nothing = _DecodedSoFar(0, [], [])
    try:
        progress = _DecodedSoFar(**load_checked_json(home / "progress.json"))
    except FileNotFoundError:
        return nothing
    except (DamagedFile, TypeError):  # or of a version that kept no checksums
        return nothing
    done = 0
    with _reading(home / "pixels.u8") as pixels, _reading(home / "digests.u8") as digests:
        for checksum in progress.checksums:
            rows = min(CHUNK, progress.done - done)
            chunk, keys = pixels.read(rows * row_bytes), digests.read(rows * 16)
            if zlib.crc32(keys, zlib.crc32(chunk)) != checksum:
                note(f"{home} is damaged after {done} images; these are decoded anew")
                break
            done += rows
    kept = math.ceil(done / CHUNK)
    damaged = [row for row in progress.damaged if row < done]
    return _DecodedSoFar(done, damaged, progress.checksums[:kept])


def _reading(path: Path) -> BinaryIO:
    """The file at ``path``, or an empty one where it is missing."""
    return open(path, "rb") if path.exists() else io.BytesIO()


@contextmanager
def _appending(path: Path, start: int) -> Iterator[BinaryIO]:
    """The file at ``path``, cut off at byte ``start`` and open for writing from there."""
    with open(path, "r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        yield file


class _DecodedImage(NamedTuple):
    """An image (3, s, s), black if it is damaged, and the digest of its bytes."""

    pixels: Bytes
    digest: bytes
    damaged: bool = False


def _decode_row(splits: Sequence[Split], size: int, row: int) -> _DecodedImage:
    split, place = located(splits, row)
    try:
        encoded = split.raw(place)
        return _DecodedImage(square(split.decode(encoded), size), split.fingerprint(encoded)[:16])
    except CorruptImage:  # one bad photograph must not end a run
        black = np.zeros((3, size, size), np.uint8)
        return _DecodedImage(black, bytes(16), damaged=True)


def refuse_equal_images(pixels: Pixels) -> None:
    """Raise ``UserError`` where all images are equal: nothing tells their classes apart."""
    rows = pixels.usable
    if len(rows) < 2:
        return
    first = pixels.images[rows[0]]
    if all(np.array_equal(pixels.images[row], first) for row in rows[1:]):
        raise UserError(
            f"all {len(rows)} training images are equal: nothing tells the classes apart"
        )


class Stream:
    """An endless, seeded order of ``rows``: pass after pass, each a new permutation.

    A function of the position alone, so that a resumed run draws what the stopped run would have.
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
        """The rows in the order of pass ``number``; a batch may span two passes, which are kept."""
        if number not in self._orders:
            rng = np.random.default_rng([self.seed, number])
            previous = {n: order for n, order in self._orders.items() if n == number - 1}
            self._orders = {**previous, number: self.rows[rng.permutation(len(self.rows))]}
        return self._orders[number]
