"""A task whose labels stand in a file beside the images, for all or for each split."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from selection.sources.layouts.folder import Files, Folder, find_images, sub_folders
from selection.sources.layouts.split_names import numbered_family, read_name
from selection.sources.parquet import listed_columns
from selection.sources.parquet import read as read_parquet
from selection.sources.split import Part, Source, class_name
from selection.sources.tables.candidates import LabelFile, candidates, pick, refuse_box_files
from selection.sources.tables.columns import Columns, listed, words
from selection.sources.tables.listed import parts_of_table
from selection.sources.tables.listed_table import NoLabels
from selection.sources.tables.paths import FileIndex
from selection.sources.tables.splits import roles
from selection.sources.tables.text import SUFFIXES
from zoo.errors import UserError

_PLAIN_WORDS_TEXT = """
    label labels metadata meta annotation annotations list lists classes index table csv file
"""
_PLAIN_WORDS = set(_PLAIN_WORDS_TEXT.split())
_SHEETS = {".xlsx", ".xls", ".ods"}


class LabelFileContent(NamedTuple):
    """Parts by split name, images without labels, and the folders of splits that were read."""

    parts: dict[str, Part]
    unlabelled: list[Source]
    folders: tuple[str, ...] = ()


def read_file(path: Path, columns: Columns, warnings: list[str]) -> LabelFileContent:
    """The task of one table of images or of paths and labels, whatever lies beside it."""
    if path.suffix.lower() in _SHEETS:
        raise UserError(f"{path} is a spreadsheet; save it as CSV and give that")
    if path.suffix.lower() not in SUFFIXES | {".parquet"}:
        raise UserError(
            f"the task {path} is a file; expected a folder with one sub-folder a class, or a table"
            " of images and labels (CSV, TSV, JSON, JSONL, a list in TXT, Parquet)"
        )
    if path.suffix.lower() == ".parquet" and listed_columns([path], columns) is None:
        parts, unlabelled = read_parquet(
            path.parent,
            {"train": [path]},
            columns,
            warnings,
        )
        return LabelFileContent(parts, [*unlabelled])
    folder = path.parent
    indexes = [FileIndex(folder), FileIndex(folder.resolve().parent)]
    candidate = LabelFile(path, indexes, columns)
    return _content(parts_of_table(candidate.table, columns, warnings))


def is_plain_name(stem: str) -> bool:
    """Whether a file of this name says nothing of its task: ``labels``, ``train_list``."""
    return all(word in _PLAIN_WORDS or read_name(word).is_plain for word in words(stem))


def read_folder(folder: Path, columns: Columns, warnings: list[str]) -> LabelFileContent | None:
    """The task of a folder with a label file in it, or in each of its folders of splits.

    None where folders of classes tell the classes, or where there is no label file. Folders that
    differ in a number (``patient_01``) are no classes where a file says otherwise, and none are
    where ``columns`` name those of a file. ``UserError`` where several files may be meant, or where
    the only one cannot be used.
    """
    root = Folder(folder)
    classes = _class_folders(root)
    inner = {child.name: _class_folders(child) for child in root.folders if _is_plain(child)}
    splits = _split_folders(root)
    all_files = candidates(folder, columns)
    files = all_files
    if len(classes) > 1 or any(len(inner[name]) > 1 for name in splits):
        files = _instead_of_folders(files, classes, columns, warnings)
    chosen = pick(folder, files)
    if all(file.is_usable for file in chosen.values()) and chosen:
        return _read_root(folder, chosen, columns, warnings)
    if len(classes) > 1:
        return None
    of_splits = {
        name: pick(folder / name, candidates(folder / name, columns))
        for name in splits
        if len(inner[name]) < 2
    }
    content = _beside_splits(folder, all_files, of_splits, splits, columns, warnings)
    if content or any(of_splits.values()):
        return content or _read_splits(folder, splits, of_splits, columns, warnings)
    wrapped = any(len(names) > 1 for names in inner.values())
    if wrapped and chosen and columns == Columns() and not any(f.is_table for f in chosen.values()):
        for file in chosen.values():
            warnings.append(f"{class_name(file.path.name)} names no image that is here; not used")
        return None
    if chosen:
        return _read_root(folder, chosen, columns, warnings)
    if not wrapped:
        refuse_box_files(folder, list(splits))
    return None


def _instead_of_folders(
    files: Sequence[LabelFile],
    classes: Sequence[str],
    columns: Columns,
    warnings: list[str],
) -> list[LabelFile]:
    """Those of ``files`` that give the labels although there are class folders; mostly none."""
    is_named = columns != Columns()
    usable = [file for file in files if file.is_usable]
    others = [file for file in usable if is_named or _divides_otherwise(file)]
    if is_named or (len(classes) > 1 and numbered_family(classes)):
        return others
    for file in others:
        warnings.append(
            f"the class folders give the labels; {class_name(file.path.name)} gives others and is"
            f" not used, to use it: --task {file.path}"
        )
    return []


def _is_plain(folder: Folder) -> bool:
    """Whether the folder is named as a split, a pool or a collection, and so no class."""
    return read_name(folder.name).is_plain


def _class_folders(folder: Folder) -> list[str]:
    """The names of the folders directly in it that hold images and may be classes."""
    return [child.name for child in folder.folders if not _is_plain(child) and child.has_images]


def _split_folders(folder: Folder) -> dict[str, str]:
    """The folders that are named as splits, with the part of the task that each stands for."""
    names = {child.name: read_name(child.name) for child in folder.folders}
    return roles({name: known.kind for name, known in names.items() if known.is_split})


def _read_root(
    folder: Path,
    chosen: dict[str | None, LabelFile],
    columns: Columns,
    warnings: list[str],
) -> LabelFileContent:
    """One file for all images, or one for each split, in the task's folder."""
    if None in chosen:
        parts = parts_of_table(chosen[None].table, columns, warnings)
    else:
        parts = {}
        for kind, role in roles({str(kind): kind for kind in chosen}).items():
            parts |= _split_part(chosen[kind], role, columns, warnings)
    content = _content(parts)
    pools = [name for name in sub_folders(folder) if read_name(name).kind == "unlabelled"]
    for name in pools:
        paths = [f"{name}/{path}" for path in find_images(folder / name)[0]]
        content.unlabelled.append(Files(folder, paths))
    _note_unlisted(folder, content, pools, warnings)
    return content


def _read_splits(
    folder: Path,
    splits: dict[str, str],
    of_splits: dict[str, dict[str | None, LabelFile]],
    columns: Columns,
    warnings: list[str],
) -> LabelFileContent:
    """A file of labels in each folder of a split."""
    parts: dict[str, Part] = {}
    folders = []
    for name, chosen in of_splits.items():
        if not chosen:
            continue
        folders.append(name)
        role = splits[name]
        if role in parts:
            warnings.append(f"{class_name(name)}/ is a second {role} split and is not used")
            continue
        for part in _split_part(
            next(iter(chosen.values())),
            role,
            columns,
            warnings,
        ).values():
            files = part.source
            assert isinstance(files, Files)
            paths = [posixpath.normpath(posixpath.join(name, path)) for path in files.paths]
            parts[role] = Part(Files(folder, paths), part.labels, part.names)
    return LabelFileContent(parts, [], tuple(folders))


def _beside_splits(
    folder: Path,
    files: Sequence[LabelFile],
    of_splits: dict[str, dict[str | None, LabelFile]],
    splits: dict[str, str],
    columns: Columns,
    warnings: list[str],
) -> LabelFileContent | None:
    """Files beside folders of splits without classes: ``Test.csv`` of ``Test/``, where ``Train/``
    has class folders. None where no file is called as such a folder and lists its images alone.
    """
    parts: dict[str, Part] = {}
    folders = []
    for name, inside in of_splits.items():
        role = splits[name]
        named = [f for f in files if f.split == read_name(name).kind and f.is_usable]
        if inside or role == "train" or role in parts or len(named) != 1:
            continue
        notes: list[str] = []
        try:
            part = _split_part(named[0], role, columns, notes).get(role)
        except UserError as error:
            warnings.append(f"no {role} split is read from a file: {error}")
            continue
        if part is None or not isinstance(part.source, Files):
            continue
        if all(path.startswith(f"{name}/") for path in part.source.paths):
            parts[role] = part
            folders.append(name)
            warnings += notes
            warnings.append(
                f"the labels of {class_name(name)}/ are read from {class_name(named[0].path.name)}"
            )
    return LabelFileContent(parts, [], tuple(folders)) if parts else None


def _split_part(
    candidate: LabelFile,
    role: str,
    columns: Columns,
    warnings: list[str],
) -> dict[str, Part]:
    """The part ``role`` of a file; only the training split must have labels."""
    try:
        return parts_of_table(candidate.table, columns, warnings, kind=role)
    except NoLabels as error:
        if role == "train":
            raise
        warnings.append(f"no {role} split is read from it: {error}")
        return {}


def _content(parts: dict[str, Part]) -> LabelFileContent:
    pool = parts.pop("unlabelled", None)
    return LabelFileContent(parts, [pool.source] if pool else [])


def _note_unlisted(
    folder: Path,
    content: LabelFileContent,
    pools: Sequence[str],
    warnings: list[str],
) -> None:
    """Say how many images of the folder the label file leaves out."""
    listed = {
        path
        for source in (*(part.source for part in content.parts.values()), *content.unlabelled)
        if isinstance(source, Files)
        for path in source.paths
    }
    rest = [path for path in find_images(folder)[0] if path not in listed]
    if rest:
        warnings.append(
            f"{len(rest)} images in {folder} have no label in its file of labels and are not used"
            f" (such as {class_name(rest[0])})"
        )


def unused_text(folder: Path, columns: Columns) -> str:
    """What is said of a file that lists the images of a folder which is refused; empty without."""
    for file in candidates(folder, columns):
        if file.error is not None and (file.is_table or file.path.suffix.lower() == ".json"):
            return f". {class_name(file.path.name)} is no labels file: {file.error}"
        if file.error is None and len(file.table.columns) > 1 and file.table.finds_files():
            names = listed(list(file.table.columns))
            return (
                f". {class_name(file.path.name)} lists images that are here; to use it: --task"
                f" {file.path} --label-column COLUMN (it has: {names})"
            )
    return ""


def _divides_otherwise(file: LabelFile) -> bool:
    """Whether a file of labels divides the images otherwise than the folders they lie in."""
    try:
        parts = parts_of_table(file.table, Columns(), [])
    except UserError:
        return False
    pairs = {
        (path.rpartition("/")[0], part.names[label])
        for part in parts.values()
        if isinstance(part.source, Files)
        for path, label in zip(part.source.paths, part.labels, strict=True)
        if label >= 0
    }
    folders, labels = ({pair[side] for pair in pairs} for side in (0, 1))
    return len(pairs) > max(len(folders), len(labels))
