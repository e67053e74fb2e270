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
from typing import Any, NamedTuple

import numpy as np

from selection.sources.folder import SPLITS, UNLABELLED
from selection.sources.images import CorruptImage
from selection.sources.split import Part, Rows, Split, class_name, class_names, spread
from zoo.errors import UserError

_HELD = 2**30  # bytes of encoded images kept in memory
_NAME = re.compile(r"^([a-z]+)(?:[-_.].*)?\.parquet$", re.IGNORECASE)


class Table:
    """The image column of Parquet files, read a row group at a time; at most ``_HELD`` bytes of
    groups stay in memory.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = [open_parquet(path) for path in files]
        self.paths = list(files)
        self.column = _column(self.files[0], files[0], "image", ("image", "img"), "Image")
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
        if not isinstance(value, bytes):
            raise CorruptImage("the row holds no image bytes")
        return value

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


def read(folder: Path, files: dict[str, list[Path]]) -> tuple[dict[str, Part], list[Table]]:
    """The parts by split name and the sources of unlabelled images of a folder of Parquet files."""
    parts = {kind: _part(folder, paths) for kind, paths in files.items() if kind != "unlabelled"}
    return parts, [Table(files["unlabelled"])] if "unlabelled" in files else []


def read_split(paths: Sequence[Path]) -> Split:
    """All images and labels of Parquet files that make one split."""
    part = _part(paths[0].parent, list(paths))
    return Split(part.source, np.arange(len(part.source)), part.labels, part.names)


def _part(folder: Path, paths: list[Path]) -> Part:
    import pyarrow as pa

    table = Table(paths)
    column = _column(table.files[0], paths[0], "label", ("label", "labels", "class"), "ClassLabel")
    try:
        chunks = []
        for file in table.files:
            chunks += file.read(columns=[column]).column(0).chunks
        values = pa.chunked_array(chunks)
    except (pa.ArrowException, LookupError, OSError) as error:
        raise UserError(
            f"the label column {column!r} of {paths[0]} and its shards cannot be read: {error}"
        ) from error
    feature = _features(table.files[0]).get(column, {})
    names = feature.get("names")
    if not isinstance(names, list) or not names:
        names = _names_in_file(folder)
    labels, classes = to_labels(values, names, str(paths[0]))
    return Part(table, labels, classes)


class Labels(NamedTuple):
    """``numbers`` (n,) int64 in [0, C), or -1 where unlabelled, and the C class ``names``."""

    numbers: Rows
    names: tuple[str, ...]


def to_labels(values: Any, names: Sequence[str] | None, origin: str) -> Labels:
    """Read a label column: an Arrow chunked array of whole numbers or text.

    Null, -1 and empty text are unlabelled. Whole numbers without ``names`` are named by themselves.
    """
    import pyarrow as pa
    import pyarrow.types as kinds

    if kinds.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if kinds.is_string(values.type) or kinds.is_large_string(values.type):
        texts = [class_name(text) for text in values.fill_null("").to_pylist()]
        classes = tuple(sorted(set(texts) - {""}))
        index = {name: label for label, name in enumerate(classes)}
        labels = [index.get(text, -1) for text in texts]
        return Labels(np.asarray(labels, dtype=np.int64), classes)
    try:
        whole = values.cast(pa.int64()).fill_null(-1)
        numbers = whole.to_numpy().astype(np.int64)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(
            f"the label column of {origin} holds {values.type}; whole numbers or text are expected"
        ) from error
    if not names:
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


def _column(
    file: Any,
    path: Path,
    purpose: str,
    usual: Sequence[str],
    feature: str,
) -> str:
    """The column with one of the usual names, else that whose metadata state this feature."""
    present = file.schema_arrow.names
    features = _features(file)
    tagged = [name for name, spec in features.items() if spec.get("_type") == feature]
    for name in (*usual, *tagged):
        if name in present:
            return name
    raise UserError(
        f"{path} has no column {purpose!r} (it has: {class_name(', '.join(present)) or 'none'})"
    )


def _features(file: Any) -> dict[str, dict[str, Any]]:
    """What the ``datasets`` library wrote about each column; empty if it did not write the file."""
    try:
        metadata = json.loads(file.schema_arrow.metadata[b"huggingface"])
        features = metadata["info"]["features"]
        return {name: spec for name, spec in features.items() if isinstance(spec, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _names_in_file(folder: Path) -> list[str] | None:
    path = folder / "labels.txt"
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _images(file: Any, group: int, column: str) -> Any:
    """The encoded images of one row group, an Arrow column of bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_struct = pa.types.is_struct(file.schema_arrow.field(column).type)
    wanted = f"{column}.bytes" if is_struct else column
    try:
        values = file.read_row_group(group, columns=[wanted]).column(0)
    except (pa.ArrowException, OSError, IndexError) as error:
        raise CorruptImage(f"the Parquet file is damaged: {str(error).splitlines()[0]}") from error
    return pc.struct_field(values, "bytes") if is_struct else values
