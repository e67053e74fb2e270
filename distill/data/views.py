"""Seeded views of images: the augmentation of image i in view v is a pure function of (seed, v,
i).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_DRAWS = 12


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What a view may do to an image.

    crop     ``shift`` (moved by up to an eighth of its size in whole pixels, borders reflected: for
             images of 64 pixels or less), ``resize`` (a random window of ``scale`` to 1 of the
             area, ratio 3/4 to 4/3) or ``none``
    flip     left and right may be exchanged
    colour   brightness, contrast and saturation change by a factor in [1 - colour, 1 + colour]
    mix      the share of images blended half and half or less with a seeded partner. A blend has no
             label, so it counts as unlabelled, and the teachers answer on the blend itself (after
             Beyer et al. 2022, arXiv 2106.05237)
    """

    crop: str = "shift"
    flip: bool = True
    colour: float = 0.2
    scale: float = 0.4
    mix: float = 0.0

    @property
    def key(self) -> str:
        """Stable text for the key of stored answers."""
        return ",".join(f"{name}={value}" for name, value in sorted(asdict(self).items())) + ";2"


class View(NamedTuple):
    """``pixels`` (B, 3, s, s) float32 in [0, 1]; ``mixed`` (B,) bool, which of them are blends."""

    pixels: Tensor
    mixed: Tensor


def uniforms(seed: int, view: Tensor, index: Tensor) -> Tensor:
    """(B, 12) float32 in [0, 1) for ``view`` (B,) and ``index`` (B,) int64: the same on every
    device and in any order.

    A splitmix64 hash of (seed, view, index, column); 24 bits of it are kept.
    """
    column = torch.arange(1, _DRAWS + 1, device=index.device)
    state = _mix(_mix(view + _signed(seed * 0x9E3779B97F4A7C15)) ^ index)  # (B,)
    bits = _mix(state[:, None] + column * _signed(0x9E3779B97F4A7C15))  # (B, 12)
    return _shift(bits, 40).float() / float(1 << 24)


def render(
    images: Tensor,
    index: Tensor,
    view: Tensor,
    *,
    augmentation: Augmentation,
    seed: int,
    size: int,
    partners: Tensor | None = None,
) -> View:
    """The views ``view`` (B,) of the images ``index`` (B,), each (3, size, size).

    ``images`` (N, 3, s, s) uint8, on any device; the result is on ``index``'s device, and so are
    ``partners``: the rows (P,), ascending, that an image may be blended with. None: all of them.
    """
    draws = uniforms(seed, view, index)  # (B, 12)
    pixels = _one(images, index, draws, augmentation, size)  # (B, 3, size, size)
    if not augmentation.mix:
        return View(pixels, torch.zeros_like(index, dtype=torch.bool))
    partner = _partner(index, draws[:, 8], partners, len(images))
    other = _one(images, partner, uniforms(~seed, view, partner), augmentation, size)
    mixed = draws[:, 9] < augmentation.mix  # (B,)
    share = torch.where(mixed, 0.5 * draws[:, 10], torch.zeros_like(draws[:, 10]))[
        :, None, None, None
    ]
    return View(pixels * (1 - share) + other * share, mixed)


def _partner(index: Tensor, draw: Tensor, partners: Tensor | None, images: int) -> Tensor:
    """(B,) the row that each of ``index`` (B,) is blended with, never the image itself."""
    place = index if partners is None else torch.searchsorted(partners, index)
    count = images if partners is None else len(partners)
    ahead = 1 + (draw * (count - 1)).long().clamp(max=count - 2)
    place = (place + ahead) % count
    return place if partners is None else partners[place]


def _one(
    images: Tensor, index: Tensor, draws: Tensor, augmentation: Augmentation, size: int
) -> Tensor:
    source = images[index.to(images.device)].to(index.device).float().div_(255.0)  # (B, 3, s, s)
    pixels = _moved(source, draws, augmentation, size)
    return _coloured(pixels, draws[:, 5:8], augmentation.colour) if augmentation.colour else pixels


def _moved(source: Tensor, draws: Tensor, augmentation: Augmentation, size: int) -> Tensor:
    """Crop, flip and resize as one bilinear lookup; a whole-pixel shift at the same size is
    exact.
    """
    b, s = source.shape[0], source.shape[-1]
    width = height = torch.ones(b, device=source.device)  # window as a share of the image
    if augmentation.crop == "shift":
        reach = round(s / 8)
        steps = (draws[:, :2] * (2 * reach + 1)).floor() - reach  # whole pixels
        across, down = steps[:, 0] * 2 / s, steps[:, 1] * 2 / s
    elif augmentation.crop == "resize":
        area = augmentation.scale + (1 - augmentation.scale) * draws[:, 0]
        ratio = torch.exp((2 * draws[:, 1] - 1) * 0.28768207)  # log(4/3)
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        across, down = (2 * draws[:, 2] - 1) * (1 - width), (2 * draws[:, 3] - 1) * (1 - height)
    else:
        across = down = torch.zeros(b, device=source.device)
    if augmentation.flip:
        width = torch.where(draws[:, 4] < 0.5, -width, width)
    zero = torch.zeros_like(width)
    theta = torch.stack(
        [torch.stack([width, zero, across], 1), torch.stack([zero, height, down], 1)], 1
    )  # (B, 2, 3)
    if s > 2 * size:  # bilinear lookup alone would skip pixels
        source = F.interpolate(source, size=(2 * size, 2 * size), mode="bilinear", antialias=True)
    grid = F.affine_grid(theta, [b, 3, size, size], align_corners=False)
    return F.grid_sample(
        source, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _coloured(pixels: Tensor, draws: Tensor, strength: float) -> Tensor:
    factor = (1 + strength * (2 * draws - 1))[:, :, None, None, None]  # (B, 3, 1, 1, 1)
    pixels = pixels * factor[:, 0]
    gray = (pixels * pixels.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(
        1, keepdim=True
    )  # (B, 1, s, s)
    mean = gray.mean(dim=(2, 3), keepdim=True)
    pixels = torch.lerp(gray, pixels, factor[:, 2].expand_as(pixels))  # saturation
    return torch.lerp(mean.expand_as(pixels), pixels, factor[:, 1].expand_as(pixels)).clamp_(0, 1)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _shift(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right of int64 (torch's own keeps the sign)."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def _mix(value: Tensor) -> Tensor:
    value = (value ^ _shift(value, 30)) * _signed(0xBF58476D1CE4E5B9)
    value = (value ^ _shift(value, 27)) * _signed(0x94D049BB133111EB)
    return value ^ _shift(value, 31)
