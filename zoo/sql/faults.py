"""Faults of DuckDB as errors that say what to do."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from zoo.errors import CatalogueLocked, DamagedCatalogue, UserError
from zoo.sql.columns import column
from zoo.sql.paths import catalogue_option, snapshot_of
from zoo.terminal.command import printable

# what DuckDB says of a file whose bytes make no sense: these errors, one without a kind, or texts
_DAMAGE = ("IOException", "SerializationException", "InternalException", "FatalException", "Error")
_DAMAGE_TEXT = re.compile(r"Failed to read file|corrupt|TProtocol|decompress", re.IGNORECASE)


def open_error(error: Exception, path: Path) -> UserError | OSError:
    """DuckDB's error on opening or reading ``path``, as a sentence that says what to do."""
    if "No space left on device" in str(error):
        return OSError(errno.ENOSPC, "No space left on device", str(path))
    holder = re.search(r"held in (\S+) \(PID (\d+)\)", str(error))
    if holder or "set lock on file" in str(error):
        process = f"process {holder[2]} ({Path(holder[1]).name})" if holder else "another process"
        return CatalogueLocked(
            f"{process} is writing the catalogue {path}; wait for it to end, or give another file"
            " with --catalogue (reading works meanwhile)",
            holder=process,
        )
    if path.is_dir():
        return UserError(
            f"the catalogue {path} cannot be read: it is a folder; give a file whose name ends in"
            " .duckdb"
        )
    return damaged(error, path)


def damaged(error: Exception, path: Path) -> DamagedCatalogue:
    """What to do about the database or the snapshot at ``path``, which cannot be read."""
    mend = "remove it and crawl again"
    if path.suffix == ".parquet" or snapshot_of(path).is_file():
        mend = f"python -m zoo.doctor{catalogue_option(path)} mends it"
    return DamagedCatalogue(
        f"the catalogue {path} cannot be read ({_first_line(str(error))}); if it is damaged,"
        f" {mend}, or give another file with --catalogue"
    )


def query_error(error: Exception, snapshot: Path) -> UserError | OSError:
    """DuckDB's error on a user's query, as a sentence."""
    kind, text = type(error).__name__, str(error)
    missing = re.search(r'column "([^"]+)" not found|column named "([^"]+)"', text)
    if missing:
        try:
            column(missing[1] or missing[2])
        except UserError as nearest:
            return nearest
    if "operations are disabled" in text or kind == "PermissionException":
        return UserError(
            "a query reads the table models only; files and the network are out of its reach"
        )
    if kind in _DAMAGE or _DAMAGE_TEXT.search(text):
        return open_error(error, snapshot)
    return UserError(f"the query was not understood: {_first_line(text)}")


def _first_line(text: str) -> str:
    return printable(text.strip().splitlines()[0] if text.strip() else "no reason given", 300)
