"""The catalogue's table: its columns, its version, and how an older file becomes one of today."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.card import ModelCard
from zoo.errors import UserError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SCHEMA_VERSION = 1
# Version n's statements turn a catalogue of version n - 1 into one of version n; every new column needs its ALTER here.
MIGRATIONS: dict[int, tuple[str, ...]] = {}
_SQL_TYPES = {
    "str": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "dt.datetime": "TIMESTAMP",
    "tuple[str, ...]": "VARCHAR[]", "tuple[float, ...]": "DOUBLE[]",
}
COLUMNS: dict[str, str] = {f.name: _SQL_TYPES[str(f.type).removesuffix(" | None")] for f in fields(ModelCard)}


def arrow_type(column: str) -> pa.DataType:
    """The type of ``column`` in an Arrow table that is to be written."""
    import pyarrow as pa

    return {
        "VARCHAR": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_(),
        "TIMESTAMP": pa.timestamp("us"), "VARCHAR[]": pa.list_(pa.string()), "DOUBLE[]": pa.list_(pa.float64()),
    }[COLUMNS[column]]


def quote(text: str) -> str:
    """``text`` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables, all or none: models, their raw configs, and what a crawl must remember."""
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE models ({columns})")  # no primary key: a page costs a tenth without one
    connection.execute("CREATE TABLE configs (id VARCHAR, sha VARCHAR, file VARCHAR, body VARCHAR)")
    connection.execute("CREATE TABLE state (key VARCHAR, value VARCHAR)")
    connection.execute("INSERT INTO state VALUES ('schema_version', ?)", [str(SCHEMA_VERSION)])
    connection.execute("COMMIT")


def migrate(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Bring a file of an older version up to date, step by step. ``UserError`` for a newer one."""
    found = connection.execute("SELECT value FROM state WHERE key = 'schema_version'").fetchall()
    version = int(found[0][0]) if found and str(found[0][0]).isdecimal() else 0
    check_version(version, path)
    for step in range(version + 1, SCHEMA_VERSION + 1):
        connection.execute("BEGIN")
        for statement in MIGRATIONS[step]:
            connection.execute(statement)
        connection.execute("UPDATE state SET value = ? WHERE key = 'schema_version'", [str(step)])
        connection.execute("COMMIT")


def check_version(version: int, path: Path) -> None:
    """``UserError`` where this version of the tool cannot know what is in ``path``."""
    if version > SCHEMA_VERSION:
        raise UserError(f"{path} was written by a newer teacher-zoo (schema {version}, this one knows up to "
                        f"{SCHEMA_VERSION}); upgrade teacher-zoo or give another file with --catalogue")
    if version < 1:
        raise UserError(f"{path} is not a catalogue of teacher-zoo; give another file with --catalogue")


def snapshot_version(connection: duckdb.DuckDBPyConnection, snapshot: Path) -> int:
    """The version that the snapshot says it has; 0 where it says none."""
    query = f"SELECT value FROM parquet_kv_metadata({quote(str(snapshot))}) WHERE decode(key) = 'teacher_zoo_schema'"
    found = connection.execute(query).fetchall()
    return int(found[0][0]) if found and found[0][0].isdigit() else 0


def known_columns(connection: duckdb.DuckDBPyConnection, snapshot: Path) -> str:
    """What to select: a snapshot of an older version lacks the newer columns, which are unknown then, not an error."""
    there = {row[0] for row in connection.execute(f"DESCRIBE FROM read_parquet({quote(str(snapshot))})").fetchall()}
    return ", ".join(f'"{name}"' if name in there else f'NULL::{kind} AS "{name}"' for name, kind in COLUMNS.items())
