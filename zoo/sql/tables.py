"""The tables of the catalogue, in DuckDB or Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DamagedCatalogue, UserError
from zoo.sql.columns import ADDED, COLUMNS
from zoo.sql.paths import catalogue_option
from zoo.sql.statement import quoted_file

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SCHEMA_VERSION = "1"


def arrow_table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = COLUMNS) -> pa.Table:
    """``rows`` as an Arrow table of ``columns``, in the catalogue's types.

    A column that a row lacks is NULL in it.
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
    schema = pa.schema([(name, types[COLUMNS[name]]) for name in columns])
    return pa.Table.from_pylist(list(rows), schema)


def create_tables(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the catalogue's tables in an empty database; raise ``UserError`` for a foreign one."""
    query = "SELECT DISTINCT table_name FROM information_schema.tables ORDER BY 1"
    tables = [name for (name,) in connection.execute(query).fetchall()]
    if not tables:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
        connection.execute("BEGIN")
        # no primary key: a page of a crawl costs a tenth without one
        connection.execute(f"CREATE TABLE models ({columns})")
        connection.execute(
            "CREATE TABLE configs (id VARCHAR, sha VARCHAR, file VARCHAR, body VARCHAR)"
        )
        connection.execute("CREATE TABLE state (key VARCHAR, value VARCHAR)")
        connection.execute("INSERT INTO state VALUES ('schema_version', ?)", [SCHEMA_VERSION])
        connection.execute("COMMIT")
    elif not {"models", "state"} <= set(tables):
        raise UserError(
            f"{path} is a DuckDB file of something else (tables: {', '.join(tables)}); give another"
            " file with --catalogue"
        )
    rows = connection.execute("SELECT value FROM state WHERE key = 'schema_version'").fetchall()
    check_version(rows[0][0] if rows else None, path)
    if tables:
        add_columns(connection, "models")


def add_columns(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Give ``table``, of an earlier version, the columns that were added since."""
    for name in ADDED:
        connection.execute(f'ALTER TABLE {table} ADD COLUMN IF NOT EXISTS "{name}" {COLUMNS[name]}')


def create_view(connection: duckdb.DuckDBPyConnection, snapshot: Path) -> None:
    """Make ``models`` a view of ``snapshot``; raise ``UserError`` for a foreign file."""
    check_version(snapshot_version(connection, snapshot), snapshot)
    source = f"read_parquet({quoted_file(snapshot)})"
    rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    missing = set(COLUMNS) - {row[0] for row in rows}
    if missing - set(ADDED):
        raise DamagedCatalogue(
            f"the snapshot {snapshot} lacks the column {', '.join(sorted(missing))}: it is damaged,"
            " or another version of teacher-zoo wrote it; python -m"
            f" zoo.doctor{catalogue_option(snapshot)} publishes it anew"
        )
    columns = ", ".join(
        f'NULL::{kind} AS "{name}"' if name in missing else f'"{name}"'
        for name, kind in COLUMNS.items()
    )
    connection.execute(f"CREATE VIEW models AS SELECT {columns} FROM {source}")


def snapshot_version(connection: duckdb.DuckDBPyConnection, file: Path) -> str | None:
    """The schema version that a snapshot bears as its mark; ``None`` for any other Parquet file."""
    query = (
        f"SELECT decode(value) FROM parquet_kv_metadata({quoted_file(file)})"
        " WHERE decode(key) = 'teacher_zoo_schema'"
    )
    rows = connection.execute(query).fetchall()
    return str(rows[0][0]) if rows else None


def check_version(version: str | None, path: Path) -> None:
    """Raise ``UserError`` unless ``version``, which ``path`` says it has, is that of this tool."""
    if version == SCHEMA_VERSION:
        return
    if version is not None and version.isdecimal() and int(version) > int(SCHEMA_VERSION):
        raise UserError(
            f"{path} was written by a newer teacher-zoo (schema {version}, this one knows"
            f" {SCHEMA_VERSION}); upgrade teacher-zoo or give another file with --catalogue"
        )
    raise UserError(f"{path} is not a catalogue of teacher-zoo; give another file with --catalogue")
