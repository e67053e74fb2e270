"""A table of paths and labels as the parts of a task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selection.sources.layouts.folder import SPLITS, Files
from selection.sources.split import Part, Rows, class_name
from selection.sources.tables.columns import (
    Columns,
)
from selection.sources.tables.label_lists import refuse_multi_label
from selection.sources.tables.labels import Labels
from selection.sources.tables.listed_columns import (
    path_column,
    read_labels,
    refuse_addresses,
    refuse_boxes,
)
from selection.sources.tables.listed_table import ListedTable
from selection.sources.tables.splits import (
    is_split_name,
    split_column,
    splits_of_folders,
)
from zoo.errors import UserError

_MOST_CONFLICTS = 0.25  # share of files with several labels above which a table is multi-label
_SHOWN = 3


def parts_of_table(
    table: ListedTable,
    columns: Columns,
    warnings: list[str],
    *,
    kind: str | None = None,
) -> dict[str, Part]:
    """The parts of a task by split name.

    ``kind`` is the split of the whole table; else a column tells it, or the folders of the paths;
    else all is ``train``. ``UserError`` for a table that cannot be read as one class an image.
    """
    if not len(table):
        raise UserError(
            f"{table.origin} holds no rows; expected a path or a text, and a label, in each"
        )
    image = path_column(table, columns.image)
    named_splits = {
        name: table.texts(name)
        for name in table.columns
        if kind is None and name not in (image, columns.label) and is_split_name(name)
    }
    column, kinds = split_column(named_splits, table.origin, warnings)
    others = [name for name in table.columns if name not in (image, column)]
    if columns.label is None:
        refuse_boxes(table, others)
    labels = read_labels(table, columns.label, image, others)
    paths = _found(table, image, kinds, warnings)
    keep = _one_label_each(table, paths, labels, kinds, warnings)
    if kind is not None:
        split_of = [kind] * len(keep)
    elif kinds is not None:
        split_of = [kinds[row] for row in keep]
    else:
        split_of = splits_of_folders([paths[row] or "" for row in keep])
    parts = {}
    for name in filter(None, dict.fromkeys(split_of)):
        rows = keep[np.asarray(split_of) == name]
        files = Files(table.files.root, [paths[row] or "" for row in rows])
        parts[name] = Part(files, labels.numbers[rows], labels.names)
    return parts


def _found(
    table: ListedTable,
    image: str,
    kinds: Sequence[str] | None,
    warnings: list[str],
) -> list[str | None]:
    """The file of each row, None where there is none; what is missing is named."""
    texts = table.texts(image)
    refuse_addresses(table, image, texts)
    paths = []
    missing = []
    for row, text in enumerate(texts):
        kind = kinds[row] if kinds is not None else "train"
        inside = [name for name, known in SPLITS.items() if known == kind]
        path = table.files.find(text, inside=inside) if text.strip() else None
        paths.append(path)
        if path is None:
            missing.append(text)
    origin = _with_column(table, image)
    shown = ", ".join(repr(class_name(text)) for text in missing[:_SHOWN])
    if len(missing) == len(texts):
        raise UserError(
            f"none of the {len(texts)} images of {origin} is there: no file {shown} in"
            f" {table.files.root}; paths are read from the folder of the table, or absolute"
        )
    ambiguous, prefix = table.files.ambiguous, table.files.prefix
    if ambiguous:
        warnings.append(
            f"{len(ambiguous)} paths of {origin} fit several files and are not used, such as"
            f" {class_name(ambiguous[0])}"
        )
    if len(missing) > len(ambiguous):
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        warnings.append(f"{len(missing)} images of {origin} are not there: {shown}{more}")
    if prefix:
        warnings.append(
            f"the paths of {origin} begin with {class_name(prefix)!r}, which is not here; the files"
            f" below {table.files.root} with the same ends are used"
        )
    return paths


def _with_column(table: ListedTable, column: str) -> str:
    """The table and its column for messages; columns without a header have no name."""
    return table.origin if column.isdigit() else f"{table.origin} (column {class_name(column)!r})"


def _one_label_each(
    table: ListedTable,
    paths: Sequence[str | None],
    labels: Labels,
    kinds: Sequence[str] | None,
    warnings: list[str],
) -> Rows:
    """The rows to use: each file once in a split, none with two labels."""
    first: dict[tuple[str, str], int] = {}
    conflicts: dict[tuple[str, str], int] = {}
    repeated = 0
    for row, path in enumerate(paths):
        if path is None:
            continue
        key = (path, kinds[row] if kinds is not None else "")
        before = first.setdefault(key, row)
        if before == row:
            continue
        if labels.numbers[before] == labels.numbers[row]:
            repeated += 1
        elif labels.numbers[before] == -1:
            first[key] = row
        elif labels.numbers[row] != -1:
            conflicts.setdefault(key, row)
    if conflicts:
        key, row = next(iter(conflicts.items()))
        both = [labels.names[labels.numbers[place]] for place in (first[key], row)]
        example = f"{class_name(key[0])}: {both[0]}, {both[1]}"
        if len(conflicts) > _MOST_CONFLICTS * len(first):
            raise refuse_multi_label(table.origin, example)
        warnings.append(
            f"{len(conflicts)} images of {table.origin} have two labels and are not used"
            f" ({example})"
        )
    if repeated:
        warnings.append(f"{repeated} rows of {table.origin} are repeated and are taken once")
    return np.array(sorted(row for key, row in first.items() if key not in conflicts), np.int64)
