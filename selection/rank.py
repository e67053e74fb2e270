"""``python -m selection.rank``: who should teach my data?"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selection.probing.budget import (
    Budget,
    Costs,
    bytes_of,
    leave_at_once,
    process_age,
    seconds_of,
    watched,
)
from selection.ranking import Ranking, Row, versions
from selection.settings import Settings
from zoo.errors import Unavailable, UserError
from zoo.terminal.command import clean, run, split_list

if TYPE_CHECKING:
    from selection.committee import Committee
    from selection.evidence import Evidence
    from selection.probe import Probe
    from selection.probing.cache import FeatureCache
    from selection.probing.judge import Judge
    from selection.probing.prober import Asker
    from selection.probing.rounds import Halving
    from selection.progress import Progress
    from selection.recall.candidates import Candidates
    from selection.scores.score import Score
    from selection.task import Task

__all__ = ["Settings", "main", "rank"]

SHORTLIST = (
    64  # models that a budget begins with, in its first twenty minutes; in proportion beyond
)
SPARE = 3  # models that stay in the race beside the committee's size
_OWN_PROCESS = __name__ == "__main__"
_AFTER = 0.8  # seconds kept back for the table and the end of the process
_REPORT = 3.0  # and for the page
_SLOW = 0.4  # of the seconds that opening everything took, for the end where that is more
_MOST_AFTER = 0.2  # of the budget, for comparing and choosing


@dataclass
class Work:
    """A ranking in the making: what the report needs beyond the ``Ranking`` itself."""

    task: Task
    probe: Probe
    evidence: dict[str, Evidence] = field(default_factory=dict)


def rank(
    task: str | Task, settings: Settings | None = None, *, progress: Progress | None = None
) -> Ranking:
    """Rank the catalogue's models as teachers for ``task`` and choose a committee.

    ``task`` is a folder, ``hf:org/name``, ``digits`` or an open ``Task``. Raises ``UserError`` for
    wrong input and ``Unavailable`` where every model failed; a single model's failure is a row with
    its reason.
    """
    return _rank(task, settings or Settings(), progress)[0]


def _rank(
    task: str | Task,
    settings: Settings,
    progress: Progress | None,
    *,
    begin: float | None = None,
    reserve: float = 0.1,
    strict: bool = False,
) -> tuple[Ranking, Work]:
    """``begin`` is when the budget began, ``reserve`` the seconds that follow, ``strict`` whether
    the process may be ended.
    """
    from selection.probe import Probe
    from selection.probing.cache import FeatureCache
    from selection.probing.judge import ordered_rows, row_of
    from selection.probing.rounds import DEAREST, halve, shortlist, sizes
    from selection.progress import Progress
    from selection.recall.candidates import MOST, UNBOUNDED, candidates
    from selection.scores.registry import resolve
    from selection.task import Task
    from zoo.home import feature_folder

    settings.check()
    budget = Budget(
        settings.budget or math.inf, math.inf if settings.download is None else settings.download
    )
    budget.begin = budget.begin if begin is None else begin
    budget.reserve = reserve if budget.bounded else 0.0
    score, also = resolve(settings.score), [resolve(name) for name in settings.also]
    if settings.offline and isinstance(task, str) and task.startswith("hf:"):
        _forbid_network()
    most = max(SHORTLIST, round(SHORTLIST * budget.seconds / 1200)) if budget.bounded else MOST
    with watched(budget, strict=strict):
        opened = Task.open(task, unlabelled=settings.unlabelled) if isinstance(task, str) else task
        found = candidates(
            opened.classes,
            catalogue=settings.catalogue,
            where=settings.where,
            models=settings.models,
            offline=settings.offline,
            most=(
                max(most, UNBOUNDED) if budget.bounded else MOST
            ),  # some cost more than the budget can pay
            largest=(
                min(budget.download, Costs().largest(DEAREST * budget.left()))
                if budget.bounded
                else None
            ),
        )
        probe = Probe.draw(opened, size=settings.probe_size, seed=settings.seed)
    if budget.bounded:  # a machine that was slow so far will be slow in the end
        budget.reserve = max(
            reserve, min(_SLOW * (time.monotonic() - budget.begin), 0.1 * budget.seconds)
        )
    shown = progress or Progress.silent()
    rounds = sizes(probe.size, len(opened.classes)) if budget.bounded else [probe.size]
    keep = settings.top + SPARE
    cache = FeatureCache(feature_folder(), max_bytes=settings.max_size)
    with shown.shown(), _asker(settings, probe, cache, budget, shown) as asker:
        judge = _judge(settings, opened, probe, score, asker, budget, shown)
        chosen, dear = found.cards, 0
        if budget.bounded:
            chosen, dear = shortlist(
                found.cards, judge, size=rounds[0], most=most, left=budget.left()
            )
        halving = halve(
            chosen,
            judge,
            sizes=rounds,
            keep=keep if budget.bounded else len(chosen),
            left=budget.left,
            begun=lambda number, models, images: shown.round(number, len(rounds), models, images),
        )
    halving.left_out["budget"] += dear
    halving.left_out["limit"] += found.left_out + len(found.cards) - len(chosen) - dear
    rows = [
        replace(row_of(card), error=card.not_loadable_reason or "cannot be loaded safely")
        for card in found.failed
    ]
    rows += halving.rows.values()
    _nothing(rows, halving, budget)
    ordered, late = ordered_rows(rows, halving.evidence, score, also, budget.left)
    committee = _committee(halving, settings.top, lead=ordered[0].model)
    ordered = [_with_expected(row, score.name, opened) for row in ordered]
    work = Work(
        opened,
        probe,
        {row.model: halving.evidence[row.model] for row in ordered if row.value is not None},
    )
    return (
        Ranking(
            task=opened.name,
            classes=opened.classes,
            split={
                "digest": opened.digest,
                "seed": opened.split_seed,
                "revision": opened.revision,
            },
            probe={"size": probe.size, "seed": probe.seed, "digest": probe.digest},
            score=score.name,
            catalogue=found.catalogue,
            versions=versions(),
            rows=tuple(ordered),
            committee=committee.models,
            committee_reasons=committee.reasons(),
            warnings=(*_warnings(work, ordered), *([halving.note] if halving.note else []), *late),
            candidates=_counts(found, halving),
        ),
        work,
    )


def _with_expected(row: Row, score: str, task: Task) -> Row:
    """The row with the accuracy to be expected of a student, where that was calibrated."""
    from selection.prediction import predict

    if row.value is None:
        return row
    classes = len(task.classes)
    found = predict(row.value, score=score, classes=classes, images=len(task.train) / classes)
    return replace(
        row,
        expected=(
            {
                "accuracy": found.expected,
                **{k: v for k, v in asdict(found).items() if k != "expected"},
            }
            if found
            else None
        ),
    )


@contextmanager
def _asker(
    settings: Settings, probe: Probe, cache: FeatureCache, budget: Budget, shown: Progress
) -> Iterator[Asker]:
    """This process, or Ray's workers for as long as the context lasts."""
    if settings.ray is not None:
        from selection.probing.workers import Workers

        many = Workers.connected(
            settings.ray,
            probe,
            cache,
            device=settings.device,
            offline=settings.offline,
            budget=budget,
        )
        with many as workers:
            yield workers
        return
    from selection.probing.prober import Prober

    yield Prober(
        probe,
        cache,
        device=settings.device,
        offline=settings.offline,
        budget=budget,
        costs=Costs(),
        started=shown.started,
        batch_done=shown.advance,
    )


def _judge(
    settings: Settings,
    task: Task,
    probe: Probe,
    score: Score,
    asker: Asker,
    budget: Budget,
    shown: Progress,
) -> Judge:
    from selection.probing.judge import Judge
    from selection.recall.names import NameEncoder

    named = settings.label_encoder
    encoder = (
        NameEncoder.sentence_transformer(named, offline=settings.offline)
        if named
        else NameEncoder.table()
    )
    base, taken = budget.reserve, [0.0]

    def told(row: Row, cached: bool, seconds: float) -> None:
        """Keep back what comparing the finalists and choosing among them will take, by what scoring
        was seen to take.
        """
        if row.probe_size and budget.bounded:
            taken.append(
                seconds * (probe.size / row.probe_size) ** 0.5
            )  # much of it does not grow with the images
            finalists = min(settings.top + SPARE, shown.models)
            budget.reserve = base + min(
                _MOST_AFTER * budget.seconds, 2 * finalists * median_low(taken)
            )
        shown.finished(row, cached=cached)

    return Judge(task, probe, encoder, score, settings.seed, asker, told)


def _nothing(rows: Sequence[Row], halving: Halving, budget: Budget) -> None:
    """Say why where no model was ranked at all."""
    if any(row.value is not None for row in rows):
        return
    short = {"budget": f"{budget.seconds:.0f} s", "budget_gb": "the download bound"}
    left = [
        f"{halving.left_out[name]} did not fit {words}"
        for name, words in short.items()
        if halving.left_out[name]
    ]
    if left:
        failed = f"; {len(rows)} failed" if rows else ""
        raise Unavailable(
            f"no model could be probed within the budget: {', '.join(left)}{failed}; what is stored"
            " is kept, so give more (--budget 2m) or run again"
        )
    raise Unavailable(f"all {len(rows)} models failed; the first: {rows[0].model}: {rows[0].error}")


def _committee(halving: Halving, size: int, *, lead: str) -> Committee:
    """Chosen on the images of the last round that still had more models than the committee may
    have.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    from selection.committee import explained, knowledge

    material = halving.material(size + 1)
    rows = np.arange(material.images)
    with threadpool_limits(1, "blas"):
        seen = {
            name: halving.evidence[name] for name in material.models if name in halving.evidence
        }
        return explained(
            {
                name: knowledge(one.at(rows) if len(one.labels) > len(rows) else one)
                for name, one in seen.items()
            },
            size=size,
            lead=lead,
        )


def _counts(found: Candidates, halving: Halving) -> dict[str, Any]:
    left_out = {name: halving.left_out[name] for name in ("budget", "budget_gb", "limit")}
    rounds = [{"images": one.images, "models": len(one.models)} for one in halving.rounds]
    counts = {"known": found.known, "loadable": found.loadable, "touched": found.touched or None}
    return counts | {"probed": len(halving.evidence), "rounds": rounds, "left_out": left_out}


def _forbid_network() -> None:
    """Tell the Hub's libraries, which read this when they are first imported; for the rest of the
    process.
    """
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


def _warnings(work: Work, rows: Sequence[Row]) -> list[str]:
    found = [*work.task.warnings, *work.probe.warnings]
    if work.probe.skipped:
        found.append(
            f"{work.probe.skipped} images of the training split could not be read and were skipped"
        )
    return found + [text for row in rows for text in row.warnings]


def _command(
    task: Annotated[
        str,
        typer.Option(
            help="a folder (one sub-folder a class, or train.parquet), hf:org/name, or digits"
        ),
    ],
    where: Annotated[
        str | None, typer.Option(help="only models that meet this SQL expression")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(help="only these ids or globs; repeat or separate by commas")
    ] = None,
    top: Annotated[int, typer.Option(help="size of the committee at most")] = 3,
    score: Annotated[str, typer.Option(help="the score to rank by")] = "transport",
    also: Annotated[
        list[str] | None, typer.Option(help="further scores to show beside it, or 'all'")
    ] = None,
    probe_size: Annotated[
        int, typer.Option(help="images of the training split to probe with")
    ] = 500,
    budget: Annotated[
        str | None,
        typer.Option(help="time for the whole command: 90s, 20m, 2h; a bare number is minutes"),
    ] = None,
    budget_gb: Annotated[float | None, typer.Option(help="gigabytes to download at most")] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="probe on Ray workers: local:N, or a cluster's address such as auto"),
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="images without labels: checked here, for distill.train")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of the probe")] = 0,
    out: Annotated[Path | None, typer.Option(help="write the ranking as JSON")] = None,
    report: Annotated[Path | None, typer.Option(help="write a self-contained page")] = None,
    offline: Annotated[
        bool, typer.Option(help="no network call at all; only weights on this machine")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="the catalogue's file")] = None,
    label_encoder: Annotated[
        str | None, typer.Option(help="a sentence-transformers model for label names")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(help="bound of the feature cache, such as 20GB")
    ] = None,
) -> int:
    """Rank the models of the catalogue as teachers for a task, best first, with how sure that
    is.
    """
    from selection.progress import Progress
    from selection.report.table import show
    from zoo.terminal.command import byte_size

    begin = time.monotonic() - (process_age() if _OWN_PROCESS else 0.0)
    for path in (out, report):
        if path is not None and path.is_dir():
            raise UserError(f"{path} is a folder; give a file to write")
    if offline:
        _forbid_network()
    settings = Settings(
        models=tuple(split_list(models)),
        where=where,
        top=top,
        score=score,
        also=_further(also),
        probe_size=probe_size,
        budget=None if budget is None else seconds_of(budget),
        download=None if budget_gb is None else bytes_of(budget_gb),
        ray=ray,
        seed=seed,
        offline=offline,
        device=device,
        catalogue=catalogue,
        unlabelled=unlabelled,
        label_encoder=label_encoder,
        max_size=byte_size(max_size) if max_size else None,
    )
    reserve = _AFTER + (_REPORT if report else 0.0)
    ranking, work = _rank(
        task, settings, Progress.live(), begin=begin, reserve=reserve, strict=_OWN_PROCESS
    )
    for line in ranking.warnings:
        print(f"warning: {clean(line, 400)}", file=sys.stderr)
    show(ranking)
    if out is not None:
        ranking.save(out)
        print(f"ranking: {out}")
    if report is not None:
        from selection.report.report import described, write

        write(described(ranking, work.probe, work.evidence), report)
        print(f"report: {report}")
    return 0


def _further(also: Sequence[str] | None) -> tuple[str, ...]:
    from selection.scores.registry import SCORES

    names = split_list(also)
    return tuple(SCORES) if names == ["all"] else tuple(names)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    status = run(_command, argv, name="selection.rank")
    if _OWN_PROCESS:
        leave_at_once(status)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
