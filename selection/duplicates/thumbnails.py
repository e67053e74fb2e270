"""Small copies of a split's images, by which equal pictures are found; kept on this machine."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from selection.duplicates.linking import DAMAGED
from selection.sources.grey import GreyScale
from selection.sources.images import CorruptImage, decode, image_digest
from selection.sources.split import Split
from zoo.files import replacing
from zoo.home import thumbnail_folder
from zoo.terminal.progress import Progress

SIDE = 32  # pixels of a thumbnail's side
DECODED_SIDE = 64  # pixels of the shorter side from which it is made; no larger image is compared
KEPT_FROM = 500  # images of a split from which the thumbnails are kept on the disk
_FORMAT = "1"
_CHUNK = 512


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """N images in small.

    pixels    (N, 3, SIDE, SIDE) uint8, the whole image whatever its shape; or None if not decoded
    sides     (N,) int32, pixels of the shorter side, at most ``DECODED_SIDE``; 0: unreadable
    contents  (N, 16) uint8, equal for equal files, and for equal pixels of images of at most
              ``DECODED_SIDE`` pixels
    reasons   position -> why the image cannot be read
    """

    pixels: npt.NDArray[np.uint8] | None
    sides: npt.NDArray[np.int32]
    contents: npt.NDArray[np.uint8]
    reasons: dict[int, str]


class _Thumbnail(NamedTuple):
    pixels: npt.NDArray[np.uint8]
    side: int
    content: bytes
    reason: str = ""


def thumbnails(split: Split, *, decoded: bool) -> Thumbnails:
    """The thumbnails of ``split``; without ``decoded`` its files are compared by content alone.

    From 500 images on they are kept under ``$TEACHER_ZOO_HOME/duplicates`` and read from there as
    long as names and sizes of the files stay the same.
    """
    file = None
    if len(split) >= KEPT_FROM:
        key = json.dumps([_FORMAT, split.digest, SIDE, DECODED_SIDE, decoded])
        file = thumbnail_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        stored = _load(file)
        if stored is not None and len(stored.sides) == len(split):
            return stored
    made = _make(split, decoded=decoded)
    if file is not None:
        _save(file, made)
    return made


def _make(split: Split, *, decoded: bool) -> Thumbnails:
    count = len(split)
    read = _thumbnail if decoded else _content
    pixels = np.zeros((count if decoded else 0, 3, SIDE, SIDE), dtype=np.uint8)
    sides = np.zeros(count, dtype=np.int32)
    contents = np.zeros((count, 16), dtype=np.uint8)
    reasons: dict[int, str] = {}
    meter = Progress.default() if count >= KEPT_FROM else Progress.silent()
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        meter.over("looking for duplicates", unit="images", total=count) as shown,
    ):
        for start in range(0, count, _CHUNK):
            rows = range(start, min(start + _CHUNK, count))
            for row, small in zip(rows, pool.map(lambda i: read(split, i), rows), strict=True):
                if small.reason:
                    reasons[row] = small.reason
                    continue
                sides[row] = small.side
                contents[row] = np.frombuffer(small.content, dtype=np.uint8)
                if decoded:
                    pixels[row] = small.pixels
            shown.at(rows.stop)
    return Thumbnails(pixels if decoded else None, sides, contents, reasons)


_NO_PIXELS = np.zeros((3, SIDE, SIDE), dtype=np.uint8)


def _scale(split: Split) -> GreyScale | None:
    return split.decoding if isinstance(split.decoding, GreyScale) else None


def _thumbnail(split: Split, row: int) -> _Thumbnail:
    try:
        raw = split.raw(row)
        image = decode(raw, shorter=DECODED_SIDE, grey=_scale(split))
    except CorruptImage as error:
        return _Thumbnail(_NO_PIXELS, 0, b"", str(error))
    content = image_digest(raw)
    if min(image.size) < DECODED_SIDE:  # it was not reduced: these are its pixels
        content = image_digest(f"{image.size} ".encode() + image.tobytes())
    small = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(small, dtype=np.uint8).transpose(2, 0, 1)
    return _Thumbnail(pixels, min(image.size), content)


def _content(split: Split, row: int) -> _Thumbnail:
    try:
        return _Thumbnail(_NO_PIXELS, 1, image_digest(split.raw(row)))
    except CorruptImage as error:
        return _Thumbnail(_NO_PIXELS, 0, b"", str(error))


def _load(file: Path) -> Thumbnails | None:
    """What is kept in ``file``; None where there is nothing, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            reasons = json.loads(stored["reasons"].tobytes().decode())
            return Thumbnails(
                pixels=stored["pixels"] if len(stored["pixels"]) else None,
                sides=stored["sides"],
                contents=stored["contents"],
                reasons={int(row): str(reason) for row, reason in reasons.items()},
            )
    except DAMAGED:
        return None


def _save(file: Path, made: Thumbnails) -> None:
    """Keep ``made``; without a place to write it is computed again the next time."""
    reasons = np.frombuffer(json.dumps(made.reasons).encode(), dtype=np.uint8)
    pixels = made.pixels if made.pixels is not None else _NO_PIXELS[None][:0]
    try:
        with replacing(file) as partial, partial.open("wb") as out:
            np.savez(
                out,
                pixels=pixels,
                sides=made.sides,
                contents=made.contents,
                reasons=reasons,
            )
    except OSError:
        return


def groups_key(images: Thumbnails) -> str:
    """Names the groups of ``images``: equal for equal contents, whatever split they stand in."""
    digest = hashlib.sha256(f"groups {_FORMAT} {images.pixels is not None}".encode())
    digest.update(images.contents.tobytes())
    digest.update(images.sides.tobytes())
    return digest.hexdigest()[:32]
