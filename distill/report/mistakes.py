"""The mistakes that a student is surest of, with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from selection.kinds.kind import CorruptSample, Preview
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from selection.evidence import Floats, Ints
    from selection.task import Split

WORST = 12  # mistakes that are kept
_LONGEST_NAME = 300  # characters of a sample's name


def worst_mistakes(
    split: Split,
    rows: Ints,
    predicted: Ints,
    confidence: Floats,
) -> list[dict[str, Any]]:
    """The wrong answers of highest ``confidence``, as ``results.json`` holds them.

    ``rows`` (n,) are the places in ``split`` of the samples that ``predicted`` (n,) and
    ``confidence`` (n,) speak of.
    """
    labels = split.labels[rows]
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:WORST]
    return [
        {
            "name": printable(split.name(int(rows[i])), _LONGEST_NAME),
            "row": int(rows[i]),
            "label": int(labels[i]),
            "predicted": int(predicted[i]),
            "confidence": round(float(confidence[i]), 6),
        }
        for i in surest
    ]


def sample_name(entry: Mapping[str, Any]) -> str:
    """The sample that an entry of ``results.json`` names; earlier versions knew images alone."""
    return str(entry["name"] if "name" in entry else entry["image"])


def previews_of(split: Split, mistakes: Sequence[Mapping[str, Any]]) -> dict[int, Preview]:
    """What a page shows of the samples of ``mistakes``, by their places in ``split``.

    What cannot be read any more is left out.
    """
    previews = {}
    for mistake in mistakes:
        row = int(mistake["row"])
        try:
            previews[row] = split.kind.preview(split.sample(row))
        except (CorruptSample, IndexError):
            continue
    return previews
