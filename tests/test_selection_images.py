"""Whatever bytes come, they are an upright RGB image or ``CorruptImage``."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from selection.sources.images import CorruptImage, decode


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def picture(width: int = 8, height: int = 6) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def header_of_png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + b"\0\0\1\0IDAT"
    )


@pytest.mark.journey
@settings(deadline=None, max_examples=200)
@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]))
def test_damaged_bytes_are_an_image_or_corrupt(data: st.DataObject, kind: str) -> None:
    raw = bytearray(encoded(picture(), kind))
    for position in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[position] ^= data.draw(st.integers(1, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    with contextlib.suppress(CorruptImage):
        assert decode(bytes(raw), shorter=16).mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encoded(picture(), kind, **options)), picture())


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"]
)
def test_every_mode_becomes_rgb_of_the_same_size(mode: str) -> None:
    if mode == "YCbCr" and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13 cannot read the YCbCr TIFF that it writes")
    gray = picture().convert("L")
    image = (
        Image.fromarray(np.asarray(gray).astype(np.uint16))
        if mode == "I;16"
        else picture().convert(mode)
    )
    out = decode(encoded(image, "TIFF"))
    assert (out.mode, out.size) == ("RGB", (8, 6))


def test_sixteen_bits_keep_the_high_byte() -> None:
    values = np.array([[0, 255, 256, 0x8000, 65_535]], dtype=np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values))))[0, :, 0].tolist() == [
        0,
        0,
        1,
        128,
        255,
    ]


def test_floats_of_one_stretch_to_255_and_infinity_is_corrupt() -> None:
    values = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    assert np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 1].tolist() == [
        0,
        128,
        255,
    ]
    with pytest.raises(CorruptImage, match="finite"):
        decode(encoded(Image.fromarray(np.array([[0.0, np.inf]], dtype=np.float32)), "TIFF"))


def test_transparency_lies_on_white() -> None:
    layer = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    layer.putpixel((1, 0), (200, 0, 0, 0))
    assert np.asarray(decode(encoded(layer))).tolist() == [[[200, 0, 0], [255, 255, 255]]]
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((0, 0), 0)
    assert np.asarray(decode(encoded(palette, transparency=0))).tolist() == [
        [[255, 255, 255], [10, 20, 30]]
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded(picture(), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(raw))).convert("RGB")
    assert np.array_equal(decode(raw), expected)
    assert decode(raw).size == ((8, 6) if orientation < 5 else (6, 8))


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(raw).getpixel((0, 0)) == (250, 0, 0)


@pytest.mark.journey
@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2000, 1000), (256, 128)),
        ((300, 900), (128, 384)),
        ((1, 1000), (1, 1000)),
        ((90, 70), (90, 70)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_large_images_shrink_and_small_ones_stay(
    kind: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    raw = encoded(picture(*size), kind)
    assert decode(raw, shorter=128).size == expected
    assert decode(raw, shorter=128).tobytes() == decode(raw, shorter=128).tobytes()


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(CorruptImage, match="30000 x 30000 pixels"):
        decode(
            header_of_png(30_000, 30_000)
        )  # there is no pixel behind the header: nothing was decoded
    raw = bytearray(encoded(picture(), "JPEG"))
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = struct.pack(">HH", 30_000, 30_000)
    with pytest.raises(CorruptImage, match="30000 x 30000 pixels"):
        decode(bytes(raw), shorter=64)


def test_between_warning_and_limit_nothing_warns() -> None:
    with pytest.raises(
        CorruptImage
    ) as caught:  # 12,000 x 9,000: a phone's photograph, here without its pixels
        decode(header_of_png(12_000, 9_000))
    assert "pixels" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_corrupt(raw: bytes) -> None:
    with pytest.raises(CorruptImage):
        decode(raw)


def test_a_program_is_never_started_for_an_image() -> None:
    with pytest.raises(CorruptImage, match="no image format"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
