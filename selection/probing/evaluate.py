"""Evaluates a ranking's candidates: which of them, on how many samples, and who runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from selection.probe import Probe
from selection.probing.budget import Budget
from selection.probing.evaluator import ProbeEvaluator
from selection.probing.inputs import RankingInputs
from selection.probing.prober import LocalProber, Prober, ProbeStore
from selection.probing.progress import RankingProgress
from selection.probing.rounds import (
    Halving,
    affordable_sizes,
    halve,
    shortlist,
    shortlist_size,
    sizes,
)
from selection.probing.store import TeacherStore
from selection.recall.names import NameEncoder
from selection.settings import Settings
from zoo.card import ModelCard
from zoo.home import feature_folder
from zoo.terminal.progress import Progress

SPARE = 3  # models kept in the rounds beyond the committee's size


@dataclass(frozen=True)
class HalvingSetup:
    """Which models are evaluated on how many samples a round; ``too_costly`` counts those left out.

    After each round a model stays that may still be among the best ``keep``.
    """

    cards: Sequence[ModelCard]
    sizes: Sequence[int]
    keep: int
    too_costly: int = 0


def evaluate_candidates(
    inputs: RankingInputs,
    settings: Settings,
    budget: Budget,
    progress: Progress | None,
) -> Halving:
    """Evaluate the candidates: in rounds within a budget, else all of them on the whole probe."""
    candidates = inputs.candidates
    shown = RankingProgress(progress or Progress.default(), inputs.task.kind)
    with (
        shown.shown(),
        _prober(
            settings,
            inputs.probe,
            budget,
            shown,
        ) as prober,
    ):
        evaluator = _evaluator(inputs, settings, prober, shown)
        setup = HalvingSetup(candidates.cards, [inputs.probe.labelled], keep=len(candidates.cards))
        if budget.limited:
            setup = _within_budget(inputs, settings, budget, evaluator)

        def show_round(number: int, models: int, samples: int) -> None:
            asked = inputs.probe.length_of(samples)
            shown.round(number, len(setup.sizes), models, samples, asked)

        halving = halve(
            setup.cards,
            evaluator,
            sizes=setup.sizes,
            keep=setup.keep,
            left=budget.left,
            on_round=show_round,
        )
    beyond_shortlist = len(candidates.cards) - len(setup.cards) - setup.too_costly
    halving.left_out["budget"] += setup.too_costly
    too_large = 0 if budget.limited else candidates.too_large
    halving.left_out["budget_gb"] += too_large
    halving.left_out["limit"] += candidates.left_out - too_large + beyond_shortlist
    return halving


def _within_budget(
    inputs: RankingInputs,
    settings: Settings,
    budget: Budget,
    evaluator: ProbeEvaluator,
) -> HalvingSetup:
    """The models that the budget can pay for, and rounds that suit the time left."""
    cards, probe = inputs.candidates.cards, inputs.probe.labelled
    classes = len(inputs.task.classes)
    first = sizes(probe, classes)[0]
    evaluator.prober.warm_up(cards, inputs.probe.length_of(first))
    left = budget.left()
    chosen, too_costly = shortlist(
        cards, evaluator, size=first, most=shortlist_size(budget.seconds), left=left
    )
    rounds = affordable_sizes(
        chosen,
        evaluator,
        probe=probe,
        classes=classes,
        left=left,
    )
    return HalvingSetup(chosen, rounds, keep=settings.top + SPARE, too_costly=too_costly)


@contextmanager
def _prober(
    settings: Settings,
    probe: Probe,
    budget: Budget,
    shown: RankingProgress,
) -> Iterator[Prober]:
    """This process, or Ray's workers for as long as the context lasts."""
    outputs = TeacherStore(feature_folder(), max_bytes=settings.max_size)
    store = ProbeStore(probe, outputs, device=settings.device)
    if settings.ray is None:
        yield LocalProber(
            store,
            settings,
            budget,
            on_model=shown.started,
            on_samples=shown.advance,
        )
        return
    from selection.probing.workers import RayProber

    with RayProber.connected(settings.ray, store, settings, budget) as workers:
        yield workers


def _evaluator(
    inputs: RankingInputs,
    settings: Settings,
    prober: Prober,
    shown: RankingProgress,
) -> ProbeEvaluator:
    """What has the teachers run and scores their outputs."""
    if settings.label_encoder:
        encoder = NameEncoder.sentence_transformer(settings.label_encoder, offline=settings.offline)
    else:
        encoder = NameEncoder.table()
    return ProbeEvaluator(
        inputs.task,
        inputs.probe,
        encoder,
        inputs.score,
        settings.seed,
        prober,
        on_row=lambda row, cached: shown.finished(row, cached=cached),
    )
