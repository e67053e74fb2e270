"""How a model wants its texts: read from its files, without opening its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.loading.backbones import first_architecture
from zoo.loading.transformers.families import encoder

MOST_TOKENS = 512  # of a text, where the model would take more
FEWEST_TOKENS = 8  # a model that takes fewer is no encoder of texts
SETTINGS = "tokenizer_config.json"
# What makes a tokenizer, in the order in which it is taken: the first of these files that are all
# there.
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
_LARGEST_FILE = 64 * 2**20  # bytes; the largest vocabularies of encoders have 35 MB
_OTHER_FILES = ("spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")
_UNLIMITED = 1_000_000  # longer "maximum lengths" are a way to say that there is none


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How texts become the tokens of one model.

    ``max_length`` counts tokens with the special ones; ``padding`` is the number of the token that
    fills up a batch. ``folder`` holds the tokenizer's files, whose content ``digest`` tells; it is
    None where only the card is known.
    """

    max_length: int
    padding: int = 0
    digest: str = ""
    folder: Path | None = field(default=None, compare=False)
    settings: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def key(self) -> str:
        """One line of text, equal exactly where texts become the same tokens, for keys of a cache.

        Without ``digest`` the tokenizer is that of the model's revision.
        """
        return f"tokens-{self.max_length}-{self.padding}-{self.digest or 'of the revision'}"

    def at_most(self, side: int | None) -> Tokenization:
        """The same: texts have no pixels that could be fewer."""
        return self


def tokenization_of(
    config: Mapping[str, Any],
    folder: Path,
    settings: Mapping[str, Any],
) -> Tokenization:
    """How the model in ``folder`` wants its texts; ``settings`` is its ``tokenizer_config.json``.

    Raises ``TeacherError`` where there is no tokenizer, or it takes too few tokens.
    """
    files = tokenizer_files(folder)
    return Tokenization(
        max_length=max_length(config, settings),
        padding=padding_of(config),
        digest=_digest(tuple((file, *_state(file)) for file in files)),
        folder=folder,
        settings=settings,
    )


def of_card(card: ModelCard) -> Tokenization:
    """As far as the card tells."""
    return Tokenization(max_length=card.max_length or MOST_TOKENS)


def is_text_config(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is that of a text encoder that is known here."""
    if isinstance(config.get("architecture"), str):
        return False
    return encoder(first_architecture(config)) is not None


def max_length(config: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """The most tokens of a text: what the tokenizer and the table of positions take, at most 512.

    ``TeacherError`` where that is less than a sentence.
    """
    known = encoder(first_architecture(config))
    positions = _count(config.get("max_position_embeddings"))
    if positions is not None and known is not None and known.family.offset:
        positions -= padding_of(config) + 1
    limits = [MOST_TOKENS, _count(settings.get("model_max_length")), positions]
    length = min(limit for limit in limits if limit is not None)
    if length < FEWEST_TOKENS:
        raise TeacherError(
            f"the model takes {length} tokens of a text, at least {FEWEST_TOKENS} are expected"
        )
    return length


def padding_of(config: Mapping[str, Any]) -> int:
    """The number of the padding token; where the config has none, that of its family."""
    number = config.get("pad_token_id")
    if type(number) is int and 0 <= number < _UNLIMITED:
        return number
    known = encoder(first_architecture(config))
    return 1 if known is not None and known.family.offset else 0


def _count(value: object) -> int | None:
    """A number of tokens; None where it is no sensible one (1e30 stands for: no limit)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return int(value) if 0 < value < _UNLIMITED else None


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of the tokenizer in ``folder``; ``TeacherError`` where there are none, or too
    large ones.
    """
    missing = missing_tokenizer(path.name for path in folder.iterdir())
    if missing:
        raise TeacherError(missing)
    present = next(
        names for names in TOKENIZER_FILES if all((folder / name).is_file() for name in names)
    )
    files = [folder / name for name in present]
    for file in files:
        if file.stat().st_size > _LARGEST_FILE:
            raise TeacherError(f"{file.name} is larger than {_LARGEST_FILE >> 20} MiB")
    return files


def missing_tokenizer(names: Iterable[str]) -> str | None:
    """Why files of these names hold no tokenizer, None where they do."""
    present = set(names)
    if any(present.issuperset(files) for files in TOKENIZER_FILES):
        return None
    others = [name for name in _OTHER_FILES if name in present]
    if others:
        return (
            f"no tokenizer.json, only {others[0]}: save the tokenizer with transformers"
            " (AutoTokenizer, save_pretrained)"
        )
    return "no tokenizer: tokenizer.json, vocab.txt, or vocab.json with merges.txt is expected"


def _state(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns, state.st_ino


@lru_cache(maxsize=10_000)
def _digest(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    """12 hex digits of the sha256 over the files."""
    import hashlib

    digest = hashlib.sha256()
    for path, *_ in files:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()[:12]
