"""Label names as vectors, so that the classes of two tasks can be compared without an image."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selection.evidence import Floats
from zoo.errors import UserError

TABLE = Path(__file__).with_name("names.npz")

_LONGEST_NAME = 1_000  # characters read of one label name; names come from strangers and may be megabytes long
_MOST_SYNONYMS = 8
_MOST_WORDS = 24
_LONGEST_WORD = 32
_GRAMS = (3, 4, 5)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_INDEX = re.compile(r"^\s*(?:n\d{8}\b|\d+\.\s*(?=[^\W\d])|\d{3,}[_ -]+(?=[^\W\d]))")  # "n01440764 tench", "001.Albatross"
_SYNONYM = re.compile(r"[,;|()\[\]{}]|(?<=\w\w)/(?=\w\w)")  # commas, brackets; a slash, but not that of "km/h"
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ß": "ss"})


@dataclass(frozen=True)
class NameEncoder:
    """Turns label names into unit vectors; close in meaning is close in cosine.

    ``name`` says what made the vectors, for records. A name is read as a list of synonyms (as ImageNet writes them,
    ``"tench, Tinca tinca"``; brackets and slashes part synonyms too) and its vector is the mean of theirs.
    """

    name: str
    _embed: Callable[[Sequence[str]], Floats] = field(repr=False)

    def encode(self, names: Sequence[str]) -> Floats:
        """``(n, E)`` float32, unit rows, the same for the same name in any company; deterministic.

        A name without one known word (empty, or of a script the encoder cannot read) gets a direction of its own,
        nearly orthogonal to all others, so that it is equal to itself and related to nothing.
        """
        unique = {name: row for row, name in enumerate(dict.fromkeys(names))}
        phrases = [synonyms(name) for name in unique]
        spread = list(dict.fromkeys(phrase for group in phrases for phrase in group))
        vectors = _unit(self._embed(spread), spread)
        where = {phrase: row for row, phrase in enumerate(spread)}
        means = [vectors[[where[phrase] for phrase in group]].mean(axis=0) for group in phrases]
        stacked = np.stack(means) if means else np.empty((0, vectors.shape[1]))
        rows: Floats = _unit(stacked, list(unique)).astype(np.float32)
        return rows[[unique[name] for name in names]]

    @classmethod
    def table(cls) -> NameEncoder:
        """The packaged table: numpy only, no network; made by ``benchmarks/make_name_table.py``."""
        table = _load(TABLE)
        return cls(f"table {table.digest}", table.embed)

    @classmethod
    def sentence_transformer(cls, model: str, *, offline: bool = False) -> NameEncoder:
        """A sentence-transformers model: a folder, or an id on the Hub (only from the local cache if ``offline``).

        ``UserError`` where the package is missing or the model cannot be opened. Never runs a model's own code.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise UserError(f"--label-encoder {model} needs the package sentence-transformers; "
                            "pip install sentence-transformers, or leave the option out") from error
        try:
            encoder = SentenceTransformer(model, local_files_only=offline, trust_remote_code=False,
                                          model_kwargs={"use_safetensors": True})
        except Exception as error:  # the library raises many kinds, all mean: not usable
            raise UserError(f"--label-encoder {model!r} cannot be opened{' offline' if offline else ''}: {error}; expected "
                            "a folder or Hub id of a sentence-transformers model with safetensors weights") from error

        def embed(phrases: Sequence[str]) -> Floats:
            # Sorted and one by one in length, padding cannot leak into a vector more than float noise.
            return np.asarray(encoder.encode(list(phrases) or [""], show_progress_bar=False), dtype=np.float64)[: len(phrases)]

        return cls(model, embed)


@dataclass(frozen=True)
class WordTable:
    """Rows of keyed words and phrases, followed by rows of hashed character n-grams; all share one scale.

    ``rows`` (V + B, E) int8; ``index`` maps V keys to their rows; ``positions`` (P,) weighs a word by its distance
    from the phrase's end (the last word of an English name says what it is).
    """

    index: dict[str, int]
    rows: npt.NDArray[np.int8]
    positions: Floats
    digest: str

    def embed(self, phrases: Sequence[str]) -> Floats:
        """``(n, E)`` float64, of any length: keyed phrases by their row, others by the weighted sum of their words."""
        split = [words(phrase) for phrase in phrases]
        keyed = [[joined] if (joined := " ".join(group)) in self.index else group for group in split]
        tokens = {token: row for row, token in enumerate(dict.fromkeys(token for group in keyed for token in group))}
        vectors = self._tokens(list(tokens))
        out = np.zeros((len(phrases), self.rows.shape[1]))
        last = len(self.positions) - 1
        # Longest first would save nothing: names are short, so one pass per position from the end stays vectorised.
        for place in range(max((len(group) for group in keyed), default=0)):
            here = [row for row, group in enumerate(keyed) if len(group) > place]
            out[here] += self.positions[min(place, last)] * vectors[[tokens[keyed[row][-1 - place]] for row in here]]
        return out

    def _tokens(self, tokens: list[str]) -> Floats:
        vectors = np.zeros((len(tokens), self.rows.shape[1]))
        known = [row for row, token in enumerate(tokens) if token in self.index]
        vectors[known] = self.rows[[self.index[tokens[row]] for row in known]]
        for row, token in enumerate(tokens):
            if token not in self.index:
                vectors[row] = (self.rows[[len(self.index) + gram for gram in grams(token, self.buckets)]].mean(axis=0)
                                if token.isascii() else 32 * _own_direction(token, self.rows.shape[1]))
        return vectors

    @property
    def buckets(self) -> int:
        """How many rows belong to hashed n-grams."""
        return len(self.rows) - len(self.index)


def synonyms(name: str) -> list[str]:
    """The readable phrases of a label name: never empty, capped, without control characters.

    >>> synonyms("tench, Tinca tinca"), synonyms("n02123045 tabby_cat"), synonyms("AnnualCrop")
    (['tench', 'Tinca tinca'], ['tabby cat'], ['Annual Crop'])
    """
    text = "".join(" " if character.isspace() else character for character in str(name)[:_LONGEST_NAME]
                   if character.isspace() or unicodedata.category(character)[0] != "C")
    text = _CAMEL.sub(" ", _INDEX.sub("", text).replace("_", " "))
    parts = (" ".join(part.split()) for part in _SYNONYM.split(text))
    return list(dict.fromkeys(part for part in parts if part))[:_MOST_SYNONYMS] or [""]


def words(phrase: str) -> list[str]:
    """The folded words of a phrase: lower case, without accents and possessive s, numbers apart from letters."""
    text = unicodedata.normalize("NFKD", phrase.replace("'s ", " ").replace("’s ", " "))
    text = "".join(character for character in text if not unicodedata.combining(character))
    folded = text.casefold().translate(_LETTERS)
    return [word[:_LONGEST_WORD] for word in _WORD.findall(folded)][:_MOST_WORDS]


def grams(word: str, buckets: int) -> list[int]:
    """The buckets of a word's character n-grams, its borders marked; the same on every machine."""
    marked = f"<{word}>".encode()
    return [zlib.crc32(marked[start : start + size]) % buckets
            for size in _GRAMS for start in range(len(marked) - size + 1)]


def _own_direction(text: str, width: int) -> Floats:
    """A pseudo-random unit vector (width,) that depends on the text alone."""
    drawn = np.frombuffer(hashlib.shake_128(text.encode("utf-8", "replace")).digest(width), dtype=np.uint8) - 127.5
    return np.asarray(drawn / np.linalg.norm(drawn))


def _unit(vectors: Floats, texts: Sequence[str]) -> Floats:
    """Rows scaled to length one; a row of (almost) nothing becomes its text's own direction."""
    lengths = np.linalg.norm(vectors, axis=1)
    empty = np.flatnonzero(~(lengths > 1e-6))
    out = vectors / np.where(lengths > 1e-6, lengths, 1)[:, None]
    for row in empty:
        out[row] = _own_direction(texts[int(row)], vectors.shape[1])
    return out


@functools.lru_cache(maxsize=2)
def _load(path: Path) -> WordTable:
    content = path.read_bytes()
    with np.load(path, allow_pickle=False) as stored:
        keys = stored["keys"].tobytes().decode().split("\n")
        rows = np.ascontiguousarray(stored["columns"].T)  # stored by column: deflate packs like with like
        return WordTable({key: row for row, key in enumerate(keys)}, rows, stored["positions"].astype(np.float64),
                         hashlib.sha256(content).hexdigest()[:12])
