"""The tokenizers of text students: made of a task's own texts, and kept by their content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selection.kinds.kind import CorruptSample
from zoo.files import write_bytes, write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from selection.task import Split

MOST_WORDS = 8_000  # pieces of words that a vocabulary holds
LONGEST = 128  # tokens of a text, where the texts are long
SHORTEST = 8
_SHARE = 95  # per cent of the texts that are not cut
_MEASURED_TEXTS = 20_000  # that tell how long texts are
_READ_TEXTS = 200_000  # that a vocabulary is made of, spread evenly
_READ_CHARACTERS = 10_000  # of each of them
_LIMIT: dict[str, Any] = {"max_input_chars_per_word": 100}  # a longer word is unknown, as to BERT
PAD, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIAL = (PAD, UNKNOWN, BEGIN, END, MASK)  # numbers 0 to 4


class TokenizerStore:
    """Tokenizers in a folder, each under the sha256 of its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, content: bytes) -> str:
        """Keep a ``tokenizer.json``; returns its digest."""
        digest = hashlib.sha256(content).hexdigest()
        if self.read(digest) is None:
            write_bytes(self._path(digest), content)
        return digest

    def read(self, digest: str) -> bytes | None:
        """The file of that digest; None where it is missing or damaged."""
        try:
            content = self._path(digest).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None

    def of_texts(self, splits: Sequence[Split]) -> str:
        """The digest of the tokenizer of the texts of ``splits``, which is made where it is
        missing.
        """
        key = json.dumps([[split.digest for split in splits], MOST_WORDS, "wordpiece-1"])
        note = self.folder / f"of-{hashlib.sha256(key.encode()).hexdigest()[:24]}"
        if note.exists() and self.read(digest := note.read_text(encoding="utf-8").strip()):
            return digest
        digest = self.add(train_tokenizer(list(_texts(splits))).to_str().encode())
        write_text(note, digest)
        return digest

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest[:32]}.json"


def _texts(splits: Sequence[Split]) -> Iterator[str]:
    """The beginnings of the texts that a vocabulary is made of."""
    count = sum(map(len, splits))
    wanted = set(np.linspace(0, count - 1, min(count, _READ_TEXTS)).astype(int).tolist())
    start = 0
    for split in splits:
        for place in range(len(split)):
            if start + place not in wanted:
                continue
            try:
                yield readable(_sample(split, place))[:_READ_CHARACTERS]
            except CorruptSample:
                continue
        start += len(split)


def _sample(split: Split, place: int) -> str:
    text: str = split.sample(place)
    return text


def readable(text: str) -> str:
    """``text`` without the halves of characters that no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


def train_tokenizer(texts: Sequence[str], most_words: int = MOST_WORDS) -> Tokenizer:
    """BERT's kind of tokenizer with a WordPiece vocabulary of ``texts``, lower case.

    It has at most ``most_words`` pieces. Pieces that occur once are not learned, so a small task
    has a small vocabulary. The same texts give the same file.
    """
    from tokenizers import models, processors

    pieces = _pieces(texts, most_words)
    tokenizer = _untrained(models.WordPiece(pieces, unk_token=UNKNOWN, **_LIMIT))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}",
        pair=f"{BEGIN} $A {END} $B:1 {END}:1",
        special_tokens=[(name, pieces[name]) for name in (BEGIN, END)],
    )
    built: Tokenizer = tokenizer
    return built


def _untrained(model: Any) -> Tokenizer:
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _pieces(texts: Sequence[str], most_words: int) -> dict[str, int]:
    """The pieces of words and their numbers, the special tokens first.

    The library numbers the characters within words in the order of a hash map, which decides
    between pairs that are equally common: they are given to it as special tokens, in one order.
    """
    from tokenizers import models, trainers

    tokenizer = _untrained(models.WordPiece(unk_token=UNKNOWN, **_LIMIT))
    characters = _alphabet(tokenizer.normalizer, texts)[: most_words // 3]
    trainer = trainers.WordPieceTrainer(
        vocab_size=most_words,
        min_frequency=2,
        special_tokens=[*SPECIAL, *characters, *(f"##{character}" for character in characters)],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pieces: dict[str, int] = tokenizer.get_vocab(with_added_tokens=False)
    return dict(sorted(pieces.items(), key=lambda entry: entry[1]))


def _alphabet(normalizer: Any, texts: Sequence[str]) -> list[str]:
    """The characters, the commonest first, of which a third of the vocabulary may be.

    The library would cut the alphabet itself, but of equally common characters not always the same.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    ordered = sorted(counts, key=lambda character: (-counts[character], character))
    return [character for character in ordered if not character.isspace()]


def open_student_tokenizer(content: bytes, length: int) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json``, which cuts at ``length`` tokens and pads nothing."""
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_str(content.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer


def usual_length(tokenizer: Tokenizer, split: Split) -> int:
    """The length in tokens that 95 % of the texts of ``split`` do not exceed, 8 to 128."""
    tokenizer.no_truncation()
    tokenizer.enable_truncation(LONGEST)
    lengths = []
    for place in np.unique(np.linspace(0, len(split) - 1, _MEASURED_TEXTS).astype(int)):
        try:
            text = readable(_sample(split, int(place)))[:_READ_CHARACTERS]
        except CorruptSample:
            continue
        lengths.append(len(tokenizer.encode(text).ids))
    if not lengths:
        return LONGEST
    return int(np.clip(np.ceil(np.percentile(lengths, _SHARE)), SHORTEST, LONGEST))
