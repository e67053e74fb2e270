"""The scores by name."""

from __future__ import annotations

from collections.abc import Sequence

from selection.scores.gbc import GBC
from selection.scores.hscore import HSCORE
from selection.scores.knn import KNN
from selection.scores.leep import LEEP, NCE
from selection.scores.linear_probe import LINEAR_PROBE
from selection.scores.logme import LOGME
from selection.scores.nleep import NLEEP
from selection.scores.otce import OTCE
from selection.scores.parc import PARC
from selection.scores.score import Score
from selection.scores.sfda import SFDA
from selection.scores.transport import TRANSPORT
from selection.scores.transrate import TRANSRATE
from selection.settings import DEFAULT_SCORE
from zoo.terminal.command import validate_choice

ALIASES = {DEFAULT_SCORE: "transport_images_relative"}

_OTHERS = (
    KNN,
    LINEAR_PROBE,
    LOGME,
    HSCORE,
    LEEP,
    NLEEP,
    NCE,
    PARC,
    TRANSRATE,
    GBC,
    SFDA,
    OTCE,
)
SCORES: dict[str, Score] = {score.name: score for score in (*TRANSPORT, *_OTHERS)}


def resolve(name: str = DEFAULT_SCORE) -> Score:
    """The score called ``name`` or by that alias; `UserError` names the nearest."""
    return SCORES[ALIASES.get(name) or validate_choice("score", name, [*ALIASES, *SCORES])]


def resolve_all(names: Sequence[str]) -> tuple[Score, ...]:
    """The scores called ``names``; ``("all",)`` are all there are."""
    return tuple(resolve(name) for name in (SCORES if tuple(names) == ("all",) else names))
