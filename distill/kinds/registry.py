"""The kinds of samples that students are trained on, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.kinds.image import IMAGE
from distill.kinds.ratings import RATINGS
from distill.kinds.text import TEXT
from distill.student.student import exported_config
from zoo.errors import UserError

if TYPE_CHECKING:
    from distill.kinds.kind import TrainingKind
    from selection.task import Task

# a new kind is a file beside this one, and its name here; the first that takes a thing has it
TRAINING_KINDS: dict[str, TrainingKind] = {kind.name: kind for kind in (RATINGS, TEXT, IMAGE)}


def training_kind(task: Task) -> TrainingKind:
    """The kind of a task's samples."""
    return TRAINING_KINDS[task.kind.name]


def kind_of_run(config: Mapping[str, Any]) -> TrainingKind:
    """The kind of samples of a run, from its ``config.json``; images alone had earlier versions."""
    return TRAINING_KINDS[config.get("kind", IMAGE.name)]


def kind_of_student(student: str) -> TrainingKind:
    """The kind that ``--student`` is of, as far as its name or folder tells."""
    return next(kind for kind in TRAINING_KINDS.values() if kind.takes(student))


def kind_of_export(folder: Path) -> TrainingKind:
    """The kind of the exported student in ``folder``; ``UserError`` where there is none."""
    config = exported_config(folder)
    for kind in TRAINING_KINDS.values():
        if kind.is_export(config):
            return kind
    raise UserError(
        f"{folder} is not an exported student (its config.json names neither an architecture nor a"
        " model_type); give the student/ folder of a run"
    )
