"""Decode one image: encoded bytes to RGB pixels, or ``CorruptImage`` for what is no image."""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from selection.kinds.kind import CorruptSample
from selection.sources.foreign import is_heif, raw_photograph, unusual_tiff, what_it_is
from selection.sources.grey import GreyScale

T = TypeVar("T")

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
    "HEIF",  # where pillow-heif is installed
    "ICO",
    "TGA",
    "PCX",
    "SGI",
    "QOI",
)
_LARGE_PIXELS = 16_000_000
# raw modes of 16-bit colours, which Pillow reduces to the high byte -> those that read the low byte
_NATIVE, _SWAPPED = (";16L", ";16B") if sys.byteorder == "little" else (";16B", ";16L")
_LOW_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": _SWAPPED}
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


class CorruptImage(CorruptSample):
    """These bytes are no image that can be used; the message says why.

    The callers decide what follows: a probe draws another image (``selection.probe``), a training
    run leaves the image out (``distill.data.samples``), ``distill.predict`` reports it.
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


def decode(
    raw: bytes,
    *,
    shorter: int | None = None,
    grey: GreyScale | None = None,
) -> Image.Image:
    """The image in ``raw`` as RGB, upright, its shorter side at most ``shorter`` pixels.

    The format follows from the content, not from a file name. Of an animation the first frame is
    taken; transparent pixels are shown on white; EXIF orientation is applied. Images of more than
    8 bits are shown on the scale ``grey`` of their task (``deep_values``); without one, 16 bits
    keep their high byte, and floating point and other whole numbers are stretched to 0..255, from
    [0, 1] if all values lie in it, else from the image's own range. A JPEG is first reduced while
    it is decoded (by 2, 4 or 8), then every image is resized bicubically with antialiasing, so the
    same bytes always give the same pixels. Raises ``CorruptImage`` for bytes that are no image, are
    truncated, have more than ``MAX_PIXELS`` pixels or cannot be shown as RGB.
    """

    def as_pixels(image: Any) -> Image.Image:
        return _pixels(image, shorter, _scaled(raw, image, grey) if grey else None)

    return _with_open(raw, as_pixels)


def deep_values(raw: bytes) -> npt.NDArray[Any] | None:
    """The values (h, w) or (h, w, channels) of an image of more than 8 bits a channel.

    None for an image of 8 bits, of which nothing but the header is read. Raises ``CorruptImage`` as
    ``decode`` does.
    """
    return _with_open(raw, lambda image: _values(raw, image))


def _with_open(raw: bytes, read: Callable[[Any], T]) -> T:
    """What ``read`` makes of the opened image; every failure is a ``CorruptImage``."""
    try:
        image = _open(raw)
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise CorruptImage(
                f"{image.width} x {image.height} pixels, more than {MAX_PIXELS // 10**6} million"
            )
        if pixels > _LARGE_PIXELS:
            with _large_image_lock:
                return read(image)
        return read(image)
    except CorruptImage:
        raise
    except Exception as error:  # on hostile bytes Pillow's readers raise nearly anything
        raise CorruptImage(_reason(error)) from error


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return f"cut off, the file is not complete ({text})"
    return f"damaged ({text})"


def _open(raw: bytes) -> Image.Image:
    """``Image.open`` for ``_FORMATS`` only, without its size check, which warns by global state."""
    Image.init()
    if not raw:
        raise CorruptImage("an empty file")
    if is_heif(raw):
        _register_heif()
    if words := raw_photograph(raw):
        raise CorruptImage(words)
    tiff_words, is_unread = unusual_tiff(raw)
    if is_unread:  # of planes of 16 bits Pillow makes noise
        raise CorruptImage(tiff_words)
    reason = ""
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
            if name == "TIFF" and str(error) == "unknown pixel mode":
                reason = tiff_words
            elif accept is not None:
                reason = f"damaged {name}: {error}"
    raise CorruptImage(reason or what_it_is(raw) or "no image format that is known here")


def _register_heif() -> None:
    """Make Pillow read HEIC, where pillow-heif is installed; our bounds hold for it as for all."""
    if "HEIF" not in Image.OPEN:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            return  # ``what_it_is`` says what to install


def _values(raw: bytes, image: Any) -> npt.NDArray[Any] | None:
    if image.mode.startswith(("I", "F")):
        image.load()
        return np.asarray(image)
    return _deep_colours(raw, image)


def _deep_colours(raw: bytes, image: Any) -> npt.NDArray[np.uint16] | None:
    """(h, w, channels) of 16-bit colours, which Pillow itself reduces to 8 bits; else None."""
    modes = {_raw_mode(tile) for tile in image.tile}
    mode = modes.pop() if len(modes) == 1 else ""
    ending = mode[-4:]
    if mode == "LA;16B":
        return _read_as(raw, "RGBA", "RGBA").view(">u2").astype(np.uint16)
    if ending not in _LOW_BYTE or mode[:-4] not in ("RGB", "RGBA"):
        return None
    high = _read_as(raw, mode[:-4], mode).astype(np.uint16)
    low = _read_as(raw, mode[:-4], mode[:-4] + _LOW_BYTE[ending])
    joined: npt.NDArray[np.uint16] = high * np.uint16(256) + low
    return joined


def _raw_mode(tile: Any) -> str:
    arguments = tile[3]
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _read_as(raw: bytes, mode: str, raw_mode: str) -> npt.NDArray[np.uint8]:
    """The bytes (h, w, channels) of an image whose file is read in another raw mode."""
    image: Any = _open(raw)
    image._mode = mode
    tiles = []
    for codec, box, offset, arguments in image.tile:
        rest = arguments[1:] if isinstance(arguments, tuple) else ()
        new = (raw_mode, *rest) if isinstance(arguments, tuple) else raw_mode
        tiles.append((codec, box, offset, new))
    image.tile = [type(old)(*new) for old, new in zip(image.tile, tiles, strict=True)]
    image.load()
    return np.asarray(image)


def _scaled(raw: bytes, image: Any, grey: GreyScale) -> Image.Image | None:
    """The deep image on the scale ``grey`` as RGB; None for an image of 8 bits."""
    values = _values(raw, image)
    if values is None:
        return None
    if values.ndim == 2:
        return Image.fromarray(grey.levels(values)).convert("RGB")
    shown = grey.levels(values)
    if values.shape[2] in (2, 4):  # opacity always has all its bits
        shown[..., -1] = (values[..., -1] >> 8).astype(np.uint8)
    modes = {2: "LA", 3: "RGB", 4: "RGBA"}
    return _rgb(Image.frombytes(modes[values.shape[2]], shown.shape[1::-1], shown.tobytes()))


def _pixels(image: Any, shorter: int | None, scaled: Image.Image | None) -> Image.Image:
    if shorter is not None and scaled is None:
        image.draft("RGB", (shorter, shorter))
    image.load()
    try:
        turn = _UPRIGHT.get(image.getexif().get(0x0112))
    except Exception:  # noqa: BLE001 - broken metadata must not cost the picture
        turn = None
    rgb = _rgb(image) if scaled is None else scaled
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
    if not np.isfinite(values).any():
        raise CorruptImage("no finite pixel values")
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
