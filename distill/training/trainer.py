"""One run from its experiment to its finished folder, and its plain control."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from distill.experiment import Experiment
from distill.options import Options, settings_of
from distill.report.run_page import write_page
from distill.run import RunFolder
from distill.student.cost import measure_costs
from distill.student.model_card import model_card
from distill.student.student import Student
from distill.training.estimate import peak_memory, time_steps
from distill.training.live import TrainingView
from distill.training.loop import Schedule, TrainingSetup, fit
from distill.training.processes import open_accelerator
from distill.training.results import control_results, curve_of, verdict
from distill.training.run_config import to_config
from zoo.home import control_folder
from zoo.terminal.progress import note

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(
    experiment: Experiment,
    options: Options,
    folder: Path,
    *,
    resume: bool = True,
    own: bool = False,
    control: RunFolder | None = None,
    without_control: bool = False,
    report: bool = False,
) -> RunFolder:
    """One run in ``folder``: train, evaluate, export the student, write its model card.

    Goes on where an earlier run stopped, unless ``resume`` is False; a finished run is returned as
    it is. ``control`` is a finished ``plain`` run to compare with on the validation split;
    ``without_control`` is written down for a resumed command. With ``report`` the time that
    student and teachers take is measured, and ``report.html`` written. An ``own`` folder is the
    tool's, not the user's: another training in it is waited for, and what is damaged is trained
    anew. Raises ``UserError``, ``Unavailable``, ``OSError``.
    """
    accelerator = open_accelerator(experiment.committee.device)
    run = RunFolder(folder)
    with ExitStack() as held:
        if accelerator.is_main_process:
            held.enter_context(run.locked(wait=own))
            run.remove_damaged(config=own)
            config = to_config(options, experiment) | {"without_control": without_control}
            RunFolder.create(folder, config, resume=resume)
        accelerator.wait_for_everyone()
        if not run.finished:
            setup = _train(experiment, options, run, accelerator, control)
            if accelerator.is_main_process:
                _finish(experiment, options, run, setup.student, control, report=report)
            accelerator.wait_for_everyone()
    return run


def _train(
    experiment: Experiment,
    options: Options,
    run: RunFolder,
    accelerator: Accelerator,
    control: RunFolder | None,
) -> TrainingSetup:
    """From the last checkpoint, if there is one, to the trained student."""
    setup = _set_up(experiment, options, run, accelerator)
    schedule = experiment.training.schedule
    if accelerator.is_main_process:
        _estimate(setup, schedule, accelerator, run)
    view = TrainingView(
        f"{options.method} seed {options.seed}",
        epochs=schedule.epochs,
        folder=run.path if accelerator.is_main_process else None,
        control=_curve(experiment, control) if control else (),
        figure=experiment.decided_by,
        margin=partial(_margin, experiment, control),
    )
    with view:
        fit(
            setup,
            schedule,
            run=run,
            accelerator=accelerator,
            on_epoch=view.epoch,
        )
    return setup


def _set_up(
    experiment: Experiment, options: Options, run: RunFolder, accelerator: Accelerator
) -> TrainingSetup:
    """The student, recipe and batches; a refusal takes the folder away again."""
    settings = settings_of(options.settings)
    try:
        return experiment.build(
            options.method, options.seed, settings=settings, device=accelerator.device
        )
    except BaseException:  # refused, stopped, disk full: the same command may be given again
        run.discard()
        raise


def _curve(experiment: Experiment, control: RunFolder) -> list[float | None]:
    """The deciding figure of the plain run on validation by epoch."""
    return curve_of(control.metrics(), experiment.decided_by, experiment.kind)


def _margin(experiment: Experiment, control: RunFolder | None, plain: float) -> float | None:
    """From which distance the student is clearly behind a ``plain`` value on validation."""
    figure = experiment.decided_by
    margin = figure.margin(plain, experiment.task)
    if margin is not None or control is None:
        return margin
    interval = figure.interval(control.results()["validation"])
    return (interval.high - interval.low) / 2


def _finish(
    experiment: Experiment,
    options: Options,
    run: RunFolder,
    student: Student,
    control: RunFolder | None,
    *,
    report: bool,
) -> None:
    """Evaluate and export the student; write results, model card and, with ``report``, page."""
    results = experiment.results(student)
    if control:
        plain = control.results()
        kind = experiment.kind
        results["verdict"] = verdict(results, plain, options.method, kind=kind)
        results["control"] = control_results(results, plain, control.metrics(), kind=kind)
    student.export(run.student, task=experiment.task)
    if report:
        note("timing the student and its teachers")
        results["cost"] = measure_costs(
            run.student,
            () if options.method == "plain" else experiment.committee.cards,
            device=experiment.committee.device,
            largest=experiment.committee.teacher_size,
        )
    run.finish(results, model_card(run.config(), results))
    if report:
        write_page(run, lambda: experiment.task)


def _estimate(
    setup: TrainingSetup, schedule: Schedule, accelerator: Accelerator, run: RunFolder
) -> None:
    """Print how long the run will take and how much memory, measured on a few steps."""
    seconds = time_steps(setup, schedule, accelerator)
    epoch_steps = setup.batches.steps_an_epoch
    labelled, unlabelled = setup.batches.sizes
    total = schedule.epochs * epoch_steps
    epochs = "1 epoch" if schedule.epochs == 1 else f"{schedule.epochs} epochs"
    note(
        f"{total} steps ({epochs} of {epoch_steps}, batch {schedule.batch_size}:"
        f" {labelled} labelled and {unlabelled} unlabelled) at {1000 * seconds:.0f} ms: about"
        f" {_duration(seconds * total)}; memory so far"
        f" {peak_memory(accelerator.device) / 2**30:.1f} GiB; run folder {run.path}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} s"


def train_control(experiment: Experiment, options: Options) -> RunFolder:
    """The finished ``plain`` run with the same task, student, schedule and seed, trained once."""
    alone = experiment.without_teachers()
    plain = Options(
        task=options.task,
        unlabelled=options.unlabelled,
        student=options.student,
        method="plain",
        pretrained=options.pretrained,
        epochs=alone.training.schedule.epochs,
        seed=options.seed,
        class_balance=alone.training.class_balance or "none",
    )
    training = asdict(alone.training)
    if training["class_balance"] is None:  # as earlier versions named it
        del training["class_balance"]
    identity = [experiment.task.digest, training, len(experiment.samples), options.seed]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:24]
    note("first the plain control, to tell whether the teachers help (--no-control leaves it out)")
    return train(alone, plain, control_folder() / digest, own=True)
