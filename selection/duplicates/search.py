"""Which images of a task show the same picture: equal ones, and nearly equal ones by faiss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selection.duplicates.linking import kept_groups, linked_groups
from selection.duplicates.registration import correlations, shrink
from selection.duplicates.thumbnails import SIDE, Thumbnails, groups_key, thumbnails
from selection.scores.neighbours import neighbours
from selection.sources.split import Rows, Split

# images of a task that are searched for nearly equal ones; more are compared by content alone
MOST_DECODED = 100_000
NEIGHBOURS = 8  # nearest images by coarse colours that are looked at
COARSE = 8  # pixels of a side at which the nearest are searched
CANDIDATE = 0.7  # cosine at that size below which a pair is not looked at
# Correlation after registration of two images that show one picture; chosen on the data sets of
# benchmarks/speed/duplicates.py, so the detection that it measures is optimistic.
SAME_PICTURE = 0.97
SMALLEST_REGISTERED = 24  # pixels: below, too little is seen of a picture to move it about
# An image whose sixth neighbour is still so near stands in a crowd (digits, shirts, frames of one
# video): there a copy has to be closer by this factor than that neighbour, or all but identical.
CROWD_RANK = 5
CROWDED = 0.86
CROWD_FACTOR = 0.1
IDENTICAL = 0.998
FLAT = 8  # grey levels between which an image of one colour varies

Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Duplicates:
    """What was found in the splits of a task.

    groups      split name -> (n,) int64: equal numbers for images of one picture, -1: no other
    unreadable  split name -> position -> why that image cannot be read
    decoded     whether nearly equal images were searched too
    """

    groups: Mapping[str, Rows]
    unreadable: Mapping[str, Mapping[int, str]]
    decoded: bool


def find_duplicates(splits: Mapping[str, Split]) -> Duplicates:
    """Group the images of all ``splits`` that show the same picture.

    Equal files, equal pixels of small images, and images that correlate by at least 0.97 after
    one is laid over the other: saved again, smaller, a little brighter, with up to a tenth cut off.
    """
    count = sum(map(len, splits.values()))
    decoded = count <= MOST_DECODED
    decoded = decoded and find_spec("faiss") is not None
    parts = {name: thumbnails(split, decoded=decoded) for name, split in splits.items()}
    joined = _joined(list(parts.values()))
    group = kept_groups(groups_key(joined), len(joined.sides), lambda: group_numbers(joined))
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    groups = dict(zip(splits, np.split(group, ends), strict=True))
    unreadable = {name: part.reasons for name, part in parts.items()}
    return Duplicates(groups, unreadable, decoded)


def _joined(parts: list[Thumbnails]) -> Thumbnails:
    decoded = [part.pixels for part in parts if part.pixels is not None]
    empty = np.zeros((0, 3, SIDE, SIDE), dtype=np.uint8)
    everything = all(part.pixels is not None or not len(part.sides) for part in parts)
    return Thumbnails(
        pixels=np.concatenate([empty, *decoded]) if everything else None,
        sides=np.concatenate([part.sides for part in parts]),
        contents=np.concatenate([part.contents for part in parts]),
        reasons={},
    )


def group_numbers(images: Thumbnails) -> Rows:
    """(N,) the group of each image, numbered from 0 in order of appearance; -1: no other image."""

    def pairs(unique: Rows) -> Rows:
        if images.pixels is None:
            return np.zeros((0, 2), dtype=np.int64)
        return near_pairs(images.pixels[unique], images.sides[unique])

    return linked_groups(images.contents, images.sides > 0, pairs)


def near_pairs(pixels: npt.NDArray[np.uint8], sides: npt.NDArray[np.int32]) -> Rows:
    """(P, 2) int64, pairs of thumbnails (N, 3, S, S) that show the same picture.

    Images of one colour are never near: nothing can be told of them.
    """
    spread = np.ptp(pixels.reshape(len(pixels), 3, -1), axis=2).max(axis=1)
    rows = np.flatnonzero(spread >= FLAT)
    if len(rows) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pixels, sides = pixels[rows], sides[rows]
    nearest = neighbours(_coarse(pixels), min(NEIGHBOURS, len(rows) - 1))
    plain = _plain_correlations(pixels, nearest.rows)  # (N, k)
    crowded, reference = _crowds(nearest.similarity, plain)
    one = np.repeat(np.arange(len(rows)), plain.shape[1])
    other, likeness = nearest.rows.reshape(-1), plain.reshape(-1)
    in_crowd = crowded[one] | crowded[other]
    stands_out = (1 - likeness) <= CROWD_FACTOR * (1 - np.maximum(reference[one], reference[other]))
    same = (likeness >= IDENTICAL) | (in_crowd & stands_out & (likeness >= 0.9))
    large = np.maximum(sides[one], sides[other]) >= SMALLEST_REGISTERED
    same |= ~in_crowd & large & (likeness >= SAME_PICTURE)
    undecided = ~same & ~in_crowd & large & (nearest.similarity.reshape(-1) >= CANDIDATE)
    pairs = np.sort(np.column_stack([one, other]), axis=1)
    tried = np.unique(pairs[undecided], axis=0)
    alike = _registered(pixels, sides, tried) >= SAME_PICTURE
    accepted = np.unique(np.concatenate([pairs[same], tried[alike]]), axis=0)
    near: Rows = rows[accepted].astype(np.int64)
    return near


def _coarse(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N, 192) float32: the colours of 8 x 8 places less their mean: light and cast cancel."""
    parts = [
        shrink(pixels[start : start + 4096].astype(np.float32), COARSE)
        for start in range(0, len(pixels), 4096)
    ]
    colours = np.concatenate(parts)
    colours -= colours.mean(axis=(2, 3), keepdims=True)
    return colours.reshape(len(pixels), -1)


def _plain_correlations(pixels: npt.NDArray[np.uint8], others: Ints) -> npt.NDArray[np.float32]:
    """(N, k) the correlation of each thumbnail with ``others`` (N, k), as they lie."""
    result = np.empty(others.shape, dtype=np.float32)
    for start in range(0, len(pixels), 512):
        rows = slice(start, start + 512)
        centre = _standardised(pixels[rows])
        for rank in range(others.shape[1]):
            result[rows, rank] = (centre * _standardised(pixels[others[rows, rank]])).sum(axis=1)
    return result


def _standardised(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    values = pixels.astype(np.float32)
    values -= values.mean(axis=(2, 3), keepdims=True)
    values = values.reshape(len(pixels), -1)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    standardised: npt.NDArray[np.float32] = values / np.maximum(norms, 1e-6)
    return standardised


class _Crowds(NamedTuple):
    """Which images stand in a crowd, and how they correlate with their sixth neighbour."""

    crowded: Bools  # (N,)
    reference: npt.NDArray[np.float32]  # (N,)


def _crowds(similarity: npt.NDArray[np.floating], plain: npt.NDArray[np.float32]) -> _Crowds:
    if similarity.shape[1] <= CROWD_RANK:
        count = len(plain)
        return _Crowds(np.zeros(count, dtype=bool), np.full(count, -1, dtype=np.float32))
    ordered: npt.NDArray[np.float32] = np.sort(plain, axis=1)[:, ::-1]
    return _Crowds(similarity[:, CROWD_RANK] >= CROWDED, ordered[:, CROWD_RANK])


def _registered(
    pixels: npt.NDArray[np.uint8], sides: npt.NDArray[np.int32], pairs: Rows
) -> npt.NDArray[np.float32]:
    """(P,) the correlation of each pair after registration; of small images in half the detail."""
    result = np.zeros(len(pairs), dtype=np.float32)
    is_small = sides[pairs].min(axis=1) <= SIDE
    for small in (False, True):
        chosen = np.flatnonzero(is_small == small)
        for start in range(0, len(chosen), 4096):
            some = chosen[start : start + 4096]
            first, second = pixels[pairs[some, 0]], pixels[pairs[some, 1]]
            if small:
                first, second = (
                    shrink(images.astype(np.float32), SIDE // 2).astype(np.uint8)
                    for images in (first, second)
                )
            result[some] = correlations(first, second)
    return result
