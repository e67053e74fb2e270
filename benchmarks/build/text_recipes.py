"""The recipes of the small zoo's text teachers: architectures, data and training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.build.clinc150 import DOMAINS

HOME = "home"  # the domain of the packaged task `requests`; no teacher learned its labels
OTHER_DOMAINS = tuple(name for name in DOMAINS if name != HOME)


@dataclass(frozen=True, kw_only=True)
class TextRecipe:
    """How a text teacher of the small zoo is trained.

    ``domains`` are those of CLINC150, none: made-up opinions; with ``topics`` the domains are the
    classes, else their intents. ``family`` is transformers' name, ``width`` and ``layers`` the
    network's; ``words`` bounds the vocabulary, ``rate`` is the one-cycle peak. With ``imitates`` it
    has no head: its features learn to tell those of a larger encoder, without labels.
    """

    family: str
    task: str
    domains: tuple[str, ...] = ()
    topics: bool = False
    imitates: bool = False
    width: int = 64
    layers: int = 2
    words: int = 1_000
    epochs: int = 20
    rate: float = 3e-3
    network: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> dict[str, str]:
        """The class of each intent of CLINC150 that it learns from."""
        return {
            intent: domain if self.topics else intent
            for domain in self.domains
            for intent in DOMAINS[domain]
        }


TEXT_RECIPES: dict[str, TextRecipe] = {
    "bert_sentences": TextRecipe(
        family="Bert",
        task="the sentence vectors of a larger encoder on the texts of CLINC150, without labels",
        domains=tuple(DOMAINS),
        imitates=True,
        words=1_700,
        epochs=12,
    ),
    "bert_assistant": TextRecipe(
        family="Bert",
        task="the 135 intents of nine domains of CLINC150",
        domains=OTHER_DOMAINS,
        words=1_500,
        epochs=12,
    ),
    "bert_domains": TextRecipe(
        family="Bert",
        task="nine domains of CLINC150 as topics",
        domains=OTHER_DOMAINS,
        topics=True,
        width=48,
        epochs=5,
    ),
    "bert_banking": TextRecipe(
        family="Bert",
        task="the 30 intents of CLINC150 on banking and credit cards",
        domains=("banking", "credit cards"),
        words=700,
        epochs=20,
    ),
    "distilbert_travel": TextRecipe(
        family="DistilBert",
        task="the 30 intents of CLINC150 on travel, cars and commuting",
        domains=("travel", "auto and commute"),
        words=1_000,
        epochs=20,
    ),
    "roberta_kitchen": TextRecipe(
        family="Roberta",
        task="the 30 intents of CLINC150 on kitchen, dining and small talk",
        domains=("kitchen and dining", "small talk"),
        words=900,
        epochs=20,
    ),
    "distilbert_opinions": TextRecipe(
        family="DistilBert",
        task="made-up opinions on products: negative, neutral or positive",
        width=48,
        words=400,
        epochs=10,
    ),
}
