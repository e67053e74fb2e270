"""A stranger's tokenizer, opened: it is read as data, never as code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import TeacherError
from zoo.loading.inputs.tokenization import Tokenization, tokenizer_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MOST_WORDS = 2_000_000  # of a vocabulary, and merges of pairs; the largest have half a million
_LONGEST_WORD = 1_000
T = TypeVar("T")


def open_tokenizer(tokenization: Tokenization) -> Tokenizer:
    """The tokenizer in the folder of ``tokenization``, which truncates and does not pad.

    ``tokenizer.json`` as it is; else the words of BERT (``vocab.txt``) or the pairs of RoBERTa
    (``vocab.json`` and ``merges.txt``) with what ``tokenizer_config.json`` says of case and special
    tokens. Raises ``TeacherError`` where it cannot be opened, or fails on a text.
    """
    assert tokenization.folder is not None, "only a model's folder has a tokenizer"
    files = tokenizer_files(tokenization.folder)
    build = {"tokenizer.json": _whole, "vocab.txt": _word_pieces}.get(files[0].name, _byte_pairs)
    name = files[0].name
    tokenizer: Tokenizer = guarded(f"{name} cannot be read", build, files, tokenization.settings)
    guarded(f"{name} cannot be used", _set_length, tokenizer, tokenization.max_length)
    return tokenizer


def guarded(fault: str, function: Callable[..., T], *arguments: Any) -> T:
    """``function`` of the arguments; any error of the tokenizers library is a ``TeacherError``.

    It is written in Rust, whose panics are no ``Exception``.
    """
    try:
        return function(*arguments)
    except TeacherError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise TeacherError(f"{fault}: {type(error).__name__}: {str(error)[:200]}") from None
        raise


def _set_length(tokenizer: Tokenizer, length: int) -> None:
    """Cut at ``length`` tokens, pad nothing, whatever the file asks for, and try a text."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    tokenizer.encode("a text, with 1 number")


def _whole(files: list[Path], _settings: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer

    return Tokenizer.from_buffer(files[0].read_bytes())


def _word_pieces(files: list[Path], settings: Mapping[str, Any]) -> Tokenizer:
    """BERT's tokenizer; its words stand in the order of their numbers, one a line."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    lines = files[0].read_text(encoding="utf-8").split("\n")
    vocabulary = {word.rstrip("\r"): number for number, word in enumerate(lines) if word}
    _check_words(vocabulary)
    unknown = _special(settings, "unk_token", "[UNK]", vocabulary)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    accents = settings.get("strip_accents")
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars") is not False,
        strip_accents=accents if isinstance(accents, bool) else None,
        lowercase=settings.get("do_lower_case") is not False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    begin = _special(settings, "cls_token", "[CLS]", vocabulary)
    end = _special(settings, "sep_token", "[SEP]", vocabulary)
    _add_specials(tokenizer, begin, end, vocabulary)
    return tokenizer


def _byte_pairs(files: list[Path], settings: Mapping[str, Any]) -> Tokenizer:
    """RoBERTa's tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = json.loads(files[0].read_text(encoding="utf-8"))
    if not isinstance(vocabulary, dict) or not all(
        type(number) is int and 0 <= number <= _MOST_WORDS for number in vocabulary.values()
    ):
        raise TeacherError(f"{files[0].name} is no object of words and their numbers")
    _check_words(vocabulary)
    lines = files[1].read_text(encoding="utf-8").split("\n")
    merges = [
        (pair[0], pair[1])
        for line in lines[:_MOST_WORDS]
        if not line.startswith("#version") and len(pair := line.split(" ")) == 2
    ]
    unknown = _special(settings, "unk_token", "<unk>", vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown))
    space = settings.get("add_prefix_space") is True
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    begin = _special(settings, "cls_token", "<s>", vocabulary)
    end = _special(settings, "sep_token", "</s>", vocabulary)
    _add_specials(tokenizer, begin, end, vocabulary)
    return tokenizer


def _add_specials(
    tokenizer: Tokenizer,
    begin: str,
    end: str,
    vocabulary: Mapping[str, int],
) -> None:
    """``begin`` and ``end`` around every text."""
    from tokenizers import processors

    tokenizer.add_special_tokens([begin, end])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[begin, "$A", end],
        special_tokens=[(begin, vocabulary[begin]), (end, vocabulary[end])],
    )


def _special(
    settings: Mapping[str, Any],
    name: str,
    usual: str,
    vocabulary: Mapping[str, int],
) -> str:
    """The special token called ``name``: a text, or an object with its ``content``."""
    given = settings.get(name)
    given = given.get("content") if isinstance(given, Mapping) else given
    word = given if isinstance(given, str) and given else usual
    if word not in vocabulary:
        raise TeacherError(f"the vocabulary has no {word[:40]!r}, which is its {name}")
    return word


def _check_words(vocabulary: Mapping[str, int]) -> None:
    if not 0 < len(vocabulary) <= _MOST_WORDS:
        raise TeacherError(f"the vocabulary has {len(vocabulary):,} words")
    longest = max(vocabulary, key=len)
    if len(longest) > _LONGEST_WORD:
        raise TeacherError(f"the vocabulary has a word of {len(longest):,} characters")
