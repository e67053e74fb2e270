"""What the page of a ranking shows: the ranking, its best teachers' classes, and some images."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selection.evidence import Evidence, Ints
from selection.ranking import Ranking, Row
from selection.report.class_plan import ClassPlan, class_plan
from selection.scores.registry import SCORES

if TYPE_CHECKING:
    from PIL import Image

    from selection.probe import Probe

_TEACHERS = 3  # whose classes and predictions the page shows
_EXAMPLES = 12
_GUESSES = 3
_THUMBNAIL = 96  # pixels, the longer side


class Guess(NamedTuple):
    """A class of the teacher and the probability that it gives to it."""

    teacher_class: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Example:
    """A probe image and the likeliest classes of the best teachers for it.

    ``thumbnail`` is a small JPEG or PNG; ``guesses`` maps models to their classes, likeliest first.
    """

    name: str
    label: str
    thumbnail: bytes
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
    # a ranking within a budget may have read fewer images than the probe has
    sizes = [len(answer.labels) for answer in answers.values()]
    read = slice(min(sizes, default=0))
    examples = make_examples(
        probe.images[read],
        probe.names[read],
        probe.labels[read],
        answers,
    )
    return Report(
        ranking=ranking,
        meaning=SCORES[ranking.score].meaning,
        plans=tuple(plan for plan in plans if plan is not None),
        examples=examples,
    )


def make_examples(
    images: Sequence[Image.Image],
    names: Sequence[str],
    labels: Ints,
    evidence: Mapping[str, Evidence],
) -> tuple[Example, ...]:
    """The first probe images of each class in turn, with the likeliest classes of every teacher.

    ``images`` and ``names`` (N) and ``labels`` (N,) are the probe's; ``evidence`` maps models to
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
            thumbnail=thumbnail(images[row]),
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


def thumbnail(image: Image.Image) -> bytes:
    """A small JPEG of twice the pixels shown, for dense screens; small images stay as they are, as
    PNG.
    """
    small, out = image.convert("RGB"), io.BytesIO()
    small.info = {}  # comments and profiles of the original must not be published
    if max(small.size) <= _THUMBNAIL // 2:
        small.save(out, "PNG")
    else:
        small.thumbnail((_THUMBNAIL * 2, _THUMBNAIL * 2))
        small.save(out, "JPEG", quality=80)
    return out.getvalue()
