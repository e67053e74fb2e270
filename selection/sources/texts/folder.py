"""A folder of texts: tables that are named by split, or text files in class folders."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from selection.kinds.kind import TaskContent
from selection.sources.hub import read_saved_texts
from selection.sources.layouts.folder import IMAGE_SUFFIXES, UNLABELLED
from selection.sources.layouts.split_names import read_name
from selection.sources.split import Part, Source, class_name
from selection.sources.tables.columns import Columns
from selection.sources.tables.labels import text_labels
from selection.sources.tables.listed_table import NoLabels
from selection.sources.tables.splits import roles
from selection.sources.texts.encoding import MixedEncodings, decoded
from selection.sources.texts.source import TextSource
from selection.sources.texts.table import (
    SUFFIXES,
    UnreadableTexts,
    beginning,
    is_text_table,
    parts_of_texts,
    read_table,
    split_of_file,
)
from zoo.errors import UserError

_POOLS = ("unlabelled", "other")  # kinds of names of folders in a split that are no classes
_LOOKED_AT = 50  # names of a folder that are looked at to tell what it holds


def read_texts(path: Path, columns: Columns, warnings: list[str]) -> TaskContent | None:
    """The task of texts at ``path``, a table or a folder; None where it is no such task.

    ``UserError`` where it is one and cannot be used.
    """
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            return None
        if not _holds_texts(path, columns):
            return None
        return TaskContent(parts_of_texts(read_table(path, warnings), columns, warnings), [])
    if saved := read_saved_texts(path, columns, warnings):
        return TaskContent(saved)
    return _of_tables(path, columns, warnings) or _of_text_files(path, warnings)


def _holds_texts(path: Path, columns: Columns) -> bool:
    """Whether a table has a column of texts; one that cannot be read here may hold images."""
    try:
        return is_text_table(beginning(path), columns)
    except (MixedEncodings, UnreadableTexts):
        raise
    except UserError:
        if columns.text is not None:
            raise
        return False


def _of_tables(folder: Path, columns: Columns, warnings: list[str]) -> TaskContent | None:
    """Tables in ``folder`` that are named by split."""
    files = [
        path
        for parent in (folder, folder / "data")
        if parent.is_dir()
        for path in sorted(parent.iterdir())
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    kinds = {path: split_of_file(path) for path in files}
    splits = roles({str(path): kind for path, kind in kinds.items()})
    pools = [path for path, kind in kinds.items() if kind in UNLABELLED or kind == "unlabelled"]
    if "train" not in splits.values():
        tables = [path for path in files if _holds_texts(path, columns)]
        is_alone = len(tables) == 1 and kinds[tables[0]] is None
        return read_texts(tables[0], columns, warnings) if is_alone else None
    parts: dict[str, list[Part]] = {}
    for path in files:
        split = splits.get(str(path))
        if split is None:
            continue
        if not _holds_texts(path, columns):
            return None
        table = read_table(path, warnings)
        try:
            part = parts_of_texts(table, columns, warnings, split=split)
        except NoLabels as error:
            if split == "train":
                raise
            warnings.append(f"no {split} split is read: {error}")
            continue
        for name, value in part.items():
            parts.setdefault(name, []).append(value)
    pool: list[Source] = [texts_of_pool(path, columns, warnings) for path in pools]
    return TaskContent({name: _joined(of_split) for name, of_split in parts.items()}, pool)


def _joined(parts: Sequence[Part]) -> Part:
    """Several files of one split as one part."""
    if len(parts) == 1:
        return parts[0]
    names = sorted({name for part in parts for name in part.names})
    place = {name: i for i, name in enumerate(names)}
    texts, called, labels = [], [], []
    for part in parts:
        source = part.source
        texts += [source.raw(row).decode() for row in range(len(source))]
        called += [source.name(row) for row in range(len(source))]
        moved = np.array([*(place[name] for name in part.names), -1])
        labels.append(moved[part.labels])
    return Part(TextSource(texts, "", called), np.concatenate(labels), tuple(names))


def _of_text_files(folder: Path, warnings: list[str]) -> TaskContent | None:
    """Class folders of ``.txt`` files, in folders of splits or without; None for other folders."""
    inner = [child for child in sorted(folder.iterdir()) if _is_folder(child)]
    if not any(_seems_text(child) for child in inner):
        return None
    kinds = {child.name: read_name(child.name) for child in inner}
    splits = roles({name: known.kind for name, known in kinds.items() if known.is_split})
    pools = [child for child in inner if kinds[child.name].kind == "unlabelled"]
    if "train" in splits.values():
        of_splits = [child for child in inner if child.name in splits]
        inside = [folder for child in of_splits for folder in child.iterdir() if _is_folder(folder)]
        pools += [folder for folder in inside if read_name(folder.name).kind in _POOLS]
        classes = {splits[child.name]: _classes(child, leave_out=pools) for child in of_splits}
    else:
        classes = {"train": _classes(folder, leave_out=pools)}
    if len(classes.get("train", {})) < 2 or _has_images(folder):
        return None
    parts = {
        name: _part(folder, of_split, warnings) for name, of_split in classes.items() if of_split
    }
    return TaskContent(parts, [texts_of_pool(pool, Columns(), warnings) for pool in pools])


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))


def _seems_text(folder: Path) -> bool:
    """Whether text files lie in ``folder`` or in a folder of it: a look at the first names."""
    for child in (folder, *filter(_is_folder, itertools.islice(folder.iterdir(), _LOOKED_AT))):
        names = [path.suffix.lower() for path in itertools.islice(child.iterdir(), _LOOKED_AT)]
        if ".txt" in names and not IMAGE_SUFFIXES & set(names):
            return True
    return False


def _classes(folder: Path, *, leave_out: Sequence[Path] = ()) -> dict[str, list[Path]]:
    inside = sorted(folder.iterdir())
    children = [child for child in inside if _is_folder(child) and child not in leave_out]
    found = {child.name: _files(child) for child in children}
    return {name: files for name, files in found.items() if files}


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.txt")) if path.is_file()]


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.rglob("*"))


def _part(folder: Path, classes: Mapping[str, Sequence[Path]], warnings: list[str]) -> Part:
    texts, names, labels = [], [], []
    empty, said = 0, list[str]()
    for name, files in classes.items():
        for path in files:
            text = decoded(path, said)
            if not text.strip():
                empty += 1
                continue
            texts.append(text)
            names.append(str(path.relative_to(folder)))
            labels.append(class_name(name))
    warnings += said[:1]
    if len(said) > 1:
        warnings.append(f"{len(said)} files of {folder} are not in UTF-8, as the one above")
    if empty:
        warnings.append(f"{empty} text files of {folder} are empty and are not used")
    return Part(TextSource(texts, folder.name, names), *text_labels(labels))


def texts_of_pool(path: Path, columns: Columns, warnings: list[str]) -> TextSource:
    """Texts without labels: a file of a text a line, a table, or a folder of text files."""
    if path.is_dir():
        files = _files(path)
        texts = [decoded(file, warnings) for file in files]
        names = [str(file.relative_to(path)) for file in files]
    elif path.suffix.lower() in SUFFIXES:
        table = read_table(path, warnings)
        column = columns.text if columns.text in table.columns else None
        column = column or next(iter(table.text_columns), None)
        if column is None:
            raise UserError(
                f"the unlabelled texts: {path} has no column of texts (it has:"
                f" {', '.join(map(str, table.columns))}); name it with --text-column"
            )
        texts = [value for value in table.columns[column] if isinstance(value, str)]
        names = [f"{path.name}#{row}" for row in range(len(texts))]
    else:
        texts = decoded(path, warnings).splitlines()
        names = [f"{path.name}:{row}" for row in range(1, len(texts) + 1)]
    kept = [(text, name) for text, name in zip(texts, names, strict=True) if text.strip()]
    if not kept:
        raise UserError(f"the unlabelled texts: {path} holds no text")
    return TextSource([text for text, _ in kept], path.name, [name for _, name in kept])
