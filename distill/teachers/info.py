"""What a distillation method may know of a teacher before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.card import ModelCard

if TYPE_CHECKING:
    from distill.teachers.ground_cost import GroundCost
    from zoo.split_teacher import Splitter


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherInfo:
    """One teacher as a recipe knows it.

    ``columns`` are the C columns of the teacher's logits that are the task's classes, in the task's
    order, or None where it does not know them all by name. ``ground_cost()`` computes what carries
    its classes to the task's (without a head: its probe's outputs are transported). ``weight`` >= 0
    is the teacher's share in a mixture of probe outputs (``probe_head.mixture``); they sum to 1 in
    a run.
    ``splitter`` runs the teacher from the middle; None where its family is unknown, and
    ``split_reason`` says so.
    """

    card: ModelCard
    feature_dim: int
    columns: tuple[int, ...] | None = None
    ground_cost: Callable[[], GroundCost] | None = None
    weight: float = 1.0
    splitter: Splitter | None = None
    split_reason: str | None = None
