"""Made-up opinions on products: sentences of a seeded grammar, negative, neutral or positive."""

from __future__ import annotations

import numpy as np

from benchmarks.build.clinc150 import LabelledTexts

CLASSES = ("negative", "neutral", "positive")
_PRODUCTS_TEXT = {
    "train": """
        phone battery lamp jacket kettle novel hotel soup film blender laptop backpack tent chair
        printer concert coffee keyboard umbrella mattress toaster podcast bicycle blanket museum
        app router vase razor heater
    """,
    "test": """
        camera dress oven album hostel salad play drill tablet suitcase stove sofa scanner festival
        tea monitor raincoat pillow
    """,
}
_WORDS_TEXT = {
    "negative": """
        broken slow noisy dull flimsy overpriced bitter cramped rude useless faulty ugly stale
        disappointing confusing awful boring dirty weak unreliable
    """,
    "neutral": """
        round blue square new wooden small grey medium plain second-hand local large green digital
        metal folded rented standard borrowed flat
    """,
    "positive": """
        brilliant quick quiet charming sturdy cheap delicious roomy friendly handy reliable fresh
        beautiful excellent clear lovely exciting spotless strong superb
    """,
}
_PRODUCTS = {split: text.split() for split, text in _PRODUCTS_TEXT.items()}
_WORDS = {feeling: text.split() for feeling, text in _WORDS_TEXT.items()}
_OPPOSITE = {"negative": "positive", "positive": "negative"}
_ENDINGS = {
    "negative": (
        "i sent it back",
        "never again",
        "what a waste of money",
        "i would not buy it twice",
        "my sister regrets it too",
    ),
    "neutral": (
        "it came on tuesday",
        "it stands in the hall",
        "my sister has one too",
        "it is the second one this year",
        "the box says so",
    ),
    "positive": (
        "i would buy it again",
        "worth every penny",
        "my sister wants one too",
        "i use it every day",
        "i told all my friends",
    ),
}
_PLAIN = (
    "the {product} is {word}",
    "{word} {product}",
    "this {product} was {word} from the first day",
    "we found the {product} {word} and {other}",
    "i bought this {product} last week and it is {word}",
    "{ending}, the {product} is {word}",
    "the {product} is {word}, {ending}",
    "a {word}, {other} {product}",
    "is it just me or is the {product} {word}",
    "they said that the {product} is {word} and it is {other}",
)
_NEGATED = (
    "the {product} is not {against}",
    "i cannot call this {product} {against}, {ending}",
    "nobody here thinks that the {product} is {against}",
    "the {product} is anything but {against}",
)
_SHARE_NEGATED = 0.25


def made_opinions(split: str, count: int) -> LabelledTexts:
    """``count`` different opinions of ``split`` (train, test), whose products are its own."""
    rng = np.random.default_rng([2026, *split.encode()])
    rows: dict[str, int] = {}
    while len(rows) < count:
        label = int(rng.integers(len(CLASSES)))
        rows.setdefault(_opinion(rng, CLASSES[label], _PRODUCTS[split]), label)
    return LabelledTexts(list(rows), list(rows.values()), CLASSES)


def _opinion(rng: np.random.Generator, feeling: str, products: list[str]) -> str:
    negated = feeling in _OPPOSITE and rng.random() < _SHARE_NEGATED
    templates = _NEGATED if negated else _PLAIN
    word, other = rng.choice(_WORDS[feeling], 2, replace=False)
    return templates[rng.integers(len(templates))].format(
        product=rng.choice(products),
        word=word,
        other=other,
        against=rng.choice(_WORDS[_OPPOSITE.get(feeling, feeling)]),
        ending=rng.choice(_ENDINGS[feeling]),
    )
