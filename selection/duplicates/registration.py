"""Lay one thumbnail over another, as a crop or a stretch moves it, and say how alike they are.

Shapes: M pairs, S pixels of a side.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

CHUNK = 256  # pairs at once: about 150 MB
COARSE = 16  # pixels of a side for the first steps
PROMISING = 0.8  # correlation at the coarse size below which a pair is not refined
COARSE_STEPS, FINE_STEPS = 4, 3
# at most so much of the side is cut off: log-free scale and shift, for x and for y
LIMITS = np.array([0.12, 0.1, 0.12, 0.1], dtype=np.float32)
LARGEST_STEP = 0.05


def correlations(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> Array:
    """(M,) the correlation of each pair of thumbnails (M, 3, S, S) after the first is registered.

    The first is stretched by up to 12 % and moved by up to 10 % of its side, each direction on its
    own, until it lies over the second (Lucas and Kanade, 1981: Gauss-Newton steps on brightness,
    here with gain and offset). 1 is the same picture, whatever its brightness and contrast; a
    thumbnail of one colour has correlation 0 with all.
    """
    parts = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(first), CHUNK):
        chunk = slice(start, start + CHUNK)
        parts.append(_correlations(first[chunk].astype("f4"), second[chunk].astype("f4")))
    return np.concatenate(parts)


def _correlations(first: Array, second: Array) -> Array:
    side = first.shape[-1]
    small_first, small_second = shrink(first, COARSE), shrink(second, COARSE)
    warp = np.zeros((len(first), 4), dtype=np.float32)
    warp = _register(
        small_first.mean(1),
        small_second.mean(1),
        warp,
        COARSE_STEPS,
    )
    result = _correlation_of(small_first, small_second, warp)
    promising = np.flatnonzero(result > PROMISING)
    if len(promising) and side > COARSE:
        first, second = first[promising], second[promising]
        warp = _register(
            first.mean(1),
            second.mean(1),
            warp[promising],
            FINE_STEPS,
        )
        result[promising] = _correlation_of(first, second, warp)
    return result


def shrink(images: Array, side: int) -> Array:
    """Images (M, 3, S, S) at (M, 3, side, side), by means; S is a multiple of ``side``."""
    count, channels, full, _ = images.shape
    blocks = images.reshape(
        count,
        channels,
        side,
        full // side,
        side,
        full // side,
    )
    means: Array = blocks.mean(axis=(3, 5))
    return means


def _register(
    first: Array,
    second: Array,
    warp: Array,
    steps: int,
) -> Array:
    """The warps (M, 4) that lay the grey ``first`` (M, S, S) over ``second``, from ``warp`` on."""
    count, side, _ = first.shape
    places = _centred(side)
    ridge = np.diag(np.array([100, 100, 100, 100, 0.01, 0.01], dtype=np.float32))
    for _ in range(steps):
        moved, inside = _warped(first, warp)
        along_y, along_x = np.gradient(moved, axis=1) * side, np.gradient(moved, axis=2) * side
        columns = [
            along_x * places[None, None, :],
            along_x,
            along_y * places[None, :, None],
            along_y,
            moved,
            np.ones_like(moved),
        ]
        design = (np.stack(columns, axis=-1) * inside[..., None]).reshape(count, -1, 6)
        transposed = design.transpose(0, 2, 1)
        target = (second * inside).reshape(count, -1, 1)
        solved = np.linalg.solve(transposed @ design + ridge, transposed @ target)[..., 0]
        gain = np.clip(solved[:, 4:5], 0.3, 3)
        step = np.clip(solved[:, :4] / gain, -LARGEST_STEP, LARGEST_STEP)
        warp = np.clip(warp + step, -LIMITS, LIMITS)
    return warp


def _centred(side: int) -> Array:
    """(S,) the pixels' places, from -1/2 to 1/2 of the side."""
    return ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)


def _warped(images: Array, warp: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Grey images (M, S, S) under ``warp``, and which pixels (M, S, S) it takes from inside."""
    side = images.shape[-1]
    places = _centred(side)
    across = ((1 + warp[:, 0:1]) * places + warp[:, 1:2]) * side + (side - 1) / 2  # (M, S)
    down = ((1 + warp[:, 2:3]) * places + warp[:, 3:4]) * side + (side - 1) / 2
    rows = _interpolated(images, down)
    moved = _interpolated(rows.transpose(0, 2, 1), across).transpose(0, 2, 1)
    inside = _is_inside(down, side)[:, :, None] & _is_inside(across, side)[:, None, :]
    return moved, inside


def _interpolated(images: Array, places: Array) -> Array:
    """The rows (M, S, S) of ``images`` at ``places`` (M, S), linearly between the nearest two."""
    clipped = np.clip(places, 0, images.shape[1] - 1.0001)
    lower = np.floor(clipped).astype(np.int64)
    share = (clipped - lower)[..., None].astype(np.float32)
    pairs = np.arange(len(images))[:, None]
    between: Array = images[pairs, lower] * (1 - share) + images[pairs, lower + 1] * share
    return between


def _is_inside(places: Array, side: int) -> npt.NDArray[np.bool_]:
    return (places >= -0.01) & (places <= side - 0.99)


def _correlation_of(first: Array, second: Array, warp: Array) -> Array:
    """(M,) over the pixels (M, 3, S, S) that the two have in common, each channel about its mean:
    a cast that all images of a task share makes none alike.
    """
    moved = np.stack([_warped(first[:, channel], warp)[0] for channel in range(3)], axis=1)
    inside = _warped(first[:, 0], warp)[1].astype(np.float32)[:, None]
    count = inside.sum(axis=(2, 3), keepdims=True)
    left = (moved - (moved * inside).sum(axis=(2, 3), keepdims=True) / count) * inside
    right = (second - (second * inside).sum(axis=(2, 3), keepdims=True) / count) * inside
    axes = (1, 2, 3)
    norms = np.sqrt((left**2).sum(axes) * (right**2).sum(axes))
    correlation: Array = (left * right).sum(axes) / np.maximum(norms, 1e-3)
    return correlation
