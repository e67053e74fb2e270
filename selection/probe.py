"""A few labelled images of a task, on which every teacher is run."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from selection.duplicates.report import one_of_each
from selection.sources.images import PROBE_SIDE, CorruptImage
from selection.sources.split import Rows, Split
from selection.sources.unreadable import commonest
from selection.task import Task
from zoo.errors import UserError


class _DrawnImage(NamedTuple):
    position: int  # in task.train
    pixels: Image.Image | None  # None: it could not be read, see ``reason``
    digest: bytes  # ``Split.fingerprint``
    reason: str


@dataclass(eq=False)
class Probe:
    """N images of the training split, as even over the classes as it has images.

    Draw one with `Probe.draw`.

    Attributes
    ----------
    images : list of PIL.Image.Image
        N RGB images, shorter side at most 512 pixels (``selection.sources.images.decode``).
    labels : (N,) int64 array
        In [0, C).
    classes : tuple of str
        The task's C class names.
    seed, size : int
        How the probe was drawn; ``size`` is N.
    digest : str
        sha256 over class names, labels and the encoded bytes of the images, in order.
    skipped : int
        Images that were drawn but could not be read; others took their place.
    names : list of str
        N names, for reports.
    digests : list of bytes
        N times 16 bytes, the key of each image in the store of teachers' outputs.
    warnings : list of str
        Sentences for the user.
    unreadable : dict of str to str
        Names of the images that could not be read, and why.
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
    unreadable: dict[str, str] = field(default_factory=dict)

    @classmethod
    def draw(
        cls,
        task: Task,
        *,
        size: int = 500,
        seed: int = 0,
    ) -> Probe:
        """Draw images from ``task.train``, classes taking turns.

        Each turn takes one image of every class that still has one, so small classes count, and the
        probe of a smaller size with the same seed is the beginning of this one. Of images that show
        one picture (``Split.groups``) one is drawn. A class with fewer than two readable images is
        left out with a warning.

        Parameters
        ----------
        task : Task
        size : int
            Images to draw, at least two a class; all, if the task has fewer.
        seed : int
            Another seed draws other images.

        Raises
        ------
        UserError
            If ``size`` is too small, or no two classes have two readable images.
        """
        if size < 2 * len(task.classes):
            raise UserError(
                f"a probe of {size} images for {len(task.classes)} classes; at least"
                f" {2 * len(task.classes)} are needed (--probe-size {2 * len(task.classes)})"
            )
        rng = np.random.default_rng(seed)
        turns = rng.permutation(len(task.classes))
        rows_of_class = one_of_each(task.train)
        queues = [rng.permutation(rows) for rows in rows_of_class]
        drawn, failed = _decode_turns(task.train, queues, turns, size)
        unreadable = {task.train.name(image.position): image.reason for image in failed}
        few = [label for label, images in enumerate(drawn) if len(images) < 2]
        warnings = [
            f"class {task.classes[label]!r} has {len(drawn[label])} readable training images and is"
            " left out of the probe"
            for label in few
        ]
        if len(task.classes) - len(few) < 2:
            raise UserError(
                f"no two classes of the task {task.name} have two readable images: "
                f"{len(failed)} of {len(task.train)} training images could not be read"
                + (f"; {commonest(unreadable)}" if unreadable else "")
            )
        kept = [[] if label in few else images for label, images in enumerate(drawn)]
        _refuse_equal_images(task, kept)
        order = _round_robin([len(images) for images in kept], turns, size)
        in_order = [kept[label][turn] for label, turn in order]
        return cls._of(task, in_order, seed, unreadable, warnings)

    @property
    def class_images(self) -> list[int]:
        """How many probe images each of the C classes has."""
        counts: list[int] = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return counts

    @classmethod
    def _of(
        cls,
        task: Task,
        drawn: Sequence[_DrawnImage],
        seed: int,
        unreadable: dict[str, str],
        warnings: list[str],
    ) -> Probe:
        labels = task.train.labels[[image.position for image in drawn]]
        names = "\0".join(task.classes)
        digest = hashlib.sha256(f"probe 1, side {PROBE_SIDE}\0".encode())
        digest.update(names.encode("utf-8", "surrogatepass"))
        digest.update(labels.tobytes())
        for image in drawn:
            digest.update(image.digest)
        return cls(
            images=[image.pixels for image in drawn if image.pixels is not None],
            labels=labels,
            classes=task.classes,
            seed=seed,
            digest=digest.hexdigest(),
            size=len(drawn),
            skipped=len(unreadable),
            names=[task.train.name(image.position) for image in drawn],
            digests=[image.digest[:16] for image in drawn],  # as ``image_digest``
            warnings=warnings,
            unreadable=unreadable,
        )


def _refuse_equal_images(task: Task, drawn: Sequence[Sequence[_DrawnImage]]) -> None:
    """Raise ``UserError`` where every image shows the same: no model can tell the classes apart."""
    images = [image for of_class in drawn for image in of_class if image.pixels is not None]
    first = images[0].pixels
    assert first is not None
    shown = first.tobytes()
    for image in images[1:]:
        assert image.pixels is not None
        same_file = image.digest == images[0].digest
        if not same_file and (image.pixels.size != first.size or image.pixels.tobytes() != shown):
            return
    colours = first.getcolors(1)
    of_colour = f", a plain area of colour {colours[0][1]}" if colours else ""
    raise UserError(
        f"all {len(images)} images drawn from the task {task.name} are equal{of_colour}: nothing"
        f" tells its classes apart; look at {task.train.name(images[0].position)}"
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
    split: Split,
    queues: Sequence[Rows],
    turns: Rows,
    size: int,
) -> tuple[list[list[_DrawnImage]], list[_DrawnImage]]:
    """Readable images by class in the order of its queue, ``size`` in all; and the failed ones."""
    good: list[list[_DrawnImage]] = [[] for _ in queues]
    failed: list[_DrawnImage] = []
    taken = [0] * len(queues)  # from each queue
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while True:
            available = [
                len(images) + len(queue) - count
                for images, queue, count in zip(good, queues, taken, strict=True)
            ]
            usable = [count if count >= 2 else 0 for count in available]
            wanted = Counter(label for label, _ in _round_robin(usable, turns, size))
            todo: list[int] = []
            for label, queue in enumerate(queues):
                more = max(0, wanted[label] - len(good[label]))
                todo += queue[taken[label] : taken[label] + more].tolist()
                taken[label] += more
            if not todo:
                return good, failed
            in_disk_order = sorted(todo)
            images = pool.map(lambda position: _read(split, position), in_disk_order)
            by_position = dict(zip(in_disk_order, images, strict=True))
            for position in todo:
                image = by_position[position]
                of_class = good[int(split.labels[position])]
                (failed if image.pixels is None else of_class).append(image)


def _read(split: Split, position: int) -> _DrawnImage:
    try:
        raw = split.raw(position)
        pixels = split.decode(raw, shorter=PROBE_SIDE)
        return _DrawnImage(position, pixels, split.fingerprint(raw), "")
    except CorruptImage as error:
        return _DrawnImage(position, None, b"", str(error))
