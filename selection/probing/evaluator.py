"""From a teacher's outputs to its row in the ranking."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from selection.evidence import Evidence, StoredOutputs
from selection.probing.prober import Prober, ProbeResult, beginning, first_outputs
from selection.probing.rounds import Evaluation
from selection.ranking import Row, finite, in_order
from selection.scores import knn
from selection.scores.interval import score_interval
from selection.scores.score import Score
from selection.scores.ties import grouped, undecided_pairs
from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from selection.evidence import Floats
    from selection.probe import Probe
    from selection.recall.names import NameEncoder
    from selection.task import Task

_ROUNDING = 1e-6  # relative
_NOTHING = 1e-18  # squares of such features are 0 in float32


def empty_row(card: ModelCard) -> Row:
    """The row of a model that was not evaluated yet."""
    return Row(
        model=card.id,
        revision=card.revision,
        source=card.source,
        location=card.location,
        params_total=card.params_total,
        license=card.license,
    )


@dataclass
class ProbeEvaluator:
    """Has a prober run teachers on a probe and scores their outputs; a ``rounds.Evaluator``.

    ``on_row`` is called with every row and whether its outputs came from the cache.
    """

    task: Task
    probe: Probe
    encoder: NameEncoder
    score: Score
    seed: int
    prober: Prober
    on_row: Callable[[Row, bool], None] = lambda row, cached: None

    def cost(self, card: ModelCard, size: int) -> float:
        """Estimate the seconds that ``card`` takes for ``size`` samples; 0 without a network."""
        if self._is_own(card):
            return 0.0
        return self.prober.cost(card, self.probe.length_of(size))

    def evaluate(
        self,
        cards: Sequence[ModelCard],
        size: int,
        allowance: float,
    ) -> Iterator[Evaluation]:
        """See ``rounds.Evaluator``; ``allowance`` is in seconds from now.

        ``size`` counts labelled samples.
        """
        from threadpoolctl import threadpool_limits

        deadline = time.monotonic() + allowance
        size = self.probe.length_of(size)
        networks = [card for card in cards if not self._is_own(card)]
        own = (self._own_result(card, size) for card in cards if self._is_own(card))
        for result in chain(own, self.prober.probe(networks, size, deadline=deadline)):
            begin = time.perf_counter()
            # small matrices: a second thread mostly waits, for seconds on a busy machine
            with threadpool_limits(1, "blas"):
                evaluation = self._evaluation(result, size)
            row = evaluation.row
            if evaluation.evidence is not None:
                seconds = (row.seconds or 0.0) + time.perf_counter() - begin
                evaluation = replace(evaluation, row=replace(row, seconds=seconds))
            self.on_row(evaluation.row, result.cached)
            yield evaluation

    def _is_own(self, card: ModelCard) -> bool:
        return card.is_recommender

    def _own_result(self, card: ModelCard, size: int) -> ProbeResult:
        """The features of a model that needs no network."""
        assert self.probe.join is not None, "the kinds with own teachers join"
        begin = time.perf_counter()
        try:
            features, rows = self.probe.join.own(card, size)
        except TeacherError as error:
            return ProbeResult(card, error=printable(error, 300))
        seconds = time.perf_counter() - begin
        return ProbeResult(card, StoredOutputs(features, seconds=seconds, rows=rows))

    def _joined(self, outputs: StoredOutputs) -> StoredOutputs:
        """The outputs as the scores read them: where samples have parts, with joined features."""
        if self.probe.join is None or outputs.rows is not None:
            return outputs
        features, rows = self.probe.join(outputs.features)
        return StoredOutputs(features, logits=outputs.logits, seconds=outputs.seconds, rows=rows)

    def _evaluation(self, result: ProbeResult, size: int) -> Evaluation:
        """One model's row; its fault, or a score that does not apply to it, becomes ``error``."""
        row = empty_row(result.card)
        if result.outputs is None:
            return Evaluation(replace(row, error=result.error), skipped=result.skipped)
        outputs, probe = result.outputs, beginning(self.probe, size)
        if outputs.rows is None:
            outputs = first_outputs(outputs, size)
        names = result.card.labels
        if len(set(probe.digests)) > 1 and are_equal(outputs.features):
            return Evaluation(
                replace(row, error=f"features are the same for every {probe.kind.noun}")
            )
        try:
            evidence = Evidence.of(
                self._joined(outputs),
                probe,
                names=names,
                embed=self.encoder.encode,
            )
            credit = knn.terms(evidence)
            by_class = knn.accuracy_by_class(credit, evidence.labels, len(evidence.classes))
            bounds = score_interval(self.score, evidence, rng=np.random.default_rng(self.seed))
            row = replace(
                row,
                value=finite(bounds.value),
                low=finite(bounds.low),
                high=finite(bounds.high),
                knn=finite(float(credit.mean())),
                knn_balanced=finite(float(np.nanmean(by_class))),
                probe_size=len(evidence.labels),
                seconds=outputs.seconds,
                warnings=tuple(leakage_warnings(result.card, self.task)),
            )
        except ValueError as error:
            return Evaluation(replace(row, error=f"{self.score.name}: {error}"))
        return Evaluation(row, evidence)


def are_equal(features: Floats) -> bool:
    """Whether the rows of (N, D) differ by no more than the rounding of float32, or are all but 0.

    So they are where the weights are dead: all zero, or overflowed in half precision.
    """
    values = np.asarray(features, dtype=np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    spread = float(np.ptp(values, axis=0).max(initial=0.0)) if len(values) else 0.0
    return largest < _NOTHING or spread <= _ROUNDING * largest


def ordered_rows(
    rows: Sequence[Row],
    evidence: Mapping[str, Evidence],
    score: Score,
    also: Sequence[Score],
    left: Callable[[], float],
) -> tuple[list[Row], list[str]]:
    """Order and group the rows and add further scores, as long as there is time ``left``.

    Returns the rows, and a warning if the time did not suffice for all further scores.
    """
    from threadpoolctl import threadpool_limits

    ordered = in_order(rows)
    finalists = [
        row.model
        for row in ordered
        if row.value is not None and row.probe_size == ordered[0].probe_size
    ]
    complete, without_scores = [], 0
    with threadpool_limits(1, "blas"):
        undecided = undecided_pairs(score, evidence, finalists, left)
        for row in ordered:
            if also and row.value is not None:
                if left() > 0:
                    row = with_scores(row, evidence[row.model], also)
                else:
                    without_scores += 1
            complete.append(row)
    warnings = []
    if without_scores:
        warnings.append(f"time was up before the further scores of {without_scores} models")
    return grouped(complete, undecided), warnings


def with_scores(row: Row, evidence: Evidence, also: Sequence[Score]) -> Row:
    """The row with further scores; ``None`` for one that does not apply to this teacher."""
    begin = time.perf_counter()
    scores = {score.name: _value_or_none(score, evidence) for score in also}
    seconds = (row.seconds or 0.0) + time.perf_counter() - begin
    return replace(row, scores=scores, seconds=seconds)


def _value_or_none(score: Score, evidence: Evidence) -> float | None:
    try:
        return finite(score.value(evidence))
    except ValueError:  # NotApplicable, or no finite number
        return None


def leakage_warnings(card: ModelCard, task: Task) -> list[str]:
    """Say so if a teacher's training data may hold the task itself: its rank flatters it then."""
    task_name = _letters(task.name)
    for dataset in card.datasets or ():
        if task_name and _letters(dataset.rsplit("/", 1)[-1]) == task_name:
            return [
                f"{printable(card.id, 80)} was trained on {printable(dataset, 60)}, which names"
                " this task itself: its place flatters it"
            ]
    teacher_classes = {label.strip().lower() for label in card.labels or ()}
    task_classes = {name.strip().lower() for name in task.classes}
    if len(task.classes) > 2 and task_classes == teacher_classes:
        return [
            f"{printable(card.id, 80)} has exactly this task's {len(task.classes)} class names: "
            f"if it was trained on the same {task.kind.nouns}, its place flatters it"
        ]
    return []


def _letters(name: str) -> str:
    """The name's letters and digits in lower case, for comparisons."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
