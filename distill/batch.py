"""One training batch: what the student sees, what it answers, and what the teachers answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherOutputs:
    """What one teacher says, stored by view and image (V, N, ...) in float16, or of a batch (B,
    ...) in float32.

    features      (..., D_t), pooled
    logits        (..., C_t), the teacher's own head; None for a teacher without one
    hidden        (..., c, g, g), its own lower state as ``SplitTeacher.pooled`` gives it
    probe_logits  (..., C) in the task's label space, calibrated; out of fold on labelled images

    None is what is not at hand, or what a recipe's ``needs`` do not ask for.
    """

    features: Tensor | None = None
    logits: Tensor | None = None
    hidden: Tensor | None = None
    probe_logits: Tensor | None = None

    def map(self, change: Callable[[str, Tensor], Tensor | None]) -> TeacherOutputs:
        """``change(name, values)`` of what is at hand."""
        return TeacherOutputs(
            **{
                name: None if values is None else change(name, values)
                for name, values in vars(self).items()
            }
        )

    def at(self, view: Tensor, index: Tensor) -> TeacherOutputs:
        """The answers on view ``view`` (B,) of image ``index`` (B,)."""
        return self.map(lambda name, values: values[view, index].float())


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One training batch.

    view     (B, 3, h, w) float in [0, 1], on the student's device, before any normalisation
    labels   (B,) int64 in [0, C), or -1 where an image is unlabelled
    index    (B,) int64, the image's index in the training set
    answers  one ``TeacherOutputs`` a teacher, in the order of ``Context.teachers``
    """

    view: Tensor
    labels: Tensor
    index: Tensor
    answers: tuple[TeacherOutputs, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class StudentState:
    """The student's forward pass, with gradient.

    logits    (B, C)
    features  (B, D_s), pooled, before the classifier
    hidden    (B, c, h', w'), the last stage's map before pooling (tokens of a ViT as (B, c, n, 1))
    low       (B, c_l, h_l, w_l), an earlier stage's map: the output of ``zoo.split_teacher.boundary(student)``
    """  # noqa: E501

    logits: Tensor
    features: Tensor
    hidden: Tensor
    low: Tensor
