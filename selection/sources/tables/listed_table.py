"""A table whose images are files: its columns as text and as Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selection.sources.tables.columns import Features
from selection.sources.tables.labels import typed
from selection.sources.tables.paths import FileIndex
from zoo.errors import UserError

_LONGEST_PATH = 4096


class NoLabels(UserError):
    """A table of images has no column of labels, or no label in it."""


@dataclass(frozen=True)
class ListedTable:
    """A table whose images are files.

    ``columns`` are texts or what JSON and Parquet hold, all of one length; ``files`` those that
    the paths may mean; ``names`` the class names of a file beside it; ``features`` what the
    ``datasets`` library says of the columns.
    """

    origin: str
    files: FileIndex
    columns: Mapping[str, Sequence[Any]]
    names: Sequence[str] | None = None
    features: Features = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def finds_files(self) -> bool:
        """Whether a column names files that are there."""
        return any(self.files.fit(self.paths(name)) for name in self.columns)

    def texts(self, column: str) -> list[str]:
        """A column as text, empty where it is null."""
        return [_text(value) for value in self.columns[column]]

    def paths(self, column: str) -> list[str]:
        """The texts of a column that may be paths: not empty, not endless."""
        return [text for text in self.texts(column) if text.strip() and len(text) < _LONGEST_PATH]

    def arrow(self, column: str) -> Any:
        """A column as Arrow, numbers in text as numbers."""
        import pyarrow as pa

        values = list(self.columns[column])
        if all(value is None or isinstance(value, str) for value in values):
            return typed(values)
        try:
            return pa.chunked_array([pa.array(values)])
        except (pa.ArrowException, TypeError, ValueError):
            return typed([None if value is None else _text(value) for value in values])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value.get("path") or "") if isinstance(value, Mapping) else str(value)
