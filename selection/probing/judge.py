"""From a teacher's stored answers to its row in the ranking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from selection.evidence import Evidence
from selection.probing.leaks import leaks
from selection.probing.prober import Answer, Asker, beginning, first
from selection.probing.rounds import Judged
from selection.ranking import Row, finite, grouped, in_order
from selection.scores.interval import compare, interval
from selection.scores.registry import SCORES
from selection.scores.score import Score
from zoo.card import ModelCard

if TYPE_CHECKING:
    from selection.probe import Probe
    from selection.recall.names import NameEncoder
    from selection.task import Task


def row_of(card: ModelCard) -> Row:
    """The row of a model of which nothing is known yet."""
    return Row(
        model=card.id,
        revision=card.revision,
        source=card.source,
        location=card.location,
        params_total=card.params_total,
        license=card.license,
    )


@dataclass
class Judge:
    """Has the teachers answer and scores what they say; the ``Asks`` of
    ``selection.probing.rounds``.

    ``told`` hears of every row, whether it came from the cache, and what it took to score it in
    seconds.
    """

    task: Task
    probe: Probe
    encoder: NameEncoder
    score: Score
    seed: int
    asker: Asker
    told: Callable[[Row, bool, float], None]

    def cost(self, card: ModelCard, size: int) -> float:
        """Seconds that ``card`` is expected to take for ``size`` images."""
        return self.asker.cost(card, size)

    def judged(self, cards: Sequence[ModelCard], size: int, allowance: float) -> Iterator[Judged]:
        """See ``selection.probing.rounds.Asks``."""
        from threadpoolctl import threadpool_limits

        for answer in self.asker.ask(cards, size, end=time.monotonic() + allowance):
            begin = time.perf_counter()
            with threadpool_limits(
                1, "blas"
            ):  # small matrices: a second thread mostly waits, for seconds on a busy machine
                judged = self._one(answer, size)
            took = time.perf_counter() - begin
            if judged.evidence is not None:
                judged = replace(
                    judged, row=replace(judged.row, seconds=took + (judged.row.seconds or 0.0))
                )
            self.told(judged.row, answer.cached, took)
            yield judged

    def _one(self, answer: Answer, size: int) -> Judged:
        """The row of one model; a fault of the model, or a score that does not apply to it, becomes
        its ``error``.
        """
        row = row_of(answer.card)
        if answer.stored is None:
            return Judged(replace(row, error=answer.error), None, answer.left_out)
        stored, probe = first(answer.stored, size), beginning(self.probe, size)
        try:
            evidence = Evidence.of(stored, probe, names=answer.card.labels, encoder=self.encoder)
            found = interval(self.score, evidence, rng=np.random.default_rng(self.seed))
            row = replace(
                row,
                value=finite(found.value),
                low=finite(found.low),
                high=finite(found.high),
                knn=finite(SCORES["knn"].value(evidence)),
                probe_size=len(evidence.labels),
                seconds=stored.seconds,
                warnings=tuple(leaks(answer.card, self.task)),
            )
        except ValueError as error:
            return Judged(replace(row, error=f"{self.score.name}: {error}"), None)
        return Judged(row, evidence)


def further(row: Row, evidence: Evidence, also: Sequence[Score]) -> Row:
    """``row`` with further scores; ``None`` for one that does not apply to this teacher."""
    begin = time.perf_counter()
    scores = {other.name: _or_none(other, evidence) for other in also}
    return replace(row, scores=scores, seconds=(row.seconds or 0.0) + time.perf_counter() - begin)


def _or_none(score: Score, evidence: Evidence) -> float | None:
    try:
        return finite(score.value(evidence))
    except ValueError:  # NotApplicable, or no finite number
        return None


def close_pairs(
    score: Score, evidence: Mapping[str, Evidence], order: Sequence[str]
) -> dict[tuple[str, str], bool]:
    """Which models of ``order`` (best first, on the same images) cannot be told from the leader of
    their group, resampling both in pairs.
    """
    close: dict[tuple[str, str], bool] = {}
    leader = ""
    for name in order:
        if leader:
            gap = compare(score, evidence[leader], evidence[name], rng=np.random.default_rng(0))
            close[leader, name] = not gap.decided
        if not leader or not close[leader, name]:
            leader = name
    return close


def ordered_rows(
    rows: Sequence[Row],
    evidence: Mapping[str, Evidence],
    score: Score,
    also: Sequence[Score],
    left: Callable[[], float],
) -> tuple[list[Row], list[str]]:
    """The rows in their order, grouped, with the further scores as far as time is ``left``; a
    sentence where it was not.
    """
    from threadpoolctl import threadpool_limits

    done, late = [], 0
    with threadpool_limits(1, "blas"):
        ordered = in_order(rows)
        finalists = [
            row.model
            for row in ordered
            if row.value is not None and row.probe_size == ordered[0].probe_size
        ]
        close = close_pairs(score, evidence, finalists)
        for row in ordered:
            if row.value is not None and also and left() > 0:
                row = further(row, evidence[row.model], also)
            late += bool(row.value is not None and also and not row.scores)
            done.append(row)
    return grouped(done, close), [
        f"time was up before the further scores of {late} models"
    ] if late else []
