"""Which columns of a table hold the images and the labels: told by name and type, or asked for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selection.sources.split import class_name
from zoo.errors import UserError

Features = Mapping[str, Mapping[str, Any]]  # what the datasets library says of each column

_IMAGE_WORDS_TEXT = """
    image images img imgs picture pictures pic photo photos frame scan thumbnail mask pixels bytes
    jpg jpeg png webp tif tiff bmp gif
"""
IMAGE_WORDS = set(_IMAGE_WORDS_TEXT.split())
_PATH_WORDS_TEXT = """
    file filename filenames filepath filepaths path paths fname name id url
"""
PATH_WORDS = set(_PATH_WORDS_TEXT.split())
_LABEL_WORDS_TEXT = """
    label labels class classes classname classid superclass target targets category categories cls
    intent intents topic topics sentiment emotion polarity
    y tag tags choice choices wnid synset species breed diagnosis groundtruth
"""
LABEL_WORDS = set(_LABEL_WORDS_TEXT.split())
_ABOUT_LABELS_TEXT = """
    count num number confidence score prob probability source date time length
"""
_ABOUT_LABELS = set(_ABOUT_LABELS_TEXT.split())
_FIRST_LABELS = ("label", "labels", "class")


@dataclass(frozen=True)
class Columns:
    """The columns of images, labels and texts that the user named; None: the table is to tell."""

    image: str | None = None
    label: str | None = None
    text: str | None = None

    def require_unused(self, task: str) -> None:
        """Raise ``UserError`` where a column is named for a task that has none."""
        named = (
            ("--image-column", self.image),
            ("--text-column", self.text),
            ("--label-column", self.label),
        )
        for flag, name in named:
            if name is not None:
                raise UserError(f"{flag} {name}: the task {task} is no table; leave the option out")


def words(name: str) -> list[str]:
    """The words of a column's name, in small letters: ``ImageId`` -> image, id."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def is_image_name(name: str) -> bool:
    """Whether a column of this name may hold images."""
    return bool(IMAGE_WORDS & set(words(name)))


def is_label_name(name: str) -> bool:
    """Whether a column of this name may hold labels."""
    given = set(words(name))
    return bool(LABEL_WORDS & given) and not _ABOUT_LABELS & given


def named_column(
    name: str,
    present: Sequence[str],
    flag: str,
    origin: str,
) -> str:
    """The column that the user named; ``UserError`` where there is none such."""
    if name in present:
        return name
    near = [other for other in present if name.lower() in other.lower()]
    near += difflib.get_close_matches(name, present, n=1, cutoff=0.5)
    hint = f"; did you mean {class_name(near[0])!r}?" if near else ""
    raise UserError(f"{flag} {name}: {origin} has no such column (it has: {listed(present)}){hint}")


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message, the first 20 of many."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (class_name(", ".join(map(str, names[:20]))) or "none") + more


def ask(
    origin: str,
    purpose: str,
    candidates: Sequence[str],
    facts: Sequence[str] = (),
) -> UserError:
    """The error for several columns of one purpose, of which the first is never taken silently."""
    shown = [
        f"{class_name(name)!r}" + (f" ({fact})" if fact else "")
        for name, fact in zip(candidates, facts or [""] * len(candidates), strict=True)
    ]
    return UserError(
        f"{origin} has several {purpose} columns: {', '.join(shown[:10])}; say which:"
        f" --{purpose}-column {class_name(candidates[0])}"
    )


def stored_image_column(
    schema: Any,
    features: Features,
    named: str | None,
    origin: str,
) -> str | None:
    """The column that holds encoded images or pixels, by type and name; None where none does."""
    kinds = {field.name: field.type for field in schema}
    tagged = [name for name, spec in features.items() if spec.get("_type") == "Image"]
    stored = [name for name, kind in kinds.items() if name in tagged or _holds_images(name, kind)]
    if named is not None:
        name = named_column(named, list(kinds), "--image-column", origin)
        return name if name in stored or _holds_images("image", kinds[name]) else None
    clear = [name for name in stored if name in tagged or is_image_name(name)] or stored
    if len(clear) > 1:
        raise ask(origin, "image", clear)
    return clear[0] if clear else None


def _holds_images(name: str, kind: Any) -> bool:
    """Whether a column of this name and Arrow type can hold encoded images or pixels."""
    import pyarrow.types as kinds

    if kinds.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        return any(field.name in ("bytes", "path") for field in inner)
    if kinds.is_binary(kind) or kinds.is_large_binary(kind):
        return not is_label_name(name)
    is_list = kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)
    return is_list and is_image_name(name)


def label_column(
    present: Sequence[str],
    features: Features,
    read: Callable[[str], Any],
    *,
    named: str | None,
    origin: str,
    prefer_text: bool,
) -> str | None:
    """The label column among ``present``, from which the image column is left out already.

    Columns that say the same in two spellings (number and name of a class) are one: the one called
    label, or with ``prefer_text`` the one that holds text. None where no column is recognised;
    ``UserError`` where several are. ``read`` gives a column as an Arrow chunked array.
    """
    if named is not None:
        return named_column(named, present, "--label-column", origin)
    tagged = [name for name, spec in features.items() if spec.get("_type") == "ClassLabel"]
    candidates = [name for name in present if name in tagged or is_label_name(name)]
    columns = {name: read(name) for name in candidates} if len(candidates) > 1 else {}
    full = [
        name for name in candidates if not columns or columns[name].null_count < len(columns[name])
    ]
    if len(full) < 2:
        return next(iter(full or candidates), None)
    if not _same_classes([columns[name] for name in full]):
        facts = [_classes_in_words(columns[name]) for name in full]
        raise ask(origin, "label", full, facts)
    text = [name for name in full if prefer_text and _is_text(columns[name])]
    return next((name for name in (*text, *_FIRST_LABELS) if name in full), full[0])


def _is_text(column: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_string(column.type) or kinds.is_large_string(column.type))


def _same_classes(columns: Sequence[Any]) -> bool:
    """Whether columns divide the rows alike, so that it does not matter which is taken."""
    first, *others = (list(map(str, column.to_pylist())) for column in columns)
    classes = len(set(first))
    return all(
        len(set(other)) == classes and len(set(zip(first, other, strict=True))) == classes
        for other in others
    )


def _classes_in_words(column: Any) -> str:
    distinct = len({str(value) for value in column.to_pylist() if value is not None})
    return f"{distinct} classes" if distinct != 1 else "1 class"
