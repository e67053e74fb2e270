"""``python -m distill.train``: train my student from the best teachers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distill.options import MISSING_STUDENT, Options, TrainOptions, from_config, settings_of
from distill.run import RunFolder
from zoo.errors import UserError
from zoo.files import check_home
from zoo.terminal.command import resumable, run
from zoo.terminal.options import command_of, flag_of, named_as_parameters, narrow
from zoo.terminal.progress import warn

if TYPE_CHECKING:
    from distill.experiment import Experiment
    from distill.training.trained import TrainedStudent
    from selection.task import Task
    from zoo.card import ModelCard


@named_as_parameters(TrainOptions)
def train(
    task: str | Path,
    student: str | Path,
    ranking: str | Path | None = None,
    *,
    out: str | Path = "run",
    options: TrainOptions | None = None,
) -> TrainedStudent:
    """Train a small student from the teachers of a ranking, and export it for timm.

    Parameters
    ----------
    task : str or Path
        A folder, a file of labels, ``hf:org/name``, ``digits`` or ``requests``.
    student : str or Path
        A network of timm, or a folder with one.
    ranking : str or Path, optional
        The ``ranking.json`` whose committee teaches; every method but ``plain`` needs it.
    out : str or Path
        The run folder.
    options : TrainOptions, optional
        Everything else, as the command's options. What it says of the four above is not used.

    Returns
    -------
    TrainedStudent
        Figures with intervals, whether the teachers helped, and the paths of the files.

    Raises
    ------
    UserError
        If the task, the student or an option is wrong; the message says how to mend it.
    Unavailable
        If a teacher or the task cannot be had.

    Examples
    --------
    ``train("mydata", "mobilenetv3_small_050", "ranking.json", options=TrainOptions(epochs=50))``
    trains into the folder ``run``; a notebook shows the result as a table.
    """
    from distill.training.trained import TrainedStudent

    command = replace(
        options or TrainOptions(),
        task=str(task),
        student=str(student),
        ranking=None if ranking is None else str(ranking),
        out=Path(out),
    )
    command = replace(command, explicit=_differing(command))
    return TrainedStudent.of(_trained(command).run)


def _differing(command: TrainOptions) -> frozenset[str]:
    """The options that are not as they are by default: in Python these are the given ones."""
    default = TrainOptions()
    return frozenset(
        name for name, value in vars(command).items() if value != getattr(default, name)
    )


def train_student(command: TrainOptions) -> int:
    """Train a small student from the teachers of a ranking, and export it for timm."""
    trained = _trained(command)
    if int(os.environ.get("RANK", "0")) == 0:  # only the main process prints
        _summary(trained.run)
        _pass_on(trained.run, command, trained.experiment)
    return 0


class _Trained(NamedTuple):
    """A finished run, and its experiment where it had to be opened."""

    run: RunFolder
    experiment: Experiment | None


def _trained(command: TrainOptions) -> _Trained:
    """The finished run that ``command`` asks for, with its page."""
    from distill.training.trainer import train as train_run
    from distill.training.trainer import train_control

    _refuse_early(command)
    if finished := _finished(command):
        return _Trained(finished, _with_page(finished, command))
    options, experiment = _open(command)
    control = None
    if _wants_control(command) and options.method != "plain":
        experiment.build(options.method, options.seed, settings=settings_of(options.settings))
        control = train_control(experiment, options)
    with resumable(f"the epochs that ended are kept in {command.out}", "--resume"):
        finished = train_run(
            experiment,
            options,
            command.out,
            resume=command.resume,
            control=control,
            without_control=not _wants_control(command),
            report=True,
        )
    return _Trained(finished, experiment)


def _with_page(finished: RunFolder, command: TrainOptions) -> Experiment | None:
    """Write the page of a finished run where it is missing; the experiment if it was opened."""
    from distill.report.run_page import PAGE, write_page

    opened: list[Experiment] = []

    def task() -> Task:
        opened.append(_open(command)[1])
        return opened[0].task

    if not (finished.path / PAGE).exists():
        write_page(finished, task)
    return opened[0] if opened else None


def _refuse_early(command: TrainOptions) -> None:
    """Raise ``UserError`` for what would fail after hours of training."""
    from distill.kinds.registry import kind_of_student
    from distill.methods.registry import configure
    from distill.student.share import check
    from distill.training.processes import resolve_device

    if command.offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    resolve_device(command.device)
    check_home()
    check(
        onnx=command.onnx,
        int8=command.int8,
        push=command.push,
        public=command.public,
        offline=command.offline,
    )
    run = RunFolder(command.out)
    run.require_free(resume=command.resume)
    if not run.exists:
        _require_task(command, narrow(command, Options))
        configure(command.method, settings_of(command.settings))
        if command.student:
            kind_of_student(command.student).check_student(command)


def _finished(command: TrainOptions) -> RunFolder | None:
    """The run in ``--out`` where ``--resume`` finds that it has ended."""
    run = RunFolder(command.out)
    if not (command.resume and run.exists):
        return None
    run.remove_damaged()
    _require_unchanged(command, _kept_options(run)[0])
    return run if run.finished else None


def _kept_options(run: RunFolder) -> tuple[Options, tuple[ModelCard, ...]]:
    """The options and the committee that a run was begun with."""
    return from_config(run.config(), source=str(run.path / "config.json"))


def _wants_control(command: TrainOptions) -> bool:
    """Whether the plain control is trained too; a resumed run remembers it."""
    run = RunFolder(command.out)
    if "control" in command.explicit or not (command.resume and run.exists):
        return command.control
    return not run.config().get("without_control", False)


def _open(command: TrainOptions) -> tuple[Options, Experiment]:
    """The run's options and its experiment; with ``--resume`` those of the run in ``--out``."""
    from distill.experiment import prepare
    from distill.methods.registry import METHODS
    from distill.student.model_card import licence_warning
    from distill.training.processes import resolve_device
    from selection.report.class_table import announce

    options, cards, revision = narrow(command, Options), None, None
    run = RunFolder(command.out)
    if command.resume and run.exists:
        options, cards = _kept_options(run)
        revision = run.config()["task"].get("revision")
    experiment = prepare(
        options,
        device=resolve_device(command.device),
        offline=command.offline,
        yes=command.yes,
        catalogue=command.catalogue,
        cards=cards,
        revision=revision,
        on_task=partial(announce, files=command.show_files),
    )
    if not experiment.committee.cards and METHODS[options.method].needs:
        warn(
            "the ranking's committee is empty: none of the teachers helps this task, so the student"
            " is trained plainly"
        )
        options = replace(options, method="plain", settings=())
    if options.method != "plain":
        for card in experiment.committee.cards:
            if text := licence_warning(card.id, card.license):
                warn(text)
    return options, experiment


def _require_task(command: TrainOptions, options: Options) -> None:
    """Raise ``UserError`` where the task or the student is missing."""
    if command.resume and not options.task:
        raise UserError(
            f"--resume: {command.out} holds no run; give the --out of the run, or --task and"
            " --student for a new one"
        )
    if not options.task:
        raise UserError(MISSING_STUDENT.replace("--student", "--task", 1))


def _require_unchanged(command: TrainOptions, kept: Options) -> None:
    """Raise ``UserError`` where an option of the resuming command differs from the run's."""
    for name in vars(kept):
        old, new = getattr(kept, name), getattr(command, name)
        automatic = name == "class_balance" and new == "auto"  # the run keeps what it chose
        if name in command.explicit and old != new and not automatic:
            flag = flag_of(Options, name)
            was = f"no {flag}" if old in (None, ()) else f"{flag} {_as_text(old)}"
            raise UserError(
                f"the run was made with {was}, this command says {_as_text(new)}: leave it out, or"
                " give another --out"
            )


def _as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _summary(finished: RunFolder) -> None:
    from distill.kinds.registry import kind_of_run
    from distill.report.run_page import PAGE
    from distill.student.cost import cost_lines
    from distill.training.results import reference_lines, split_metrics, summary_lines, warnings_of
    from zoo.terminal.table import terminal_width

    results, config = finished.results(), finished.config()
    kind, classes = kind_of_run(config), config["classes"]
    for split in ("validation", "test"):
        metrics = split_metrics(results, split, classes)
        for text in warnings_of(metrics, split, kind=kind):
            warn(text)
        print("\n".join(summary_lines(results[split], metrics, split, kind=kind)))
        if new := results[split].get("without_copies"):
            first = kind.figures[0]
            print(
                f"{split}, without copies from the other splits: {first.shown(first.value(new))} of"
                f" {first.count(new)} {kind.nouns}"
            )
    for line in reference_lines(results.get("references", {}), kind):
        print(line)
    if results.get("verdict"):
        print(results["verdict"])
    if results.get("cost"):
        print("\n".join(cost_lines(results["cost"], width=terminal_width())))
    print(f"student: {finished.student}")
    if (finished.path / PAGE).exists():
        print(f"page: {finished.path / PAGE}")


def _file_line(kind: str, path: Path) -> str:
    return f"{kind}: {path} ({path.stat().st_size / 1e6:.2f} MB)"


def _pass_on(
    finished: RunFolder, command: TrainOptions, experiment: Experiment | None = None
) -> None:
    """Write and upload what the command asks for; ``experiment`` is opened where it is needed."""
    from distill.student.share import push_student

    if command.onnx or command.int8:
        from distill.kinds.registry import kind_of_export

        kind = kind_of_export(finished.student)
        print(_file_line("onnx", kind.write_onnx(finished.student)))
    if command.int8:
        experiment = experiment or _open(command)[1]
        int8 = kind.write_int8(finished.student, experiment.samples, experiment.split("test"))
        print(
            f"{_file_line('int8', int8.path)}: test {100 * int8.accuracy:.1f} %,"
            f" in float32 {100 * int8.float_accuracy:.1f} %"
        )
    if command.push:
        card = finished.path / "README.md"
        address = push_student(
            finished.student,
            card,
            command.push,
            public=command.public,
        )
        print(f"pushed ({'public' if command.public else 'private'}): {address}")


def main(argv: Sequence[str] | None = None) -> int:
    return run(command_of(TrainOptions, train_student), argv, name="distill.train")


if __name__ == "__main__":
    raise SystemExit(main())
