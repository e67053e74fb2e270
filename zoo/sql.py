"""DuckDB under the catalogue: connections, tables, a user's queries, errors as sentences."""

from __future__ import annotations

import difflib
import errno
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.card import ModelCard
from zoo.errors import CatalogueLocked, DamagedCatalogue, UserError
from zoo.files import check_can_write, check_home
from zoo.home import default_catalogue
from zoo.terminal.command import printable
from zoo.terminal.limits import memory_limit

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SCHEMA_VERSION = "1"
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
ADDED = ("modality", "max_length")  # columns that catalogues of earlier versions lack
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
# what DuckDB says of a file whose bytes make no sense: these errors, one without a kind, or texts
_DAMAGE = ("IOException", "SerializationException", "InternalException", "FatalException", "Error")
_DAMAGE_TEXT = re.compile(r"Failed to read file|corrupt|TProtocol|decompress", re.IGNORECASE)
PUBLISHED = "published"  # key of the state: the name of the snapshot that the database wrote
DESCENDING = (  # columns of which a user wants the most or the latest first
    "downloads",
    "likes",
    "accuracy",
    "created_at",
    "last_modified",
    "indexed_at",
    "removed_at",
)


def quote(text: str) -> str:
    """``text`` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _quoted_file(file: Path) -> str:
    """``file`` as a literal for ``read_parquet``, which takes ``*``, ``?`` and ``[`` for a glob."""
    import glob

    return quote(glob.escape(str(file)))


# --- opening


def snapshot_of(path: Path) -> Path:
    """The snapshot of the catalogue at ``path``; a snapshot is its own."""
    return path.with_suffix(".parquet")


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
        f"SET {setting} = [{quote(str(allowed))}, {_quoted_file(allowed)}]",
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


# --- tables


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
    source = f"read_parquet({_quoted_file(snapshot)})"
    rows = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    missing = set(COLUMNS) - {row[0] for row in rows}
    if missing - set(ADDED):
        raise DamagedCatalogue(
            f"the snapshot {snapshot} lacks the column {', '.join(sorted(missing))}: it is damaged,"
            " or another version of teacher-zoo wrote it; python -m"
            f" zoo.doctor{_option_of(snapshot)} publishes it anew"
        )
    columns = ", ".join(
        f'NULL::{kind} AS "{name}"' if name in missing else f'"{name}"'
        for name, kind in COLUMNS.items()
    )
    connection.execute(f"CREATE VIEW models AS SELECT {columns} FROM {source}")


def snapshot_version(connection: duckdb.DuckDBPyConnection, file: Path) -> str | None:
    """The schema version that a snapshot bears as its mark; ``None`` for any other Parquet file."""
    query = (
        f"SELECT decode(value) FROM parquet_kv_metadata({_quoted_file(file)})"
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


# --- queries


def select(
    *,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    limit: int | None = None,
) -> str:
    """The SELECT that ``Catalogue.models`` runs for these arguments."""
    names = [column(name) for name in columns or COLUMNS]
    query = f"SELECT {', '.join(names)} FROM models"
    if where and where.strip():
        query += f" WHERE ({where}\n)"  # the line break ends a trailing comment
    if sort:
        query += f" ORDER BY {_order(sort)}"
    if limit is not None:
        if limit < 0:
            raise UserError(f"limit {limit}: a number of models, 0 or more, is expected")
        query += f" LIMIT {limit}"
    return query


def _order(sort: str) -> str:
    terms = []
    for term in sort.split(","):
        matched = re.fullmatch(r"\s*(-?)\s*(\w+)\s*(asc|desc)?\s*", term, re.IGNORECASE)
        if not matched:
            raise UserError(
                f"sort {term.strip()!r}: a column is expected, alone or as 'COL desc', 'COL asc' or"
                " -COL"
            )
        minus, name, direction = matched.groups()
        if minus:
            direction = "DESC"
        elif not direction:
            direction = "DESC" if name.lower() in DESCENDING else "ASC"
        terms.append(f"{column(name)} {direction} NULLS LAST")
    return ", ".join([*terms, "id"])


def column(name: str) -> str:
    """``name`` quoted for SQL; raises ``UserError`` with the nearest column for a misspelt name."""
    if name.lower() in COLUMNS:
        return f'"{name.lower()}"'
    near = difflib.get_close_matches(
        name.lower(),
        COLUMNS,
        n=1,
        cutoff=0.6,
    )
    if near:
        raise UserError(
            f"no column {name!r}; did you mean {near[0]!r}? (docs/catalogue.md explains them all)"
        )
    raise UserError(
        f"no column {name!r} (text stands in single quotes: license = 'mit'; "
        f"columns: {', '.join(COLUMNS)})"
    )


# --- errors


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
        mend = f"python -m zoo.doctor{_option_of(path)} mends it"
    return DamagedCatalogue(
        f"the catalogue {path} cannot be read ({_first_line(str(error))}); if it is damaged,"
        f" {mend}, or give another file with --catalogue"
    )


def _option_of(path: Path) -> str:
    """The option that names the catalogue to another command, where it is not the default."""
    database = path.with_suffix(".duckdb")
    return "" if database == default_catalogue() else f" --catalogue {shlex.quote(str(database))}"


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
