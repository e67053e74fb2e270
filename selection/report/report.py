"""A ranking as one self-contained web page: no network, readable on a phone and in the dark."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from selection.evidence import Evidence, Ints
from selection.ranking import Ranking, Row
from selection.report.bridge import Bridge, bridge
from selection.scores.meaning import meaning
from zoo.files import write_text

if TYPE_CHECKING:
    from PIL import Image

    from selection.probe import Probe

TEACHERS = 3  # whose classes and answers the page shows
_EXAMPLES = 12
_THUMBNAIL = 96  # pixels, the longer side


@dataclass(frozen=True, kw_only=True)
class Example:
    """A probe image and what the best teachers see in it.

    ``thumbnail`` is a small JPEG or PNG; ``answers`` holds (model, ((teacher class, probability),
    ...)), best first.
    """

    name: str
    label: str
    thumbnail: bytes
    answers: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows. ``meaning`` is the score in one sentence; ``bridges`` and
    ``examples`` may be empty.

    >>> Report(ranking=ranking, meaning=..., bridges=bridges, examples=examples)  # doctest: +SKIP
    """

    ranking: Ranking
    meaning: str
    bridges: tuple[Bridge, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def best(self) -> tuple[Row, ...]:
        """The best three rows, whose classes and answers the page shows."""
        return self.ranking.finalists[:TEACHERS]


def examples(
    images: Sequence[Image.Image],
    names: Sequence[str],
    labels: Ints,
    evidence: Mapping[str, Evidence],
    *,
    count: int = _EXAMPLES,
) -> tuple[Example, ...]:
    """The first probe images of each class in turn, each with the three likeliest classes of every
    teacher in ``evidence``.

    ``images`` and ``names`` (N) and ``labels`` (N,) are the probe's; ``evidence`` maps model ids to
    what they said of it.
    """
    if not evidence:
        return ()
    classes = next(iter(evidence.values())).classes
    turns = [np.flatnonzero(labels == label) for label in range(len(classes))]
    order = [int(rows[turn]) for turn in range(count) for rows in turns if len(rows) > turn][:count]
    return tuple(
        Example(
            name=names[i],
            label=classes[int(labels[i])],
            thumbnail=_thumbnail(images[i]),
            answers=tuple(
                (model, _likeliest(said, i))
                for model, said in evidence.items()
                if said.probabilities is not None
            ),
        )
        for i in order
    )


def described(ranking: Ranking, probe: Probe, evidence: Mapping[str, Evidence]) -> Report:
    """The page of ``ranking``, with the classes of the best teachers beside the task's;
    ``evidence`` is of the ranked models.
    """
    best = [row.model for row in ranking.finalists][:TEACHERS]
    said = {name: evidence[name] for name in best}
    bridges = tuple(found for name in best if (found := bridge(name, said[name])))
    size = min(
        (len(one.labels) for one in said.values()), default=0
    )  # a probe of a budget may have ended sooner
    shown = examples(probe.images[:size], probe.names[:size], probe.labels[:size], said)
    return Report(ranking=ranking, meaning=meaning(ranking.score), bridges=bridges, examples=shown)


def write(report: Report, path: Path) -> None:
    """Write the page to ``path``, whole or not at all; about 5 MB, most of it plotly."""
    from selection.report.page import page

    write_text(path, page(report))


def _likeliest(evidence: Evidence, row: int) -> tuple[tuple[str, float], ...]:
    assert evidence.probabilities is not None
    given = evidence.probabilities[row]
    names = evidence.teacher_classes
    return tuple(
        (names[i] if names else f"class {i}", float(given[i]))
        for i in np.argsort(-given, kind="stable")[:3]
    )


def _thumbnail(image: Image.Image) -> bytes:
    """A small JPEG of at most 96 pixels; images that small already stay as they are, as PNG."""
    small, out = image.convert("RGB"), io.BytesIO()
    small.info = {}  # comments and profiles of the original would ride along
    if max(small.size) <= _THUMBNAIL // 2:
        small.save(out, "PNG")
    else:
        small.thumbnail((_THUMBNAIL * 2, _THUMBNAIL * 2))  # twice the pixels, for dense screens
        small.save(out, "JPEG", quality=80)
    return out.getvalue()
