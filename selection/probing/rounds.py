"""Successive halving: every round asks fewer models about more of the same images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from selection.evidence import Evidence
from selection.ranking import Row, in_order
from zoo.card import ModelCard

LEAST = 64
LEAST_A_CLASS = 4
FIRST_SHARE = (
    2 / 3
    # of what is left goes to the first round, which alone has to load the models; the others share
    # alike
)
DEAREST = 0.2  # of what is left: a model whose first round costs more is not begun
FEWEST = 2  # models that a further round must be able to compare


@dataclass(frozen=True, eq=False)
class Judged:
    """A model's row in a round, and what it was read from; ``left_out`` is why it was not probed
    (then no evidence).
    """

    row: Row
    evidence: Evidence | None
    left_out: str | None = None


class Asks(Protocol):
    """Who asks the teachers; costs and allowances are in one unit, seconds (a benchmark counts
    images).
    """

    def judged(self, cards: Sequence[ModelCard], size: int, allowance: float) -> Iterator[Judged]:
        """What comes of ``cards`` on the probe's first ``size`` images. A model is begun only if it
        is expected to end within the allowance; those of which nothing comes were in work when all
        was spent.
        """
        ...

    def cost(self, card: ModelCard, size: int) -> float:
        """What ``card`` is expected to cost on so many images; 0 where its answers are stored."""
        ...


@dataclass(frozen=True)
class Round:
    """One round that was finished: ``models`` were read on ``images`` images, best first."""

    images: int
    models: tuple[str, ...]


@dataclass
class Halving:
    """``rows`` of all models asked, each of the last round that it finished; ``evidence`` of the
    ranked ones.

    ``left_out`` counts the models that were never asked, by reason; ``note`` says if the budget
    ended the rounds early.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    note: str | None = None

    def material(self, least: int) -> Round:
        """The last round that still had ``least`` models, else the first: from its models a
        committee is chosen.
        """
        return next(
            (one for one in reversed(self.rounds) if len(one.models) >= least), self.rounds[0]
        )


def sizes(probe: int, classes: int) -> list[int]:
    """Images a round: from max(64, 4 a class), doubling to all of the ``probe``.

    >>> sizes(500, 10)
    [64, 128, 256, 500]
    """
    size = max(LEAST, LEAST_A_CLASS * classes)
    found = []
    while size < probe:
        found.append(size)
        size *= 2
    return [*found, probe]


def halve(
    cards: Sequence[ModelCard],
    asks: Asks,
    *,
    sizes: Sequence[int],
    keep: int,
    left: Callable[[], float],
    begun: Callable[[int, int, int], None] = lambda number, models, images: None,
) -> Halving:
    """Ask all ``cards`` (best guess first) about ``sizes[0]`` images, and fewer and fewer about
    more.

    After each round a model goes whose upper bound lies under the ``keep``-th greatest lower bound
    (Jamieson and Talwalkar 2016, arXiv 1502.07943, give halving; the bounds, and keeping what they
    cannot tell apart, are ours), and, where ``left`` does not pay for all, those of the least
    value. A round that cannot be finished does not count: values on different numbers of images are
    never compared. ``begun`` is told round, models and images.
    """
    done, alive = Halving(), list(cards)
    for number, size in enumerate(sizes):
        later = len(sizes) - number - 1
        chosen = _affordable(alive, asks, size, left(), later) if number else alive
        if not chosen:
            done.note = f"the budget ended after round {number} of {len(sizes)}"
            break
        for card in alive[len(chosen) :]:
            _drop(
                done,
                card,
                f"round {number} of {len(sizes)}: the budget took only the best {len(chosen)} on",
            )
        begun(number + 1, len(chosen), size)
        allowance = left() * (FIRST_SHARE if later and not number else 1.0)
        chosen = chosen if number else _cheap_first(chosen, asks, size, allowance)
        found = {judged.row.model: judged for judged in asks.judged(chosen, size, allowance)}
        if later and not number:
            found |= _second_chance(
                chosen, found, asks, size=size, full=sizes[-1], keep=keep, left=left()
            )
        unfinished = [card for card in chosen if card.id not in found or found[card.id].left_out]
        if number and unfinished:
            done.note = (
                f"the budget ended in round {number + 1} of {len(sizes)}; the values are those of"
                " the round before"
            )
            break
        _take(done, found, size)
        done.left_out["budget"] += sum(card.id not in found for card in unfinished)
        alive = (
            _survivors(done, chosen, keep, f"round {number + 1} of {len(sizes)}") if later else []
        )
        if not done.rounds[-1].models:
            break
    return done


def shortlist(
    cards: Sequence[ModelCard], asks: Asks, *, size: int, most: int, left: float
) -> tuple[list[ModelCard], int]:
    """The ``most`` best guesses among ``cards`` that a first round can pay for, and how many better
    guesses it cannot: a model that takes more than a small part of what is ``left`` would keep all
    others from being asked.
    """
    chosen: list[ModelCard] = []
    dear = 0
    for card in cards:
        if len(chosen) == most:
            break
        if asks.cost(card, size) <= DEAREST * left:
            chosen.append(card)
        else:
            dear += 1
    return chosen, dear


def bar(rows: Sequence[Row], keep: int) -> float:
    """The ``keep``-th greatest lower bound, or minus infinity where there are no more models than
    that.
    """
    lows = sorted((row.low for row in rows if row.low is not None), reverse=True)
    return lows[keep - 1] if len(lows) > keep else -math.inf


def _cheap_first(
    alive: Sequence[ModelCard], asks: Asks, size: int, allowance: float
) -> list[ModelCard]:
    """Where not all can be paid: the two best guesses, then those that cost no more than an equal
    share, then the others; so that a few large models do not keep many small ones from being asked
    at all.
    """
    costs = {card.id: asks.cost(card, size) for card in alive}
    if sum(costs.values()) <= allowance:
        return list(alive)
    first, fair = alive[:FEWEST], allowance / len(alive)
    rest = sorted(
        alive[FEWEST:], key=lambda card: costs[card.id] > fair
    )  # stable: in the order of the guess otherwise
    return [*first, *rest]


def _second_chance(
    chosen: Sequence[ModelCard],
    found: dict[str, Judged],
    asks: Asks,
    *,
    size: int,
    full: int,
    keep: int,
    left: float,
) -> dict[str, Judged]:
    """Those that did not fit the first round's share, asked with what the rounds of the best so far
    will not need.
    """
    refused = [card for card in chosen if card.id in found and found[card.id].left_out == "budget"]
    ranked = {
        row.model
        for row in in_order([one.row for one in found.values() if one.evidence is not None])[:keep]
    }
    spare = left - sum(asks.cost(card, full) for card in chosen if card.id in ranked)
    if not refused or spare <= 0:
        return {}
    return {
        judged.row.model: judged
        for judged in asks.judged(_cheap_first(refused, asks, size, spare), size, spare)
    }


def _affordable(
    alive: Sequence[ModelCard], asks: Asks, size: int, left: float, later: int
) -> list[ModelCard]:
    """The best of ``alive`` that fit this round's share of what is left; two, if only they fit the
    whole; or none.
    """
    spent, within, whole = 0.0, 0, 0
    for count, card in enumerate(alive, 1):
        spent += asks.cost(card, size)
        within = count if spent <= left / (later + 1) else within
        whole = count if spent <= left else whole
    fewest = min(FEWEST, len(alive))
    count = within if within >= fewest else fewest if whole >= fewest else 0
    return list(alive[:count])


def _take(done: Halving, found: dict[str, Judged], size: int) -> None:
    for model, judged in found.items():
        if judged.left_out and not judged.row.error:
            done.left_out[judged.left_out] += 1
            continue
        done.rows[model] = judged.row
        done.evidence.pop(model, None)
        if judged.evidence is not None:
            done.evidence[model] = judged.evidence
    ranked = in_order([done.rows[name] for name in found if name in done.evidence])
    done.rounds.append(Round(size, tuple(row.model for row in ranked)))


def _survivors(
    done: Halving, chosen: Sequence[ModelCard], keep: int, round_name: str
) -> list[ModelCard]:
    """The cards of the last round that may still be among the best ``keep``, best first."""
    cards = {card.id: card for card in chosen}
    rows = [done.rows[name] for name in done.rounds[-1].models]
    least, kept = bar(rows, keep), []
    for row in rows:
        assert row.high is not None
        if row.high < least:
            _drop(
                done,
                cards[row.model],
                f"{round_name}: at most {row.high:.3f}, and {keep} others at least {least:.3f}",
            )
        else:
            kept.append(cards[row.model])
    return kept


def _drop(done: Halving, card: ModelCard, why: str) -> None:
    done.rows[card.id] = replace(done.rows[card.id], dropped=why)
