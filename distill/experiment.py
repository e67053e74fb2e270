"""One task, one kind of student and one committee: trained by any method and seed, with the plain
control beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from distill.data.batches import Batches
from distill.data.pixels import Pixels, open_pixels, working_size
from distill.data.views import STILL, Augmentation
from distill.methods.recipe import Context, Recipe
from distill.methods.registry import METHODS
from distill.methods.registry import build as build_recipe
from distill.options import Options, settings_of, to_config
from distill.run import RunFolder
from distill.student.model_card import model_card
from distill.student.student import Student, StudentSpec, export
from distill.teachers.prepared import VIEW_SEED, Committee, PreparedTeacher
from distill.training.live import Live, note
from distill.training.loop import Schedule, fit, peak_memory, time_steps
from distill.training.processes import Processes, processes
from selection.scores.accuracy import accuracy, gain, hits, points
from zoo.home import home

if TYPE_CHECKING:
    from selection.task import Task
    from zoo.card import ModelCard


@dataclass(frozen=True, kw_only=True)
class Plan:
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

    @property
    def answered(self) -> Augmentation:
        """The views that the teachers answer."""
        return self.augmentation if self.views > 1 else STILL


class Lesson(NamedTuple):
    """A student about to be trained."""

    student: Student
    recipe: Recipe
    batches: Batches
    teachers: tuple[PreparedTeacher, ...]


@dataclass(eq=False)
class Experiment:
    """The task's images in memory maps, and the committee's answers as far as a method asks for
    them.

    Images and answers are kept under ``$TEACHER_ZOO_HOME``, shared by students, methods and seeds.
    """

    task: Task
    plan: Plan
    committee: Committee

    @property
    def size(self) -> int:
        """The student's input size."""
        return self.plan.student.size

    @cached_property
    def work_size(self) -> int:
        """The size at which training images are stored and teachers look at them."""
        return working_size(self.task.train, self.size)

    @cached_property
    def pixels(self) -> Pixels:
        """The training images, labelled ones first, at the working size."""
        splits = [self.task.train] + (
            [self.task.unlabelled] if self.task.unlabelled is not None else []
        )
        return open_pixels(splits, size=self.work_size, folder=home() / "distill" / "pixels")

    def split(self, name: str, size: int) -> Pixels:
        """``validation`` or ``test`` at ``size``: the student's size, or the working size for the
        teachers.
        """
        return open_pixels(
            [getattr(self.task, name)],
            size=size,
            folder=home() / "distill" / "pixels",
            what=f"decoding {name}",
        )

    @cached_property
    def validation(self) -> Pixels:
        """The validation split as the student sees it."""
        return self.split("validation", self.size)

    def build(
        self,
        method: str,
        seed: int,
        *,
        settings: Mapping[str, str] | None = None,
        device: str | torch.device = "cpu",
    ) -> Lesson:
        """All that ``distill.training.loop.fit`` needs for one run; ``UserError`` where the method
        cannot run here.

        ``plain`` trains on the labelled images alone, for as many steps as the other methods.
        """
        plan, needs = self.plan, METHODS[method].needs
        student = Student.create(plan.student, self.task.classes, seed=seed)
        teachers = self.committee.prepare(self, split="split" in needs) if needs else ()
        recipe = build_recipe(
            method,
            Context(
                classes=self.task.classes,
                feature_dim=student.feature_dim,
                hidden_shape=student.hidden_shape,
                low_shape=student.low_shape,
                teachers=tuple(t.info for t in teachers),
                seed=seed,
            ),
            settings,
        )
        batches = Batches.build(
            self.pixels,
            batch_size=plan.schedule.batch_size,
            labelled_share=plan.labelled_share,
            size=self.size,
            augmentation=plan.augmentation if teachers else replace(plan.augmentation, mix=0.0),
            seed=seed,
            view_seed=VIEW_SEED if teachers else seed + 1,
            views=plan.views if teachers else 1,
            use_unlabelled=bool(teachers),
            teachers=tuple(
                t.outputs.map(lambda name, values: values if name in needs else None)
                for t in teachers
            ),
            device=device,
        )
        return Lesson(student, recipe, batches, teachers)

    def validate(self, student: Student, teachers: tuple[PreparedTeacher, ...]) -> dict[str, Any]:
        """Accuracy and loss on the validation split, and how often student and teacher give the
        same class.
        """
        rows = self.validation.usable
        labels = torch.from_numpy(self.validation.labels[rows])
        logits = torch.cat([student.logits(chunk) for chunk in self.validation.chunks(rows)])
        answer = logits.argmax(1)
        agreement = [
            {
                "model": t.info.card.id,
                "agreement": float((t.validation.argmax(1)[rows] == answer).float().mean()),
            }
            for t in teachers
        ]
        return {
            "validation_accuracy": float((answer == labels).float().mean()),
            "validation_loss": float(torch.nn.functional.cross_entropy(logits, labels)),
            "teachers": agreement,
        }

    def results(self, student: Student) -> dict[str, Any]:
        """Accuracy with its interval on the validation and the test split, and every prediction,
        for ``results.json``.
        """
        found: dict[str, Any] = {}
        for name in ("validation", "test"):
            pixels = self.split(name, self.size)
            labels = pixels.labels[pixels.usable]
            logits = [student.logits(chunk) for chunk in pixels.chunks(pixels.usable)]
            predicted = torch.cat(logits).argmax(1).numpy()
            share = accuracy(predicted == labels)
            found[name] = {
                "images": len(labels),
                "accuracy": share.value,
                "low": share.low,
                "high": share.high,
                "predicted": predicted.tolist(),
                "labels": labels.tolist(),
            }
        return found

    def taught_by(self, cards: tuple[ModelCard, ...]) -> Experiment:
        """The same task and images with other teachers of this machine; what is loaded and prepared
        is shared.
        """
        return replace(self, committee=replace(self.committee, cards=cards))

    def untaught(self) -> Experiment:
        """The same task and images with no teacher, for the plain control."""
        plan = replace(self.plan, views=1, augmentation=replace(self.plan.augmentation, mix=0.0))
        return replace(self.taught_by(()), plan=plan)


def train(
    experiment: Experiment,
    options: Options,
    folder: Path,
    *,
    resume: bool = True,
    control: RunFolder | None = None,
) -> RunFolder:
    """One run in ``folder``: train, evaluate, export the student, write its model card.

    Goes on where an earlier run stopped, unless ``resume`` is False; a finished run is returned as
    it is. ``control`` is a finished ``plain`` run to compare with on the validation split. Raises
    ``UserError``, ``Unavailable``, ``OSError``.
    """
    where = processes(experiment.committee.device, experiment.plan.precision)
    run = RunFolder(folder)
    if where.is_main:
        RunFolder.create(folder, to_config(options, experiment), resume=resume)
    where.wait()
    if run.finished:
        return run
    try:
        lesson = experiment.build(
            options.method,
            options.seed,
            settings=settings_of(options.settings),
            device=where.device,
        )
    except (
        BaseException
    ):  # refused, stopped, disk full: nothing was trained, so the same command may be given again
        run.discard()
        raise
    schedule = experiment.plan.schedule
    if where.is_main:
        _estimate(lesson, schedule, where, run)
    curve = (
        {line["epoch"]: line["validation_accuracy"] for line in control.metrics()}
        if control
        else {}
    )
    with Live(
        f"{options.method} seed {options.seed}",
        epochs=schedule.epochs,
        folder=run.path if where.is_main else None,
        control=curve,
        images=len(experiment.validation),
    ) as live:
        fit(
            lesson.student,
            lesson.recipe,
            lesson.batches,
            schedule,
            run=run,
            where=where,
            seed=options.seed,
            validate=lambda student: experiment.validate(student, lesson.teachers),
            on_epoch=live.epoch,
        )
    if where.is_main:
        results = experiment.results(lesson.student)
        if control:
            results["verdict"] = verdict(results, control.results(), options.method)
        export(lesson.student, run.student)
        run.finish(results, model_card(run.config(), results))
    where.wait()
    return run


def _estimate(lesson: Lesson, schedule: Schedule, where: Processes, run: RunFolder) -> None:
    """Print how long the run will take and how much memory, measured on a few steps."""
    seconds = time_steps(lesson.student, lesson.recipe, lesson.batches, schedule, where)
    total = schedule.epochs * lesson.batches.steps_an_epoch
    note(
        f"{total} steps ({schedule.epochs} epochs of {lesson.batches.steps_an_epoch}, batch"
        f" {schedule.batch_size}: {lesson.batches.sizes[0]} labelled and {lesson.batches.sizes[1]}"
        f" unlabelled) at {1000 * seconds:.0f} ms: about {seconds * total / 60:.1f} minutes; memory"
        f" so far {peak_memory(where.device) / 2**30:.1f} GiB; run folder {run.path}"
    )


def verdict(mine: Mapping[str, Any], plain: Mapping[str, Any], method: str) -> str:
    """Whether the teachers helped, by the validation split, as a sentence."""
    lift = gain([hits(mine, "validation")], [hits(plain, "validation")])
    figures = (
        f"{method} {100 * mine['validation']['accuracy']:.1f} %, plain"
        f" {100 * plain['validation']['accuracy']:.1f} %, difference {points(lift, sign=True)}"
        " points on validation"
    )
    if lift.low > 0:
        return f"The teachers help: {figures}."
    if lift.high < 0:
        return (
            f"None of the teachers helps here, plain training is better: {figures}. Use the plain"
            " student."
        )
    return f"Too close to call whether the teachers help: {figures}."


def train_control(experiment: Experiment, options: Options) -> RunFolder:
    """The finished ``plain`` run with the same task, student, schedule and seed; trained now where
    there is none yet.
    """
    alone = experiment.untaught()
    mine = Options(
        task=options.task,
        unlabelled=options.unlabelled,
        student=options.student,
        method="plain",
        pretrained=options.pretrained,
        epochs=alone.plan.schedule.epochs,
        seed=options.seed,
    )
    identity = [experiment.task.digest, asdict(alone.plan), len(experiment.pixels), options.seed]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    note("first the plain control, to tell whether the teachers help (--no-control leaves it out)")
    return train(alone, mine, home() / "distill" / "controls" / digest)
