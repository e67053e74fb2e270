"""A small world for tests of text students: made sentences, and a tokenizer of them."""

from __future__ import annotations

import numpy as np

from distill.data.vocabulary import TokenizerStore, train_tokenizer
from distill.student.text_student import TextSpec, TextStudent
from zoo.home import tokenizer_folder

CLASSES = ("weather", "food", "travel")
_WORDS = (
    ("rain", "snow", "sun", "storm", "cloud", "wind", "fog", "heat"),
    ("soup", "bread", "cheese", "rice", "salad", "apple", "cake", "tea"),
    ("train", "plane", "ticket", "hotel", "road", "map", "harbour", "bus"),
)
_FRAMES = (
    "will there be {} and {} tomorrow?",
    "I would like some {} with {}, please",
    "tell me about the {} or the {}",
    "is {} better than {} today",
)


def sentences(count: int, *, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """``count`` sentences with two words of the class of their label (count,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    texts = []
    for label in labels:
        words = rng.choice(_WORDS[label], 2, replace=False)
        texts.append(_FRAMES[rng.integers(len(_FRAMES))].format(*words))
    return texts, labels


def text_spec(*, size: int = 16, architecture: str = "bert-2x64") -> TextSpec:
    """A small student on the vocabulary of 300 sentences, in the present home folder."""
    tokenizer = train_tokenizer(sentences(300)[0])
    digest = TokenizerStore(tokenizer_folder()).add(tokenizer.to_str().encode())
    return TextSpec(architecture=architecture, size=size, tokenizer=digest)


def text_student(*, seed: int = 0, size: int = 16) -> TextStudent:
    return text_spec(size=size).create(CLASSES, seed=seed)
