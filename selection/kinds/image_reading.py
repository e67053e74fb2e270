"""Tasks of images: folders and tables, and folders of more images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from selection.kinds.kind import TaskContent
from selection.sources import hub as hub_task
from selection.sources import parquet as parquet_task
from selection.sources.layouts import folder as folder_task
from selection.sources.layouts import structure
from selection.sources.split import Source, class_name
from selection.sources.tables import label_file
from selection.sources.tables.columns import Columns
from zoo.errors import UserError


def read_images(path: Path, columns: Columns, warnings: list[str]) -> TaskContent:
    """The task of images at ``path``, a folder or a table; ``UserError`` where it is none."""
    if path.is_dir():
        return _read_folder(path, columns, warnings)
    content = label_file.read_file(path, columns, warnings)
    return TaskContent(content.parts, content.unlabelled)


def _read_folder(path: Path, columns: Columns, warnings: list[str]) -> TaskContent:
    if parts := hub_task.read_saved(path, columns, warnings):
        return TaskContent(parts)
    files = parquet_task.files_by_split(path)
    if files:
        if "train" not in files:
            raise UserError(
                f"{path} has {', '.join(sorted(files))} but no train.parquet (or train-*.parquet)"
            )
        parts, tables = parquet_task.read(path, files, columns, warnings)
        return TaskContent(parts, [*tables])
    labelled = label_file.read_folder(path, columns, warnings)
    if labelled and "train" in labelled.parts:
        return TaskContent(labelled.parts, labelled.unlabelled)
    columns.require_unused(class_name(path.resolve().name))
    leave_out = labelled.folders if labelled else ()
    try:
        content = structure.read(path, warnings, leave_out=leave_out)
    except UserError as error:
        raise UserError(f"{error}{label_file.unused_text(path, columns)}") from error
    parts = content.parts | (labelled.parts if labelled else {})
    return TaskContent(parts, [*content.unlabelled], content.broken_links)


def more_images(
    path: Path,
    task_sources: Sequence[Source],
    columns: Columns,
    warnings: list[str],
) -> TaskContent:
    """The images of the ``--unlabelled`` folder, and how many links there are broken.

    Images that the task holds itself are left out, else its test images would be learnt from.
    """
    if not path.is_dir():
        raise UserError(
            f"the unlabelled images: {path} is no folder; expected one of image files, or of"
            " Parquet files"
        )
    root = path.resolve()
    known = _paths_of(task_sources, root)
    shards = [shard for shard in sorted(path.glob("*.parquet")) if shard.resolve() not in known]
    if shards:
        return TaskContent({}, [parquet_task.Table(shards, columns.image)])
    paths, broken_links = folder_task.find_images(path)
    if known:
        paths = [inner for inner in paths if (root / inner).resolve() not in known]
    if not paths:
        but = " that the task does not hold" if known else ""
        raise UserError(f"the unlabelled images: {path} holds no images{but}")
    return TaskContent({}, [folder_task.Files(path, paths)], broken_links)


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
