"""A task as its source states it, before splits are cut."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selection.kinds.image import IMAGE
from selection.kinds.kind import Kind
from selection.sources import hub as hub_task
from selection.sources import parquet as parquet_task
from selection.sources.digits import digits
from selection.sources.layouts import folder as folder_task
from selection.sources.layouts import structure
from selection.sources.split import Part, Source, class_name
from selection.sources.tables import label_file
from selection.sources.tables.columns import Columns
from zoo.errors import UserError

BUILT_IN = ("digits",)


@dataclass
class RawTask:
    """A task as its source states it, before splits are cut."""

    name: str
    parts: dict[str, Part]  # by split name
    unlabelled: list[Source] = field(default_factory=list)
    broken_links: int = 0
    revision: str | None = None
    warnings: list[str] = field(default_factory=list)
    kind: Kind = IMAGE


def read_task(
    spec: str,
    columns: Columns,
    revision: str | None,
    *,
    offline: bool,
) -> RawTask:
    """The task that ``spec`` names: a path, ``hf:org/name``, or a built-in name.

    ``UserError`` where it is none of them, or cannot be read.
    """
    path = Path(spec).expanduser()
    if spec and path.exists():
        return _read_folder(path, columns) if path.is_dir() else _read_file(path, columns)
    warnings: list[str] = []
    if spec.startswith("hf:"):
        dataset = hub_task.read(
            spec[3:],
            columns,
            warnings,
            revision,
            offline=offline,
        )
        return RawTask(
            spec[3:],
            dataset.parts,
            revision=dataset.revision,
            warnings=warnings,
        )
    if spec in BUILT_IN:
        columns.require_unused(spec)
        return RawTask(spec, {"train": digits()})
    known = {folder: str(path.parent / folder) for folder in _siblings(path)}
    known |= {name: name for name in BUILT_IN}
    near = difflib.get_close_matches(
        path.name,
        known,
        n=1,
        cutoff=0.5,
    )
    hint = (
        "give a folder with one sub-folder a class or with train.parquet, hf:org/name, or the"
        " built-in 'digits'"
    )
    if near:
        hint = f"did you mean {known[near[0]]!r}?"
    raise UserError(f"no task {spec!r}: no such folder; {hint}")


def _siblings(path: Path) -> list[str]:
    try:
        return folder_task.sub_folders(path.parent)
    except UserError:
        return []


def _read_file(path: Path, columns: Columns) -> RawTask:
    """The task of a table of images or of paths and labels."""
    warnings: list[str] = []
    content = label_file.read_file(path, columns, warnings)
    return RawTask(
        _name(path),
        content.parts,
        content.unlabelled,
        warnings=warnings,
    )


def _name(path: Path) -> str:
    """The name of a folder, or of a file unless it says nothing, as ``labels.csv``."""
    whole = path.resolve()
    name = whole.name
    if whole.is_file():
        name = whole.parent.name if label_file.is_plain_name(whole.stem) else whole.stem
    return class_name(name) or "task"


def _read_folder(path: Path, columns: Columns) -> RawTask:
    name = _name(path)
    warnings: list[str] = []
    if parts := hub_task.read_saved(path, columns, warnings):
        return RawTask(name, parts, warnings=warnings)
    files = parquet_task.files_by_split(path)
    if files:
        if "train" not in files:
            raise UserError(
                f"{path} has {', '.join(sorted(files))} but no train.parquet (or train-*.parquet)"
            )
        parts, tables = parquet_task.read(path, files, columns, warnings)
        return RawTask(name, parts, tables, warnings=warnings)
    labelled = label_file.read_folder(path, columns, warnings)
    if labelled and "train" in labelled.parts:
        return RawTask(name, labelled.parts, labelled.unlabelled, warnings=warnings)
    columns.require_unused(name)
    leave_out = labelled.folders if labelled else ()
    try:
        content = structure.read(path, warnings, leave_out=leave_out)
    except UserError as error:
        raise UserError(f"{error}{label_file.unused_text(path, columns)}") from error
    parts = content.parts | (labelled.parts if labelled else {})
    return RawTask(
        name,
        parts,
        [*content.unlabelled],
        content.broken_links,
        warnings=warnings,
    )


def more_images(
    path: Path,
    task_sources: Sequence[Source],
    columns: Columns,
) -> tuple[Source, int]:
    """The images of the ``--unlabelled`` folder and how many links there are broken.

    Images that the task holds itself are left out, else its test images would be learnt from.
    """
    if not path.is_dir():
        near = difflib.get_close_matches(
            path.name,
            _siblings(path),
            n=1,
            cutoff=0.5,
        )
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"the unlabelled images: no such folder {str(path)!r}{hint}")
    root = path.resolve()
    known = _paths_of(task_sources, root)
    shards = [shard for shard in sorted(path.glob("*.parquet")) if shard.resolve() not in known]
    if shards:
        return parquet_task.Table(shards, columns.image), 0
    paths, broken_links = folder_task.find_images(path)
    if known:
        paths = [inner for inner in paths if (root / inner).resolve() not in known]
    if not paths:
        but = " that the task does not hold" if known else ""
        raise UserError(f"the unlabelled images: {path} holds no images{but}")
    return folder_task.Files(path, paths), broken_links


def _paths_of(sources: Sequence[Source], root: Path) -> set[Path]:
    """The files of ``sources``, of folders only if they lie in ``root`` or ``root`` in them."""
    paths: set[Path] = set()
    for source in sources:
        if isinstance(source, parquet_task.Table | parquet_task.TableRows):
            paths |= {file.resolve() for file in source.paths}
        elif isinstance(source, folder_task.Files):
            folder = source.root.resolve()
            if root.is_relative_to(folder) or folder.is_relative_to(root):
                paths |= {(folder / inner).resolve() for inner in source.paths}
    return paths
