"""The training batches: a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.batch import Batch, TeacherOutputs
from distill.data.pixels import Labels, Pixels, Stream
from distill.data.views import Augmentation, render

RESIDENT_SHARE = 0.5  # of the device's free memory that images may take


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Draws batch after batch of labelled and unlabelled images.

    A batch of B images holds ``labelled`` labelled ones, the rest is unlabelled; each kind goes
    through its images in seeded passes (``Stream``), and the pass number chooses the view: ``pass %
    views`` where the answers of more than one view are stored, otherwise a new view in every pass.
    Position alone decides, so a resumed run repeats nothing.
    """

    images: Tensor  # (N, 3, s, s) uint8, on the device where it fits
    labels: Tensor  # (N,) int64 on the device
    usable: Tensor  # (n,) int64 on the device, the rows that could be decoded
    streams: tuple[Stream, Stream]  # labelled, unlabelled
    sizes: tuple[int, int]  # images of each kind in a batch
    size: int  # of the view, pixels
    augmentation: Augmentation
    view_seed: int
    views: int
    steps_an_epoch: int
    teachers: tuple[TeacherOutputs, ...]
    device: torch.device

    @classmethod
    def build(
        cls,
        pixels: Pixels,
        *,
        batch_size: int,
        labelled_share: float | None,
        size: int,
        augmentation: Augmentation,
        seed: int,
        view_seed: int = 0,
        views: int = 1,
        teachers: tuple[TeacherOutputs, ...] = (),
        use_unlabelled: bool = True,
        device: str | torch.device = "cpu",
    ) -> Batches:
        """``labelled_share`` of a batch is labelled; None: in proportion, but at least a quarter.

        An epoch is as long as it takes to see every image of the larger kind about once, also
        without ``use_unlabelled``: methods with and without teachers are compared at the same
        number of steps.
        """
        device = torch.device(device)
        labelled = pixels.usable[pixels.labels[pixels.usable] >= 0]
        unlabelled = pixels.usable[pixels.labels[pixels.usable] < 0]
        made = batch_sizes(len(labelled), len(unlabelled), batch_size, labelled_share)
        sizes = (made.labelled, made.unlabelled) if use_unlabelled else (batch_size, 0)
        images = torch.from_numpy(pixels.images)
        if (
            device.type == "cuda"
            and images.numel() < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        ):
            images = images.to(device)
        return cls(
            images=images,
            labels=torch.from_numpy(pixels.labels).to(device),
            usable=torch.from_numpy(pixels.usable).to(device),
            sizes=sizes,
            size=size,
            streams=(Stream(labelled, seed=seed), Stream(unlabelled, seed=seed + 1)),
            augmentation=augmentation,
            view_seed=view_seed,
            views=views,
            steps_an_epoch=made.steps,
            teachers=tuple(t.map(lambda name, values: values.to(device)) for t in teachers),
            device=device,
        )

    def at(self, step: int, *, part: int = 0, parts: int = 1) -> Batch:
        """Batch ``step``; of ``parts`` equal parts (processes, accumulation) the one numbered
        ``part``.
        """
        rows, passes = self._rows(step)
        views = passes % self.views if self.views > 1 else passes
        index = torch.from_numpy(rows[part::parts].copy()).to(
            self.device, non_blocking=True
        )  # (B,)
        number = torch.from_numpy(views[part::parts].copy()).to(
            self.device, non_blocking=True
        )  # (B,)
        shown = render(
            self.images,
            index,
            number,
            augmentation=self.augmentation,
            seed=self.view_seed,
            size=self.size,
            partners=self.usable,
        )
        return Batch(
            view=shown.pixels,
            labels=self.labels[index].masked_fill(shown.mixed, -1),
            index=index,
            answers=tuple(teacher.at(number % self.views, index) for teacher in self.teachers),
        )

    def _rows(self, step: int) -> tuple[Labels, Labels]:
        """The images of batch ``step`` and how often each kind was gone through before, both
        (B,).
        """
        rows, passes = [], []
        for stream, count in zip(self.streams, self.sizes, strict=True):
            for number, piece in stream.take(step * count, count):
                rows.append(piece)
                passes.append(np.full(len(piece), number, dtype=np.int64))
        return np.concatenate(rows), np.concatenate(passes)


class Sizes(NamedTuple):
    """Images of each kind in a batch, and the steps of an epoch: every image of the larger kind is
    seen about once.
    """

    labelled: int
    unlabelled: int
    steps: int


def batch_sizes(labelled: int, unlabelled: int, batch_size: int, share: float | None) -> Sizes:
    """How a batch of ``batch_size`` is made up of so many images of each kind (see
    ``Batches.build``).
    """
    if not unlabelled:
        return Sizes(batch_size, 0, max(1, round(labelled / batch_size)))
    wanted = max(0.25, labelled / (labelled + unlabelled)) if share is None else share
    kept = min(max(1, round(wanted * batch_size)), batch_size - 1)
    return Sizes(
        kept,
        batch_size - kept,
        max(1, round(max(labelled / kept, unlabelled / (batch_size - kept)))),
    )
