"""One training batch: what the student sees, its states, and the teachers' outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from distill.data.lists import ListBatch


class View(NamedTuple):
    """What is shown of B samples.

    ``inputs`` (B, 3, s, s) float32 in [0, 1], or (B, L) int64 tokens; ``mixed`` (B,) bool, which of
    them are blends.
    """

    inputs: Tensor
    mixed: Tensor


class Augmentation(Protocol):
    """What a view may do to a sample; the task's kind has one."""

    @property
    def key(self) -> str:
        """Stable text for the key of stored outputs."""
        ...

    def without_blends(self) -> Augmentation:
        """The same, blending nothing: a blend is taught by teachers alone."""
        ...

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
        """The views ``view`` (B,) of the packed samples ``inputs`` (N, ...) at ``index`` (B,).

        A pure function of (seed, view, index), the same on every device and in any order. ``size``
        is that of the student's input; ``partners`` (P,), ascending, the rows that a sample may be
        blended with, None: all of them.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherOutputs:
    """The outputs of one teacher.

    Stored they are (V, N, ...) float16, by view and sample; of a batch (B, ...) float32.

    features      (..., D_t), pooled
    logits        (..., C_t), of the teacher's own head; None for a teacher without a head
    hidden        (..., c, g, g'), its lower state as ``SplitTeacher.pooled`` gives it
    probe_logits  (..., C) in the task's label space, calibrated; out of fold on labelled samples

    None where the teacher has no such output, or the recipe does not need it. ``places`` (N,) int64
    are the stored rows of the samples where several share one, as pairs share an item; it tells
    nothing of ``probe_logits``.
    """

    features: Tensor | None = None
    logits: Tensor | None = None
    hidden: Tensor | None = None
    probe_logits: Tensor | None = None
    places: Tensor | None = None

    def map(self, change: Callable[[str, Tensor], Tensor | None]) -> TeacherOutputs:
        """``change(name, values)`` of each output that is not None."""
        present = {name: values for name, values in vars(self).items() if values is not None}
        places = present.pop("places", None)
        changed = {name: change(name, values) for name, values in present.items()}
        return TeacherOutputs(**changed, places=places)

    def at(self, view: Tensor, index: Tensor) -> TeacherOutputs:
        """The outputs on view ``view`` (B,) of sample ``index`` (B,)."""
        row = index if self.places is None else self.places[index]  # (B,)

        def of_batch(name: str, values: Tensor) -> Tensor:
            return values[view, index if name == "probe_logits" else row].float()

        return replace(self.map(of_batch), places=None)

    def to(self, device: torch.device) -> TeacherOutputs:
        """The same on a device."""
        moved = self.map(lambda name, values: values.to(device))
        return moved if self.places is None else replace(moved, places=self.places.to(device))


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One training batch.

    view     as `View.inputs`, on the student's device, before any normalisation
    labels   (B,) int64 in [0, C), or -1 where a sample is unlabelled
    index    (B,) int64, the sample's index in the training set
    teacher_outputs  one entry a teacher, in the order of ``Context.teachers``
    class_weights    (C,) weights of each class's samples in the cross-entropy; None: all 1
    log_prior        (C,) added to the logits in the cross-entropy; None: nothing
    lists            of the samples' users; None where samples are not chosen from lists
    """

    view: Tensor
    labels: Tensor
    index: Tensor
    teacher_outputs: tuple[TeacherOutputs, ...] = ()
    class_weights: Tensor | None = None
    log_prior: Tensor | None = None
    lists: ListBatch | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class StudentState:
    """The student's forward pass, with gradient.

    logits    (B, C)
    features  (B, D_s), pooled, before the classifier
    hidden    (B, c, h', w'), the last stage's map before pooling (tokens as (B, c, n, 1))
    low       (B, c_l, h_l, w_l), an earlier stage's map, at ``zoo.split_teacher.boundary``
    lists     (B, L), scores of the listed items for the user of each sample; None: see ``Batch``
    """

    logits: Tensor
    features: Tensor
    hidden: Tensor
    low: Tensor
    lists: Tensor | None = None
