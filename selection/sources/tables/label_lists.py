"""Labels that are lists of labels, such as ``cat|dog``, ``["cat", "dog"]`` or ``cat dog``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from selection.sources.split import class_name
from zoo.errors import UserError

_NUMBERS = re.compile(r"\d+(?:\s+\d+)+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_BRACKETED = re.compile(r"\[.*\]")
_CHOICES = re.compile(r'\{\s*"choices"')  # Label Studio's way to write several choices


class _Separator(NamedTuple):
    """A sign between labels, and when a text that holds it is a list.

    pattern  splits the text
    is_list  whether the parts of one text make it a list, given the count of each part over all
             texts, and all labels
    share    of the texts with the sign that must be lists
    """

    pattern: re.Pattern[str]
    is_list: Callable[[set[str], Mapping[str, int], set[str]], bool]
    share: float


def _some_used(parts: set[str], uses: Mapping[str, int], labels: set[str]) -> bool:
    return any(uses[part] > 1 for part in parts)


def _all_used(parts: set[str], uses: Mapping[str, int], labels: set[str]) -> bool:
    return all(uses[part] > 1 for part in parts)


def _all_labels(parts: set[str], uses: Mapping[str, int], labels: set[str]) -> bool:
    return parts <= labels


_SEPARATORS = (
    _Separator(re.compile(r"\|"), _some_used, 0.5),  # hardly in the name of a class
    _Separator(re.compile(";"), _all_used, 0.8),
    _Separator(re.compile(","), _all_used, 0.8),  # "cock, rooster" is one class
    _Separator(re.compile(r"\s+|\s*[+/&]\s*"), _all_labels, 0.5),  # "Boeing 707" is one class
)


def single_labels(texts: Sequence[str], origin: str) -> list[str]:
    """``texts`` as one label each; lists of one label are taken out of their brackets.

    Raises ``UserError`` where texts are lists of several labels, or numbers with a decimal comma.
    """
    distinct = sorted(set(texts) - {""})
    if distinct and all(_DECIMAL_COMMA.fullmatch(text) for text in distinct):
        raise UserError(
            f"the label column of {origin} holds numbers with a decimal comma ({distinct[0]}), and"
            " fractions make a regression task, which is not supported"
        )
    if distinct and all(_BRACKETED.fullmatch(text) for text in distinct):
        items = {text: [part for part in map(_bare, text.split(",")) if part] for text in distinct}
        longer = next((text for text, parts in items.items() if len(parts) > 1), None)
        if longer is not None:
            raise refuse_multi_label(f"the label column of {origin}", repr(longer))
        names = {text: parts[0] if parts else "" for text, parts in items.items()}
        return [names.get(text, "") for text in texts]
    _refuse_lists(distinct, origin)
    return list(texts)


def refuse_multi_label(origin: str, example: str) -> UserError:
    """The error for a table with several labels a sample."""
    return UserError(
        f"{origin} holds several labels a sample ({class_name(example)}): a multi-label task, which"
        " is not supported; give one label a sample, or name another column with --label-column"
    )


def _refuse_lists(distinct: Sequence[str], origin: str) -> None:
    """Raise ``UserError`` where texts such as ``cat|dog`` are lists of labels."""
    numbers = [text for text in distinct if _NUMBERS.fullmatch(text)]
    choices = [text for text in distinct if _CHOICES.match(text)]
    if choices or 2 * len(numbers) > len(distinct):
        raise refuse_multi_label(f"the label column of {origin}", (choices or numbers)[0])
    labels = {_bare(text) for text in distinct}
    for separator in _SEPARATORS:
        parts_of = {text: _parts(separator.pattern.split(text)) for text in distinct}
        lists = [text for text, parts in parts_of.items() if len(parts) > 1]
        uses = Counter(part for parts in parts_of.values() for part in parts)
        clear = [text for text in lists if separator.is_list(parts_of[text], uses, labels)]
        if clear and len(clear) >= separator.share * len(lists):
            raise refuse_multi_label(f"the label column of {origin}", repr(clear[0]))


def _parts(texts: Iterable[str]) -> set[str]:
    return {part for part in map(_bare, texts) if part}


def _bare(part: str) -> str:
    """One item of a list as text, without brackets and quotes."""
    return part.strip(" []()'\"{}")
