"""A connection of DuckDB to a catalogue, reading its snapshot or writing its database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import UserError
from zoo.files import check_can_write, check_home
from zoo.home import default_catalogue
from zoo.sql.faults import open_error
from zoo.sql.paths import snapshot_of
from zoo.sql.statement import quote, quoted_file
from zoo.sql.tables import check_version, create_tables, create_view, snapshot_version
from zoo.terminal.limits import memory_limit

if TYPE_CHECKING:
    import duckdb

PUBLISHED = "published"  # key of the state: the name of the snapshot that the database wrote
# The writer's share of the 700 MB that a crawl of millions may take. One thread that need not keep
# the order of rows can bound the row groups of a snapshot by their bytes; with more, label lists of
# a thousand names do not fit. Fewer checkpoints make a page of a crawl cheaper; what lies in the
# log is replayed after a kill.
_WRITER_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "400MB",
    "threads": "1",
    "preserve_insertion_order": "false",
    "checkpoint_threshold": "64MB",
}
# ImageNet's names are synonyms in one string: "tench, Tinca tinca"
_HAS_LABEL = (
    "CREATE TEMP MACRO has_label(labels, name) AS "
    "list_contains(string_split(lower(array_to_string(labels, ', ')), ', '), lower(name))"
)


def open_snapshot(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the view ``models`` of the snapshot of the catalogue at ``path``."""
    import duckdb

    snapshot = snapshot_of(path)
    if path.is_file() and path.suffix not in (".duckdb", ".parquet"):
        check_database_file(path)
    if not snapshot.is_file():
        if path.is_file() and path != snapshot:
            check_database_file(path)
            raise UserError(
                f"the catalogue {path} was never published; let the crawl finish: python -m"
                " zoo.crawl"
            )
        raise UserError(
            f"there is no catalogue at {path}; make one, for example: python -m zoo.crawl --source"
            " timm (every model timm knows, no network), --source FOLDER, or python -m zoo.crawl"
            " (the Hub)"
        )
    try:
        connection = _connect(":memory:", snapshot)
        create_view(connection, snapshot)
    except duckdb.Error as error:
        raise open_error(error, snapshot) from None
    return connection


def check_database_file(path: Path) -> None:
    """Raise ``UserError`` where ``path`` is a file of something else than DuckDB."""
    with path.open("rb") as file:
        if file.read(12)[8:] == b"DUCK":
            return
    raise UserError(
        f"{path} is not a catalogue of teacher-zoo: a file that ends in .duckdb, or the .parquet"
        " beside it, is expected"
    )


def open_database(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection to the database at ``path``, made where there is none, for the one writer."""
    import duckdb

    check_place(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(str(path), path.resolve().parent)
        create_tables(connection, path)
    except duckdb.Error as error:
        raise open_error(error, path) from None
    try:
        check_replaceable(snapshot_of(path), connection)
    except UserError:
        connection.close()
        raise
    return connection


def check_place(path: Path) -> None:
    """Raise ``UserError`` where no database can be written at ``path``; nothing is made there."""
    # Other endings would share one snapshot, and .parquet would be the snapshot itself.
    if path.suffix != ".duckdb" and not path.is_dir():
        raise UserError(
            f"the catalogue {path} cannot be written: expected a name that ends in .duckdb, such as"
            f" --catalogue {path.with_suffix('.duckdb')}"
        )
    if path == default_catalogue():
        check_home()
    if not path.is_dir():
        check_can_write(path)
    if set("?\\") & set(str(path.resolve().parent)):
        raise UserError(
            f"the catalogue {path} cannot be kept there: DuckDB takes ? and \\ in a path for"
            " something else; set TEACHER_ZOO_HOME, or give --catalogue, to a path without them"
        )
    if not path.exists():
        check_replaceable(snapshot_of(path))


def check_replaceable(snapshot: Path, database: duckdb.DuckDBPyConnection | None = None) -> None:
    """Raise ``UserError`` where publishing would replace a file that is not a snapshot.

    A file without the mark of a snapshot is the user's. A damaged one is ours where ``database``
    has published under that name before.
    """
    import duckdb

    if not os.path.lexists(snapshot):
        return
    try:
        with _connect(":memory:", snapshot) as connection:
            version = snapshot_version(connection, snapshot)
        if version is not None:
            check_version(version, snapshot)
            return
    except duckdb.Error:
        if database is not None and snapshot.is_file():
            query = "SELECT count(*) FROM state WHERE key = ? AND value = ?"
            published = database.execute(query, [PUBLISHED, snapshot.name]).fetchall()[0][0]
            if published:
                return
    raise UserError(
        f"{snapshot} is not a snapshot of teacher-zoo, and publishing the catalogue would replace"
        " it; move it away, or give another file with --catalogue"
    )


def _connect(database: str, allowed: Path) -> duckdb.DuckDBPyConnection:
    """A connection that can reach only ``allowed`` (a file, or a folder and what is in it)."""
    import duckdb

    settings = _WRITER_SETTINGS
    if database == ":memory:":  # a reader writes nothing, so nothing of a large query either
        settings = {"memory_limit": f"{memory_limit()}B", "temp_directory": ""}
    connection = duckdb.connect(database, config=settings)
    _silence(connection)
    setting = "allowed_directories" if allowed.is_dir() else "allowed_paths"
    for statement in (
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET python_enable_replacements = false",
        f"SET {setting} = [{quote(str(allowed))}, {quoted_file(allowed)}]",
        "SET enable_external_access = false",
        _HAS_LABEL,
        "SET lock_configuration = true",
    ):
        connection.execute(statement)
    return connection


def _silence(connection: duckdb.DuckDBPyConnection) -> None:
    """Draw no progress bar; in a notebook without ipywidgets DuckDB draws none, and refuses to be
    told so.
    """
    shown = connection.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    if shown == (True,):
        connection.execute("SET enable_progress_bar = false")
