"""Decode one image: encoded bytes to RGB pixels, or ``CorruptImage`` for what is no image."""

from __future__ import annotations

import hashlib
import io
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

MAX_PIXELS = 178_956_970  # the size at which Pillow too takes an image for a decompression bomb
MAX_BYTES = 256 * 2**20
# pixels of the shorter side: above the input of nearly every teacher, 500 photographs fit in memory
PROBE_SIDE = 512

# Raster formats only. Pillow's EPS reader would start Ghostscript on a stranger's program, and
# nobody photographs in it.
_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "ICO",
    "TGA",
    "PCX",
    "SGI",
    "QOI",
)
_LARGE_PIXELS = 16_000_000
# what Pillow's readers raise for a file of another format
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, KeyError, EOFError)
# large images are decoded in turn, so that threads do not add up their memory
_large_image_lock = threading.Lock()

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class CorruptImage(ValueError):
    """These bytes are no image that can be used; the message says why.

    The callers decide what follows: a probe draws another image (``selection.probe``), a training
    run leaves the image out (``distill.data.pixels``), ``distill.predict`` reports it.
    """


def image_digest(encoded: bytes) -> bytes:
    """16 bytes that identify an image by its content: the first half of its file's sha256.

    Nothing is decoded.
    """
    return hashlib.sha256(encoded).digest()[:16]


def as_ppm(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Decoded pixels (H, W, 3) as the bytes of a PPM file, lossless."""
    height, width, _ = pixels.shape
    return f"P6 {width} {height} 255\n".encode() + np.ascontiguousarray(pixels).tobytes()


def decode(raw: bytes, *, shorter: int | None = None) -> Image.Image:
    """The image in ``raw`` as RGB, upright, its shorter side at most ``shorter`` pixels.

    The format follows from the content, not from a file name. Of an animation the first frame is
    taken; transparent pixels are shown on white; 16-bit gray keeps its high byte; floating point is
    stretched to 0..255, from [0, 1] if all values lie in it, else from its own range; EXIF
    orientation is applied. A JPEG is first reduced while it is decoded (by 2, 4 or 8), then every
    image is resized bicubically with antialiasing, so the same bytes always give the same pixels.
    Raises ``CorruptImage`` for bytes that are no image, are truncated, have more than
    ``MAX_PIXELS`` pixels or cannot be shown as RGB.
    """
    try:
        image = _open(raw)
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise CorruptImage(
                f"{image.width} x {image.height} pixels, more than {MAX_PIXELS // 10**6} million"
            )
        if pixels > _LARGE_PIXELS:
            with _large_image_lock:
                return _pixels(image, shorter)
        return _pixels(image, shorter)
    except CorruptImage:
        raise
    except Exception as error:  # on hostile bytes Pillow's readers raise nearly anything
        raise CorruptImage(str(error) or type(error).__name__) from error


def _open(raw: bytes) -> Image.Image:
    """``Image.open`` for ``_FORMATS`` only, without its size check, which warns by global state."""
    Image.init()
    reason = "no image format that is known here" if raw else "empty file"
    for name in _FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        # a text in place of True says that the codec is missing
        if accept is not None and accept(raw[:16]) is not True:
            continue
        try:
            opened: Image.Image = factory(io.BytesIO(raw), "")
            return opened
        except _NOT_THIS_FORMAT as error:
            reason = f"damaged {name}: {error}" if accept is not None else reason
    raise CorruptImage(reason)


def _pixels(image: Any, shorter: int | None) -> Image.Image:
    if shorter is not None:
        image.draft("RGB", (shorter, shorter))
    image.load()
    try:
        turn = _UPRIGHT.get(image.getexif().get(0x0112))
    except Exception:  # noqa: BLE001 - broken metadata must not cost the picture
        turn = None
    rgb = _rgb(image)
    small = min(rgb.size)
    if shorter is not None and small > shorter:
        width = max(1, round(rgb.width * shorter / small))
        height = max(1, round(rgb.height * shorter / small))
        rgb = rgb.resize((width, height), Image.Resampling.BICUBIC)
    return rgb if turn is None else rgb.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, (255, 255, 255))
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Gray (h, w) of 16 or 32 bits, or floating point, to uint8."""
    low = float(np.nanmin(values))
    high = float(np.nanmax(values))
    is_whole = np.issubdtype(values.dtype, np.integer)
    if is_whole and low >= 0 and high <= 65_535:
        return (values.astype(np.int64) >> 8).astype(np.uint8)
    if not np.isfinite(low + high):
        raise CorruptImage("infinite or no finite pixel values")
    if not is_whole and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    finite = np.nan_to_num(values.astype(np.float64), nan=low)
    shares = (finite - low) / max(high - low, 1e-12)
    return np.rint(255 * shares).astype(np.uint8)
