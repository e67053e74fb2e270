"""``python -m selection.rank``: who should teach my data?"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selection.probing.budget import Budget, CostModel
from selection.ranking import Ranking, Row, versions
from selection.settings import Settings, ShowFiles
from zoo.errors import Unavailable, UserError
from zoo.files import check_can_write
from zoo.home import bandwidth_file, feature_folder
from zoo.terminal.command import resumable, run, validate_choice
from zoo.terminal.options import command_of, flag_of, named_as_parameters

if TYPE_CHECKING:
    from selection.committee import Committee
    from selection.evidence import Evidence
    from selection.probe import Probe
    from selection.probing.downloads import DownloadPlan
    from selection.probing.evaluate import RankingInputs
    from selection.probing.rounds import Halving
    from selection.recall.candidates import Candidates
    from selection.task import Task
    from zoo.terminal.progress import Progress

FORMATS = ("table", "json", "csv")
DETAILED = 3  # models of which the accuracy by class is kept

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
        A folder, ``hf:org/name``, the built-in ``digits``, or an open ``Task``.
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


@dataclass(frozen=True)
class RankedProbe:
    """A ranking with the probe and the evidence that it was read from, which the page shows."""

    ranking: Ranking
    probe: Probe
    evidence: Mapping[str, Evidence]


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
    from selection.probing.requirements import check_requirements

    check_requirements(settings)
    inputs = _open_inputs(task, settings, budget, on_task)
    budget.measure_slowdown(time.monotonic() - wall, time.process_time() - processor)
    halving = evaluate_candidates(inputs, settings, budget, progress)
    return _assemble(inputs, halving, settings, budget)


def _open_inputs(
    task: str | Path | Task,
    settings: Settings,
    budget: Budget,
    on_task: Callable[[Task], None] | None,
) -> RankingInputs:
    """Open the task, find the candidates for its classes and draw the probe."""
    from selection.probe import Probe
    from selection.probing.downloads import RANK_LIMITS, announce_download, refuse_unasked
    from selection.probing.evaluate import RankingInputs
    from selection.scores.registry import resolve, resolve_all
    from selection.task import Task
    from zoo.loading.revision import pinned

    score, also = resolve(settings.score), resolve_all(settings.also)
    if isinstance(task, str | Path):
        task = Task.open(
            str(task),
            unlabelled=settings.unlabelled,
            offline=settings.offline,
            image_column=settings.image_column,
            label_column=settings.label_column,
            duplicates=settings.duplicates,
        )
    candidates = _candidates(task, settings, budget)
    probe = Probe.draw(task, size=settings.probe_size, seed=settings.seed)
    plan = _download_plan(candidates, probe, settings, budget)
    refuse_unasked(plan, yes=settings.yes, limits=RANK_LIMITS)
    if on_task is not None:
        on_task(task)  # after all that can be refused: an error is one line
    announce_download(plan, yes=settings.yes, limits=RANK_LIMITS)
    cards = pinned(candidates.cards, offline=settings.offline)  # the first network call
    return RankingInputs(
        task,
        probe,
        replace(candidates, cards=cards),
        score,
        also,
    )


def _candidates(task: Task, settings: Settings, budget: Budget) -> Candidates:
    """The models to consider, in the order in which to run them.

    They are at most 50, or within a budget as many as it might pay for.
    """
    from selection.probing.downloads import by_value_per_byte
    from selection.probing.evaluate import shortlist_size
    from selection.probing.rounds import LARGEST_SHARE
    from selection.recall.candidates import MOST, UNBOUNDED, candidates
    from zoo.loading.revision import offline_by_environment

    costs = CostModel(bandwidth_file())
    most, largest = MOST, budget.download
    if budget.limited:
        most = max(UNBOUNDED, shortlist_size(budget))  # some cost more than the budget can pay
        affordable = costs.largest_download(LARGEST_SHARE * budget.left())
        largest = min(budget.download, affordable)
    chosen = candidates(
        task.classes,
        catalogue=settings.catalogue,
        where=settings.where,
        models=settings.models,
        offline=settings.offline or offline_by_environment(),
        most=most,
        largest=largest if math.isfinite(largest) else None,
    )
    if budget.limited:
        return chosen  # the rounds order them by what is left
    return replace(chosen, cards=by_value_per_byte(chosen.cards, chosen.prior, costs))


def _download_plan(
    candidates: Candidates,
    probe: Probe,
    settings: Settings,
    budget: Budget,
) -> DownloadPlan:
    """What the candidates would download; those whose outputs are stored need no weights."""
    from selection.probing.downloads import DownloadPlan
    from selection.probing.evaluate import shortlist_size
    from selection.probing.prober import ProbeStore
    from selection.probing.store import TeacherStore

    store = ProbeStore(probe, TeacherStore(feature_folder()), device=settings.device)
    cards = candidates.cards[: shortlist_size(budget)] if budget.limited else candidates.cards
    return DownloadPlan.of(
        cards,
        CostModel(bandwidth_file()),
        budget=budget,
        is_needed=lambda card: card.sha is None or store.count(card) < probe.size,
    )


def _assemble(
    inputs: RankingInputs,
    halving: Halving,
    settings: Settings,
    budget: Budget,
) -> RankedProbe:
    """Order the rows, choose the committee and put the ranking together."""
    from selection.probing.evaluator import ordered_rows

    task, probe, candidates = inputs.task, inputs.probe, inputs.candidates
    rows = [*_unloadable_rows(candidates), *halving.rows.values()]
    _check_any_ranked(rows, halving, settings.budget)
    ordered, late = ordered_rows(
        rows, halving.evidence, inputs.score, inputs.also, budget.left_to_compare
    )
    committee = _choose_committee(halving, settings.top, lead=ordered[0].model)
    ordered = [_with_expected_accuracy(row, inputs.score.name, task) for row in ordered]
    ordered = _with_class_accuracy(ordered, halving.evidence)
    warnings = _warnings(task, probe, ordered)
    if halving.note:
        warnings.append(halving.note)
    warnings += late
    ranking = Ranking(
        task=task.name,
        classes=task.classes,
        split={
            "digest": task.digest,
            "seed": task.split_seed,
            "revision": task.revision,
            "image_column": task.columns.image,
            "label_column": task.columns.label,
            "images": task.class_counts.by_split(),
        },
        probe={
            "size": probe.size,
            "seed": probe.seed,
            "digest": probe.digest,
            "images": probe.class_images,
        },
        score=inputs.score.name,
        catalogue=candidates.catalogue,
        versions=versions(),
        rows=tuple(ordered),
        committee=committee.models,
        committee_reasons=committee.reasons(),
        warnings=tuple(warnings),
        candidates=_counts(candidates, halving),
    )
    ranked = {row.model: halving.evidence[row.model] for row in ordered if row.value is not None}
    return RankedProbe(ranking, probe, ranked)


def _unloadable_rows(candidates: Candidates) -> list[Row]:
    """Rows of models that the catalogue knows to be unusable."""
    from selection.probing.evaluator import empty_row

    return [
        replace(empty_row(card), error=card.not_loadable_reason or "cannot be loaded safely")
        for card in candidates.failed
    ]


def _check_any_ranked(rows: Sequence[Row], halving: Halving, seconds: float | None) -> None:
    """Raise ``Unavailable`` with the reason if no model was ranked at all."""
    if any(row.value is not None for row in rows):
        return
    limits = {"budget": f"{seconds or 0:.0f} s", "budget_gb": "the download bound"}
    left_out = []
    for reason, limit in limits.items():
        count = halving.left_out[reason]
        if count:
            left_out.append(f"{count} did not fit {limit}")
    if left_out:
        failed = f"; {len(rows)} failed" if rows else ""
        raise Unavailable(
            f"no model could be probed within the budget: {', '.join(left_out)}{failed}; what is"
            " stored is kept, so give more (--budget 2m) or run again"
        )
    if not rows:
        raise Unavailable(
            "none of the candidates could be probed: their weights are larger than the bound of"
            " --budget-gb or of unknown size; give more, or crawl smaller models"
        )
    raise Unavailable(f"all {len(rows)} models failed; the first: {rows[0].model}: {rows[0].error}")


def _choose_committee(halving: Halving, size: int, *, lead: str) -> Committee:
    """Choose on the images of the last round that still left a choice."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from selection.committee import benefit_of, select_committee

    last = halving.committee_round(size + 1)
    images = np.arange(last.images)
    benefits = {}
    with threadpool_limits(1, "blas"):
        for name in last.models:
            evidence = halving.evidence.get(name)
            if evidence is None:  # it failed in a later round
                continue
            if len(evidence.labels) > len(images):
                evidence = evidence.at(images)
            benefits[name] = benefit_of(evidence)
        return select_committee(benefits, size=size, lead=lead)


def _with_expected_accuracy(row: Row, score: str, task: Task) -> Row:
    """The row with the accuracy to expect of a student, where that was calibrated: on tasks whose
    classes are equally common.
    """
    from selection.scores.prediction import expected_accuracy

    if row.value is None or row.probe_size is None or task.class_counts.unbalanced:
        return row
    classes = len(task.classes)
    accuracy = expected_accuracy(
        row.value,
        score=score,
        classes=classes,
        images=len(task.train) / classes,
        probe_size=row.probe_size,
    )
    return replace(row, expected=asdict(accuracy)) if accuracy else row


def _with_class_accuracy(rows: Sequence[Row], evidence: Mapping[str, Evidence]) -> list[Row]:
    """The rows, the best three with the accuracy of nearest neighbours by class."""
    import numpy as np

    from selection.scores import knn

    complete = list(rows)
    for place, row in enumerate(rows[:DETAILED]):
        if row.value is None:
            continue
        read = evidence[row.model].labelled()
        shares = knn.accuracy_by_class(knn.terms(read), read.labels, len(read.classes))
        by_class = tuple(None if np.isnan(share) else float(share) for share in shares)
        complete[place] = replace(row, knn_by_class=by_class)
    return complete


def _counts(candidates: Candidates, halving: Halving) -> dict[str, Any]:
    """How many models were known, probed and left out, for ``ranking.json``."""
    return {
        "known": candidates.known,
        "loadable": candidates.loadable,
        "touched": candidates.touched or None,
        "probed": len(halving.evidence),
        "rounds": [{"images": done.images, "models": len(done.models)} for done in halving.rounds],
        "left_out": {
            reason: halving.left_out[reason] for reason in ("budget", "budget_gb", "limit")
        },
    }


def _warnings(task: Task, probe: Probe, rows: Sequence[Row]) -> list[str]:
    from selection.sources.unreadable import unreadable_warnings

    warnings = [*task.warnings, *probe.warnings]
    if not task.unreadable:  # not looked at as a whole: what the probe met
        warnings += unreadable_warnings(probe.unreadable, probe.size + len(probe.unreadable))
    for row in rows:
        warnings += row.warnings
    return warnings


@dataclass(frozen=True, kw_only=True)
class TaskOption:
    """The one option that has no default; it comes first in the help."""

    task: Annotated[
        str,
        typer.Option(
            help="a folder (one sub-folder a class, a file of labels, or train.parquet), a table of"
            " paths and labels, hf:org/name, or digits"
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
                check_can_write(path)
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
    for name in ("unlabelled", "image_column", "label_column", "device", "catalogue"):
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
