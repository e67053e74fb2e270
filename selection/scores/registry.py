"""The scores by name."""

from __future__ import annotations

from selection.scores.knn import KNN
from selection.scores.linear_probe import LINEAR_PROBE
from selection.scores.score import Score
from selection.scores.transport import TRANSPORT_PROTOTYPES, TRANSPORT_PROTOTYPES_RELATIVE
from zoo.command import choose

DEFAULT = "transport"
ALIASES = {DEFAULT: "transport_prototypes_relative"}

SCORES: dict[str, Score] = {
    "transport_prototypes": TRANSPORT_PROTOTYPES,
    "transport_prototypes_relative": TRANSPORT_PROTOTYPES_RELATIVE,
    "knn": KNN,
    "linear_probe": LINEAR_PROBE,
}


def resolve(name: str = DEFAULT) -> Score:
    """The score called ``name``, its full name in ``.name``; ``UserError`` names the nearest and all valid ones."""
    return SCORES[ALIASES.get(name) or choose("score", name, [*ALIASES, *SCORES])]
