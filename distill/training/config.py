"""What a run trains with: learning rate, epochs, sizes, augmentation; chosen here if not given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.data.batch import Augmentation
from distill.data.batches import batch_sizes
from distill.kinds.registry import training_kind
from distill.options import Options
from distill.student.student import StudentSpec
from distill.training.loop import Schedule

if TYPE_CHECKING:
    from selection.task import Task

AUTO_BALANCE = "logits"  # of unbalanced tasks; measured in benchmarks/students/imbalance.py
BLENDED_VIEWS = 4  # with --mix: a teacher must have seen the very blends that the student sees


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything but method and seed that decides the result of a run.

    ``views`` is the number of views of each sample that teachers are run on and the student is
    trained on. With 1, teachers are run once on the sample as it is, and the student sees a new
    view in every pass. (Measured on real photographs, that is as good; with few samples, a few
    stored views offer too little variety.) ``labelled_share`` of a batch is labelled (None: in
    proportion, at least a quarter). ``class_balance`` is what is done for small classes, None:
    nothing (``distill.data.class_balance``); with it the teachers' heads answer as if all classes
    were equally common.
    """

    student: StudentSpec
    schedule: Schedule
    augmentation: Augmentation
    views: int = 1
    labelled_share: float | None = None
    precision: str = "fp32"
    class_balance: str | None = None


def training_config(options: Options, task: Task) -> TrainingConfig:
    """What ``options`` say for ``task``; what they leave open follows from its samples."""
    kind = training_kind(task)
    set_up = kind.set_up(options, task)
    unlabelled = 0 if task.unlabelled is None else len(task.unlabelled)
    batch = options.batch_size or kind.batch
    sizes = batch_sizes(
        len(task.train),
        unlabelled,
        batch,
        options.labelled_share,
    )
    default_epochs = max(5, min(400, round(kind.steps / sizes.steps)))
    defaults = kind.optimizers[options.optimizer]
    rate = defaults.pretrained_rate if options.pretrained else defaults.rate
    return TrainingConfig(
        student=set_up.spec,
        schedule=Schedule(
            epochs=options.epochs or default_epochs,
            batch_size=batch,
            optimizer=options.optimizer,
            rate=options.rate or rate,
            weight_decay=defaults.weight_decay,
            accumulate=options.accumulate,
        ),
        augmentation=set_up.augmentation,
        views=options.views or (BLENDED_VIEWS if options.mix else 1),
        labelled_share=options.labelled_share,
        precision=options.precision,
        class_balance=_class_balance(options.class_balance, task),
    )


def _class_balance(option: str, task: Task) -> str | None:
    """What ``--class-balance`` comes to for a task; None: nothing.

    Classes in an order, as stars are, are as frequent as people give them.
    """
    if option == "auto":
        unbalanced = task.class_counts.unbalanced and not task.kind.ordered
        return AUTO_BALANCE if unbalanced else None
    return None if option == "none" else option
