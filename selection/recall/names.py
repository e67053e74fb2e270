"""Label names as vectors, so that the classes of two tasks can be compared without a sample.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.evidence import Floats
from zoo.errors import UserError
from zoo.terminal.command import printable

TABLE = Path(__file__).with_name("names.npz")

# Label names come from strangers and may be megabytes long: what is read of them.
_LONGEST_NAME = 1_000  # characters
_LONGEST_WORD = 32  # characters
_MOST_SYNONYMS = 8
_MOST_WORDS = 24  # of a synonym

_GRAMS = (3, 4, 5)  # characters of an n-gram
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# "n01440764 tench", "001.Albatross"
_INDEX = re.compile(r"^\s*(?:n\d{8}[_ -]+|\d+\.\s*|\d{3,}[_ -]+)(?=[^\W\d])")
# commas and brackets; a slash, but not that of "km/h"
_SYNONYM = re.compile(r"[,;|()\[\]{}]|(?<=\w\w)/(?=\w\w)")
_POSSESSIVE = re.compile(r"(?<=\w)['’]s\b")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LETTERS = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ı": "i",
        "ß": "ss",
    }
)


@dataclass(frozen=True)
class NameEncoder:
    """Turns label names into unit vectors; close in meaning is close in cosine.

    A name is read as a list of synonyms, as ImageNet writes them (``"tench, Tinca tinca"``;
    brackets and slashes separate synonyms too), and its vector is the direction of their mean.

    Parameters
    ----------
    name : str
        What makes the vectors, for records.
    """

    name: str
    _embed: Callable[[Sequence[str]], Floats] = field(repr=False)

    def encode(self, names: Sequence[str]) -> Floats:
        """Embed label names.

        Parameters
        ----------
        names : sequence of n str
            A name without one known word (empty, or in a script that the encoder cannot read) gets
            a pseudo-random direction, equal to itself and related to nothing.

        Returns
        -------
        (n, E) float32
            Unit rows. A name's row is the same whatever else is encoded with it.
        """
        row_of_name = _numbered(names)
        synonyms_of_name = [synonyms(name) for name in row_of_name]
        row_of_synonym = _numbered(itertools.chain.from_iterable(synonyms_of_name))
        distinct = list(row_of_synonym)
        vectors = _unit(self._embed(distinct), distinct)
        groups = [[row_of_synonym[part] for part in parts] for parts in synonyms_of_name]
        rows = _unit(_sums(vectors, groups), list(row_of_name))
        places = [row_of_name[name] for name in names]
        return np.asarray(rows[places], dtype=np.float32)

    @classmethod
    def table(cls, path: Path = TABLE) -> NameEncoder:
        """The packaged table, which needs numpy alone and no network."""
        table = _load(path)
        return cls(f"table {table.digest}", table.embed)

    @classmethod
    def sentence_transformer(cls, model: str, *, offline: bool = False) -> NameEncoder:
        """A sentence-transformers model, whose own code is never run.

        Parameters
        ----------
        model : str
            A folder, or an id on the Hub.
        offline : bool
            Look on this machine alone.

        Raises
        ------
        UserError
            If the package is missing or the model cannot be opened.
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
                f" {printable(error, 200)}; expected a folder or Hub id of a sentence-transformers"
                " model with safetensors weights"
            ) from error

        def embed(phrases: Sequence[str]) -> Floats:
            vectors = encoder.encode(list(phrases) or [""], show_progress_bar=False)
            return np.asarray(vectors, dtype=np.float32)[: len(phrases)]

        return cls(model, embed)


@dataclass(frozen=True, eq=False)
class WordTable:
    """Vectors of whole names, of words, and of hashed character n-grams, as int8.

    Parameters
    ----------
    names, words : dict of str to int
        The rows of known names and words.
    rows : (names + words + buckets, E) int8
        Names first, then words, then the buckets of n-grams.
    steps : pair of float
        How many int8 levels length one has, in rows of names and words, and in rows of n-grams.
    digest : str
        Of the file.
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
            names = stored["names"].tobytes().decode().split("\n")
            known_words = stored["words"].tobytes().decode().split("\n")
            rows = np.ascontiguousarray(stored["columns"].T)  # by column deflate packs them better
            word_step, gram_step = stored["steps"].tolist()
        return cls(
            names=_numbered(names),
            words={word: row for row, word in enumerate(known_words, start=len(names))},
            rows=rows,
            steps=(word_step, gram_step),
            digest=digest,
        )

    def embed(self, phrases: Sequence[str]) -> Floats:
        """(n, E), of any length: a known name is its row, another phrase the sum of its words."""
        words_of_phrase = [words(phrase) for phrase in phrases]
        out = np.zeros((len(phrases), self.rows.shape[1]), np.float32)
        composed = []  # places of phrases that are no known name
        for place, group in enumerate(words_of_phrase):
            row = self.names.get(" ".join(group))
            if row is not None:
                out[place] = self.rows[row]
            elif group:
                composed.append(place)
        groups = [words_of_phrase[place] for place in composed]
        row_of_word = _numbered(itertools.chain.from_iterable(groups))
        vectors = self._embed_words(list(row_of_word))
        word_rows = [[row_of_word[word] for word in group] for group in groups]
        out[composed] = _sums(vectors, word_rows)
        return out

    def _embed_words(self, tokens: Sequence[str]) -> Floats:
        """(n, E) in the levels of words: their rows, else the means of their n-grams.

        A word outside ASCII that has no row gets a pseudo-random direction.
        """
        width = self.rows.shape[1]
        out = np.zeros((len(tokens), width), np.float32)
        spelt = []  # places of words that are composed of n-grams
        for place, token in enumerate(tokens):
            if token in self.words:
                out[place] = self.rows[self.words[token]]
            elif token.isascii():
                spelt.append(place)
            else:
                out[place] = self.steps[0] * _pseudo_random_direction(token, width)
        gram_rows = self.rows[len(self.names) + len(self.words) :]
        groups = [grams(tokens[place], len(gram_rows)) for place in spelt]
        sizes = np.array([len(group) for group in groups])
        scale = self.steps[0] / self.steps[1] / sizes
        sums = _sums(gram_rows, groups)
        out[spelt] = sums * scale.astype(np.float32)[:, None]
        return out


def synonyms(name: str) -> list[str]:
    """The readable phrases of a label name: at least one, capped, without control characters.

    >>> synonyms("tench, Tinca tinca"), synonyms("n02123045 tabby_cat"), synonyms("AnnualCrop")
    (['tench', 'Tinca tinca'], ['tabby cat'], ['Annual Crop'])
    """
    text = _without_controls(str(name)[:_LONGEST_NAME])
    text = _CAMEL.sub(" ", _INDEX.sub("", text).replace("_", " "))
    parts = [" ".join(part.split()) for part in _SYNONYM.split(text)]
    distinct = dict.fromkeys(filter(None, parts))
    return list(distinct)[:_MOST_SYNONYMS] or [text.strip()]


def _without_controls(text: str) -> str:
    if text.isprintable():
        return text
    letters = []
    for character in text:
        if character.isspace():
            letters.append(" ")
        elif not unicodedata.category(character).startswith("C"):
            letters.append(character)
    return "".join(letters)


def words(phrase: str) -> list[str]:
    """The folded words of a phrase: lower case, no accents, no possessive s, numbers apart.

    >>> words("Cassin's Crème-brûlée MP3")
    ['cassin', 'creme', 'brulee', 'mp', '3']
    """
    text = _POSSESSIVE.sub("", phrase).casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        letters = [letter for letter in decomposed if not unicodedata.combining(letter)]
        text = "".join(letters).casefold().translate(_LETTERS)
    all_words = _WORD.findall(text)[:_MOST_WORDS]
    return [word[:_LONGEST_WORD] for word in all_words]


def grams(word: str, buckets: int) -> list[int]:
    """The buckets of a word's character n-grams; ``<`` and ``>`` mark its ends."""
    marked = f"<{word}>".encode()
    rows = []
    for size in _GRAMS:
        for start in range(len(marked) - size + 1):
            gram = marked[start : start + size]
            rows.append(zlib.crc32(gram) % buckets)
    return rows


def _numbered(texts: Iterable[str]) -> dict[str, int]:
    """The distinct texts in their order, with their places."""
    return {text: place for place, text in enumerate(dict.fromkeys(texts))}


def _sums(rows: npt.NDArray[Any], groups: Sequence[Sequence[int]]) -> Floats:
    """(len(groups), E) float32: the sum of each group's rows; no group is empty."""
    if not groups:
        return np.zeros((0, rows.shape[1]), np.float32)
    flat = np.fromiter(itertools.chain.from_iterable(groups), np.int64)
    sizes = [len(group) for group in groups]
    starts = np.cumsum([0, *sizes[:-1]])
    sums: Floats = np.add.reduceat(
        rows[flat],
        starts,
        axis=0,
        dtype=np.float32,
    )
    return sums


def _pseudo_random_direction(text: str, width: int) -> Floats:
    """A unit vector (width,) that depends on the text alone."""
    digest = hashlib.shake_128(text.encode("utf-8", "replace")).digest(width)
    centred = np.frombuffer(digest, dtype=np.uint8) - 127.5
    return np.asarray(centred / np.linalg.norm(centred))


def _unit(vectors: Floats, texts: Sequence[str]) -> Floats:
    """Rows scaled to length one; a row of almost nothing becomes its text's random direction."""
    lengths = np.linalg.norm(vectors, axis=1)
    is_short = ~(lengths > 1e-6)
    out = vectors / np.where(is_short, 1, lengths)[:, None]
    for row in np.flatnonzero(is_short).tolist():
        out[row] = _pseudo_random_direction(texts[row], vectors.shape[1])
    return out


_load = functools.lru_cache(maxsize=2)(WordTable.load)
