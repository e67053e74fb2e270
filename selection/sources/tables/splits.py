"""To which split a row of a table belongs: by a column, or by the folder of its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from selection.sources.layouts.layout import roles_of
from selection.sources.layouts.split_names import read_name
from selection.sources.split import class_name
from selection.sources.tables.columns import is_label_name, words

YES = {"1", "1.0", "true", "yes"}
NO = {"0", "0.0", "false", "no", "-1", "-1.0"}
_WORDS_TEXT = """
    split set subset partition fold phase usage dataset stage mode
"""
_WORDS = set(_WORDS_TEXT.split())
_COMPETITION = {"publictest": "validation", "privatetest": "test"}  # Kaggle's Usage
_FLAGS = {
    "istrain": ("train", "test"),
    "istraining": ("train", "test"),
    "istrainingimage": ("train", "test"),
    "istrainingimg": ("train", "test"),
    "isvalid": ("validation", "train"),
    "isval": ("validation", "train"),
    "isvalidation": ("validation", "train"),
    "istest": ("test", "train"),
}


def is_split_name(name: str) -> bool:
    """Whether a column of this name may tell splits."""
    is_split = bool(_WORDS & set(words(name))) or "".join(words(name)) in _FLAGS
    return is_split and not is_label_name(name)


def split_column(
    columns: Mapping[str, Sequence[str]],
    origin: str,
    warnings: list[str],
) -> tuple[str | None, list[str] | None]:
    """The column that tells splits, and each row's split: empty for a row of no known split.

    ``columns`` are those of ``is_split_name``. None for both where none holds names of splits.
    """
    for name, texts in columns.items():
        plain = [text.strip().lower() for text in texts]
        flag = _FLAGS.get("".join(words(name)))
        if flag and set(plain) <= YES | NO:
            return name, [flag[0] if text in YES else flag[1] for text in plain]
        kinds = roles({text: _COMPETITION.get(text) or read_name(text).kind for text in plain})
        if "train" not in kinds.values():
            warnings.append(
                f"the column {class_name(name)!r} of {origin} names no train split and is not used"
            )
            continue
        unknown = sorted({repr(class_name(text)) for text in plain if text not in kinds})
        if unknown:
            count = sum(text not in kinds for text in plain)
            warnings.append(
                f"{count} rows of {origin} belong to no known split ({', '.join(unknown[:3])}) and"
                " are not used"
            )
        return name, [kinds.get(text, "") for text in plain]
    return None, None


def splits_of_folders(paths: Sequence[str]) -> list[str]:
    """The split of each path by its first folder, if all are splits' and one is train's.

    Else all paths belong to ``train``.
    """
    first = [path.partition("/")[0] if "/" in path else "" for path in paths]
    names = {name: read_name(name) for name in set(first)}
    kinds = roles({name: known.kind for name, known in names.items() if known.is_split})
    pools = {name: "unlabelled" for name, known in names.items() if known.kind == "unlabelled"}
    kinds |= pools
    if "train" in kinds.values() and len(kinds) == len(names):
        return [kinds[name] for name in first]
    return ["train"] * len(paths)


def roles(kinds: Mapping[str, str | None]) -> dict[str, str]:
    """Which split each name stands for, given its kind of name; others are left out."""
    splits = roles_of(set(kinds.values()))
    return {name: splits[kind] for name, kind in kinds.items() if kind in splits and kind != "part"}
