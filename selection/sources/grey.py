"""Which values of deep images are black and white: one scale for all images of a task."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BITS = (8, 10, 12, 14, 16)  # of cameras' converters
BRIGHT = 0.999  # share of an image's pixels that is not above its brightest: dead pixels are


class Extent(NamedTuple):
    """The values of one deep image: of whole numbers or not, lowest, highest, and brightest."""

    whole: bool
    low: float
    high: float
    bright: float  # the quantile ``BRIGHT``


@dataclass(frozen=True)
class GreyScale:
    """The values that become 0 and 255; between them it is linear, beyond them clipped.

    low, high  black and white. ``high`` is 2 ** bits for unsigned whole numbers of 8 to 14 bits,
               whose lower bits are cut off.
    """

    low: float
    high: float
    whole: bool

    def levels(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """``values`` of any shape as uint8; what is not a number is black."""
        scale = (256 if self.whole else 255) / max(self.high - self.low, 1e-12)
        shares = (np.nan_to_num(values.astype(np.float64), nan=self.low) - self.low) * scale
        rounded = np.floor(shares) if self.whole else np.rint(shares)
        return np.clip(rounded, 0, 255).astype(np.uint8)

    def as_config(self) -> list[float]:
        """What a student's ``config.json`` holds of it."""
        return [self.low, self.high, float(self.whole)]

    @classmethod
    def from_config(cls, stored: object) -> GreyScale | None:
        """The scale of ``as_config``; None where there is none, or it makes no sense."""
        if not isinstance(stored, list) or len(stored) != 3:
            return None
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in stored):
            return None
        low, high, whole = stored
        return cls(float(low), float(high), bool(whole)) if low < high else None

    @property
    def key(self) -> bytes:
        """What the digest of an image carries beside its bytes."""
        return hashlib.sha256(f"grey scale {self.low} {self.high} {self.whole}".encode()).digest()


def extent_of(values: npt.NDArray[Any]) -> Extent | None:
    """The values of an image; None where none is finite."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    bright = np.quantile(finite, BRIGHT, method="higher")
    whole = bool(np.issubdtype(values.dtype, np.integer))
    return Extent(
        whole,
        float(finite.min()),
        float(finite.max()),
        float(bright),
    )


def grey_scale(extents: Sequence[Extent]) -> GreyScale | None:
    """The scale for a task with images of these extents; None: that of full 16 bits, or [0, 1].

    Unsigned whole numbers of up to 16 bits: white is the smallest of 8, 10, 12, 14 and 16 bits that
    holds all but a thousandth of each image. Everything else: from the lowest value of all images
    to the highest.
    """
    if not extents:
        return None
    low, high = min(one.low for one in extents), max(one.high for one in extents)
    whole = all(one.whole for one in extents)
    if whole and low >= 0 and high <= 65_535:
        needed = int(max(one.bright for one in extents)).bit_length()
        bits = next(bits for bits in BITS if bits >= needed)
        return None if bits == 16 else GreyScale(0.0, float(2**bits), whole=True)
    if not whole and low >= 0 and high <= 1:
        return None
    return GreyScale(low, high, whole=False)
