"""The catalogue's table: its columns, its version, and how an older file becomes one of today."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.card import ModelCard
from zoo.errors import UserError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SCHEMA_VERSION = 1
# Version n's statements turn a catalogue of version n - 1 into one of version n; every new column
# needs its ALTER here.
MIGRATIONS: dict[int, tuple[str, ...]] = {}
_SQL_TYPES = {
    "str": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "dt.datetime": "TIMESTAMP",
    "tuple[str, ...]": "VARCHAR[]",
    "tuple[float, ...]": "DOUBLE[]",
}
COLUMNS: dict[str, str] = {
    f.name: _SQL_TYPES[str(f.type).removesuffix(" | None")] for f in fields(ModelCard)
}


def table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = COLUMNS) -> pa.Table:
    """``rows`` as an Arrow table of ``columns``, in the catalogue's types; what a row lacks is
    unknown.
    """
    import pyarrow as pa

    types = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"),
        "VARCHAR[]": pa.list_(pa.string()),
        "DOUBLE[]": pa.list_(pa.float64()),
    }
    return pa.Table.from_pylist(
        list(rows), pa.schema([(name, types[COLUMNS[name]]) for name in columns])
    )


def quote(text: str) -> str:
    """``text`` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def prepare(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the tables where there are none, all at once, and bring those of an older version up to
    date, step by step.

    Raises ``UserError`` for tables of something else, or of a newer version.
    """
    tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
    if not tables:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        connection.execute("BEGIN")
        connection.execute(
            f"CREATE TABLE models ({columns})"
        )  # no primary key: a page costs a tenth without one
        connection.execute(
            "CREATE TABLE configs (id VARCHAR, sha VARCHAR, file VARCHAR, body VARCHAR)"
        )
        connection.execute("CREATE TABLE state (key VARCHAR, value VARCHAR)")
        connection.execute("INSERT INTO state VALUES ('schema_version', ?)", [str(SCHEMA_VERSION)])
        connection.execute("COMMIT")
    elif not {"models", "state"} <= tables:
        raise UserError(
            f"{path} is a DuckDB file of something else (tables: {', '.join(sorted(tables))}); "
            "give another file with --catalogue"
        )
    query = "SELECT value FROM state WHERE key = 'schema_version'"
    for step in range(_version(connection, query, path) + 1, SCHEMA_VERSION + 1):
        connection.execute("BEGIN")
        for statement in MIGRATIONS[step]:
            connection.execute(statement)
        connection.execute("UPDATE state SET value = ? WHERE key = 'schema_version'", [str(step)])
        connection.execute("COMMIT")


def view(connection: duckdb.DuckDBPyConnection, snapshot: Path) -> None:
    """Make ``models`` a view of the snapshot; columns newer than it are unknown. ``UserError`` as
    for ``prepare``.
    """
    file = quote(str(snapshot))
    _version(
        connection,
        f"SELECT value FROM parquet_kv_metadata({file}) WHERE decode(key) = 'teacher_zoo_schema'",
        snapshot,
    )
    there = {row[0] for row in connection.execute(f"DESCRIBE FROM read_parquet({file})").fetchall()}
    columns = ", ".join(
        f'"{name}"' if name in there else f'NULL::{kind} AS "{name}"'
        for name, kind in COLUMNS.items()
    )
    connection.execute(f"CREATE VIEW models AS SELECT {columns} FROM read_parquet({file})")


def _version(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    """The version that ``path`` says it has; ``UserError`` where this version of the tool cannot
    know what is in it.
    """
    found = connection.execute(query).fetchall()
    version = int(found[0][0]) if found and found[0][0].isdigit() else 0
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by a newer teacher-zoo (schema {version}, this one knows up to "
            f"{SCHEMA_VERSION}); upgrade teacher-zoo or give another file with --catalogue"
        )
    if version < 1:
        raise UserError(
            f"{path} is not a catalogue of teacher-zoo; give another file with --catalogue"
        )
    return version
