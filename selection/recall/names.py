"""Label names as vectors, so that the classes of two tasks can be compared without an image.

The packaged table ``names.npz`` is made by ``benchmarks/build/make_name_table.py`` from the
sentence model all-MiniLM-L6-v2 (Apache-2.0) and the nouns of WordNet 3.0 (Copyright 2006 by
Princeton University); see NOTICE.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.evidence import Floats
from zoo.errors import UserError
from zoo.terminal.command import clean

TABLE = Path(__file__).with_name("names.npz")

_LONGEST_NAME = (
    1_000  # characters read of one label name; names come from strangers and may be megabytes long
)
_MOST_SYNONYMS = 8
_MOST_WORDS = 24
_LONGEST_WORD = 32
_GRAMS = (3, 4, 5)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_INDEX = re.compile(
    r"^\s*(?:n\d{8}[_ -]+|\d+\.\s*|\d{3,}[_ -]+)(?=[^\W\d])"
)  # "n01440764 tench", "001.Albatross"
_SYNONYM = re.compile(
    r"[,;|()\[\]{}]|(?<=\w\w)/(?=\w\w)"
)  # commas, brackets; a slash, but not that of "km/h"
_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ß": "ss"}
)


@dataclass(frozen=True)
class NameEncoder:
    """Turns label names into unit vectors; close in meaning is close in cosine.

    ``name`` says what made the vectors, for records. A name is read as a list of synonyms (as
    ImageNet writes them, ``"tench, Tinca tinca"``; brackets and slashes part synonyms too) and its
    vector is the direction of their mean.
    """

    name: str
    _embed: Callable[[Sequence[str]], Floats] = field(repr=False)

    def encode(self, names: Sequence[str]) -> Floats:
        """``(n, E)`` float32, unit rows, the same for the same name in any company; deterministic.

        A name without one known word (empty, or of a script the encoder cannot read) gets a
        direction of its own, nearly orthogonal to all others, so that it is equal to itself and
        related to nothing.
        """
        unique = {name: row for row, name in enumerate(dict.fromkeys(names))}
        phrases = [synonyms(name) for name in unique]
        spread = list(dict.fromkeys(phrase for group in phrases for phrase in group))
        vectors = _unit(self._embed(spread), spread)
        where = {phrase: row for row, phrase in enumerate(spread)}
        rows = _unit(
            _sums(vectors, [[where[phrase] for phrase in group] for group in phrases]), list(unique)
        )
        return np.asarray(rows[[unique[name] for name in names]], dtype=np.float32)

    @classmethod
    def table(cls, path: Path = TABLE) -> NameEncoder:
        """The packaged table: numpy only, no network; made by
        ``benchmarks/build/make_name_table.py``.
        """
        table = _load(path)
        return cls(f"table {table.digest}", table.embed)

    @classmethod
    def sentence_transformer(cls, model: str, *, offline: bool = False) -> NameEncoder:
        """A sentence-transformers model: a folder, or an id on the Hub (only from the local cache
        if ``offline``).

        ``UserError`` where the package is missing or the model cannot be opened. Never runs a
        model's own code.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise UserError(
                f"--label-encoder {model} needs the package sentence-transformers; "
                "pip install sentence-transformers, or leave the option out"
            ) from error
        try:
            encoder = SentenceTransformer(
                model,
                local_files_only=offline,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except Exception as error:  # the library raises many kinds, all mean: not usable
            raise UserError(
                f"--label-encoder {model!r} cannot be opened{' offline' if offline else ''}:"
                f" {clean(error, 200)}; expected a folder or Hub id of a sentence-transformers"
                " model with safetensors weights"
            ) from error

        def embed(phrases: Sequence[str]) -> Floats:
            return np.asarray(
                encoder.encode(list(phrases) or [""], show_progress_bar=False), dtype=np.float32
            )[: len(phrases)]

        return cls(model, embed)


@dataclass(frozen=True, eq=False)
class WordTable:
    """Rows of whole names, of words, and of hashed character n-grams, in this order, as int8
    multiples of a step.

    ``rows`` (names + words + buckets, E); ``names`` and ``words`` map keys to their rows; a unit of
    length is ``steps[0]`` levels in a row of a name or a word, ``steps[1]`` in one of an n-gram.
    """

    names: dict[str, int]
    words: dict[str, int]
    rows: npt.NDArray[np.int8]
    steps: tuple[float, float]
    digest: str

    @classmethod
    def load(cls, path: Path) -> WordTable:
        """Read a table that ``benchmarks/build/make_name_table.py`` wrote."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        with np.load(path, allow_pickle=False) as stored:
            names, known = (
                stored[kind].tobytes().decode().split("\n") for kind in ("names", "words")
            )
            rows = np.ascontiguousarray(
                stored["columns"].T
            )  # stored by column, where deflate finds like beside like
            steps = (float(stored["steps"][0]), float(stored["steps"][1]))
        return cls(
            dict(zip(names, range(len(names)), strict=True)),
            dict(zip(known, range(len(names), len(names) + len(known)), strict=True)),
            rows,
            steps,
            digest,
        )

    def embed(self, phrases: Sequence[str]) -> Floats:
        """``(n, E)``, of any length: a known name is its row, another phrase the sum of its
        words.
        """
        split = [words(phrase) for phrase in phrases]
        whole = [self.names.get(" ".join(group), -1) for group in split]
        composed = [row for row, group in enumerate(split) if whole[row] < 0 and group]
        tokens = {
            word: row
            for row, word in enumerate(
                dict.fromkeys(word for row in composed for word in split[row])
            )
        }
        vectors = self._words(list(tokens))
        out = np.zeros((len(phrases), self.rows.shape[1]), np.float32)
        exact = [row for row, found in enumerate(whole) if found >= 0]
        out[exact] = self.rows[[whole[row] for row in exact]]
        out[composed] = _sums(vectors, [[tokens[word] for word in split[row]] for row in composed])
        return out

    def _words(self, tokens: Sequence[str]) -> Floats:
        """(n, E) in the scale of words: their rows, or the means of their n-grams, or directions of
        their own.
        """
        out = np.zeros((len(tokens), self.rows.shape[1]), np.float32)
        start = len(self.names) + len(self.words)
        known = [row for row, token in enumerate(tokens) if token in self.words]
        out[known] = self.rows[[self.words[tokens[row]] for row in known]]
        unknown = [
            row for row, token in enumerate(tokens) if token not in self.words and token.isascii()
        ]
        pieces = [grams(tokens[row], len(self.rows) - start) for row in unknown]
        scale = np.array(
            [self.steps[0] / self.steps[1] / len(group) for group in pieces], np.float32
        )
        out[unknown] = _sums(self.rows[start:], pieces) * scale[:, None]
        for row, token in enumerate(tokens):
            if not token.isascii():
                out[row] = self.steps[0] * _own_direction(token, self.rows.shape[1])
        return out


def synonyms(name: str) -> list[str]:
    """The readable phrases of a label name: at least one, capped, without control characters.

    >>> synonyms("tench, Tinca tinca"), synonyms("n02123045 tabby_cat"), synonyms("AnnualCrop")
    (['tench', 'Tinca tinca'], ['tabby cat'], ['Annual Crop'])
    """
    text = str(name)[:_LONGEST_NAME]
    if not text.isprintable():
        text = "".join(
            " " if c.isspace() else c
            for c in text
            if c.isspace() or unicodedata.category(c)[0] != "C"
        )
    text = _CAMEL.sub(" ", _INDEX.sub("", text).replace("_", " "))
    parts = (" ".join(part.split()) for part in _SYNONYM.split(text))
    return list(dict.fromkeys(part for part in parts if part))[:_MOST_SYNONYMS] or [text.strip()]


def words(phrase: str) -> list[str]:
    """The folded words of a phrase: lower case, without accents and possessive s, numbers apart
    from letters.
    """
    text = _POSSESSIVE.sub("", phrase).casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = (
            "".join(c for c in decomposed if not unicodedata.combining(c))
            .casefold()
            .translate(_LETTERS)
        )
    return [word[:_LONGEST_WORD] for word in _WORD.findall(text)][:_MOST_WORDS]


def grams(word: str, buckets: int) -> list[int]:
    """The buckets of a word's character n-grams, its borders marked; the same on every machine."""
    marked = f"<{word}>".encode()
    return [
        zlib.crc32(marked[start : start + size]) % buckets
        for size in _GRAMS
        for start in range(len(marked) - size + 1)
    ]


def _sums(rows: npt.NDArray[Any], groups: Sequence[Sequence[int]]) -> Floats:
    """(len(groups), E) float32: the sum of each group's rows; no group is empty."""
    if not groups:
        return np.zeros((0, rows.shape[1]), np.float32)
    flat = np.fromiter(itertools.chain.from_iterable(groups), np.int64)
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
    summed: Floats = np.add.reduceat(rows[flat], starts, axis=0, dtype=np.float32)
    return summed


def _own_direction(text: str, width: int) -> Floats:
    """A pseudo-random unit vector (width,) that depends on the text alone."""
    drawn = (
        np.frombuffer(
            hashlib.shake_128(text.encode("utf-8", "replace")).digest(width), dtype=np.uint8
        )
        - 127.5
    )
    return np.asarray(drawn / np.linalg.norm(drawn))


def _unit(vectors: Floats, texts: Sequence[str]) -> Floats:
    """Rows scaled to length one; a row of (almost) nothing becomes its text's own direction."""
    lengths = np.linalg.norm(vectors, axis=1)
    empty = np.flatnonzero(~(lengths > 1e-6))
    out = vectors / np.where(lengths > 1e-6, lengths, 1)[:, None]
    for row in empty:
        out[row] = _own_direction(texts[int(row)], vectors.shape[1])
    return out


_load = functools.lru_cache(maxsize=2)(WordTable.load)
