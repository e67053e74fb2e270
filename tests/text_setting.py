"""A small world for tests of text students: made sentences, and a tokenizer of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from distill.data.vocabulary import TokenizerStore, train_tokenizer
from distill.student.text_student import TextSpec, TextStudent
from selection.kinds.text import TEXT
from selection.sources.split import Split
from selection.task import Task
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


class Lines:
    """Texts in memory as a source of a split."""

    def __init__(self, texts: Sequence[str], name: str = "line") -> None:
        self.texts, self._name = list(texts), name

    def __len__(self) -> int:
        return len(self.texts)

    def raw(self, row: int) -> bytes:
        return self.texts[row].encode()

    def name(self, row: int) -> str:
        return f"{self._name} {row}"

    def stamp(self, rows: np.ndarray) -> Iterator[bytes]:
        return (self.raw(int(row)) for row in rows)


def text_split(
    texts: Sequence[str], labels: np.ndarray, classes: tuple[str, ...] = CLASSES
) -> Split:
    return Split(Lines(texts), np.arange(len(texts)), np.asarray(labels), classes, kind=TEXT)


def text_task(*, train: int = 24, pool: int = 40) -> Task:
    """A task of made sentences; ``pool`` of them unlabelled."""
    splits = {}
    for place, (name, count) in enumerate(
        {"train": train, "validation": 15, "test": 30, "unlabelled": pool}.items()
    ):
        texts, labels = sentences(count, seed=place)
        splits[name] = text_split(texts, np.full(count, -1) if name == "unlabelled" else labels)
    return Task(
        "requests",
        CLASSES,
        splits["train"],
        splits["validation"],
        splits["test"],
        splits["unlabelled"] if pool else None,
    )


def write_text_teacher(folder: Path, *, seed: int = 0, layers: int = 4) -> Path:
    """An encoder of random weights whose vocabulary is that of 300 sentences."""
    spec = text_spec(size=32, architecture=f"bert-{layers}x32")
    spec.create(CLASSES, seed=seed).export(folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return folder
