"""A label column as class numbers and class names; what is no single class is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selection.sources.split import Rows, class_name, class_names
from selection.sources.tables.label_lists import refuse_multi_label, single_labels
from zoo.errors import UserError

# how the libraries that write tables spell a missing value; None and NA may be classes
_MISSING = {"", "nan", "null", "n/a", "#n/a", "<na>"}
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class Labels(NamedTuple):
    """``numbers`` (n,) int64 in [0, C), or -1 where unlabelled, and the C class ``names``."""

    numbers: Rows
    names: tuple[str, ...]


def to_labels(values: Any, names: Sequence[str] | None, origin: str) -> Labels:
    """Read a label column: an Arrow chunked array of whole numbers or text.

    Null, NaN, -1 and empty text are unlabelled; without ``names`` so is one other negative number,
    such as -100. Whole numbers without ``names`` are named by themselves. ``UserError`` for several
    labels an image, for fractions, and for what is neither number nor text.
    """
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if kinds.is_list(values.type) or kinds.is_large_list(values.type):
        values = _single_items(values, origin)
    if kinds.is_binary(values.type) or kinds.is_large_binary(values.type):
        values = _as_text(values, origin)
    if kinds.is_string(values.type) or kinds.is_large_string(values.type):
        texts = [class_name(text) for text in values.fill_null("").to_pylist()]
        texts = ["" if text == "-1" else text for text in texts]
        return text_labels(single_labels(texts, origin))
    if kinds.is_floating(values.type) or kinds.is_decimal(values.type):
        values = _whole_numbers(values, origin)
    try:
        whole = values.cast(pa.int64()).fill_null(-1)
        numbers = whole.to_numpy().astype(np.int64)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(
            f"the label column of {origin} holds {values.type}; whole numbers or text are expected"
        ) from error
    return _numbered(numbers, names, origin)


def text_labels(texts: Sequence[str]) -> Labels:
    """Class names, one an image, empty where unlabelled; the classes are in alphabetical order."""
    classes = tuple(sorted(set(texts) - {""}))
    index = {name: label for label, name in enumerate(classes)}
    labels = [index.get(text, -1) for text in texts]
    return Labels(np.asarray(labels, dtype=np.int64), classes)


def typed(texts: Sequence[str | None]) -> Any:
    """The label column of a text file as Arrow: whole numbers, fractions or text.

    Numbers with leading zeros stay text. What is written for a missing value becomes null.
    """
    import pyarrow as pa

    cells = [None if text is None or text.strip().lower() in _MISSING else text for text in texts]
    given = [text.strip() for text in cells if text is not None]
    if given and all(_WHOLE.fullmatch(text) and not _padded(text) for text in given):
        return pa.chunked_array([pa.array([None if c is None else int(c) for c in cells])])
    if given and all(_NUMBER.fullmatch(text) and not _padded(text) for text in given):
        return pa.chunked_array([pa.array([None if c is None else float(c) for c in cells])])
    return pa.chunked_array([pa.array(cells, pa.string())])


def _padded(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def names_in_file(path: Path) -> list[str] | None:
    """The lines of a file of class names; None where there is no such file."""
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _single_items(values: Any, origin: str) -> Any:
    """Lists of at most one item as their items."""
    import pyarrow as pa

    lists = values.to_pylist()
    longer = next((items for items in lists if items and len(items) > 1), None)
    if longer is not None:
        raise refuse_multi_label(f"the label column of {origin}", str(longer[:5]))
    items = [item[0] if item else None for item in lists]
    return pa.chunked_array([pa.array(items, values.type.value_type)])


def _as_text(values: Any, origin: str) -> Any:
    import pyarrow as pa

    try:
        return values.cast(pa.string())
    except pa.ArrowException as error:
        raise UserError(
            f"the label column of {origin} holds bytes that are no text; whole numbers or text are"
            " expected"
        ) from error


def _whole_numbers(values: Any, origin: str) -> Any:
    """Floating point without fractions as int64, NaN as null."""
    import pyarrow as pa

    numbers = values.cast(pa.float64()).fill_null(float("nan")).to_numpy()
    is_number = ~np.isnan(numbers)
    fractions = numbers[is_number & (numbers != np.floor(numbers))]
    endless = numbers[np.isinf(numbers)]
    if len(fractions) or len(endless):
        shown = ", ".join(f"{value:g}" for value in (*endless[:1], *fractions[:3]))
        raise UserError(
            f"the label column of {origin} holds {values.type}; whole numbers or text are expected,"
            f" and fractions ({shown}) make a regression task, which is not supported"
        )
    too_large = numbers[is_number & (np.abs(numbers) > 2**53)]
    if len(too_large):
        raise UserError(
            f"the label column of {origin} holds {too_large[0]:g}; whole numbers or text are"
            " expected, one class a sample"
        )
    whole = np.where(is_number, numbers, -1).astype(np.int64)
    return pa.chunked_array([pa.array(whole, mask=~is_number)])


def _numbered(numbers: Rows, names: Sequence[str] | None, origin: str) -> Labels:
    if not names:
        numbers = _without_ignored(numbers, origin)
        is_labelled = numbers != -1
        present = np.unique(numbers[is_labelled])
        places = np.searchsorted(present, numbers)
        classes = tuple(str(number) for number in present)
        return Labels(np.where(is_labelled, places, -1), classes)
    bad = numbers[(numbers < -1) | (numbers >= len(names))]
    if len(bad):
        raise UserError(
            f"label {bad.max()} in {origin}, but there are {len(names)} class names "
            f"(0 to {len(names) - 1}; -1 or null: unlabelled)"
        )
    return Labels(numbers, class_names(names))


def _without_ignored(numbers: Rows, origin: str) -> Rows:
    """The one negative number of a column (-1, -100) marks what is unlabelled."""
    negative = np.unique(numbers[numbers < 0])
    if len(negative) > 2 or (len(negative) == 2 and -1 not in negative):
        shown = ", ".join(str(number) for number in negative[:5])
        raise UserError(
            f"the label column of {origin} holds several negative numbers ({shown}), and -1 stands"
            " for no label; write classes as text or as numbers from 0"
        )
    if set(np.unique(numbers)) == {-1, 1}:
        raise UserError(
            f"the label column of {origin} holds 1 and -1 only, and -1 stands for no label; write"
            " the two classes as text, or as 0 and 1"
        )
    return np.where(numbers < 0, -1, numbers)
