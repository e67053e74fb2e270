"""What a run was asked to be, and the experiment that follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.training.live import warn
from zoo.errors import UserError

if TYPE_CHECKING:
    from distill.data.views import Augmentation
    from distill.experiment import Experiment, Plan
    from selection.task import Task
    from zoo.card import ModelCard

DEFAULT_METHOD = "probe_kd"
BLENDED_VIEWS = 4  # answers on blends must be of the very views that the student sees
STEPS = 2_000  # of a run when --epochs is not given: minutes on two cores for a small student
CARD = (
    "id",
    "source",
    "location",
    "sha",
    "license",
    "labels",
    "architecture",
    "input_size",
    "num_classes",
    "feature_dim",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run was asked to be; ``None`` where the default follows from the task. They are kept
    in ``config.json``.
    """

    task: str
    student: str
    ranking: str | None = None
    top: int | None = None
    method: str = DEFAULT_METHOD
    settings: tuple[str, ...] = ()
    unlabelled: str | None = None
    pretrained: bool = False
    epochs: int | None = None
    seed: int = 0
    size: int | None = None
    views: int | None = None
    batch_size: int = 64
    rate: float | None = None
    optimizer: str = "adamw"
    labelled_share: float | None = None
    flip: bool | None = None
    mix: float = 0.0
    precision: str = "fp32"
    accumulate: int = 1
    student_args: str | None = None
    teacher_size: int | None = None


def prepare(
    options: Options,
    *,
    device: str = "cpu",
    offline: bool = False,
    catalogue: Path | None = None,
    cards: tuple[ModelCard, ...] | None = None,
    revision: str | None = None,
) -> Experiment:
    """The experiment that ``options`` describe; ``cards`` are the committee of a run that is
    resumed, ``revision`` the commit of its Hub dataset. Raises ``UserError``.
    """
    from distill.experiment import Experiment
    from distill.teachers.prepared import Committee, committee_cards
    from selection.ranking import Ranking
    from selection.task import Task

    if options.method != "plain" and options.ranking is None and cards is None:
        raise UserError(
            f"--method {options.method} needs --ranking ranking.json; make one: python -m"
            f" selection.rank --task {options.task} --out ranking.json, or use --method plain"
        )
    if options.mix and options.views == 1:
        raise UserError(
            "--mix needs the teachers' answers on the blends themselves: leave out --views 1, or"
            " --mix"
        )
    ranking = Ranking.load(Path(options.ranking)) if cards is None and options.ranking else None
    if ranking is not None and options.task == f"hf:{ranking.task}":
        revision = ranking.split.get("revision")
    task = Task.open(options.task, unlabelled=options.unlabelled, revision=revision)
    for text in task.warnings:
        warn(text)
    if ranking is not None:
        cards = committee_cards(ranking, top=options.top, catalogue=catalogue)
        if ranking.split.get("digest") not in (None, task.digest):
            warn(
                f"{options.ranking} was made on another state of the task (its split digest"
                " differs): rank again to be sure"
            )
    return Experiment(
        task, _plan(options, task), Committee(cards or (), device, offline, options.teacher_size)
    )


def _plan(options: Options, task: Task) -> Plan:
    from distill.data.batches import batch_sizes
    from distill.data.pixels import working_size
    from distill.experiment import Plan
    from distill.student.student import StudentSpec, input_size
    from distill.training.loop import Schedule

    side = working_size(task.train, 512)
    size = options.size or input_size(side)
    counts = len(task.train), len(task.unlabelled) if task.unlabelled is not None else 0
    steps = batch_sizes(*counts, options.batch_size, options.labelled_share).steps
    fine, fresh, decay = {"adamw": (5e-4, 2e-3, 0.05), "sgd": (0.01, 0.05, 5e-4)}[options.optimizer]
    return Plan(
        student=StudentSpec.of(
            options.student,
            size=size,
            pretrained=options.pretrained,
            model_args=_student_args(options),
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


def _student_args(options: Options) -> dict[str, Any]:
    try:
        args = json.loads(options.student_args or "{}")
        if not isinstance(args, dict):
            raise ValueError(f"a {type(args).__name__}, not an object")
        return args
    except ValueError as error:
        raise UserError(
            f"--student-args {options.student_args!r} is not a JSON object ({error}); expected such"
            " as '{\"output_stride\": 16}'"
        ) from error


def _augmentation(options: Options, classes: tuple[str, ...], side: int) -> Augmentation:
    """Shifts for images of 64 pixels or less, random windows for larger ones.

    Left and right are exchanged unless the classes are digits or letters, which change their
    meaning by it.
    """
    from distill.data.views import Augmentation

    letters = all(len(name) <= 1 or name.isdigit() for name in classes)
    return Augmentation(
        crop="shift" if side <= 64 else "resize",
        flip=not letters if options.flip is None else options.flip,
        mix=options.mix,
    )


def to_config(options: Options, experiment: Experiment) -> dict[str, Any]:
    """What ``config.json`` says of a run."""
    from selection.ranking import versions

    task, plan = experiment.task, experiment.plan
    resolved = {
        "epochs": plan.schedule.epochs,
        "rate": plan.schedule.rate,
        "views": plan.views,
        "size": plan.student.size,
        "flip": plan.augmentation.flip,
    }  # so that another machine's defaults do not change a resumed run
    return {
        "options": (
            {
                name: value
                for name, value in asdict(options).items()
                if name not in ("method", "seed")
            }
            | resolved
        ),
        "method": options.method,
        "seed": options.seed,
        "plan": asdict(plan),
        "classes": list(task.classes),
        "task": {
            "name": task.name,
            "digest": task.digest,
            "split_seed": task.split_seed,
            "revision": task.revision,
            "labelled": len(task.train),
            "unlabelled": len(task.unlabelled) if task.unlabelled is not None else 0,
        },
        "teachers": [
            {name: getattr(card, name) for name in CARD} for card in experiment.committee.cards
        ],
        "versions": versions(),
    }


def from_config(config: Mapping[str, Any]) -> tuple[Options, tuple[ModelCard, ...]]:
    """The options and the committee that a ``config.json`` was written with."""
    from zoo.card import ModelCard

    given = config["options"] | {"method": config["method"], "seed": config["seed"]}
    known = {field.name: given[field.name] for field in fields(Options) if field.name in given}
    known["settings"] = tuple(known.get("settings", ()))
    return Options(**known), tuple(ModelCard.from_row(dict(card)) for card in config["teachers"])


def settings_of(texts: Sequence[str]) -> dict[str, str]:
    """``["weight=2"]`` -> ``{"weight": "2"}``; ``UserError`` for anything else."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--set {text!r}: expected NAME=VALUE, such as --set weight=2")
        found[name.strip()] = value.strip()
    return found
