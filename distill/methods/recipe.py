"""A distillation method: a module that turns a batch into named loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from distill.data.batch import Batch, StudentState
from distill.methods.configs import PlainConfig
from distill.teachers.info import TeacherInfo


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """The task, the student's shapes and the teachers that a recipe is built for.

    ``feature_dim`` is D_s, ``hidden_shape`` (c, h', w') and ``low_shape`` (c_l, h_l, w_l) of
    ``StudentState``. ``seed`` starts the recipe's weights and draws. ``grid`` is the rows and
    columns of positions that hidden states are averaged onto; ``values`` the C values of ordered
    classes.
    """

    classes: tuple[str, ...]
    feature_dim: int
    hidden_shape: tuple[int, int, int]
    low_shape: tuple[int, int, int]
    teachers: tuple[TeacherInfo, ...]
    seed: int = 0
    grid: tuple[int, int] = (4, 4)
    values: tuple[float, ...] | None = None

    @property
    def num_classes(self) -> int:
        """C, the number of classes of the task."""
        return len(self.classes)


class Recipe(nn.Module):
    """A distillation method.

    ``forward(batch, student, progress=p)``, with p in [0, 1] the share of training done, returns
    the weighted, named terms as scalars with gradient; the loss is their sum, in fp32 whatever the
    autocast. A term is a mean over the samples it concerns: the teachers' terms over all,
    ``cross_entropy`` over the labelled ones (0 where there is none). A recipe holds every trainable
    parameter beyond the student's; without it the student's logits are the same. Its draws follow
    from the seed and the count of steps, both in ``state_dict()``, so a resumed run repeats them.
    """

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        raise NotImplementedError

    def weights(self) -> list[float] | None:
        """Each teacher's present share, summing to 1, for the metrics; None if it has none."""
        return None

    def metrics(self) -> Mapping[str, float]:
        """Further figures since the last call, for the metrics."""
        return {}


def refusal(needs: frozenset[str], context: Context) -> str | None:
    """Why a method with these ``needs`` cannot run in ``context`` and what to do; or None."""
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
        verb = "does" if len(strangers) == 1 else "do"
        return (
            f"{', '.join(strangers)} {verb} not know all {context.num_classes} classes of the task"
            " by name: use --method probe_kd, which fits a head for them"
        )
    if "split" in needs and (whole := [t for t in teachers if t.splitter is None]):
        return (
            f"{', '.join(t.card.id for t in whole)} cannot be run from the middle "
            f"({whole[0].split_reason or 'its family is unknown'}): use --method probe_kd"
        )
    return None


def task_term(logits: Tensor, batch: Batch, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of ``logits`` (B, C), averaged over the labelled samples; 0 without any.

    With ``batch.class_weights`` the average is weighted; ``batch.log_prior`` is added to the
    logits.

    Written without indexing by a mask, so that its shapes never depend on the data (no wait for the
    device).
    """
    logits, labels, weights = logits.float(), batch.labels, batch.class_weights
    if batch.log_prior is not None:
        logits = logits + batch.log_prior
    total = nn.functional.cross_entropy(
        logits,
        labels,
        weight=weights,
        ignore_index=-1,
        reduction="sum",
        label_smoothing=smoothing,
    )
    if weights is None:
        return total / (labels >= 0).sum().clamp(min=1)
    of_labels = weights[labels.clamp(min=0)] * (labels >= 0)  # (B,)
    return total / of_labels.sum().clamp(min=1e-6)


class Plain(Recipe):
    """Cross-entropy on the labelled samples: the control of every run."""

    def __init__(self, config: PlainConfig, context: Context) -> None:
        super().__init__()
        self.config = config

    def forward(
        self,
        batch: Batch,
        student: StudentState,
        *,
        progress: float,
    ) -> dict[str, Tensor]:
        return {"cross_entropy": task_term(student.logits, batch, smoothing=self.config.smoothing)}
