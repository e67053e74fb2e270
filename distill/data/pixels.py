"""How an image is packed for training: a square of pixels."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from distill.data.samples import Bytes, Packing

if TYPE_CHECKING:
    from PIL.Image import Image

    from selection.task import Split


def pixel_packing(size: int) -> Packing:
    """Images as (3, size, size) uint8: shorter side resized, centre-cropped, see ``square``."""
    return Packing(
        file="pixels.u8",
        dtype="uint8",
        shape=(3, size, size),
        key=(size, "bilinear-centre-2"),
        pack=partial(square, size=size),
        nouns="images",
    )


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
            sides.append(min(split.decode(split.raw(int(row))).size))
        except ValueError:
            continue
    return int(min(np.median(sides), 2 * size)) if sides else size
