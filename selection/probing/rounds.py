"""Successive halving: every round evaluates fewer models on more of the same samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from selection.evidence import Evidence
from selection.ranking import Row, in_order
from zoo.card import ModelCard

# models probed in the first round per 20 minutes of budget; longer budgets scale it linearly
SHORTLIST = 64
FIRST_SAMPLES = 64
FIRST_SAMPLES_A_CLASS = 4
SMALLEST_FIRST_ROUND = 16
SMALLEST_A_CLASS = 3  # with two, no sample could be left out for an interval
# of the time left, for the first round, which alone has to load the models; the others share alike
FIRST_SHARE = 2 / 3
LARGEST_SHARE = 0.2  # of the time left: a model whose first round costs more is not begun
FEWEST = 2  # models that a further round must be able to compare


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model's row in a round and the evidence that it was read from.

    ``skipped`` is why a model was not probed (then there is no evidence).
    """

    row: Row
    evidence: Evidence | None = None
    skipped: str | None = None


class Evaluator(Protocol):
    """Evaluates models; costs and allowances have one unit (seconds; in a benchmark samples)."""

    def cost(self, card: ModelCard, size: int) -> float:
        """Estimate the cost of ``size`` samples; 0 where the outputs are stored."""
        ...

    def evaluate(
        self,
        cards: Sequence[ModelCard],
        size: int,
        allowance: float,
    ) -> Iterator[Evaluation]:
        """Yield one evaluation a card on the probe's first ``size`` samples.

        A model is begun only if it is expected to end within the allowance.
        """
        ...


@dataclass(frozen=True)
class Round:
    """A finished round: ``models`` were evaluated on ``samples`` samples, best first."""

    samples: int
    models: tuple[str, ...]


@dataclass
class Halving:
    """The rows of all evaluated models, each of the last round that it finished.

    ``evidence`` is of the ranked models. ``left_out`` counts the models that were never evaluated,
    by reason. ``note`` says whether the budget ended the rounds early.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    note: str | None = None

    def committee_round(self, fewest: int) -> Round:
        """The last round that still had ``fewest`` models, else the first."""
        for done in reversed(self.rounds):
            if len(done.models) >= fewest:
                return done
        return self.rounds[0]

    def finish_round(self, evaluations: Sequence[Evaluation], size: int) -> Round:
        """Take over the evaluations of a finished round."""
        ranked = []
        for evaluation in evaluations:
            row = evaluation.row
            if evaluation.skipped and not row.error:
                self.left_out[evaluation.skipped] += 1
                continue
            self.rows[row.model] = row
            self.evidence.pop(row.model, None)
            if evaluation.evidence is not None:
                self.evidence[row.model] = evaluation.evidence
                ranked.append(row)
        models = tuple(row.model for row in in_order(ranked))
        self.rounds.append(Round(size, models))
        return self.rounds[-1]

    def drop(self, card: ModelCard, reason: str) -> None:
        """Note why a model goes no further."""
        row = self.rows[card.id]
        self.rows[card.id] = replace(row, dropped=reason)


def sizes(probe: int, classes: int) -> list[int]:
    """Samples a round: from max(64, 4 a class), doubling to the whole ``probe``.

    >>> sizes(500, 10)
    [64, 128, 256, 500]
    """
    size = max(FIRST_SAMPLES, FIRST_SAMPLES_A_CLASS * classes)
    rounds = []
    while size < probe:
        rounds.append(size)
        size *= 2
    return [*rounds, probe]


def step_sizes(probe: int, classes: int) -> list[int]:
    """The sizes of all rounds, preceded by those of smaller first rounds.

    >>> step_sizes(500, 5)
    [16, 32, 64, 128, 256, 500]
    """
    steps = sizes(probe, classes)
    smallest = max(SMALLEST_FIRST_ROUND, SMALLEST_A_CLASS * classes)
    while steps[0] // 2 >= smallest:
        steps.insert(0, steps[0] // 2)
    return steps


def affordable_sizes(
    cards: Sequence[ModelCard],
    evaluator: Evaluator,
    *,
    probe: int,
    classes: int,
    left: float,
) -> list[int]:
    """Samples a round; the first round is smaller if it cannot pay for all ``cards`` otherwise.

    Halving that leaves models out unseen is worse than spreading a little time evenly.
    """
    steps = step_sizes(probe, classes)
    first = len(steps) - len(sizes(probe, classes))
    while first > 0:
        cost = sum(evaluator.cost(card, steps[first]) for card in cards)
        if cost <= FIRST_SHARE * left:
            break
        first -= 1
    return steps[first:]


def halve(
    cards: Sequence[ModelCard],
    evaluator: Evaluator,
    *,
    sizes: Sequence[int],
    keep: int,
    left: Callable[[], float],
    on_round: Callable[[int, int, int], None] = lambda number, models, samples: None,
) -> Halving:
    """Evaluate all ``cards`` (best guess first) on ``sizes[0]`` samples, then fewer on more.

    After each round a model goes whose upper bound lies under the ``keep``-th greatest lower bound
    (Jamieson and Talwalkar 2016, arXiv 1502.07943, give halving; the bounds, and keeping what they
    cannot tell apart, are ours), and, where ``left`` does not pay for all, those of the least
    value. A round that cannot be finished does not count: values on different numbers of samples
    are never compared. ``on_round`` is called with the number of the round, its models and its
    samples.
    """
    halving, alive = Halving(), list(cards)
    for number, size in enumerate(sizes, start=1):
        rounds_after = len(sizes) - number
        name = f"round {number} of {len(sizes)}"
        if not alive:
            break
        if number == 1:
            allowance = left() * (FIRST_SHARE if rounds_after else 1.0)
            chosen = cheap_first(alive, evaluator, size, allowance)
        else:
            allowance = left()
            chosen = affordable(alive, evaluator, size, allowance, rounds_after)
        if not chosen:
            halving.note = f"the budget ended after round {number - 1} of {len(sizes)}"
            break
        for card in alive[len(chosen) :]:
            halving.drop(card, f"{name}: the budget took only the best {len(chosen)} on")
        on_round(number, len(chosen), size)
        evaluations = list(evaluator.evaluate(chosen, size, allowance))
        if number > 1 and any(evaluation.skipped for evaluation in evaluations):
            halving.note = f"the budget ended in {name}; the values are those of the round before"
            break
        if not halving.finish_round(evaluations, size).models:
            break
        alive = _survivors(halving, chosen, keep, name) if rounds_after else []
    return halving


def shortlist_size(seconds: float) -> int:
    """How many models the first round has at most within a budget of ``seconds``."""
    return max(SHORTLIST, round(SHORTLIST * seconds / 1200))


def shortlist(
    cards: Sequence[ModelCard],
    evaluator: Evaluator,
    *,
    size: int,
    most: int,
    left: float,
) -> tuple[list[ModelCard], int]:
    """The ``most`` best guesses that a first round can pay for, and how many it cannot.

    A model that takes more than a small part of the time left would keep all others out.
    """
    chosen: list[ModelCard] = []
    too_costly = 0
    for card in cards:
        if len(chosen) == most:
            break
        if evaluator.cost(card, size) <= LARGEST_SHARE * left:
            chosen.append(card)
        else:
            too_costly += 1
    return chosen, too_costly


def survival_threshold(rows: Sequence[Row], keep: int) -> float:
    """The ``keep``-th greatest lower bound; minus infinity if there are no more than that."""
    lows = [row.low for row in rows if row.low is not None]
    if len(lows) <= keep:
        return -math.inf
    return sorted(lows, reverse=True)[keep - 1]


def cheap_first(
    cards: Sequence[ModelCard],
    evaluator: Evaluator,
    size: int,
    allowance: float,
) -> list[ModelCard]:
    """Order a first round that cannot pay for all, so that a few large models do not fill it.

    The two best guesses come first, then the models that cost no more than an equal share, then
    the others.
    """
    costs = {card.id: evaluator.cost(card, size) for card in cards}
    if sum(costs.values()) <= allowance:
        return list(cards)
    equal_share = allowance / len(cards)
    rest = cards[FEWEST:]
    cheap = [card for card in rest if costs[card.id] <= equal_share]
    dear = [card for card in rest if costs[card.id] > equal_share]
    return [*cards[:FEWEST], *cheap, *dear]


def affordable(
    cards: Sequence[ModelCard],
    evaluator: Evaluator,
    size: int,
    left: float,
    rounds_after: int,
) -> list[ModelCard]:
    """The best of ``cards`` that fit this round's share of the time left.

    If fewer than two fit the share, two, provided that they fit the whole; else none.
    """
    spent, in_share, in_whole = 0.0, 0, 0
    for count, card in enumerate(cards, start=1):
        spent += evaluator.cost(card, size)
        if spent <= left / (rounds_after + 1):
            in_share = count
        if spent <= left:
            in_whole = count
    fewest = min(FEWEST, len(cards))
    if in_share >= fewest:
        return list(cards[:in_share])
    return list(cards[:fewest]) if in_whole >= fewest else []


def _survivors(
    halving: Halving,
    chosen: Sequence[ModelCard],
    keep: int,
    round_name: str,
) -> list[ModelCard]:
    """The cards of the last round that may still be among the best ``keep``, best first."""
    cards = {card.id: card for card in chosen}
    rows = [halving.rows[name] for name in halving.rounds[-1].models]
    threshold = survival_threshold(rows, keep)
    survivors = []
    for row in rows:
        assert row.high is not None
        if row.high >= threshold:
            survivors.append(cards[row.model])
            continue
        reason = f"at most {row.high:.3f}, and {keep} others at least {threshold:.3f}"
        halving.drop(cards[row.model], f"{round_name}: {reason}")
    return survivors
