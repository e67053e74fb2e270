"""A cell of an image column as encoded bytes: it holds bytes, base64, pixels or a path."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selection.sources.images import CorruptImage, as_ppm
from selection.sources.layouts.folder import Files
from selection.sources.split import class_name

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DATA_URI = re.compile(r"data:[\w/+.;=-]*;base64,", re.IGNORECASE)
# how JPEG, PNG, GIF, WebP, BMP, TIFF, JPEG 2000 and AVIF begin in base64
_BASE64_STARTS = (
    "/9j/",
    "iVBORw0KGgo",
    "R0lGOD",
    "UklGR",
    "Qk",
    "SUkqA",
    "TU0AK",
    "AAAADGpQ",
    "AAAAIGZ0eXBh",
)
_SHORTEST_BASE64 = 40  # letters; a path that begins like one is shorter or ends in a suffix


def is_address(text: str) -> bool:
    """Whether ``text`` is an address of a network (``https://``, ``s3://``), not a path."""
    return bool(_ADDRESS.match(text)) and not text.lower().startswith("file://")


def is_encoded_text(text: str) -> bool:
    """Whether ``text`` is an image in base64, as a data URI or bare."""
    if _DATA_URI.match(text):
        return True
    starts = text.startswith(_BASE64_STARTS) and len(text) >= _SHORTEST_BASE64
    return starts and not os.path.splitext(text[-8:])[1]


def encoded_image(value: Any, folder: Path) -> bytes:
    """The encoded image in a cell; paths are relative to ``folder``.

    Raises ``CorruptImage`` where the cell holds none; the message names the path of a file that is
    not there. Nothing is fetched.
    """
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, Mapping):
        inner = value.get("bytes")
        return encoded_image(inner if inner else value.get("path"), folder)
    if isinstance(value, str) and value:
        return _decode_text(value) if is_encoded_text(value) else _read_file(value, folder)
    if isinstance(value, Sequence) and len(value):
        return _from_pixels(value)
    raise CorruptImage("the row holds no image bytes")


def _decode_text(text: str) -> bytes:
    try:
        return base64.b64decode(_DATA_URI.sub("", text, count=1), validate=False)
    except (binascii.Error, ValueError) as error:
        raise CorruptImage(f"no valid base64: {error}") from error


def _read_file(path: str, folder: Path) -> bytes:
    if is_address(path):
        raise CorruptImage(f"{class_name(path)} is an address; nothing is downloaded")
    place = path.replace("\\", "/")
    if "\0" in place or not os.path.isfile(os.path.join(folder, place)):
        raise CorruptImage(f"no file {class_name(path)!r} in {folder}")
    return Files(folder, [place]).raw(0)


def _from_pixels(value: Sequence[Any]) -> bytes:
    """Nested lists: rows of gray (h, w) or colour (h, w, 3) or (3, h, w) pixels, or plain bytes."""
    try:
        pixels = np.asarray(value)
        if pixels.ndim == 1 and pixels.dtype.kind in "iu":
            return bytes(pixels.astype(np.int64).tolist())
        if pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
            raise ValueError("pixels are expected as whole numbers from 0 to 255")
    except (ValueError, TypeError) as error:
        raise CorruptImage(f"a list that is no image: {error}") from error
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise CorruptImage(f"a list of shape {pixels.shape}; expected (h, w) or (h, w, 3)")
    return as_ppm(pixels.astype(np.uint8))
