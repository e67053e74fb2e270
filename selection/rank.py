"""``python -m selection.rank``: who should teach my data?"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selection.probing.budget import Budget
from selection.ranking import Ranking
from selection.settings import Settings, ShowFiles
from zoo.errors import UserError
from zoo.files import check_can_write_text
from zoo.home import feature_folder
from zoo.terminal.command import resumable, run, validate_choice
from zoo.terminal.options import command_of, flag_of, named_as_parameters

if TYPE_CHECKING:
    from selection.probing.ranked_probe import RankedProbe
    from selection.task import Task
    from zoo.terminal.progress import Progress

FORMATS = ("table", "json", "csv")
# options that the next command needs too
_PASSED_ON = (
    "unlabelled",
    "kind",
    "image_column",
    "text_column",
    "label_column",
    "device",
    "catalogue",
)

__all__ = ["Settings", "main", "rank"]


@named_as_parameters(Settings, "task")
def rank(
    task: str | Path | Task,
    settings: Settings | None = None,
    *,
    progress: Progress | None = None,
) -> Ranking:
    """Rank the catalogue's models as teachers for a task and choose a committee.

    Parameters
    ----------
    task : str, Path or Task
        A folder, ``hf:org/name``, the built-in ``digits`` or ``requests``, or an open ``Task``.
    settings : Settings, optional
        Score, filters, budget. The default ranks at most 50 models by transport.
    progress : Progress, optional
        Reports models as they finish, as ``Progress.live()`` of ``zoo.terminal.progress`` does on
        stderr; silent by default.

    Returns
    -------
    Ranking
        One row per model, best first; a failed model is a row with its reason.

    Raises
    ------
    UserError
        If the task or a setting is wrong; the message says how to mend it.
    Unavailable
        If no model could be ranked.
    """
    settings = settings or Settings()
    return rank_on_probe(
        task,
        settings,
        budget=Budget.of(settings),
        progress=progress,
    ).ranking


def rank_on_probe(
    task: str | Path | Task,
    settings: Settings,
    *,
    budget: Budget,
    progress: Progress | None = None,
    on_task: Callable[[Task], None] | None = None,
) -> RankedProbe:
    """Rank as ``rank`` does, within a budget whose clock is already running.

    ``on_task`` is called with the opened task before the first model is asked.
    """
    wall, processor = time.monotonic(), time.process_time()
    from selection.probing.evaluate import evaluate_candidates
    from selection.probing.inputs import open_inputs
    from selection.probing.ranked_probe import ranked_probe
    from selection.probing.requirements import check_requirements

    check_requirements(settings)
    inputs = open_inputs(task, settings, budget, on_task)
    budget.measure_slowdown(time.monotonic() - wall, time.process_time() - processor)
    halving = evaluate_candidates(inputs, settings, budget, progress)
    return ranked_probe(inputs, halving, settings, budget)


@dataclass(frozen=True, kw_only=True)
class TaskOption:
    """The one option that has no default; it comes first in the help."""

    task: Annotated[
        str,
        typer.Option(
            help="a folder (a sub-folder a class, a file of labels, train.parquet, ratings.csv), a"
            " table of paths and labels, of texts or of ratings, hf:org/name, digits or requests"
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class RankOptions(Settings, TaskOption):
    """The options of the command: what is ranked, with what, and what is written."""

    out: Annotated[Path | None, typer.Option(help="write the ranking as JSON")] = None
    report: Annotated[Path | None, typer.Option(help="write a self-contained page")] = None
    format: Annotated[
        str, typer.Option(help="what stdout carries: table, json or csv; messages go to stderr")
    ] = "table"
    show_files: ShowFiles = False

    def __post_init__(self) -> None:
        """Refuse a place where no file can be written, or where another is to stay."""
        super().__post_init__()
        validate_choice("format", self.format, FORMATS)
        places = {Path(self.task).resolve(): "--task"}
        for flag, path in (("--out", self.out), ("--report", self.report)):
            if path is not None:
                check_can_write_text(path)
                other = places.setdefault(path.resolve(), flag)
                if other != flag:
                    raise UserError(f"{other} and {flag} name the same file {path}; give two")


def _rank_command(options: RankOptions) -> None:
    """Rank the catalogue's models as teachers for a task, best first, and say how sure that is."""
    from selection.report.class_table import announce
    from selection.report.machine_form import print_machine_form
    from selection.report.table import show
    from zoo.terminal.progress import Progress, warn

    budget = Budget.of_command(options, report=options.report is not None)
    if options.offline:
        _forbid_network()
    shown: list[str] = []

    def on_task(task: Task) -> None:
        announce(task, files=options.show_files)
        shown.extend(task.warnings)

    with resumable(f"the outputs of the models that were probed are kept in {feature_folder()}"):
        ranked = rank_on_probe(
            options.task,
            options,
            budget=budget,
            progress=Progress.live(),
            on_task=on_task,
        )
    if options.out is not None:
        ranked.ranking.save(options.out)  # before the table, whose reader may have gone (| head)
    for warning in ranked.ranking.warnings:
        if warning not in shown:
            warn(warning)
    command = _train_command(ranked.ranking, options)
    if options.format == "table":
        show(ranked.ranking, command=command, saved=options.out is not None)
    else:
        print_machine_form(ranked.ranking, options.format)
    messages = sys.stdout if options.format == "table" else sys.stderr
    if options.out is not None:
        print(f"ranking: {options.out}", file=messages)
    if options.report is not None:
        from selection.report.page import write
        from selection.report.report import make_report

        report = make_report(ranked.ranking, ranked.probe, ranked.evidence)
        write(replace(report, command=command, saved=options.out is not None), options.report)
        print(f"report: {options.report}", file=messages)


def _train_command(ranking: Ranking, options: RankOptions) -> str:
    """The command that trains a student from ``ranking``, with the options that it shares."""
    from selection.report.verdict import train_command

    more: list[str] = []
    for name in _PASSED_ON:
        value = getattr(options, name)
        if value is not None:
            more += [flag_of(RankOptions, name), str(value)]
    if options.offline:
        more.append("--offline")
    if not options.duplicates:
        more.append("--no-duplicates")
    file = None if options.out is None else str(options.out)
    return train_command(ranking, task=options.task, file=file, more=more)


def _forbid_network() -> None:
    """Tell the Hub's libraries, which read this when they are first imported, for this process."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(RankOptions, _rank_command), argv, name="selection.rank")


if __name__ == "__main__":
    raise SystemExit(main())
