"""What a run was asked to be, and the experiment that follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.live import note, progress, warn
from zoo.errors import UserError

if TYPE_CHECKING:
    from distill.experiment import Experiment, Plan
    from selection.task import Task
    from zoo.card import ModelCard

DEFAULT_METHOD = "probe_kd"
BLENDED_VIEWS = 4  # answers on blends must be of the very views that the student sees
STEPS = 2_000  # of a run when --epochs is not given: minutes on two cores for a small student


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run was asked to be; ``None`` where the default follows from the task. They are kept in ``config.json``."""

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


def prepare(options: Options, *, device: str = "cpu", offline: bool = False, catalogue: Path | None = None,
            cards: tuple[ModelCard, ...] | None = None) -> Experiment:
    """The experiment that ``options`` describe; ``cards`` are the committee of a run that is resumed. Raises ``UserError``."""
    from distill.experiment import Experiment
    from distill.teachers import Committee, committee_cards
    from selection.ranking import Ranking
    from selection.task import Task

    if options.method != "plain" and options.ranking is None and cards is None:
        raise UserError(f"--method {options.method} needs --ranking ranking.json; make one: python -m selection.rank --task "
                        f"{options.task} --out ranking.json, or use --method plain")
    task = Task.open(options.task, unlabelled=options.unlabelled)
    for text in task.warnings:
        warn(text)
    if cards is None:
        ranking = Ranking.load(Path(options.ranking)) if options.ranking else None
        cards = committee_cards(ranking, top=options.top, catalogue=catalogue, note=note) if ranking else ()
        if ranking and ranking.split.get("digest") not in (None, task.digest):
            warn(f"{options.ranking} was made on another state of the task (its split digest differs): rank again to be sure")
    if options.mix and options.views == 1:
        raise UserError("--mix needs the teachers' answers on the blends themselves: leave out --views 1, or --mix")
    committee = Committee(cards, device=device, offline=offline, teacher_size=options.teacher_size, note=note)
    return Experiment(task, _plan(options, task, device), committee, progress=progress, note=note)


def _plan(options: Options, task: Task, device: str) -> Plan:
    from distill.batches import batch_sizes
    from distill.data import working_size
    from distill.experiment import Plan, default_augmentation
    from distill.loop import Schedule
    from distill.student import StudentSpec, input_size

    side = working_size(task.train, 512)
    size = options.size or input_size(side)
    try:
        args = json.loads(options.student_args) if options.student_args else {}
        if not isinstance(args, dict):
            raise ValueError(f"a {type(args).__name__}, not an object")
    except ValueError as error:
        raise UserError(f"--student-args {options.student_args!r} is not a JSON object ({error}); expected such as "
                        "'{\"output_stride\": 16}'") from error
    counts = len(task.train), len(task.unlabelled) if task.unlabelled is not None else 0
    steps = batch_sizes(*counts, options.batch_size, options.labelled_share).steps
    epochs = options.epochs or max(5, min(400, round(STEPS / steps)))
    fine, fresh = {"adamw": (5e-4, 2e-3), "sgd": (0.01, 0.05)}[options.optimizer]
    rate = options.rate or (fine if options.pretrained else fresh)
    decay = 0.05 if options.optimizer == "adamw" else 5e-4
    return Plan(
        student=StudentSpec.of(options.student, size=size, pretrained=options.pretrained, model_args=args),
        schedule=Schedule(epochs=epochs, batch_size=options.batch_size, optimizer=options.optimizer, rate=rate,
                          weight_decay=decay, accumulate=options.accumulate),
        augmentation=default_augmentation(task.classes, min(side, 2 * size), flip=options.flip, mix=options.mix),
        views=options.views or (BLENDED_VIEWS if options.mix else 1),
        labelled_share=options.labelled_share, precision=options.precision)


def from_config(config: Mapping[str, Any]) -> tuple[Options, tuple[ModelCard, ...]]:
    """The options and the committee that a ``config.json`` was written with."""
    from zoo.card import ModelCard

    known = {field.name for field in fields(Options)}
    given = {name: value for name, value in config["options"].items() if name in known}
    given |= {"method": config["method"], "seed": config["seed"], "settings": tuple(config["options"].get("settings", ()))}
    return Options(**given), tuple(ModelCard.from_row(dict(card)) for card in config["teachers"])


def settings_of(texts: Sequence[str]) -> dict[str, str]:
    """``["weight=2"]`` -> ``{"weight": "2"}``; ``UserError`` for anything else."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--set {text!r}: expected NAME=VALUE, such as --set weight=2")
        found[name.strip()] = value.strip()
    return found
