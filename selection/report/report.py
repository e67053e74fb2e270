"""What the page of a ranking shows: the ranking, its best teachers' classes, and some samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from selection.evidence import Evidence, Ints
from selection.kinds.kind import Kind, Preview
from selection.ranking import Ranking, Row
from selection.report.class_plan import ClassPlan, class_plan
from selection.scores.registry import SCORES

if TYPE_CHECKING:
    from selection.probe import Probe

_TEACHERS = 3  # whose classes and predictions the page shows
_EXAMPLES = 12
_GUESSES = 3


class Guess(NamedTuple):
    """A class of the teacher and the probability that it gives to it."""

    teacher_class: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """A probe sample and the likeliest classes of the best teachers for it.

    ``guesses`` maps models to their classes, likeliest first.
    """

    name: str
    label: str
    preview: Preview
    guesses: Mapping[str, tuple[Guess, ...]]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows. ``meaning`` is the score in one sentence; ``plans`` and ``examples``
    may be empty. ``command`` trains a student next, ``saved`` says that the ranking is in a file.
    """

    ranking: Ranking
    meaning: str
    command: str = ""
    saved: bool = True
    plans: tuple[ClassPlan, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def best(self) -> tuple[Row, ...]:
        """The best three rows, whose classes and predictions the page shows."""
        return self.ranking.finalists[:_TEACHERS]


def make_report(ranking: Ranking, probe: Probe, evidence: Mapping[str, Evidence]) -> Report:
    """The report of ``ranking``; ``evidence`` holds what its models answered on ``probe``, by
    model.
    """
    best = ranking.finalists[:_TEACHERS]
    answers = {row.model: evidence[row.model] for row in best}
    plans = [class_plan(name, answer) for name, answer in answers.items()]
    # a ranking within a budget may have read fewer samples than the probe has
    read = min((answer.places for answer in answers.values()), key=len, default=np.arange(0))
    examples = make_examples(
        [probe.samples[place] for place in read],
        [probe.names[place] for place in read],
        probe.labels[read],
        answers,
        kind=probe.kind,
    )
    return Report(
        ranking=ranking,
        meaning=SCORES[ranking.score].meaning,
        plans=tuple(plan for plan in plans if plan is not None),
        examples=examples,
    )


def make_examples(
    samples: Sequence[Any],
    names: Sequence[str],
    labels: Ints,
    evidence: Mapping[str, Evidence],
    *,
    kind: Kind,
) -> tuple[Example, ...]:
    """The first probe samples of each class in turn, with the likeliest classes of every teacher.

    ``samples`` and ``names`` (N) and ``labels`` (N,) are the probe's; ``evidence`` maps models to
    what they answered.
    """
    if not evidence:
        return ()
    classes = next(iter(evidence.values())).classes
    with_classes = {
        model: answer for model, answer in evidence.items() if answer.probabilities is not None
    }
    examples = []
    for row in _classes_in_turn(labels, len(classes)):
        example = Example(
            name=names[row],
            label=classes[int(labels[row])],
            preview=kind.preview(samples[row]),
            guesses={model: _likeliest(answer, row) for model, answer in with_classes.items()},
        )
        examples.append(example)
    return tuple(examples)


def _classes_in_turn(labels: Ints, class_count: int) -> list[int]:
    """Rows to show: the first of every class, then the second of every class, and so on."""
    rows = [np.flatnonzero(labels == label).tolist() for label in range(class_count)]
    turns = zip_longest(*rows)
    order = [row for turn in turns for row in turn if row is not None]
    return order[:_EXAMPLES]


def _likeliest(evidence: Evidence, row: int) -> tuple[Guess, ...]:
    assert evidence.probabilities is not None
    probabilities = evidence.probabilities[row]
    names = evidence.teacher_classes
    guesses = []
    for i in np.argsort(-probabilities, kind="stable")[:_GUESSES]:
        name = names[i] if names else f"class {i}"
        guesses.append(Guess(name, float(probabilities[i])))
    return tuple(guesses)
