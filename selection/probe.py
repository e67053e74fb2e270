"""A few labelled images of a task, on which every teacher is asked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from selection.sources.images import PROBE_SIDE, CorruptImage, decode
from selection.sources.split import Rows, Split, by_class
from selection.task import Task
from zoo.errors import UserError


class _Drawn(NamedTuple):
    position: int  # in task.train
    image: Image.Image | None
    digest: bytes  # sha256 of the encoded bytes
    reason: str


@dataclass(eq=False)
class Probe:
    """N images of the training split, as even over the classes as it has images.

    images   N RGB images, shorter side at most 512 pixels (``selection.sources.images.decode``)
    labels   (N,) int64 in [0, C)
    names    N names, for reports
    digest   sha256 over class names, labels and the encoded bytes of the images, in order
    digests  N of 16 bytes, what stands for each image in the store of teachers' outputs
    skipped  images that were drawn but could not be read; others took their place
    """

    images: list[Image.Image]
    labels: Rows
    classes: tuple[str, ...]
    seed: int
    digest: str
    size: int
    skipped: int
    names: list[str]
    digests: list[bytes]
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def draw(cls, task: Task, *, size: int = 500, seed: int = 0) -> Probe:
        """Draw ``size`` images from ``task.train`` (all, where it has fewer), classes taking turns.

        Each turn takes one image of every class that still has one, so small classes are heard, and
        the probe of a smaller size with the same seed is the beginning of this one. A class with
        fewer than two readable images is left out with a warning. Raises ``UserError``: size below
        two a class, or no two classes with readable images.
        """
        if size < 2 * len(task.classes):
            raise UserError(
                f"a probe of {size} images for {len(task.classes)} classes; at least"
                f" {2 * len(task.classes)} are needed (--probe-size {2 * len(task.classes)})"
            )
        rng = np.random.default_rng(seed)
        turns = rng.permutation(len(task.classes))
        queues = [rng.permutation(rows) for rows in by_class(task.train.labels, len(task.classes))]
        drawn, failed = _decode_turns(task.train, queues, turns, size)
        few = [label for label, found in enumerate(drawn) if len(found) < 2]
        warnings = [
            f"class {task.classes[label]!r} has {len(drawn[label])} readable training images and is"
            " left out of the probe"
            for label in few
        ]
        if len(task.classes) - len(few) < 2:
            first = (
                f"; {task.train.names(failed[0].position)}: {failed[0].reason}" if failed else ""
            )
            raise UserError(
                f"no two classes of the task {task.name} have two readable images: "
                f"{len(failed)} of {len(task.train)} training images could not be read{first}"
            )
        found = [[] if label in few else one for label, one in enumerate(drawn)]
        order = _round_robin([len(one) for one in found], turns, size)
        return cls._of(
            task, [found[label][turn] for label, turn in order], seed, len(failed), warnings
        )

    @classmethod
    def _of(
        cls, task: Task, drawn: Sequence[_Drawn], seed: int, skipped: int, warnings: list[str]
    ) -> Probe:
        labels = task.train.labels[[one.position for one in drawn]]
        digest = hashlib.sha256(f"probe 1, side {PROBE_SIDE}\0".encode())
        digest.update("\0".join(task.classes).encode("utf-8", "surrogatepass") + labels.tobytes())
        for one in drawn:
            digest.update(one.digest)
        images = [one.image for one in drawn if one.image is not None]
        names = [task.train.names(one.position) for one in drawn]
        return cls(
            images,
            labels,
            task.classes,
            seed,
            digest.hexdigest(),
            len(images),
            skipped,
            names,
            [one.digest[:16] for one in drawn],
            warnings,
        )


def _round_robin(available: Sequence[int], turns: Rows, size: int) -> list[tuple[int, int]]:
    """The first ``size`` of (label, turn) when classes take turns, each while it has images."""
    order = [
        (int(label), turn)
        for turn in range(max(available, default=0))
        for label in turns
        if turn < available[label]
    ]
    return order[:size]


def _decode_turns(
    split: Split, queues: Sequence[Rows], turns: Rows, size: int
) -> tuple[list[list[_Drawn]], list[_Drawn]]:
    """Readable images of each class in the order of its queue, enough for ``size`` in all, and
    those that failed.
    """
    good: list[list[_Drawn]] = [[] for _ in queues]
    failed: list[_Drawn] = []
    asked = [0] * len(queues)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while True:
            available = [
                len(found) + len(queue) - done
                for found, queue, done in zip(good, queues, asked, strict=True)
            ]
            usable = [count if count >= 2 else 0 for count in available]
            wanted = np.bincount(
                [label for label, _ in _round_robin(usable, turns, size)], minlength=len(queues)
            )
            todo: list[int] = []
            for label, queue in enumerate(queues):
                more = max(0, int(wanted[label]) - len(good[label]))
                todo += queue[asked[label] : asked[label] + more].tolist()
                asked[label] += more
            if not todo:
                return good, failed
            results = dict(
                zip(sorted(todo), pool.map(lambda at: _read(split, at), sorted(todo)), strict=True)
            )  # disk order
            for position in todo:
                one = results[position]
                (failed if one.image is None else good[int(split.labels[position])]).append(one)


def _read(split: Split, position: int) -> _Drawn:
    try:
        raw = split.raw(position)
        return _Drawn(position, decode(raw, shorter=PROBE_SIDE), hashlib.sha256(raw).digest(), "")
    except CorruptImage as error:
        return _Drawn(position, None, b"", str(error))
