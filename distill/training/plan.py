"""Everything that decides the result of a run, beside method and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.data.batches import batch_sizes
from distill.data.pixels import working_size
from distill.data.views import Augmentation
from distill.options import STEPS, Options
from distill.student.student import StudentSpec, input_size
from distill.training.loop import Schedule

if TYPE_CHECKING:
    from selection.task import Task

BLENDED_VIEWS = 4  # answers on blends must be of the very views that the student sees


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything that decides the result of a run, beside method and seed.

    ``views`` is how many views of each image the teachers answer, which are the views that the
    student sees. 1: they answer the image as it is, once, and the student's views are new in every
    pass (as good on real photographs here, and few stored views of few images starve the student of
    variety). ``labelled_share`` of a batch is labelled (None: in proportion, at least a quarter).
    """

    student: StudentSpec
    schedule: Schedule
    augmentation: Augmentation
    views: int = 1
    labelled_share: float | None = None
    precision: str = "fp32"


def plan_training(options: Options, task: Task) -> TrainingPlan:
    """The plan that ``options`` make for ``task``; what they leave open follows from the images."""
    side = working_size(task.train, 512)
    size = options.size or input_size(side)
    counts = len(task.train), len(task.unlabelled) if task.unlabelled is not None else 0
    steps = batch_sizes(*counts, options.batch_size, options.labelled_share).steps
    fine, fresh, decay = {"adamw": (5e-4, 2e-3, 0.05), "sgd": (0.01, 0.05, 5e-4)}[options.optimizer]
    return TrainingPlan(
        student=StudentSpec.of(
            options.student,
            size=size,
            pretrained=options.pretrained,
            model_args=options.network_arguments,
        ),
        schedule=Schedule(
            epochs=options.epochs or max(5, min(400, round(STEPS / steps))),
            batch_size=options.batch_size,
            optimizer=options.optimizer,
            rate=options.rate or (fine if options.pretrained else fresh),
            weight_decay=decay,
            accumulate=options.accumulate,
        ),
        augmentation=_augmentation(options, task.classes, min(side, 2 * size)),
        views=options.views or (BLENDED_VIEWS if options.mix else 1),
        labelled_share=options.labelled_share,
        precision=options.precision,
    )


def _augmentation(options: Options, classes: tuple[str, ...], side: int) -> Augmentation:
    """Shifts for images of 64 pixels or less, random windows for larger ones.

    Left and right are exchanged unless the classes are digits or letters, which change their
    meaning by it.
    """
    letters = all(len(name) <= 1 or name.isdigit() for name in classes)
    return Augmentation(
        crop="shift" if side <= 64 else "resize",
        flip=not letters if options.flip is None else options.flip,
        mix=options.mix,
    )
