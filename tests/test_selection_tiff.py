"""TIFFs of satellites and microscopes are read rightly, or called what they are."""

from __future__ import annotations

import logging
import struct

import numpy as np
import numpy.typing as npt
import pytest

from selection.sources.images import CorruptImage, decode

pytestmark = pytest.mark.journey

RGB, GREY = 2, 1  # photometric interpretations


def tiff(
    pixels: npt.NDArray[np.generic],
    *,
    photometric: int = GREY,
    planes: bool = False,
    order: str = "<",
) -> bytes:
    """An uncompressed TIFF of ``pixels`` (h, w, channels), one strip for all or for each plane."""
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    data = (stored.transpose(2, 0, 1) if planes else stored).tobytes()
    strips = channels if planes else 1
    size = len(data) // strips
    kinds = {"u": 1, "i": 2, "f": 3}
    tags: list[tuple[int, str, list[int]]] = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [pixels.itemsize * 8] * channels),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (273, "I", [size * strip for strip in range(strips)]),
        (277, "H", [channels]),
        (278, "I", [height]),
        (279, "I", [size] * strips),
        (284, "H", [2 if planes else 1]),
        (338, "H", [0] * (channels - (3 if photometric == RGB else 1))),
        (339, "H", [kinds[pixels.dtype.kind]] * channels),
    ]
    tags = [tag for tag in tags if tag[2]]
    after = 8 + 2 + 12 * len(tags) + 4
    lengths = [struct.calcsize(kind) * len(values) for _, kind, values in tags]
    start = after + sum(length for length in lengths if length > 4)
    entries, extra = b"", b""
    for tag, kind, values in tags:
        placed = [start + value for value in values] if tag == 273 else values
        raw = struct.pack(f"{order}{len(placed)}{kind}", *placed)
        if len(raw) > 4:
            extra += raw
            raw = struct.pack(f"{order}I", after + len(extra) - len(raw))
        number = {"H": 3, "I": 4}[kind]
        entries += struct.pack(f"{order}HHI", tag, number, len(placed)) + raw.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + extra + data


def pixels(channels: int, kind: str) -> npt.NDArray[np.generic]:
    values = np.random.default_rng(3).random((9, 7, channels))
    return values.astype(kind) if kind[0] == "f" else (values * 250).astype(kind)


@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_in_planes_and_of_16_bits_are_read(order: str) -> None:
    rgb = pixels(3, "u1")
    for planes in (False, True):
        raw = tiff(rgb, photometric=RGB, planes=planes, order=order)
        assert np.array_equal(np.asarray(decode(raw)), rgb)
    with_infrared = tiff(pixels(4, "u1"), photometric=RGB, order=order)
    assert np.array_equal(np.asarray(decode(with_infrared)), pixels(4, "u1")[..., :3])
    deep = tiff((rgb.astype("u2") * 257).astype("u2"), photometric=RGB, order=order)
    assert np.array_equal(np.asarray(decode(deep)), rgb)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("channels", "kind", "photometric", "planes", "words"),
    [
        (13, "u2", GREY, False, "13 channels, whole numbers of 16 bits"),  # Sentinel-2
        (13, "u2", GREY, True, "13 channels, in planes, whole numbers of 16 bits"),
        (3, "u2", RGB, True, "3 channels, in planes, whole numbers of 16 bits"),  # GDAL
        (4, "u2", RGB, True, "4 channels, in planes, whole numbers of 16 bits"),
        (5, "u1", GREY, False, "5 channels, whole numbers of 8 bits"),
        (3, "f4", RGB, False, "3 channels, floating point of 32 bits"),
        (1, "f8", GREY, False, "1 channel, floating point of 64 bits"),
    ],
)
def test_a_tiff_that_is_not_read_is_called_what_it_is(
    channels: int,
    kind: str,
    photometric: int,
    planes: bool,
    words: str,
    order: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raw = tiff(pixels(channels, kind), photometric=photometric, planes=planes, order=order)
    with caplog.at_level(logging.WARNING), pytest.raises(CorruptImage) as caught:
        decode(raw)
    assert str(caught.value).startswith(f"a TIFF of {words}, which is not read")
    assert not caplog.records  # Pillow's own line for each file


def test_an_image_without_a_finite_value_says_so() -> None:
    raw = tiff(np.full((4, 4, 1), np.nan, np.float32))
    with pytest.raises(CorruptImage, match="no finite pixel values"):
        decode(raw)
