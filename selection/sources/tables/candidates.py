"""The files of a folder that may hold its labels, and which of them does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from selection.sources.layouts.folder import sub_folders
from selection.sources.layouts.split_names import read_name
from selection.sources.parquet import listed_columns
from selection.sources.split import class_name
from selection.sources.tables.columns import Columns
from selection.sources.tables.labels import names_in_file
from selection.sources.tables.listed_columns import like_paths
from selection.sources.tables.listed_table import ListedTable
from selection.sources.tables.paths import FileIndex, has_image_suffix
from selection.sources.tables.text import SUFFIXES, read_columns
from zoo.errors import UserError

_TABLES = {".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet"}
_FIRST_FILES = re.compile(  # of the datasets library, of Roboflow
    r"metadata\.(csv|tsv|jsonl|json|parquet)|_classes\.csv", re.IGNORECASE
)
_NAME_FILES = ("labels.txt", "classes.txt", "class_names.txt", "synsets.txt", "obj.names")
_NUMBERED_NAME = re.compile(r"(\d+)(?:\s*[:,;]\s*|\s+)(\S.*)")
_NO_LABELS = re.compile(
    r"readme|licen[cs]e|requirements|notice|checksums?|md5|sha\d*", re.IGNORECASE
)
_BESIDE = ("annotations", "labels", "label", "meta", "metadata", "lists", "splits", "imagesets")
_BOX_LINE = re.compile(r"\d+(?:\s+-?\d*\.?\d+(?:e-?\d+)?){4,}\s*", re.IGNORECASE)
_BOX_XML = re.compile(r"<(bndbox|annotation|robndbox)\b")
_SPLIT_KINDS = ("train", "validation", "test", "eval", "holdout")
_MOST_FILES = 40  # of which more is taken for a folder of one text an image
_LARGEST = 2**29  # bytes
_PROBED = 200  # values


class LabelFile:
    """A file that may hold labels. Its errors come when it is asked for its table."""

    def __init__(
        self,
        path: Path,
        indexes: Sequence[FileIndex],
        columns: Columns,
    ) -> None:
        self.path = path
        self._indexes = indexes
        self._columns = columns

    @property
    def split(self) -> str | None:
        """The kind of split that the file's name says."""
        return read_name(self.path.stem).kind

    @cached_property
    def table(self) -> ListedTable:
        """The table, whose paths start in the first of the folders where a file is found."""
        values = (
            listed_columns([self.path], self._columns)
            if self.path.suffix.lower() == ".parquet"
            else read_columns(self.path)
        )
        if values is None:
            raise UserError(f"{self.path} holds images, not their paths")
        tables = [
            ListedTable(
                str(self.path),
                index,
                values,
                _class_names(self.path, index.root),
            )
            for index in self._indexes
        ]
        return next((table for table in tables if table.finds_files()), tables[0])

    @cached_property
    def error(self) -> UserError | None:
        """Why the file is no table; None if it is one."""
        try:
            _ = self.table
        except UserError as error:
            return error
        return None

    @cached_property
    def is_usable(self) -> bool:
        """Whether the file lists images that are there, and something that repeats beside them."""
        return self.error is None and self.table.finds_files() and _has_labels(self.table)

    @cached_property
    def lists_images(self) -> bool:
        """Whether the file lists images, be they there or not."""
        return self.error is None and any(
            like_paths(self.table.texts(name)[:_PROBED]) for name in self.table.columns
        )

    @property
    def is_table(self) -> bool:
        """Whether the file is a table by its name, not a list or any text."""
        return self.path.suffix.lower() in _TABLES

    @property
    def is_likely(self) -> bool:
        """Whether the file was meant to hold labels, although it cannot be used."""
        if self.error is not None:
            return self.is_table or "boxes, not classes" in str(self.error)
        return self.lists_images or (self.is_table and len(self.table.columns) > 1)


def candidates(folder: Path, columns: Columns) -> list[LabelFile]:
    """The files in ``folder`` that may hold labels, also those in ``annotations/`` and the like."""
    index = FileIndex(folder)
    files = [LabelFile(path, [index], columns) for path in _files(folder)]
    for name in sub_folders(folder):
        if name.lower() in _BESIDE:
            inner = FileIndex(folder / name)
            files += [LabelFile(path, [index, inner], columns) for path in _files(folder / name)]
    return files


def _files(folder: Path) -> list[Path]:
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
    files = [
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES | {".parquet"}
        and not _NO_LABELS.match(path.stem)
        and path.is_file()
        and path.stat().st_size <= _LARGEST
    ]
    return sorted(files) if len(files) <= _MOST_FILES else []


def pick(folder: Path, files: Sequence[LabelFile]) -> dict[str | None, LabelFile]:
    """The label files of a folder by kind of split; under None the one file of the whole folder.

    Empty where there is none. ``UserError`` where several may be meant. Where none can be used, the
    likeliest is given: reading it says what is wrong.
    """
    first = [file for file in files if _FIRST_FILES.fullmatch(file.path.name) and not file.error]
    if first:
        return {None: _only(folder, first)}
    by_split: dict[str | None, list[LabelFile]] = {}
    for file in files:
        if file.is_usable or file.lists_images:
            by_split.setdefault(file.split, []).append(file)
    if any(file.is_usable for file in by_split.get("train", ())):
        kinds = [kind for kind in by_split if kind in _SPLIT_KINDS]
        return {kind: _only(folder, by_split[kind]) for kind in kinds}
    usable = [file for file in files if file.is_usable]
    if usable:
        return {None: _only(folder, usable)}
    likely = [file for file in files if file.is_likely]
    return {None: likely[0]} if likely else {}


def _only(folder: Path, files: Sequence[LabelFile]) -> LabelFile:
    """The one that is usable, or a table rather than a list."""
    usable = [file for file in files if file.is_usable] or list(files)
    tables = [file for file in usable if file.is_table] or usable
    if len(tables) > 1:
        names = ", ".join(class_name(file.path.name) for file in tables[:5])
        raise UserError(
            f"{folder} holds several files of labels ({names}); give one of them, such as --task"
            f" {tables[0].path}"
        )
    return tables[0]


def _has_labels(table: ListedTable) -> bool:
    """Whether a column but the paths has values that repeat."""
    if len(table.columns) == 1:
        return any("/" in text.strip("./") for text in table.texts(next(iter(table.columns)))[:9])
    for name in table.columns:
        texts = [text for text in table.texts(name) if text]
        if len(set(texts)) < len(texts) and not like_paths(texts[:_PROBED]):
            return True
    return len(table) < 3


def _class_names(path: Path, root: Path) -> list[str] | None:
    """The class names of a file beside the table, without their numbers; None without one."""
    for folder in dict.fromkeys((path.parent, root)):
        for name in _NAME_FILES:
            lines = names_in_file(folder / name) if folder / name != path else None
            lines = [line for line in lines or () if line.strip()]
            if lines and not any(has_image_suffix(line.split()[0]) for line in lines):
                return _without_numbers(lines)
    return None


def _without_numbers(lines: list[str]) -> list[str]:
    """Names of lines such as ``0 cat``, where all lines are so."""
    matches = [_NUMBERED_NAME.fullmatch(line.strip()) for line in lines]
    if all(match and int(match[1]) == i for i, match in enumerate(matches)):
        return [match[2] for match in matches if match]
    return lines


def refuse_box_files(folder: Path, parts: Sequence[str]) -> None:
    """Raise ``UserError`` where texts or XML beside the images hold boxes (YOLO, Pascal VOC)."""
    names = ("", "labels", "Annotations", "annotations", "label")
    inside = [path for path in (folder / "labels").glob("*") if path.is_dir()]  # labels/train
    for part in ("", *parts):
        for place in (*(folder / part / name for name in names), *inside):
            for path in _annotation_files(place):
                raise UserError(
                    f"{place} holds boxes, not classes (such as {class_name(path.name)}): labels of"
                    " object detection; for classification each image needs one class"
                )


def _annotation_files(folder: Path) -> Iterator[Path]:
    """The files of ``folder`` that hold boxes, of the first few."""
    if not folder.is_dir():
        return
    texts = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".txt", ".xml"))
    for path in texts[:20]:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                start = file.read(4096)
        except OSError:
            continue
        line = next((line for line in start.splitlines() if line.strip()), "")
        is_boxes = _BOX_XML.search(start) if path.suffix.lower() == ".xml" else None
        if is_boxes or _BOX_LINE.fullmatch(line):
            yield path
