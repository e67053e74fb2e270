"""``python -m selection.rank``: who should teach my data?"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selection.ranking import Ranking, Row, finite, grouped, in_order, versions
from zoo.card import ModelCard
from zoo.command import clean, run, split_list
from zoo.errors import Unavailable, UserError

if TYPE_CHECKING:
    from selection.evidence import Evidence
    from selection.names import NameEncoder
    from selection.probe import Probe
    from selection.probing import Answer
    from selection.progress import Progress
    from selection.scores.score import Score
    from selection.task import Task


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a ranking is to be made with; the options of the command, with its defaults.

    ``models`` are ids or globs and meet ``where``; ``top`` bounds the committee; ``also`` names further scores to show;
    ``max_size`` bounds the feature cache in bytes; ``label_encoder`` is a sentence-transformers model (default: the
    packaged table); ``device`` is ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` (default: a GPU where there is one).
    """

    models: tuple[str, ...] = ()
    where: str | None = None
    top: int = 3
    score: str = "transport"
    also: tuple[str, ...] = ()
    probe_size: int = 500
    seed: int = 0
    offline: bool = False
    device: str | None = None
    catalogue: Path | None = None
    unlabelled: Path | None = None
    label_encoder: str | None = None
    max_size: int | None = None


@dataclass
class Work:
    """A ranking in the making: what the report needs beyond the ``Ranking`` itself."""

    task: Task
    probe: Probe
    cards: dict[str, ModelCard] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    probed: int = 0


def rank(task: str | Task, settings: Settings | None = None, *, progress: Progress | None = None) -> Ranking:
    """Rank the catalogue's models as teachers for ``task`` and choose a committee.

    ``task`` is a folder, ``hf:org/name``, ``digits`` or an open ``Task``. Raises ``UserError`` for wrong input and
    ``Unavailable`` where every model failed; a single model's failure is a row with its reason.
    """
    return _rank(task, settings or Settings(), progress)[0]


def _rank(task: str | Task, settings: Settings, progress: Progress | None) -> tuple[Ranking, Work]:
    from threadpoolctl import threadpool_limits

    from selection.cache import FeatureCache
    from selection.candidates import candidates
    from selection.names import NameEncoder
    from selection.probe import Probe
    from selection.probing import answers
    from selection.progress import Progress
    from selection.scores.registry import resolve
    from selection.task import Task
    from zoo.home import feature_folder

    _check(settings)
    score, also = resolve(settings.score), [resolve(name) for name in settings.also]
    if settings.offline and isinstance(task, str) and task.startswith("hf:"):
        _forbid_network()
    opened = Task.open(task, unlabelled=settings.unlabelled) if isinstance(task, str) else task
    found = candidates(
        opened.classes, catalogue=settings.catalogue, where=settings.where, models=settings.models, offline=settings.offline
    )
    work = Work(opened, Probe.draw(opened, size=settings.probe_size, seed=settings.seed))
    named = settings.label_encoder
    encoder = NameEncoder.sentence_transformer(named, offline=settings.offline) if named else NameEncoder.table()
    shown = progress or Progress.silent()
    rows = [replace(_row(card), error=card.not_loadable_reason or "cannot be loaded safely") for card in found.failed]
    cache = FeatureCache(feature_folder(), max_bytes=settings.max_size)
    with shown.over(len(found.cards), work.probe.size) as bar:
        for answer in answers(
            found.cards,
            work.probe,
            cache,
            device=settings.device,
            offline=settings.offline,
            started=bar.started,
            batch_done=bar.advance,
        ):
            with threadpool_limits(1, "blas"):  # small matrices: a second thread mostly waits, for seconds on a busy machine
                rows.append(_scored(answer, work, encoder, score, also, settings.seed))
            bar.finished(rows[-1], cached=answer.cached)
    if all(row.value is None for row in rows):
        raise Unavailable(f"all {len(rows)} models failed; the first: {rows[0].model}: {rows[0].error}")
    with threadpool_limits(1, "blas"):
        ordered = grouped(in_order(rows), _close(rows, work, score))
        committee = _committee(work, settings.top, ordered)
    return Ranking(
        task=opened.name,
        classes=opened.classes,
        split={"digest": opened.digest, "seed": opened.split_seed},
        probe={"size": work.probe.size, "seed": work.probe.seed, "digest": work.probe.digest},
        score=score.name,
        catalogue=found.catalogue,
        versions=versions(),
        rows=tuple(ordered),
        committee=committee,
        warnings=tuple(_warnings(work, ordered)),
        candidates={"known": found.known, "loadable": found.loadable, "probed": work.probed, "left_out": found.left_out},
    ), work


def _forbid_network() -> None:
    """Tell the Hub's libraries, which read this when they are first imported; for the rest of the process."""
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"


def _check(settings: Settings) -> None:
    if settings.top < 1:
        raise UserError(f"--top {settings.top}: a committee needs at least 1 teacher")
    if settings.probe_size < 4:
        raise UserError(f"--probe-size {settings.probe_size}: at least 4 images are needed, 500 is a good size")
    if settings.seed < 0:
        raise UserError(f"--seed {settings.seed}: expected 0 or more")
    if settings.device and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", settings.device):
        raise UserError(f"--device {settings.device!r}: expected cpu, cuda, cuda:N or mps")


def _row(card: ModelCard) -> Row:
    return Row(
        model=card.id,
        revision=card.revision,
        source=card.source,
        location=card.location,
        params_total=card.params_total,
        license=card.license,
    )


def _scored(answer: Answer, work: Work, encoder: NameEncoder, score: Score, also: Sequence[Score], seed: int) -> Row:
    """The row of one model; a fault of the model, or a score that does not apply to it, becomes its ``error``."""
    import numpy as np

    from selection.evidence import Evidence
    from selection.interval import interval
    from selection.leaks import leaks
    from selection.scores.registry import SCORES

    row = _row(answer.card)
    if answer.stored is None:
        return replace(row, error=answer.error)
    work.probed += 1
    begin = time.perf_counter()
    try:
        evidence = Evidence.of(answer.stored, work.probe, names=answer.card.labels, encoder=encoder)
        found = interval(score, evidence, rng=np.random.default_rng(seed))
        row = replace(
            row,
            value=finite(found.value),
            low=finite(found.low),
            high=finite(found.high),
            knn=finite(SCORES["knn"].value(evidence)),
        )
    except ValueError as error:
        return replace(row, error=f"{score.name}: {error}")
    work.cards[row.model], work.evidence[row.model] = answer.card, evidence
    scores = {other.name: _or_none(other, evidence) for other in also}
    return replace(
        row,
        scores=scores,
        seconds=answer.stored.seconds + time.perf_counter() - begin,
        warnings=tuple(leaks(answer.card, work.task)),
    )


def _or_none(score: Score, evidence: Evidence) -> float | None:
    """A further score, or ``None`` where it does not apply to this teacher."""
    from selection.scores.score import NotApplicable

    try:
        return finite(score.value(evidence))
    except NotApplicable:
        return None


def _close(rows: Sequence[Row], work: Work, score: Score) -> dict[tuple[str, str], bool]:
    """Which models cannot be told from the leader of their group, resampling both in pairs."""
    import numpy as np

    from selection.interval import compare

    close: dict[tuple[str, str], bool] = {}
    leader = ""
    for name in (row.model for row in in_order(rows) if row.value is not None):
        if leader:
            gap = compare(score, work.evidence[leader], work.evidence[name], rng=np.random.default_rng(0))
            close[leader, name] = not gap.decided
        if not leader or not close[leader, name]:
            leader = name
    return close


def _committee(work: Work, size: int, rows: Sequence[Row]) -> tuple[str, ...]:
    from selection.committee import benefit, choose

    return choose({row.model: benefit(work.evidence[row.model]) for row in rows if row.value is not None}, size=size).models


def _warnings(work: Work, rows: Sequence[Row]) -> list[str]:
    found = [*work.task.warnings, *work.probe.warnings]
    if work.probe.skipped:
        found.append(f"{work.probe.skipped} images of the training split could not be read and were skipped")
    return found + [text for row in rows for text in row.warnings]


def _command(
    task: Annotated[str, typer.Option(help="a folder (one sub-folder a class, or train.parquet), hf:org/name, or digits")],
    where: Annotated[str | None, typer.Option(help="only models that meet this SQL expression")] = None,
    models: Annotated[list[str] | None, typer.Option(help="only these ids or globs; repeat or separate by commas")] = None,
    top: Annotated[int, typer.Option(help="size of the committee at most")] = 3,
    score: Annotated[str, typer.Option(help="the score to rank by")] = "transport",
    also: Annotated[list[str] | None, typer.Option(help="further scores to show beside it, or 'all'")] = None,
    probe_size: Annotated[int, typer.Option(help="images of the training split to probe with")] = 500,
    unlabelled: Annotated[Path | None, typer.Option(help="a folder of further images without labels")] = None,
    seed: Annotated[int, typer.Option(help="seed of the probe")] = 0,
    out: Annotated[Path | None, typer.Option(help="write the ranking as JSON")] = None,
    report: Annotated[Path | None, typer.Option(help="write a self-contained page")] = None,
    offline: Annotated[bool, typer.Option(help="no network call at all; only weights on this machine")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps")] = None,
    catalogue: Annotated[Path | None, typer.Option(help="the catalogue's file")] = None,
    label_encoder: Annotated[str | None, typer.Option(help="a sentence-transformers model for label names")] = None,
    max_size: Annotated[str | None, typer.Option(help="bound of the feature cache, such as 20GB")] = None,
) -> int:
    """Rank the models of the catalogue as teachers for a task, best first, with how sure that is."""
    from selection.progress import Progress
    from selection.table import show
    from zoo.command import byte_size

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
        seed=seed,
        offline=offline,
        device=device,
        catalogue=catalogue,
        unlabelled=unlabelled,
        label_encoder=label_encoder,
        max_size=byte_size(max_size, "--max-size") if max_size else None,
    )
    ranking, work = _rank(task, settings, Progress.live())
    for line in ranking.warnings:
        print(f"warning: {clean(line, 400)}", file=sys.stderr)
    show(ranking)
    if out is not None:
        ranking.save(out)
        print(f"ranking: {out}")
    if report is not None:
        _report(ranking, work, report)
        print(f"report: {report}")
    return 0


def _report(ranking: Ranking, work: Work, path: Path) -> None:
    """Write the page: the ranking, and for the best three teachers their classes beside the task's."""
    from selection.bridge import bridge
    from selection.report import TEACHERS, Report, examples, write
    from selection.scores.meaning import meaning

    best = [row.model for row in ranking.rows if row.value is not None][:TEACHERS]
    evidence = {name: work.evidence[name] for name in best}
    bridges = tuple(found for name in best if (found := bridge(name, evidence[name])))
    probe = work.probe
    shown = examples(probe.images, probe.names, probe.labels, evidence)
    write(Report(ranking=ranking, meaning=meaning(ranking.score), bridges=bridges, examples=shown), path)


def _further(also: Sequence[str] | None) -> tuple[str, ...]:
    from selection.scores.registry import SCORES

    names = split_list(also)
    return tuple(SCORES) if names == ["all"] else tuple(names)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(_command, argv, name="selection.rank")


if __name__ == "__main__":
    raise SystemExit(main())
