"""A task that lies in Parquet files with an image and a label column, as the ``datasets`` library
writes them.
"""

from __future__ import annotations

import bisect
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from selection.kinds.kind import Kind
from selection.sources.images import CorruptImage
from selection.sources.layouts.folder import SPLITS, UNLABELLED
from selection.sources.split import Part, Rows, Source, Split, class_name, spread
from selection.sources.tables.cells import encoded_image, is_encoded_text
from selection.sources.tables.columns import (
    Columns,
    ask,
    label_column,
    listed,
    named_column,
    stored_image_column,
)
from selection.sources.tables.labels import Labels, names_in_file, to_labels
from selection.sources.tables.listed import parts_of_table
from selection.sources.tables.listed_table import ListedTable, NoLabels
from selection.sources.tables.paths import FileIndex
from selection.sources.tables.splits import is_split_name, split_column
from zoo.errors import UserError

_HELD = 2**30  # bytes of encoded images kept in memory
_FIRST_ROWS = 16  # that tell whether a column holds images, encoded texts or paths
_NAME = re.compile(r"^([a-z]+)(?:[-_.].*)?\.parquet$", re.IGNORECASE)


class Table:
    """The image column of Parquet files, read a row group at a time; at most ``_HELD`` bytes of
    groups stay in memory.
    """

    def __init__(self, files: Sequence[Path], column: str | None = None) -> None:
        self.files = [open_parquet(path) for path in files]
        self.paths = list(files)
        self.column = _image_column(self.files[0], files[0], column)
        self._groups: list[tuple[int, int]] = []  # file, and which of its row groups
        sizes = []
        for number, file in enumerate(self.files):
            for group in range(file.metadata.num_row_groups):
                self._groups.append((number, group))
                sizes.append(file.metadata.row_group(group).num_rows)
        self._starts = np.cumsum([0, *sizes]).tolist()
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def raw(self, row: int) -> bytes:
        group = bisect.bisect_right(self._starts, row) - 1
        value = self._group(group)[row - self._starts[group]].as_py()
        return encoded_image(value, self.paths[self._groups[group][0]].parent)

    def name(self, row: int) -> str:
        group = bisect.bisect_right(self._starts, row) - 1
        return f"{self.paths[self._groups[group][0]].name}#{row}"

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        """File names and sizes, 32 spread blocks of 4 KiB of each file, and ``rows``."""
        for path in self.paths:
            size = path.stat().st_size
            yield f"{path.name} {size}".encode()
            with path.open("rb") as file:
                for block in spread(size // 4096 + 1):
                    file.seek(block * 4096)
                    yield file.read(4096)
        yield rows.tobytes()

    def _group(self, group: int) -> Any:
        with self._lock:
            if group in self._held:
                self._held.move_to_end(group)
                return self._held[group]
            file, inner = self._groups[group]
            self._held[group] = _images(self.files[file], inner, self.column)
            held_bytes = sum(images.nbytes for images in self._held.values())
            while len(self._held) > 1 and held_bytes > _HELD:
                _, oldest = self._held.popitem(last=False)
                held_bytes -= oldest.nbytes
            return self._held[group]


class TableRows:
    """Some rows of a table, for tables with a column of splits."""

    def __init__(self, table: Table, rows: Rows) -> None:
        self.paths = table.paths
        self._table = table
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def raw(self, row: int) -> bytes:
        return self._table.raw(int(self._rows[row]))

    def name(self, row: int) -> str:
        return self._table.name(int(self._rows[row]))

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        return self._table.stamp(self._rows[rows])


def open_parquet(path: Path) -> Any:
    """The Parquet file at ``path``, memory-mapped; ``UserError`` where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            f"{path} is no readable Parquet file: {str(error).splitlines()[0]}"
        ) from error


def files_by_split(folder: Path) -> dict[str, list[Path]]:
    """The Parquet files by split, in ``folder``, ``folder/data`` or ``folder/SPLIT``, in order."""
    for parent in (folder, folder / "data"):
        files = _files_named_by_split(parent) or _folders_named_by_split(parent)
        if files:
            return files
    return {}


def _files_named_by_split(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.parquet")):
        match = _NAME.match(path.name)
        kind = _kind(match.group(1)) if match else None
        if kind is not None and not path.name.startswith("."):
            files.setdefault(kind, []).append(path)
    return files


def _folders_named_by_split(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for inner in sorted(folder.glob("*/")):
        kind = _kind(inner.name)
        shards = sorted(inner.glob("*.parquet"))
        if kind is not None and shards:
            files.setdefault(kind, []).extend(shards)
    return files


def _kind(word: str) -> str | None:
    return "unlabelled" if word.lower() in UNLABELLED else SPLITS.get(word.lower())


def read(
    folder: Path,
    files: dict[str, list[Path]],
    columns: Columns,
    warnings: list[str],
) -> tuple[dict[str, Part], list[Source]]:
    """The parts by split name and the sources of unlabelled images of a folder of Parquet files.

    Sentences for the user are added to ``warnings``.
    """
    parts: dict[str, Part] = {}
    for kind, paths in files.items():
        if kind == "unlabelled":
            continue
        try:
            parts |= _parts(
                folder,
                paths,
                columns,
                warnings,
                kind if len(files) > 1 else None,
            )
        except NoLabels as error:
            if kind == "train":
                raise
            warnings.append(f"no {kind} split is read: {error}")
    unlabelled: list[Source] = []
    if "unlabelled" in files:
        unlabelled.append(Table(files["unlabelled"], columns.image))
    return parts, unlabelled


def read_split(paths: Sequence[Path], kind: Kind) -> Split:
    """All images and labels of Parquet files that make one split of ``kind``, images."""
    part = _parts(
        paths[0].parent,
        list(paths),
        Columns(),
        [],
        "train",
    )["train"]
    return Split(
        part.source,
        np.arange(len(part.source)),
        part.labels,
        part.names,
        kind,
    )


def listed_columns(paths: Sequence[Path], columns: Columns) -> dict[str, list[Any]] | None:
    """The columns of Parquet files whose images are paths; None where the images are in them."""
    files = [open_parquet(path) for path in paths]
    schema = files[0].schema_arrow
    if _stored_column(files[0], paths[0], columns.image) is not None:
        return None
    names = [field.name for field in schema if not _is_large(field.type)]
    return {name: _read_column(files, name, paths[0]).to_pylist() for name in names}


def _is_large(kind: Any) -> bool:
    """Whether a column can be neither a path nor a label."""
    import pyarrow.types as kinds

    if kinds.is_struct(kind):
        return bool(kind.get_field_index("path") < 0)
    is_bytes = kinds.is_binary(kind) or kinds.is_large_binary(kind)
    return bool(is_bytes or kinds.is_map(kind) or kinds.is_union(kind))


def _parts(
    folder: Path,
    paths: list[Path],
    columns: Columns,
    warnings: list[str],
    kind: str | None,
) -> dict[str, Part]:
    """The parts of Parquet files that are the split ``kind``; of None, a column may tell splits."""
    values = listed_columns(paths, columns)
    if values is not None:
        features = features_of(open_parquet(paths[0]))
        names = names_in_file(folder / "labels.txt")
        listing = ListedTable(
            str(paths[0]),
            FileIndex(paths[0].parent),
            values,
            names,
            features,
        )
        if not any(isinstance(value, str | dict) for rows in values.values() for value in rows[:9]):
            _image_column(open_parquet(paths[0]), paths[0], columns.image)  # refuses it
        return parts_of_table(listing, columns, warnings, kind=kind)
    table = Table(paths, columns.image)
    labels = _labels(folder, table, columns, kind)
    part = Part(table, *labels)
    if kind is not None:
        return {kind: part}
    present = [name for name in table.files[0].schema_arrow.names if name != table.column]
    texts = {
        name: [str(value) for value in _read_column(table.files, name, paths[0]).to_pylist()]
        for name in filter(is_split_name, present)
    }
    column, kinds = split_column(texts, str(paths[0]), warnings)
    if column is None or kinds is None:
        return {"train": part}
    split_of = np.asarray(kinds)
    parts = {}
    for name in filter(None, dict.fromkeys(kinds)):
        rows = np.flatnonzero(split_of == name)
        parts[name] = Part(TableRows(table, rows), labels.numbers[rows], labels.names)
    return parts


def _labels(
    folder: Path,
    table: Table,
    columns: Columns,
    kind: str | None,
) -> Labels:
    path = table.paths[0]
    file = table.files[0]
    features = features_of(file)
    present = [name for name in file.schema_arrow.names if name != table.column]
    if columns.label is not None and columns.label not in present and kind not in (None, "train"):
        raise NoLabels(f"{path} has no column {class_name(columns.label)!r}")
    column = label_column(
        present,
        features,
        lambda name: _read_column(table.files, name, path),
        named=columns.label,
        origin=str(path),
        prefer_text=False,
    )
    if column is None and len(present) == 1:
        column = present[0]
    if column is None:
        raise NoLabels(
            f"{path} has no column 'label' (it has: {listed(file.schema_arrow.names)}); name it"
            " with --label-column"
        )
    names = features.get(column, {}).get("names")
    if not isinstance(names, list) or not names:
        names = names_in_file(folder / "labels.txt")
    return to_labels(_read_column(table.files, column, path), names, str(path))


def _read_column(files: Sequence[Any], column: str, path: Path) -> Any:
    """One column of all files as an Arrow chunked array."""
    import pyarrow as pa

    try:
        chunks = []
        for file in files:
            chunks += file.read(columns=[column]).column(0).chunks
        return pa.chunked_array(chunks)
    except (pa.ArrowException, LookupError, OSError) as error:
        raise UserError(
            f"the column {class_name(column)!r} of {path} and its shards cannot be read: {error}"
        ) from error


def _image_column(file: Any, path: Path, named: str | None) -> str:
    """The column of encoded images, of pixels or of texts that are encoded images."""
    column = _stored_column(file, path, named)
    if column is not None:
        return column
    present = file.schema_arrow.names
    if named is not None:
        return named_column(named, present, "--image-column", str(path))
    raise UserError(f"{path} has no column 'image' (it has: {listed(present)})")


def _stored_column(file: Any, path: Path, named: str | None) -> str | None:
    """The column that holds images and not their paths; None where none does."""
    import pyarrow.types as kinds

    schema, features = file.schema_arrow, features_of(file)
    column = stored_image_column(schema, features, named, str(path))
    if column is not None:
        kind = schema.field(column).type
        return None if kinds.is_struct(kind) and _holds_paths_only(file, column) else column
    texts = [
        field.name
        for field in schema
        if (kinds.is_string(field.type) or kinds.is_large_string(field.type))
        and named in (None, field.name)
    ]
    encoded = [name for name in texts if any(map(is_encoded_text, _first_values(file, name)))]
    if len(encoded) > 1:
        raise ask(str(path), "image", encoded)
    return encoded[0] if encoded else None


def _holds_paths_only(file: Any, column: str) -> bool:
    values = _first_values(file, column)
    return bool(values) and all(not value.get("bytes") and value.get("path") for value in values)


def _first_values(file: Any, column: str) -> list[Any]:
    """Some values of a column that are not null, as Python objects."""
    import pyarrow as pa

    try:
        batch = next(file.iter_batches(batch_size=_FIRST_ROWS, columns=[column]), None)
    except (pa.ArrowException, OSError):
        return []
    values = batch.column(0).to_pylist() if batch is not None else []
    return [value for value in values if value is not None]


def features_of(file: Any) -> dict[str, dict[str, Any]]:
    """What the ``datasets`` library wrote about each column; empty if it did not write the file."""
    try:
        metadata = json.loads(file.schema_arrow.metadata[b"huggingface"])
        features = metadata["info"]["features"]
        return {name: spec for name, spec in features.items() if isinstance(spec, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _images(file: Any, group: int, column: str) -> Any:
    """The encoded images of one row group, an Arrow column of bytes."""
    import pyarrow as pa

    try:
        return file.read_row_group(group, columns=[column]).column(0)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise CorruptImage(f"the Parquet file is damaged: {str(error).splitlines()[0]}") from error
