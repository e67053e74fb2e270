"""Which texts of a task have the same wording: equal ones, and nearly equal ones by faiss.

Shapes: N texts, P pairs, D places of hashed letters.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selection.duplicates.linking import kept_groups, linked_groups
from selection.kinds.kind import CopyGroups, CorruptSample
from selection.scores.neighbours import neighbours
from selection.sources.split import Rows, Split
from zoo.terminal.progress import Progress

# texts of a task that are searched for nearly equal ones; of more only equal ones are copies
MOST_SEARCHED = 50_000
KEPT_FROM = 500  # texts of a task from which the groups are kept on the disk, and progress is shown
# Letters and digits from which punctuation and spaces do not matter: below, "no" and "no?" differ.
LONG_ENOUGH = 12
# The rest was chosen on ../shared/text by eye: ``tests/test_selection_wordings.py`` counts.
NEAR_FROM = 60  # characters of texts that may be nearly equal; shorter ones are other sentences
REPLACED_FROM = 120  # characters from which another word may stand in one place
LIKENESS = 0.9  # share of both texts' characters in words that they have in common, in order
CANDIDATE = 0.8  # cosine of hashed letters below which a pair is not looked at
SPELLING = 0.75  # likeness of two words of four letters or more that are one, misspelt
NEIGHBOURS = 8  # nearest texts that are looked at
CROWD = 6  # alike texts of one text from which they are a form that was filled in, and no copies
MOST_CHARACTERS = 4_000  # of a text that are compared: its beginning and its end
PLACES, LETTERS = 256, 4  # hashed runs of four letters
_FORMAT = "1"
# Unicode's letters, marks, numbers and symbols, but not the modifiers: ` is a quotation mark
_KEPT = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Sm", "Sc", "So"}
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[^\w\s](?=\d)")
_WORD = re.compile(r"\w+(?:[^\w\s]\w+)*|[^\w\s]")
_DIGITS = re.compile(r"\d+(?:[.,:/-]\d+)*")

Floats = npt.NDArray[np.float32]


class _Texts(NamedTuple):
    """The texts of all splits, one split after the other."""

    plain: list[str]  # N normalised texts, empty where unreadable
    is_readable: npt.NDArray[np.bool_]  # (N,)
    unreadable: dict[str, dict[int, str]]


def find_copies(splits: Mapping[str, Split]) -> CopyGroups:
    """Group the texts of all ``splits`` that have the same wording.

    Equal after Unicode's compatible composition, case folding and single spaces; from 12 letters on
    equal but for punctuation and spaces; from 60 characters on equal but for a tenth of them.
    """
    texts = _read(splits)
    count = len(texts.plain)
    is_small = count <= MOST_SEARCHED
    searched = is_small and find_spec("faiss") is not None

    def search() -> Rows:
        return group_numbers(texts.plain, texts.is_readable, near=searched)

    group = search() if count < KEPT_FROM else kept_groups(_key(texts, searched), count, search)
    ends = np.cumsum([len(split) for split in splits.values()])[:-1]
    groups = dict(zip(splits, np.split(group, ends), strict=True))
    why = "faiss is missing" if is_small else f"there are more than {MOST_SEARCHED:,} texts"
    note = "" if searched else f"only equal texts count as duplicates, not nearly equal ones: {why}"
    return CopyGroups(groups, texts.unreadable, note)


def normalised(text: str) -> str:
    """``text`` without differences of case, of spaces and of Unicode's forms of one letter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def group_numbers(
    plain: Sequence[str],
    is_readable: npt.NDArray[np.bool_],
    *,
    near: bool = True,
) -> Rows:
    """(N,) the group of each of N normalised texts, numbered in order of appearance; -1: none.

    Without ``near`` only texts are grouped that are equal but for punctuation.
    """
    digests = [hashlib.sha256(_letters(text).encode("utf-8", "replace")).digest() for text in plain]
    contents = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)

    def pairs(unique: Rows) -> Rows:
        if not near:
            return np.zeros((0, 2), dtype=np.int64)
        return near_pairs([plain[row] for row in unique])

    return linked_groups(contents, is_readable, pairs)


def near_pairs(texts: Sequence[str]) -> Rows:
    """(P, 2) int64, pairs of normalised texts that are nearly equal.

    Words that only one of the two has, and misspelt words, make up a tenth at most; in texts of 120
    characters a word may also be replaced by another. Numbers are the same in both. Texts with many
    such pairs are one form that was filled in: these are no copies.
    """
    rows = np.array([i for i, text in enumerate(texts) if len(text) >= NEAR_FROM], dtype=np.int64)
    none = np.zeros((0, 2), dtype=np.int64)
    if len(rows) < 2:
        return none
    long = [_compared(texts[row]) for row in rows]
    lengths = np.array([len(texts[row]) for row in rows])
    nearest = neighbours(_hashed(long), min(NEIGHBOURS, len(rows) - 1))
    first = np.repeat(np.arange(len(rows)), nearest.rows.shape[1])
    tried = np.column_stack([first, nearest.rows.reshape(-1)])
    tried = tried[nearest.similarity.reshape(-1) >= CANDIDATE]
    tried = np.unique(np.sort(tried, axis=1), axis=0)
    shorter, longer = lengths[tried].min(axis=1), lengths[tried].max(axis=1)
    tried = tried[shorter >= LIKENESS * longer]
    alike = [(i, j) for i, j in tried.tolist() if are_near(long[i], long[j])]
    many = Counter(row for pair in alike for row in pair)
    kept = [pair for pair in alike if max(many[pair[0]], many[pair[1]]) < CROWD]
    return rows[np.array(kept, dtype=np.int64)] if kept else none


def _compared(text: str) -> str:
    half = MOST_CHARACTERS // 2
    return text if len(text) <= MOST_CHARACTERS else f"{text[:half]} {text[-half:]}"


def are_near(first: str, second: str) -> bool:
    """Whether two normalised texts of at least 60 characters are nearly equal."""
    total = len(first) + len(second)
    if Counter(_DIGITS.findall(first)) != Counter(_DIGITS.findall(second)):
        return False
    left, right = _WORD.findall(first), _WORD.findall(second)
    different = 0
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for what, start, end, other_start, other_end in matcher.get_opcodes():
        if what == "equal":
            continue
        gone, come = left[start:end], right[other_start:other_end]
        if what == "replace" and not _is_misspelt(gone, come):
            if min(len(first), len(second)) < REPLACED_FROM and _has_words(gone, come):
                return False
        elif what == "replace":
            continue
        different += sum(len(word) + 1 for word in (*gone, *come))
        if different > (1 - LIKENESS) * total:
            return False
    return True


def _has_words(gone: Sequence[str], come: Sequence[str]) -> bool:
    """Whether words, not only punctuation, stand on both sides."""
    return all(any(word[0].isalnum() for word in words) for words in (gone, come))


def _is_misspelt(gone: Sequence[str], come: Sequence[str]) -> bool:
    """Whether the words are the same but for their spelling or their spaces."""
    left, right = "".join(gone), "".join(come)
    if min(len(left), len(right)) < 4:
        return False
    return SequenceMatcher(None, left, right, autojunk=False).ratio() >= SPELLING


def _letters(text: str) -> str:
    """What of a normalised text has to be equal: no punctuation where there are enough letters.

    Punctuation between digits stays, and so do symbols: ``1.5`` is not 15, nor one emoji another.
    """
    kept = _BETWEEN_DIGITS.sub(lambda found: f"\0{found[0]}", text)
    letters = [
        letter
        for place, letter in enumerate(kept)
        if unicodedata.category(letter) in _KEPT or kept[place - 1 : place] == "\0"
    ]
    words = sum(letter.isalnum() for letter in letters)
    return "".join(letters) if words >= LONG_ENOUGH else text


def _hashed(texts: Sequence[str]) -> Floats:
    """(N, D) float32, how often each run of four letters occurs in a text, hashed with a sign."""
    hashed = np.zeros((len(texts), PLACES), dtype=np.float32)
    for row, text in zip(hashed, texts, strict=True):
        padded = f" {text} "
        runs = Counter(padded[i : i + LETTERS] for i in range(len(padded) - LETTERS + 1))
        for run, count in runs.items():
            code = zlib.crc32(run.encode("utf-8", "replace"))
            row[code % PLACES] += count if code & 0x10000 else -count
    return hashed


def _read(splits: Mapping[str, Split]) -> _Texts:
    count = sum(map(len, splits.values()))
    plain: list[str] = []
    unreadable: dict[str, dict[int, str]] = {name: {} for name in splits}
    meter = Progress.default() if count >= KEPT_FROM else Progress.silent()
    with meter.over("looking for duplicates", unit="texts", total=count) as shown:
        for name, split in splits.items():
            for i in range(len(split)):
                try:
                    plain.append(normalised(split.decode(split.raw(i))))
                except CorruptSample as error:
                    plain.append("")
                    unreadable[name][i] = str(error)
                if len(plain) % KEPT_FROM == 0:
                    shown.at(len(plain))
    is_readable = np.ones(count, dtype=bool)
    start = 0
    for name, split in splits.items():
        is_readable[[start + i for i in unreadable[name]]] = False
        start += len(split)
    return _Texts(plain, is_readable, unreadable)


def _key(texts: _Texts, searched: bool) -> str:
    digest = hashlib.sha256(f"wordings {_FORMAT} {searched}".encode())
    for text in texts.plain:
        digest.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    digest.update(texts.is_readable.tobytes())
    return digest.hexdigest()[:32]
