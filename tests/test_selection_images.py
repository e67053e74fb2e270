"""Whatever bytes come, they are an upright RGB image or ``CorruptImage``."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from selection.sources.foreign import is_heif
from selection.sources.grey import Extent, GreyScale, extent_of, grey_scale
from selection.sources.images import CorruptImage, decode, deep_values


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
    with pytest.raises(CorruptImage, match="PostScript"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def deep_png(values: np.ndarray, kind: int) -> bytes:
    """A 16-bit PNG of ``values`` (h, w, channels), of PNG's colour type ``kind``."""
    height, width, _ = values.shape
    rows = values.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def scale_for(*images: np.ndarray) -> GreyScale | None:
    extents = [extent_of(values) for values in images]
    return grey_scale([extent for extent in extents if extent is not None])


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_the_bits_that_a_camera_uses_fill_the_scale(bits: int) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) << (bits - 8)
    raw = encoded(Image.fromarray(values))
    shown = np.asarray(decode(raw, grey=scale_for(values)))[..., 0]
    assert np.array_equal(shown, np.arange(256).reshape(16, 16))


def test_full_sixteen_bits_and_unit_floats_stay_as_they_were() -> None:
    assert scale_for(np.array([[0, 40_000]], dtype=np.uint16)) is None
    assert scale_for(np.array([[0.0, 1.0]], dtype=np.float32)) is None
    assert grey_scale([]) is None


def test_dead_pixels_do_not_darken_a_task() -> None:
    values = np.full((64, 64), 3000, dtype=np.uint16)
    values[0, :3] = 65_535
    assert scale_for(values) == GreyScale(0.0, 4096.0, whole=True)
    assert decode(encoded(Image.fromarray(values)), grey=scale_for(values)).getpixel((0, 0)) == (
        255,
        255,
        255,
    )


def test_a_dark_image_of_a_task_stays_dark() -> None:
    dark, bright = np.full((4, 4), 100, np.uint16), np.full((4, 4), 4000, np.uint16)
    scale = scale_for(dark, bright)
    levels = [
        decode(encoded(Image.fromarray(v)), grey=scale).getpixel((0, 0)) for v in (dark, bright)
    ]
    assert levels == [(6, 6, 6), (250, 250, 250)]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_signed_and_floating_values_share_the_range_of_the_task(dtype: type) -> None:
    """Hounsfield units: air is black in every image, though one image holds none."""
    first = np.array([[-1000, 1000]], dtype=dtype)
    second = np.array([[0, 500]], dtype=dtype)
    scale = scale_for(first, second)
    raw = encoded(Image.fromarray(second.astype(np.int32) if dtype == np.int16 else second), "TIFF")
    assert np.asarray(decode(raw, grey=scale))[0, :, 0].tolist() == [128, 191]


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_twelve_bits_of_colour_too(kind: int, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint16) << 4
    if channels != 3:
        values[..., -1] = 65_535  # opaque
    raw = deep_png(values, kind)
    found = deep_values(raw)
    assert found is not None and np.array_equal(found, values)
    colours = values[..., :3] if channels != 2 else np.repeat(values[..., :1], 3, axis=2)
    shown = np.asarray(decode(raw, grey=GreyScale(0.0, 4096.0, whole=True)))
    assert np.array_equal(shown, colours >> 4)


def test_eight_bits_pay_no_heed_to_the_scale() -> None:
    raw = encoded(picture())
    assert deep_values(raw) is None
    assert np.array_equal(decode(raw, grey=GreyScale(0.0, 4096.0, whole=True)), picture())


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_deep_image_is_upright_and_small(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = np.arange(64 * 32, dtype=np.uint16).reshape(32, 64)
    raw = encoded(Image.fromarray(values), "TIFF", exif=exif)
    size = decode(raw, shorter=16, grey=GreyScale(0.0, 4096.0, whole=True)).size
    assert size == ((32, 16) if orientation == 1 else (16, 32))


def test_a_student_keeps_the_scale_and_reads_no_nonsense() -> None:
    scale = GreyScale(0.0, 4096.0, whole=True)
    assert GreyScale.from_config(scale.as_config()) == scale
    for nonsense in (None, [], [1, 2], [2, 1, 0], ["a", 1, 0], [0, float("nan"), 1], {"low": 0}):
        assert GreyScale.from_config(nonsense) is None


def test_the_first_page_of_a_tiff() -> None:
    pages = [Image.new("RGB", (4, 4), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    raw = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert decode(raw).getpixel((0, 0)) == (250, 0, 0)


def test_cmyk_shows_its_colours() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert decode(encoded(red, "TIFF")).getpixel((0, 0)) == (255, 0, 0)
    colour = decode(encoded(red, "JPEG", quality=100)).getpixel((4, 4))
    assert isinstance(colour, tuple) and colour[0] > 250 and max(colour[1:]) < 5


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
DNG, BIG_DNG = (
    struct.pack(f"{order}2sHIHHHI4sI", mark, 42, 8, 1, 0xC612, 1, 4, b"\1\4\0\0", 0)
    for order, mark in (("<", b"II"), (">", b"MM"))
)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty file"),
        (LFS, "Git LFS pointer, not the image: run git lfs pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n  <html lang=en>Sign in</html>", "web page"),
        (b'{"error": "not found"}', "JSON"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "XML"),
        (b'<?xml version="1.0"?><svg xmlns="x"></svg>', "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(20), "video .MP4"),
        (b"\x00\x00\x00\x14ftypqt  " + bytes(20), "video .QuickTime"),
        (b"\x1aE\xdf\xa3" + bytes(40), "video"),
        (b"RIFF\x10\0\0\0AVI LIST" + bytes(40), "video"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(40), "raw file .CR2"),
        (DNG, "raw file .DNG"),
        (BIG_DNG, "raw file .DNG"),
        (b"\x00\x00\x00\x18ftypcrx " + bytes(20), "raw file .CR3"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(20), "raw file .RAF"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM"),
        (b"8BPS\0\1" + bytes(30), "Photoshop"),
        (bytes(5000), "zeros"),
        ("Grüße, kein Bild".encode(), "a text"),
        (b"a" * 65_535 + "ü".encode(), "a text"),  # looked at as far as the middle of a letter
        (bytes(range(1, 256)) * 4, "no image format"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(raw: bytes, words: str) -> None:
    with pytest.raises(CorruptImage, match=words):
        decode(raw)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP"])
def test_a_cut_off_file_says_so(kind: str) -> None:
    raw = encoded(picture(90, 90), kind)
    with pytest.raises(CorruptImage, match=r"cut off|damaged"):
        decode(raw[: len(raw) // 2])


def test_heic_names_the_package_that_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # not installed
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(CorruptImage, match="pip install pillow-heif"):
        decode(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(40))


def test_an_avif_image_is_no_heic_although_it_says_that_it_is_like_one() -> None:
    assert not is_heif(b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf" + bytes(40))
    assert is_heif(b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic" + bytes(40))


def test_heic_is_read_where_the_package_is_there() -> None:
    heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (64, 48), (200, 40, 40))
    buffer = io.BytesIO()
    heif.from_pillow(image).save(buffer, quality=90, exif=exif.tobytes())
    shown = decode(buffer.getvalue(), shorter=24)
    colour = shown.getpixel((5, 5))
    assert isinstance(colour, tuple) and abs(colour[0] - 200) < 12 and colour[1] < 60
    assert shown.size in ((24, 32), (32, 24))
    with pytest.raises(CorruptImage):
        decode(buffer.getvalue()[:200])


def test_values_beyond_sixteen_bits_or_below_nought_are_stretched() -> None:
    assert grey_scale([Extent(True, 0, 65_535, 65_535)]) is None
    assert grey_scale([Extent(True, 0, 65_536, 65_536)]) == GreyScale(0, 65_536, whole=False)
    assert grey_scale([Extent(True, -1, 9, 9)]) == GreyScale(-1, 9, whole=False)
    assert grey_scale([Extent(False, 0.0, 1.0, 1.0)]) is None
    assert grey_scale([Extent(False, -1.0, 1.0, 1.0)]) == GreyScale(-1.0, 1.0, whole=False)
    whole = [Extent(True, 0, 4_096, bright) for bright in (255, 256, 4_095, 4_096)]
    assert [grey_scale([one]) for one in whole] == [
        GreyScale(0.0, float(white), whole=True) for white in (256, 1_024, 4_096, 16_384)
    ]
