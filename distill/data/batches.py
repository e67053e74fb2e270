"""The training batches: a pure function of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.data.batch import Augmentation, Batch, TeacherOutputs
from distill.data.class_balance import BalancedStream, ClassTerms, class_terms
from distill.data.lists import Lists
from distill.data.samples import Labels, Samples, Stream

RESIDENT_SHARE = 0.5  # of the device's free memory that samples may take


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How training batches are drawn.

    batch_size      samples of a batch
    size            of a view: pixels a side, or tokens
    augmentation    what a view may do to a sample
    seed            of the order of the samples; ``view_seed`` of what the views show
    labelled_share  of a batch, in [0, 1]; None: in proportion, but at least a quarter
    views           how many views of each sample have stored outputs; 1: every pass sees new views
    use_unlabelled  False leaves the unlabelled samples out
    class_balance   ``sampling``: every class equally often; others: see ``class_terms``
    classes         C, which ``class_balance`` needs
    """

    batch_size: int
    size: int
    augmentation: Augmentation
    seed: int
    view_seed: int = 0
    labelled_share: float | None = None
    views: int = 1
    use_unlabelled: bool = True
    class_balance: str | None = None
    classes: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Draws batch after batch of labelled and unlabelled samples.

    Each kind goes through its samples in seeded passes (``Stream``), and the pass number chooses
    the view: ``pass % views`` if the outputs of more than one view are stored, otherwise a new view
    in every pass. Position alone decides, so a resumed run repeats nothing.
    """

    inputs: Tensor  # (N, ...) packed samples, on the device if they fit
    labels: Tensor  # (N,) int64 on the device
    usable: Tensor  # (n,) int64 on the device, the rows that could be decoded
    streams: tuple[Stream | BalancedStream, Stream]  # labelled, unlabelled
    sizes: tuple[int, int]  # samples of each kind in a batch
    settings: BatchSettings
    steps_an_epoch: int
    teachers: tuple[TeacherOutputs, ...]
    device: torch.device
    class_terms: ClassTerms
    lists: Lists | None = None

    @classmethod
    def build(
        cls,
        samples: Samples,
        settings: BatchSettings,
        *,
        teachers: tuple[TeacherOutputs, ...] = (),
        lists: Lists | None = None,
        device: str | torch.device = "cpu",
    ) -> Batches:
        """Batches of ``samples`` with the teachers' stored outputs, and the lists of their users.

        An epoch is as long as it takes to see every sample of the larger kind about once, also
        without unlabelled samples: methods with and without teachers are compared at the same
        number of steps.
        """
        device = torch.device(device)
        known = samples.labels[samples.usable] >= 0
        labelled, unlabelled = samples.usable[known], samples.usable[~known]
        counts = batch_sizes(
            len(labelled), len(unlabelled), settings.batch_size, settings.labelled_share
        )
        sizes = (counts.labelled, counts.unlabelled)
        if not settings.use_unlabelled:
            sizes = (settings.batch_size, 0)
        of_labelled: Stream | BalancedStream = Stream(labelled, seed=settings.seed)
        if settings.class_balance == "sampling":
            of_labelled = BalancedStream(labelled, samples.labels[labelled], seed=settings.seed)
        terms = class_terms(settings.class_balance, samples.labels[labelled], settings.classes)
        return cls(
            inputs=_resident(torch.from_numpy(samples.inputs), device),
            labels=torch.from_numpy(samples.labels).to(device),
            usable=torch.from_numpy(samples.usable).to(device),
            streams=(of_labelled, Stream(unlabelled, seed=settings.seed + 1)),
            sizes=sizes,
            settings=settings,
            steps_an_epoch=counts.steps,
            teachers=tuple(teacher.to(device) for teacher in teachers),
            device=device,
            class_terms=terms.to(device),
            lists=None if lists is None else lists.to(device),
        )

    def at(
        self,
        step: int,
        *,
        part: int = 0,
        parts: int = 1,
    ) -> Batch:
        """Batch ``step``; of ``parts`` equal parts (processes, accumulation) number ``part``."""
        drawn = self._draw(step)
        views = self.settings.views
        index = self._on_device(drawn.rows[part::parts])  # (B,)
        passes = self._on_device(drawn.passes[part::parts])  # (B,)
        stored_view = passes % views
        shown = self.settings.augmentation.render(
            self.inputs,
            index,
            stored_view if views > 1 else passes,
            seed=self.settings.view_seed,
            size=self.settings.size,
            partners=self.usable,
        )
        return Batch(
            view=shown.inputs,
            labels=self.labels[index].masked_fill(shown.mixed, -1),
            index=index,
            teacher_outputs=tuple(teacher.at(stored_view, index) for teacher in self.teachers),
            class_weights=self.class_terms.weights,
            log_prior=self.class_terms.log_prior,
            lists=None if self.lists is None else self.lists.at(shown.inputs),
        )

    def _on_device(self, values: Labels) -> Tensor:
        return torch.from_numpy(values.copy()).to(self.device, non_blocking=True)

    def _draw(self, step: int) -> _Drawn:
        """The samples of batch ``step``, labelled ones first."""
        rows, passes = [], []
        for stream, count in zip(self.streams, self.sizes, strict=True):
            for number, piece in stream.take(step * count, count):
                rows.append(piece)
                passes.append(np.full(len(piece), number, dtype=np.int64))
        return _Drawn(np.concatenate(rows), np.concatenate(passes))


class _Drawn(NamedTuple):
    """Samples of a batch, and how often their kind was gone through before, both (B,)."""

    rows: Labels
    passes: Labels


class BatchSizes(NamedTuple):
    """Samples of each kind in a batch, and the steps of an epoch."""

    labelled: int
    unlabelled: int
    steps: int


def batch_sizes(
    labelled: int,
    unlabelled: int,
    batch_size: int,
    share: float | None,
) -> BatchSizes:
    """How a batch is made up of so many labelled and unlabelled samples, see ``BatchSettings``.

    In an epoch every sample of the larger kind is seen about once.
    """
    if not unlabelled:
        return BatchSizes(batch_size, 0, max(1, round(labelled / batch_size)))
    wanted = max(0.25, labelled / (labelled + unlabelled)) if share is None else share
    of_labelled = min(max(1, round(wanted * batch_size)), batch_size - 1)
    of_unlabelled = batch_size - of_labelled
    steps = max(1, round(max(labelled / of_labelled, unlabelled / of_unlabelled)))
    return BatchSizes(of_labelled, of_unlabelled, steps)


def _resident(inputs: Tensor, device: torch.device) -> Tensor:
    """``inputs`` on a GPU if they leave enough of its memory free, otherwise where they are."""
    if device.type != "cuda":
        return inputs
    fits = inputs.numel() < RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
    return inputs.to(device) if fits else inputs
