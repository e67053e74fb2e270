"""What the columns of a ranking mean, in a sentence each, on the terminal and on the page."""

from __future__ import annotations

import math

from selection.ranking import Ranking
from zoo.terminal.command import printable

SCORE, INTERVAL, TIE, KNN, BALANCED = "score", "interval", "tie", "knn", "bal."
PARAMETERS, LICENCE, SECONDS = "params", "licence", "s"


def meanings(ranking: Ranking) -> dict[str, str]:
    """A sentence for each head of the table, further scores by their names."""
    probe, nouns = ranking.probe.get("size", "?"), ranking.kind.nouns
    sentences = {
        SCORE: f"{_shown_name(ranking.score)}: {_meaning_of(ranking)}",
        INTERVAL: f"where the score would lie on other {nouns} of yours, in 95 of 100 cases",
        TIE: "models with the same letter are too close to call; a is best",
        KNN: f"% of {probe} {nouns} named rightly by the {nouns} that the model finds most similar"
        f" (the cheap baseline){_commonest(ranking)}",
        BALANCED: "the mean of knn over your classes, small ones counting as much as large ones",
    }
    for name in sorted({name for row in ranking.rows for name in row.scores}):
        sentences.setdefault(name, _meaning(name, nouns))
    return sentences | {
        nouns: f"how many of your {nouns} it was measured on",
        PARAMETERS: "size of the model in parameters: k thousand, M million, B billion",
        LICENCE: "of the model; read it before you use or publish what you train from it",
        SECONDS: "seconds that measuring it took, when that was done",
    }


def _meaning_of(ranking: Ranking) -> str:
    """The ranking's score in a sentence, with its most where that depends on the classes."""
    sentence = _meaning(ranking.score, ranking.kind.nouns)
    most = "the logarithm of the number of classes"
    return sentence.replace(most, f"{math.log(max(len(ranking.classes), 1)):.2f}")


def _meaning(name: str, nouns: str) -> str:
    """The score's sentence, with what the user's samples are."""
    from selection.scores.registry import SCORES

    if name not in SCORES:  # of another version
        return "higher is better"
    sentence = SCORES[name].meaning.rstrip(".").replace("samples", nouns)
    return sentence[0].lower() + sentence[1:]


def _shown_name(score: str) -> str:
    from selection.scores.registry import ALIASES

    aliases = {full: alias for alias, full in ALIASES.items()}
    return aliases.get(score, printable(score, 60))


def _commonest(ranking: Ranking) -> str:
    if ranking.commonest is None:
        return ""
    name, share = ranking.commonest
    return f"; always saying {printable(name, 40)!r}: {100 * share:.1f} %"
