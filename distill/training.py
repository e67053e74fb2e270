"""One run from start to finish: train, evaluate, export, write the model card; and the plain control beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.live import note
from distill.options import Options, settings_of, to_config

if TYPE_CHECKING:
    from distill.experiment import Experiment, Lesson
    from distill.loop import Schedule
    from distill.processes import Processes
    from distill.run import RunFolder


def train(experiment: Experiment, options: Options, folder: Path, *, resume: bool = True,
          control: RunFolder | None = None) -> RunFolder:
    """One run in ``folder``: train, evaluate, export the student, write its model card.

    Goes on where an earlier run stopped, unless ``resume`` is False; a finished run is returned as it is. ``control`` is a
    finished ``plain`` run to compare with on the validation split. Raises ``UserError``, ``Unavailable``, ``OSError``.
    """
    from distill.live import Live
    from distill.loop import fit
    from distill.model_card import model_card
    from distill.processes import processes
    from distill.run import RunFolder
    from distill.student import export

    where = processes(experiment.committee.device, experiment.plan.precision)
    run = RunFolder(folder)
    if where.is_main:
        RunFolder.create(folder, to_config(options, experiment), resume=resume)
    where.wait()
    if run.finished:
        return run
    try:
        lesson = experiment.build(options.method, options.seed, settings=settings_of(options.settings), device=where.device)
    except BaseException:  # refused, stopped, disk full: nothing was trained, so the same command may be given again
        run.discard()
        raise
    schedule = experiment.plan.schedule
    if where.is_main:
        _estimate(lesson, schedule, where, run)
    curve = {line["epoch"]: line["validation_accuracy"] for line in control.metrics()} if control else {}
    with Live(f"{options.method} seed {options.seed}", epochs=schedule.epochs, folder=run.path if where.is_main else None,
              control=curve, images=len(experiment.validation)) as live:
        fit(lesson.student, lesson.recipe, lesson.batches, schedule, run=run, where=where, seed=options.seed,
            validate=lambda student: experiment.validate(student, lesson.teachers), on_epoch=live.epoch)
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
    from distill.loop import peak_memory, time_steps

    seconds = time_steps(lesson.student, lesson.recipe, lesson.batches, schedule, where)
    total = schedule.epochs * lesson.batches.steps_an_epoch
    note(f"{total} steps ({schedule.epochs} epochs of {lesson.batches.steps_an_epoch}, batch {schedule.batch_size}: "
         f"{lesson.batches.sizes[0]} labelled and {lesson.batches.sizes[1]} unlabelled) at {1000 * seconds:.0f} ms: about "
         f"{seconds * total / 60:.1f} minutes; memory so far {peak_memory(where.device) / 2**30:.1f} GiB; run folder {run.path}")


def verdict(mine: Mapping[str, Any], plain: Mapping[str, Any], method: str) -> str:
    """Whether the teachers helped, by the validation split, as a sentence."""
    from distill.accuracy import gain, hits, points

    lift = gain([hits(mine, "validation")], [hits(plain, "validation")])
    figures = f"{method} {100 * mine['validation']['accuracy']:.1f} %, plain {100 * plain['validation']['accuracy']:.1f} %, " \
              f"difference {points(lift, sign=True)} points on validation"
    if lift.low > 0:
        return f"The teachers help: {figures}."
    if lift.high < 0:
        return f"None of the teachers helps here, plain training is better: {figures}. Use the plain student."
    return f"Too close to call whether the teachers help: {figures}."


def train_control(experiment: Experiment, options: Options) -> RunFolder:
    """The finished ``plain`` run with the same task, student, schedule and seed; trained now where there is none yet."""
    from zoo.home import home

    alone = experiment.untaught()
    mine = Options(task=options.task, unlabelled=options.unlabelled, student=options.student, method="plain",
                   pretrained=options.pretrained, epochs=alone.plan.schedule.epochs, seed=options.seed)
    identity = [experiment.task.digest, asdict(alone.plan), len(experiment.pixels), options.seed]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    note("first the plain control, to tell whether the teachers help (--no-control leaves it out)")
    return train(alone, mine, home() / "distill" / "controls" / digest)
