"""The files of a catalogue, by the path of its database."""

from __future__ import annotations

import shlex
from pathlib import Path

from zoo.home import default_catalogue


def snapshot_of(path: Path) -> Path:
    """The snapshot of the catalogue at ``path``; a snapshot is its own."""
    return path.with_suffix(".parquet")


def catalogue_option(path: Path) -> str:
    """The option that names the catalogue to another command, where it is not the default."""
    database = path.with_suffix(".duckdb")
    return "" if database == default_catalogue() else f" --catalogue {shlex.quote(str(database))}"
