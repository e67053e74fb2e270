"""What a distillation method is: a module that turns one batch into named loss terms, and is thrown
away afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from zoo.card import ModelCard

if TYPE_CHECKING:
    from distill.methods.registry import PlainConfig
    from distill.teachers.ground_cost import GroundCost
    from zoo.split_teacher import SplitTeacher


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


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherInfo:
    """What a recipe may know of one teacher before training.

    ``columns`` are the C columns of the teacher's logits that are the task's classes, in the task's
    order, or None where it does not know them all by name. ``cost`` is what carries its classes to
    the task's (without a head: its probe's answers are transported). ``weight`` >= 0 is the
    teacher's share in a mixture of probe answers (``probe_head.mixture``); they sum to 1 in a run.
    ``splitter`` runs the teacher from the middle; None where its family is unknown, and
    ``split_reason`` says so.
    """

    card: ModelCard
    feature_dim: int
    columns: tuple[int, ...] | None = None
    cost: GroundCost | None = None
    weight: float = 1.0
    splitter: SplitTeacher | None = None
    split_reason: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """The task, the student's shapes and the teachers that a recipe is built for.

    ``feature_dim`` is D_s, ``hidden_shape`` (c, h', w') and ``low_shape`` (c_l, h_l, w_l) of
    ``StudentState``. ``seed`` starts the recipe's own weights and draws.
    """

    classes: tuple[str, ...]
    feature_dim: int
    hidden_shape: tuple[int, int, int]
    low_shape: tuple[int, int, int]
    teachers: tuple[TeacherInfo, ...]
    seed: int = 0

    @property
    def num_classes(self) -> int:
        """C, the number of classes of the task."""
        return len(self.classes)


class Recipe(nn.Module):
    """A distillation method.

    ``forward(batch, student, progress=p)``, with p in [0, 1] the share of training done, returns
    the weighted, named terms as scalars with gradient; the loss is their sum, in fp32 whatever the
    autocast. A term is a mean over the images it concerns: the teachers' terms over all,
    ``cross_entropy`` over the labelled ones (0 where there is none). A recipe holds every trainable
    parameter beyond the student's own; without it the student answers the same. Its draws follow
    from the seed and the count of steps, both in ``state_dict()``, so a resumed run repeats them.
    """

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        raise NotImplementedError

    def weights(self) -> list[float] | None:
        """Each teacher's present share, summing to 1, for the metrics; None where the method has
        none.
        """
        return None

    def metrics(self) -> Mapping[str, float]:
        """Further figures since the last call (such as the share of teacher forwards skipped), for
        the metrics.
        """
        return {}


def refusal(needs: frozenset[str], context: Context) -> str | None:
    """Why a method with these ``needs`` cannot run in ``context``, in a sentence that says how to
    mend it; or None.
    """
    teachers = context.teachers
    if needs - {"three_classes"} and not teachers:
        return (
            "it needs a teacher and none was given: choose one with selection.rank, or use --method"
            " plain"
        )
    if "two_teachers" in needs and len(teachers) < 2:
        return (
            f"it weighs teachers against each other and {len(teachers)} was given: raise --top to 2"
            " or more"
        )
    if "three_classes" in needs and context.num_classes < 3:
        return (
            f"it needs at least three classes and the task has {context.num_classes}: use --method"
            " probe_kd"
        )
    if "label_space" in needs and (strangers := [t.card.id for t in teachers if t.columns is None]):
        return (
            f"{', '.join(strangers)} does not know all {context.num_classes} classes of the task by"
            " name: use --method probe_kd, which fits a head for them"
        )
    if "split" in needs and (whole := [t for t in teachers if t.splitter is None]):
        return (
            f"{', '.join(t.card.id for t in whole)} cannot be run from the middle "
            f"({whole[0].split_reason or 'its family is unknown'}): use --method probe_kd"
        )
    return None


def task_term(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of ``logits`` (B, C) averaged over the labelled images of ``labels`` (B,); 0
    where there is none.

    Written without indexing by a mask, so that its shapes never depend on the data (no wait for the
    device).
    """
    total = nn.functional.cross_entropy(
        logits.float(), labels, ignore_index=-1, reduction="sum", label_smoothing=smoothing
    )
    return total / (labels >= 0).sum().clamp(min=1)


class Plain(Recipe):
    """Cross-entropy on the labelled images: the control of every run."""

    def __init__(self, config: PlainConfig, context: Context) -> None:
        super().__init__()
        self.config = config

    def forward(self, batch: Batch, student: StudentState, *, progress: float) -> dict[str, Tensor]:
        return {
            "cross_entropy": task_term(
                student.logits, batch.labels, smoothing=self.config.smoothing
            )
        }
