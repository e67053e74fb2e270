"""The scores by name."""

from __future__ import annotations

from selection.scores.gbc import GBC
from selection.scores.hscore import HSCORE
from selection.scores.knn import KNN
from selection.scores.leep import LEEP
from selection.scores.linear_probe import LINEAR_PROBE
from selection.scores.logme import LOGME
from selection.scores.nce import NCE
from selection.scores.nleep import NLEEP
from selection.scores.otce import OTCE
from selection.scores.parc import PARC
from selection.scores.score import Score
from selection.scores.sfda import SFDA
from selection.scores.transport import TRANSPORT
from selection.scores.transrate import TRANSRATE
from zoo.terminal.command import validate_choice

DEFAULT = "transport"
ALIASES = {DEFAULT: "transport_images_relative"}

SCORES: dict[str, Score] = {
    **{score.name: score for score in TRANSPORT},
    "knn": KNN,
    "linear_probe": LINEAR_PROBE,
    "logme": LOGME,
    "hscore": HSCORE,
    "leep": LEEP,
    "nleep": NLEEP,
    "nce": NCE,
    "parc": PARC,
    "transrate": TRANSRATE,
    "gbc": GBC,
    "sfda": SFDA,
    "otce": OTCE,
}


def resolve(name: str = DEFAULT) -> Score:
    """The score called ``name``, its full name in ``.name``; ``UserError`` names the nearest and
    all valid ones.
    """
    return SCORES[ALIASES.get(name) or validate_choice("score", name, [*ALIASES, *SCORES])]
