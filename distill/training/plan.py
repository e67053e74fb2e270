"""The plan of a run: everything that decides its result except method and seed."""

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

BLENDED_VIEWS = 4  # outputs on blends must be of the very views that the student sees
DEFAULTS = {  # learning rate of pretrained weights, of fresh ones, and weight decay
    "adamw": (5e-4, 2e-3, 0.05),
    "sgd": (0.01, 0.05, 5e-4),
}


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything that decides the result of a run except method and seed.

    ``views`` is how many views of each image the teachers are shown, which are the views that the
    student sees. 1: they are shown the image as it is, once, and the student's views are new in
    every pass (as good on real photographs here, and few stored views of few images starve the
    student of variety). ``labelled_share`` of a batch is labelled (None: in proportion, at least a
    quarter).
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
    unlabelled = 0 if task.unlabelled is None else len(task.unlabelled)
    sizes = batch_sizes(len(task.train), unlabelled, options.batch_size, options.labelled_share)
    default_epochs = max(5, min(400, round(STEPS / sizes.steps)))
    pretrained_rate, fresh_rate, decay = DEFAULTS[options.optimizer]
    default_rate = pretrained_rate if options.pretrained else fresh_rate
    return TrainingPlan(
        student=StudentSpec.of(
            options.student,
            size=size,
            pretrained=options.pretrained,
            model_args=options.network_arguments,
        ),
        schedule=Schedule(
            epochs=options.epochs or default_epochs,
            batch_size=options.batch_size,
            optimizer=options.optimizer,
            rate=options.rate or default_rate,
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
