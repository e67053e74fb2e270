"""One run from its experiment to its finished folder, and the plain control beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from distill.experiment import Experiment, TrainingSetup, to_config
from distill.options import Options, settings_of
from distill.run import RunFolder
from distill.student.model_card import model_card
from distill.student.student import export
from distill.training.live import TrainingView
from distill.training.loop import Schedule, fit, peak_memory, time_steps
from distill.training.processes import Processes, processes
from selection.scores.accuracy import gain, hits, points
from zoo.home import home
from zoo.terminal.progress import note


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
        setup = experiment.build(
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
        _estimate(setup, schedule, where, run)
    curve = (
        {line["epoch"]: line["validation_accuracy"] for line in control.metrics()}
        if control
        else {}
    )
    with TrainingView(
        f"{options.method} seed {options.seed}",
        epochs=schedule.epochs,
        folder=run.path if where.is_main else None,
        control=curve,
        images=len(experiment.validation),
    ) as live:
        fit(
            setup.student,
            setup.recipe,
            setup.batches,
            schedule,
            run=run,
            where=where,
            seed=options.seed,
            validate=lambda student: experiment.validate(student, setup.teachers),
            on_epoch=live.epoch,
        )
    if where.is_main:
        results = experiment.results(setup.student)
        if control:
            results["verdict"] = verdict(results, control.results(), options.method)
        export(setup.student, run.student)
        run.finish(results, model_card(run.config(), results))
    where.wait()
    return run


def _estimate(setup: TrainingSetup, schedule: Schedule, where: Processes, run: RunFolder) -> None:
    """Print how long the run will take and how much memory, measured on a few steps."""
    seconds = time_steps(setup.student, setup.recipe, setup.batches, schedule, where)
    total = schedule.epochs * setup.batches.steps_an_epoch
    note(
        f"{total} steps ({schedule.epochs} epochs of {setup.batches.steps_an_epoch}, batch"
        f" {schedule.batch_size}: {setup.batches.sizes[0]} labelled and {setup.batches.sizes[1]}"
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
    alone = experiment.without_teachers()
    plain = Options(
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
    return train(alone, plain, home() / "distill" / "controls" / digest)
