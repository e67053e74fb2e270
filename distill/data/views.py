"""Seeded views of images: the view v of image i is a pure function of (seed, v, i).

Shapes: B views of a batch, N images of s x s pixels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.batch import View

_DRAWS = 12
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment
_LOG_RATIO = 0.28768207  # log(4 / 3)
_GRAY = (0.299, 0.587, 0.114)  # of red, green, blue


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
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
        """Stable text for the key of stored outputs."""
        settings = [f"{name}={value}" for name, value in sorted(asdict(self).items())]
        return ",".join(settings) + ";2"

    def without_blends(self) -> ImageAugmentation:
        """The same, blending nothing."""
        return replace(self, mix=0.0)

    def render(
        self,
        inputs: Tensor,
        index: Tensor,
        view: Tensor,
        *,
        seed: int,
        size: int,
        partners: Tensor | None = None,
    ) -> View:
        """The views of images, see the function ``render``."""
        return render(
            inputs,
            index,
            view,
            augmentation=self,
            seed=seed,
            size=size,
            partners=partners,
        )


def uniforms(seed: int, view: Tensor, index: Tensor) -> Tensor:
    """(B, 12) float32 in [0, 1) for ``view`` (B,) and ``index`` (B,) int64.

    The same on every device and in any order: a splitmix64 hash of (seed, view, index, column), of
    which 24 bits are kept.
    """
    column = torch.arange(1, _DRAWS + 1, device=index.device)
    of_view = _mix(view + _signed(seed * _GOLDEN))  # (B,)
    state = _mix(of_view ^ index)  # (B,)
    bits = _mix(state[:, None] + column * _signed(_GOLDEN))  # (B, 12)
    return _shift(bits, 40).float() / float(1 << 24)


def render(
    images: Tensor,
    index: Tensor,
    view: Tensor,
    *,
    augmentation: ImageAugmentation,
    seed: int,
    size: int,
    partners: Tensor | None = None,
) -> View:
    """The views ``view`` (B,) of the images ``index`` (B,), each (3, size, size).

    ``images`` (N, 3, s, s) uint8, on any device; the result is on ``index``'s device, and so are
    ``partners``: the rows (P,), ascending, that an image may be blended with. None: all of them.
    """
    draws = uniforms(seed, view, index)  # (B, 12)
    pixels = _augmented(images, index, draws, augmentation, size)  # (B, 3, size, size)
    if not augmentation.mix:
        return View(pixels, torch.zeros_like(index, dtype=torch.bool))
    partner = _partner(
        index,
        draws[:, 8],
        partners,
        len(images),
    )
    partner_draws = uniforms(~seed, view, partner)
    other = _augmented(images, partner, partner_draws, augmentation, size)
    mixed = draws[:, 9] < augmentation.mix  # (B,)
    share = torch.where(mixed, 0.5 * draws[:, 10], 0.0)[:, None, None, None]
    return View(pixels * (1 - share) + other * share, mixed)


def _partner(
    index: Tensor,
    draw: Tensor,
    partners: Tensor | None,
    images: int,
) -> Tensor:
    """(B,) the row that each of ``index`` (B,) is blended with, never the image itself."""
    place = index if partners is None else torch.searchsorted(partners, index)
    count = images if partners is None else len(partners)
    ahead = 1 + (draw * (count - 1)).long().clamp(max=count - 2)
    place = (place + ahead) % count
    return place if partners is None else partners[place]


def _augmented(
    images: Tensor, index: Tensor, draws: Tensor, augmentation: ImageAugmentation, size: int
) -> Tensor:
    source = images[index.to(images.device)].to(index.device).float().div_(255.0)  # (B, 3, s, s)
    pixels = _moved(source, draws, augmentation, size)
    if augmentation.colour:
        pixels = _coloured(pixels, draws[:, 5:8], augmentation.colour)
    return pixels


class _Window(NamedTuple):
    """The part of each image that is shown, (B,) each, in units of half the image.

    A negative width exchanges left and right.
    """

    width: Tensor
    height: Tensor
    across: Tensor  # of the centre
    down: Tensor


def _moved(
    source: Tensor,
    draws: Tensor,
    augmentation: ImageAugmentation,
    size: int,
) -> Tensor:
    """Crop, flip and resize as one bilinear lookup; a whole-pixel shift at the same size is exact.

    (B, 3, s, s) -> (B, 3, size, size).
    """
    count, side = source.shape[0], source.shape[-1]
    window = _window(draws, augmentation, side)
    width = window.width
    if augmentation.flip:
        width = torch.where(draws[:, 4] < 0.5, -width, width)
    zero = torch.zeros_like(width)
    rows = (width, zero, window.across, zero, window.height, window.down)
    theta = torch.stack(rows, dim=1).view(count, 2, 3)
    if side > 2 * size:  # bilinear lookup alone would skip pixels
        source = F.interpolate(
            source,
            size=(2 * size, 2 * size),
            mode="bilinear",
            antialias=True,
        )
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    return F.grid_sample(
        source, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _window(draws: Tensor, augmentation: ImageAugmentation, side: int) -> _Window:
    """The window that ``draws`` (B, 12) choose in images of ``side`` pixels."""
    whole, centre = torch.ones_like(draws[:, 0]), torch.zeros_like(draws[:, 0])
    if augmentation.crop == "shift":
        reach = round(side / 8)
        pixels = (draws[:, :2] * (2 * reach + 1)).floor() - reach  # (B, 2), whole
        shift = pixels * 2 / side
        return _Window(
            whole,
            whole,
            across=shift[:, 0],
            down=shift[:, 1],
        )
    if augmentation.crop == "resize":
        area = augmentation.scale + (1 - augmentation.scale) * draws[:, 0]
        ratio = torch.exp((2 * draws[:, 1] - 1) * _LOG_RATIO)
        width = (area * ratio).sqrt().clamp(max=1)
        height = (area / ratio).sqrt().clamp(max=1)
        across = (2 * draws[:, 2] - 1) * (1 - width)
        down = (2 * draws[:, 3] - 1) * (1 - height)
        return _Window(width, height, across, down)
    return _Window(whole, whole, centre, centre)


def _coloured(pixels: Tensor, draws: Tensor, strength: float) -> Tensor:
    """``pixels`` (B, 3, h, w) with brightness, contrast and saturation changed by ``draws``."""
    factors = (1 + strength * (2 * draws - 1))[:, :, None, None, None]  # (B, 3, 1, 1, 1)
    brightness, contrast, saturation = factors.unbind(dim=1)  # (B, 1, 1, 1) each
    pixels = pixels * brightness
    weights = pixels.new_tensor(_GRAY)[:, None, None]  # (3, 1, 1)
    gray = (pixels * weights).sum(dim=1, keepdim=True)  # (B, 1, h, w)
    mean = gray.mean(dim=(2, 3), keepdim=True)
    pixels = torch.lerp(gray, pixels, saturation.expand_as(pixels))
    pixels = torch.lerp(mean.expand_as(pixels), pixels, contrast.expand_as(pixels))
    return pixels.clamp_(0, 1)


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
