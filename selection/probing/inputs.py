"""What a ranking works on: an open task, its candidates, its probe."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from selection.kinds.kind import Kind
from selection.probe import Probe
from selection.probing.budget import Budget, CostModel
from selection.probing.downloads import (
    RANK_LIMITS,
    DownloadPlan,
    announce_download,
    by_value_per_byte,
    refuse_unasked,
)
from selection.probing.prober import ProbeStore
from selection.probing.rounds import LARGEST_SHARE, shortlist_size
from selection.probing.store import TeacherStore
from selection.recall.candidates import MOST, UNBOUNDED, Candidates, candidates
from selection.scores.registry import resolve, resolve_all
from selection.scores.score import Score
from selection.settings import Settings
from selection.task import Task
from zoo.card import ModelCard
from zoo.home import bandwidth_file, feature_folder
from zoo.loading.revision import offline_by_environment, pinned


@dataclass(frozen=True)
class RankingInputs:
    """What is ranked, on what, by what."""

    task: Task
    probe: Probe
    candidates: Candidates
    score: Score
    also: tuple[Score, ...]


def open_inputs(
    task: str | Path | Task,
    settings: Settings,
    budget: Budget,
    on_task: Callable[[Task], None] | None,
) -> RankingInputs:
    """Open the task, find the candidates for its classes and draw the probe."""
    score, also = resolve(settings.score), resolve_all(settings.also)
    if isinstance(task, str | Path):
        task = Task.open(
            str(task),
            unlabelled=settings.unlabelled,
            offline=settings.offline,
            kind=settings.kind,
            image_column=settings.image_column,
            text_column=settings.text_column,
            label_column=settings.label_column,
            duplicates=settings.duplicates,
        )
    chosen = _candidates(task, settings, budget)
    probe = Probe.draw(task, size=settings.probe_size, seed=settings.seed)
    plan = _download_plan(chosen, probe, settings, budget)
    refuse_unasked(plan, yes=settings.yes, limits=RANK_LIMITS)
    if on_task is not None:
        on_task(task)  # after all that can be refused: an error is one line
    announce_download(plan, yes=settings.yes, limits=RANK_LIMITS)
    cards = pinned(chosen.cards, offline=settings.offline)  # the first network call
    return RankingInputs(
        task,
        probe,
        replace(chosen, cards=cards),
        score,
        also,
    )


def _candidates(task: Task, settings: Settings, budget: Budget) -> Candidates:
    """The models to consider, in the order in which to run them.

    They are at most 50, or within a budget as many as it might pay for; the kind's own come first.
    """
    own, patterns = _own_teachers(task.kind, settings.models)
    if own and settings.models and not patterns:
        count = len(own)
        return Candidates(own, [], "built-in", known=count, loadable=count, left_out=0)
    costs = CostModel(bandwidth_file())
    most, largest = MOST, budget.download
    if budget.limited:
        # more than a first round takes: some cost more than the budget can pay
        most = max(UNBOUNDED, shortlist_size(budget.seconds))
        affordable = costs.largest_download(LARGEST_SHARE * budget.left())
        largest = min(budget.download, affordable)
    chosen = candidates(
        task.classes,
        catalogue=settings.catalogue,
        where=settings.where,
        models=patterns,
        offline=settings.offline or offline_by_environment(),
        modalities=task.kind.modalities,
        most=most,
        largest=largest if math.isfinite(largest) else None,
        required=not own,
    )
    cards = chosen.cards
    if not budget.limited:  # otherwise the rounds order them by what is left
        cards = by_value_per_byte(cards, chosen.prior, costs)
    return replace(
        chosen,
        cards=[*own, *cards],
        known=chosen.known + len(own),
        loadable=chosen.loadable + len(own),
    )


def _own_teachers(kind: Kind, patterns: Sequence[str]) -> tuple[list[ModelCard], tuple[str, ...]]:
    """The kind's own teachers that ``--models`` asks for, and the patterns that ask for others."""
    if not patterns:
        return list(kind.own_teachers), ()
    own = [
        card
        for card in kind.own_teachers
        if any(fnmatchcase(card.id, pattern) for pattern in patterns)
    ]
    others = tuple(
        pattern for pattern in patterns if not any(fnmatchcase(card.id, pattern) for card in own)
    )
    return own, others


def _download_plan(
    chosen: Candidates,
    probe: Probe,
    settings: Settings,
    budget: Budget,
) -> DownloadPlan:
    """What the candidates would download; those whose outputs are stored need no weights."""
    store = ProbeStore(probe, TeacherStore(feature_folder()), device=settings.device)
    cards = [card for card in chosen.cards if not card.is_recommender]
    if budget.limited:
        cards = cards[: shortlist_size(budget.seconds)]
    return DownloadPlan.of(
        cards,
        CostModel(bandwidth_file()),
        budget=budget,
        is_needed=lambda card: card.sha is None or store.count(card) < probe.size,
    )
