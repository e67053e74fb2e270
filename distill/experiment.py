"""A task, a student and a committee, from which any method and seed can be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from distill.data.batches import Batches, BatchSettings
from distill.data.samples import Samples, open_samples, refuse_equal_samples
from distill.kinds.kind import Packings, SplitAnswers, TrainingKind
from distill.kinds.registry import TRAINING_KINDS, kind_of_student, training_kind
from distill.methods.recipe import Context
from distill.methods.registry import METHODS, require
from distill.methods.registry import build as build_recipe
from distill.options import MISSING_STUDENT, Options
from distill.report.mistakes import worst_mistakes
from distill.student.student import Student
from distill.teachers.cards import committee_cards
from distill.teachers.outputs import RenderedViews
from distill.teachers.prepared import (
    VIEW_SEED,
    PreparedTeacher,
    PreparedTeachers,
    TaskSamples,
)
from distill.training.config import TrainingConfig, training_config
from distill.training.figures import Figure
from distill.training.loop import TrainingSetup
from selection.duplicates.report import leaks
from selection.probing.budget import CostModel
from selection.probing.downloads import (
    TRAIN_LIMITS,
    DownloadPlan,
    announce_download,
    refuse_unasked,
)
from selection.ranking import Ranking
from selection.report.class_table import warn_of
from selection.sources.unreadable import check_readable, unreadable_warnings
from selection.task import Task
from zoo.errors import UserError
from zoo.home import bandwidth_file, pixel_folder
from zoo.terminal.command import printable
from zoo.terminal.options import flag_of
from zoo.terminal.progress import warn

if TYPE_CHECKING:
    from zoo.card import ModelCard


UNREADABLE_KEPT = 100  # samples that results.json names with their reasons


@dataclass(eq=False)
class Experiment:
    """The task's samples in memory maps, and the committee's outputs as far as a method needs them.

    Samples and outputs are kept under ``$TEACHER_ZOO_HOME``, shared by students, methods and seeds.
    """

    task: Task
    training: TrainingConfig
    committee: PreparedTeachers

    @property
    def size(self) -> int:
        """The student's input size."""
        return self.training.student.size

    @cached_property
    def decided_by(self) -> Figure:
        """The figure that decides whether teachers help."""
        return self.kind.decided_by(self.task)

    @cached_property
    def kind(self) -> TrainingKind:
        """What is true of the task's kind of samples alone."""
        return training_kind(self.task)

    @cached_property
    def packings(self) -> Packings:
        """How the samples are stored for the student."""
        return self.kind.packings(self.task, self.training.student)

    @cached_property
    def samples(self) -> Samples:
        """The training samples, labelled ones first."""
        splits = [self.task.train]
        if self.task.unlabelled is not None:
            splits.append(self.task.unlabelled)
        samples = open_samples(splits, self.packings.training, folder=pixel_folder())
        if not self.task.unreadable:  # which the search for duplicates would have said
            reasons = samples.unreadable()
            sentences = unreadable_warnings(reasons, len(samples), self.task.kind)
            check_readable(self.task.train, reasons, sentences)
            for sentence in sentences:
                warn(sentence)
        refuse_equal_samples(samples, nouns=self.kind.nouns)
        return samples

    def split(self, name: str) -> Samples:
        """``validation`` or ``test`` as the student sees it."""
        return open_samples(
            [getattr(self.task, name)],
            self.packings.held_out,
            folder=pixel_folder(),
            progress_name=f"decoding {name}",
        )

    @cached_property
    def validation(self) -> Samples:
        """The validation split as the student sees it."""
        return self.split("validation")

    def teachers(self, *, split: bool = False) -> tuple[PreparedTeacher, ...]:
        """The committee with its outputs, in order; with ``split`` its lower states too."""
        if not self.committee.cards:
            return ()
        training, views = self.training, None
        if training.views > 1:
            views = RenderedViews(
                augmentation=training.augmentation, seed=VIEW_SEED, count=training.views
            )
        samples = TaskSamples(
            training=self.samples,
            validation=self.validation,
            classes=self.task.classes,
            views=views,
        )
        return self.committee.prepare(samples, split=split)

    def build(
        self,
        method: str,
        seed: int,
        *,
        settings: Mapping[str, str] | None = None,
        device: str | torch.device = "cpu",
    ) -> TrainingSetup:
        """The input of ``distill.training.loop.fit`` for one run.

        ``UserError`` where the method cannot run here. ``plain`` trains on the labelled samples
        alone, for as many steps as the other methods.
        """
        training, needs = self.training, METHODS[method].needs
        student = training.student.create(self.task.classes, seed=seed)
        split = "split" in needs
        context = Context(
            classes=self.task.classes,
            feature_dim=student.feature_dim,
            hidden_shape=student.hidden_shape,
            low_shape=student.low_shape,
            grid=self.kind.grid,
            values=self.kind.class_values(self.task),
            teachers=self.committee.infos(self.task.classes, split=split) if needs else (),
            seed=seed,
        )
        require(method, context)  # before the teachers work
        teachers = self.teachers(split=split) if needs else ()
        context = replace(context, teachers=tuple(t.info for t in teachers))
        recipe = build_recipe(method, context, settings)
        drawing = BatchSettings(
            batch_size=training.schedule.batch_size,
            size=self.size,
            augmentation=training.augmentation
            if teachers
            else training.augmentation.without_blends(),
            seed=seed,
            view_seed=VIEW_SEED if teachers else seed + 1,
            labelled_share=training.labelled_share,
            views=training.views if teachers else 1,
            use_unlabelled=bool(teachers),
            class_balance=training.class_balance,
            classes=len(self.task.classes),
        )
        batches = Batches.build(
            self.samples,
            drawing,
            teachers=tuple(
                t.outputs.map(lambda name, values: values if name in needs else None)
                for t in teachers
            ),
            lists=self.committee.lists(teachers),
            device=device,
        )
        return TrainingSetup(
            student=student,
            recipe=recipe,
            batches=batches,
            seed=seed,
            precision=training.precision,
            validate=partial(self.validate, teachers=teachers),
        )

    def answers(self, student: Student, samples: Samples) -> SplitAnswers:
        """What ``student`` says of the ``samples`` of a split."""
        chunks = samples.chunks(samples.usable)
        logits = torch.cat([student.logits(chunk) for chunk in chunks])  # (n, C)
        return SplitAnswers(task=self.task, samples=samples, logits=logits, student=student)

    def validate(self, student: Student, teachers: tuple[PreparedTeacher, ...]) -> dict[str, Any]:
        """Figures, loss and agreement with each teacher on the validation split."""
        answers = self.answers(student, self.validation)
        predicted = answers.logits.argmax(1)
        agreement = []
        for teacher in teachers:
            agrees = teacher.validation.argmax(1)[self.validation.usable] == predicted
            share = float(agrees.float().mean())
            agreement.append({"model": teacher.info.card.id, "agreement": share})
        figures = self.kind.validate(answers)
        line = {f"validation_{name}": value for name, value in figures.items()}
        return {**line, "teachers": agreement}

    def results(self, student: Student) -> dict[str, Any]:
        """``results.json``: figures and predictions on the validation and the test split, which
        figure decides, the worst mistakes, and what could not be read.
        """
        results: dict[str, Any] = {
            "decided_by": self.decided_by.name,
            "unreadable": self._unreadable(),
        }
        for name in ("validation", "test"):
            samples = self.split(name)
            entry = self.kind.evaluate(self.answers(student, samples))
            results[name] = {**entry, **self._without_copies(name, samples, entry)}
        if references := self.kind.references(self.task):
            results["references"] = references
        test = results["test"]
        if "confidence" in test:
            test["mistakes"] = worst_mistakes(
                self.task.test,
                self.split("test").usable,
                np.asarray(test["predicted"]),
                np.asarray(test["confidence"]),
            )
        return results

    def _unreadable(self) -> dict[str, Any]:
        """How many samples could not be read, and the first of them with their reasons."""
        reasons = dict(self.task.unreadable)
        for samples in (self.samples, self.validation, self.split("test")):
            reasons |= samples.unreadable()
        examples = [
            {"name": printable(name, 300), "reason": printable(reason, 300)}
            for name, reason in islice(reasons.items(), UNREADABLE_KEPT)
        ]
        return {"samples": len(reasons), "examples": examples}

    def _without_copies(
        self,
        name: str,
        samples: Samples,
        entry: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The first figure on the samples of a split that stand in no other too, where some do."""
        task, others = self.task, {"validation", "test"} - {name}
        splits = (task.train, *(getattr(task, other) for other in others))
        copies = np.concatenate([leaks(getattr(task, name), split) for split in splits])
        is_new = ~np.isin(samples.usable, copies)
        figure = self.kind.figures[0]
        terms = figure.terms(entry)
        if is_new.all() or not is_new.any() or terms is None or terms.shape[1] != len(is_new):
            return {}
        figures = figure.named(figure.interval_of(terms[:, is_new]))
        return {"without_copies": {"samples": int(is_new.sum()), **figures}}

    def with_teachers(self, cards: tuple[ModelCard, ...]) -> Experiment:
        """The same task and samples with other teachers; what is loaded and prepared is shared."""
        return replace(self, committee=replace(self.committee, cards=cards))

    def without_teachers(self) -> Experiment:
        """The same task and samples with no teacher, for the plain control."""
        augmentation = self.training.augmentation.without_blends()
        training = replace(self.training, views=1, augmentation=augmentation)
        return replace(self.with_teachers(()), training=training)


def prepare(
    options: Options,
    *,
    device: str = "cpu",
    offline: bool = False,
    yes: bool = False,
    catalogue: Path | None = None,
    cards: tuple[ModelCard, ...] | None = None,
    revision: str | None = None,
    on_task: Callable[[Task], None] = warn_of,
) -> Experiment:
    """The experiment that ``options`` describe; ``cards`` are the committee of a run that is
    resumed, ``revision`` the commit of its Hub dataset; ``on_task`` is called with the opened task
    at the end. Teachers of more than 2 GB are downloaded only with ``yes``, or where the user of a
    command agrees. Raises ``UserError``.
    """
    if options.method != "plain" and options.ranking is None and cards is None:
        raise UserError(
            f"--method {options.method} needs --ranking ranking.json; make one: python -m"
            f" selection.rank --task {options.task} --out ranking.json, or use --method plain"
        )
    ranking = Ranking.load(Path(options.ranking)) if cards is None and options.ranking else None
    if ranking is not None and options.task == f"hf:{ranking.task}":
        revision = ranking.split.get("revision")
    if ranking is not None:
        cards = committee_cards(ranking, top=options.top, catalogue=catalogue)
    if METHODS[options.method].needs and not offline:
        _agree_to_download(cards or (), yes=yes)
    ranked = _ranked_split(options, ranking)
    task = Task.open(
        options.task,
        unlabelled=options.unlabelled,
        revision=revision,
        kind=options.kind or ranked.get("kind"),
        image_column=options.image_column or ranked.get("image_column"),
        text_column=options.text_column or ranked.get("text_column"),
        label_column=options.label_column or ranked.get("label_column"),
        offline=offline,
        duplicates=options.duplicates,
    )
    options = _of_kind(options, task)
    _require_held_out(task)
    if ranking is not None and ranking.split.get("digest") not in (None, task.digest):
        warn(
            f"{options.ranking} was made on another state of the task (its split digest differs):"
            " rank again to be sure"
        )
    training = training_config(options, task)
    committee = PreparedTeachers(
        cards or (),
        device,
        offline,
        options.teacher_size,
        balanced=training.class_balance is not None,
        join=training_kind(task).join(task),
        grid=training_kind(task).grid,
    )
    experiment = Experiment(task, training, committee)
    on_task(task)  # after all that can be refused: an error is one line
    return experiment


def _agree_to_download(cards: Sequence[ModelCard], *, yes: bool) -> None:
    """Say how much of the teachers must be fetched; ask, or raise ``UserError``, for much of it."""
    plan = DownloadPlan.of(cards, CostModel(bandwidth_file()))
    refuse_unasked(plan, yes=yes, limits=TRAIN_LIMITS)
    announce_download(plan, yes=yes, limits=TRAIN_LIMITS)


def _ranked_split(options: Options, ranking: Ranking | None) -> Mapping[str, Any]:
    """What the ranking says of the task's reading, where it is of this task."""
    path = Path(options.task).resolve()
    names = (path.name, path.stem, path.parent.name, options.task.removeprefix("hf:"))
    return ranking.split if ranking is not None and ranking.task in names else {}


def _of_kind(options: Options, task: Task) -> Options:
    """``options`` with the default student of the task's kind.

    ``UserError`` where the student or an option is for another kind of samples, or cannot be made.
    """
    kind = training_kind(task)
    for name in kind.foreign:
        value, default = getattr(options, name), getattr(Options(), name)
        if value != default and (name, value) != ("views", 1):  # which a kept run says
            others = [other for other in TRAINING_KINDS.values() if name not in other.foreign]
            raise UserError(
                f"{flag_of(Options, name)} is for tasks of {others[0].nouns}, {task.name} is one of"
                f" {kind.nouns}: leave it out"
            )
    if not options.student:
        if kind.default_student is None:
            raise UserError(MISSING_STUDENT)
        return replace(options, student=kind.default_student)
    of_student = kind_of_student(options.student)
    if of_student is not kind:
        kind.check_student(options)
        raise UserError(
            f"--student {options.student} is for {of_student.nouns}, {task.name} is a task of"
            f" {kind.nouns}: give another --student"
        )
    return options


def _require_held_out(task: Task) -> None:
    """Raise ``UserError`` where a student could be neither validated nor tested."""
    noun = training_kind(task).noun
    for name in ("validation", "test"):
        if not len(getattr(task, name)):
            raise UserError(
                f"the task {task.name} has no {name} {noun}: no class has the four {noun}s that a"
                f" training, a validation and a test split need; add {noun}s, or a {name} folder"
            )
