"""The catalogue: a DuckDB file with one writer, and a Parquet snapshot beside it for every
reader.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.card import ModelCard
from zoo.errors import UserError
from zoo.files import replacing
from zoo.home import default_catalogue
from zoo.sql import SCHEMA_VERSION, prepare, quote, table, view
from zoo.statement import column, misunderstood, select, unreadable

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

_BATCH = 10_000
# The writer's share of the 700 MB that a crawl of millions may take. One thread that need not keep
# the order of rows can bound the row groups of a snapshot by their bytes; with more, label lists of
# a thousand names do not fit. Fewer checkpoints make a page of a crawl cheaper; what lies in the
# log is replayed after a kill.
_WRITER: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "400MB",
    "threads": "1",
    "preserve_insertion_order": "false",
    "checkpoint_threshold": "64MB",
}
_MACROS = (
    # ImageNet's names are synonyms in one string: "tench, Tinca tinca"
    (
        "CREATE TEMP MACRO has_label(labels, name) AS "
        "list_contains(string_split(lower(array_to_string(labels, ', ')), ', '), lower(name))"
    ),
)


class Catalogue:
    """Models and what is known of them; a context manager.

    A reader (the default) sees the last published snapshot and needs no lock, so any number may
    read while one writer crawls. A writer excludes every other writer. Expressions and queries of
    the user run on a connection that can reach no other file and no network.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection = connection
        self._in_transaction = False

    @classmethod
    def open(cls, path: Path | None = None, *, write: bool = False) -> Catalogue:
        """The catalogue at ``path`` (default: under ``$TEACHER_ZOO_HOME``); ``write`` makes it
        where there is none.

        Raises ``UserError`` where there is nothing to read, another process is writing, or the file
        is damaged, foreign, or from a newer version of this tool.
        """
        path = Path(path) if path is not None else default_catalogue()
        return cls(path, _writer(path) if write else _reader(path))

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; closing twice is harmless."""
        self._connection.close()

    @property
    def snapshot(self) -> Path:
        """The Parquet file that readers open."""
        return snapshot_of(self.path)

    # --- reading

    def models(
        self,
        *,
        where: str | None = None,
        columns: Sequence[str] | None = None,
        sort: str | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """The models that meet ``where`` (a boolean SQL expression over the columns), as a table.

        ``sort`` names columns, separated by commas: ``COL``, ``COL asc``, ``COL desc`` or ``-COL``
        (descending). Without a direction it is ascending, except for downloads, likes, accuracy and
        the times: most or latest first. Unknown values come last. Raises ``UserError`` for a faulty
        expression, naming the nearest column to a misspelt one.
        """
        return self.sql(select(where=where, columns=columns, sort=sort, limit=limit))

    def sql(self, query: str) -> pd.DataFrame:
        """The answer to one SELECT over the table ``models``. Raises ``UserError`` for anything
        else.
        """
        frame: pd.DataFrame = self._answer(query, lambda relation: relation.df())
        return frame

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """The answer to one SELECT, piece by piece and at least one: answers larger than memory."""
        import pyarrow as pa

        reader = self._answer(query, lambda relation: relation.to_arrow_reader(_BATCH))
        yield pa.RecordBatch.from_pylist([], reader.schema)
        try:
            yield from reader
        except (pa.ArrowException, OSError) as error:  # a row that cannot be converted, met midway
            raise misunderstood(error, self.snapshot) from None

    def cards(
        self, *, where: str | None = None, models: Sequence[str] = (), limit: int | None = None
    ) -> list[ModelCard]:
        """Cards in order of id; ``models`` narrows to exact ids or globs (``timm/resnet*``), and
        meets ``where``.
        """
        if models:
            wanted = " OR ".join(
                f"id {'GLOB' if set('*?[') & set(m) else '='} {quote(m)}" for m in models
            )
            where = f"({wanted})" + (f" AND ({where}\n)" if where else "")
        query = select(where=where, sort="id", limit=limit)
        rows = self._answer(query, lambda relation: relation.to_arrow_table().to_pylist())
        return [ModelCard.from_row(row) for row in rows]

    def count(self, where: str | None = None) -> int:
        """How many models meet ``where``."""
        query = "SELECT count(*) FROM models" + (f" WHERE ({where}\n)" if where else "")
        return int(self._answer(query, lambda relation: relation.fetchall())[0][0])

    def _answer(self, query: str, fetch: Callable[[duckdb.DuckDBPyRelation], Any]) -> Any:
        import duckdb

        try:
            statements = self._connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UserError(
                    "one SELECT is expected; the catalogue can be read, not changed, by a query"
                )
            return fetch(self._connection.sql(query))
        except duckdb.Error as error:
            raise misunderstood(error, self.snapshot) from None

    # --- writing

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside becomes true at once, or not at all (also after kill -9)."""
        if self._in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        self._in_transaction = True
        try:
            with self._full_disk_is_told():
                try:
                    yield
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
        finally:
            self._in_transaction = False

    @contextlib.contextmanager
    def _full_disk_is_told(self) -> Iterator[None]:
        """DuckDB's error becomes the operating system's, which commands explain."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from None
            raise

    def upsert(self, cards: Iterable[ModelCard]) -> int:
        """Add ``cards``, replacing rows of the same id (the last card of an id wins); returns how
        many ids.
        """
        unique = list({card.id: card for card in cards}.values())
        if unique:
            self.replace("models", table(map(vars, unique)))
        return len(unique)

    def locations(self, where: str) -> dict[str, str | None]:
        """Id -> location of the rows that meet ``where`` (trusted SQL, not the user's)."""
        return dict(
            self._connection.execute(f"SELECT id, location FROM models WHERE {where}").fetchall()
        )

    def remove(self, ids: Iterable[str]) -> None:
        """Forget these models."""
        self._connection.execute(
            "DELETE FROM models WHERE id IN (SELECT unnest(?::VARCHAR[]))", [sorted(ids)]
        )

    def mark(self, where: str, values: Mapping[str, object]) -> int:
        """Set columns of the rows that meet ``where`` (trusted SQL, not the user's); returns how
        many rows.
        """
        assignments = ", ".join(f"{column(name)} = ?" for name in values)
        query = f"UPDATE models SET {assignments} WHERE {where}"
        return int(self._connection.execute(query, list(values.values())).fetchall()[0][0])

    def state(self, key: str) -> str | None:
        """What ``set_state`` saved under ``key`` (a crawl's cursor, a watermark), or ``None``."""
        found = self._connection.execute("SELECT value FROM state WHERE key = ?", [key]).fetchall()
        return None if not found else found[0][0]

    def set_state(self, key: str, value: str | None) -> None:
        """Save ``value`` under ``key``; ``None`` forgets it."""
        with self.transaction():
            self._connection.execute("DELETE FROM state WHERE key = ?", [key])
            if value is not None:
                self._connection.execute("INSERT INTO state VALUES (?, ?)", [key, value])

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The writer's connection, for the doctor and for passes over millions of rows that stay
        inside DuckDB.
        """
        return self._connection

    def publish(self) -> Path:
        """Write the snapshot beside the database and rename it into place; readers see the old or
        the new one.
        """
        # Not sorted, which would take gigabytes, but like with like: filters and top lists skip
        # most row groups.
        parts = (
            f"SELECT * FROM models WHERE loadable IS {loadable} TRUE AND coalesce(downloads, 0)"
            f" {downloads}"
            for loadable in ("NOT DISTINCT FROM", "DISTINCT FROM")
            for downloads in ("< 1000", ">= 1000")
        )
        with self._full_disk_is_told(), replacing(self.snapshot) as partial:
            self._connection.execute("CHECKPOINT")
            self._connection.execute(
                f"COPY ({' UNION ALL '.join(parts)}) TO {quote(str(partial))} (FORMAT parquet,"
                " COMPRESSION zstd, ROW_GROUP_SIZE_BYTES '32MB', KV_METADATA"
                f" {{teacher_zoo_schema: '{SCHEMA_VERSION}'}})"
            )
        return self.snapshot

    def replace(self, name: str, rows: pa.Table, *, key: Sequence[str] = ("id",)) -> None:
        """Put ``rows``, each with a ``key`` of its own, in the place of those of the table ``name``
        with the same key.
        """
        matches = " AND ".join(f"{name}.{part} = page.{part}" for part in key)
        with self.registered(rows):
            self._connection.execute(f"DELETE FROM {name} USING page WHERE {matches}")
            self._connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM page")

    @contextlib.contextmanager
    def registered(self, rows: pa.Table) -> Iterator[None]:
        """A transaction in which ``rows`` are the table ``page``."""
        self._connection.register("page", rows)
        try:
            with self.transaction():
                yield
        finally:
            self._connection.unregister("page")


def snapshot_of(path: Path) -> Path:
    """Where the snapshot of the catalogue at ``path`` lies; a path that is itself a snapshot is its
    own.
    """
    return path.with_suffix(".parquet")


# --- opening


def _reader(path: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    snapshot = snapshot_of(path)
    if not snapshot.is_file():
        if path.is_file() and path != snapshot:
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
        view(connection, snapshot)
    except duckdb.Error as error:
        raise unreadable(error, snapshot) from None
    return connection


def _writer(path: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(str(path), path.resolve().parent)
        prepare(connection, path)
    except duckdb.Error as error:
        raise unreadable(error, path) from None
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"the catalogue {path} cannot be made: {path.parent} is not a folder"
        ) from None
    return connection


def _connect(database: str, allowed: Path) -> duckdb.DuckDBPyConnection:
    """A connection that can reach ``allowed`` (a file, or a folder and what is in it) and nothing
    else.
    """
    import duckdb

    connection = (
        duckdb.connect(database)
        if database == ":memory:"
        else duckdb.connect(database, config=_WRITER)
    )
    setting = "allowed_directories" if allowed.is_dir() else "allowed_paths"
    for statement in (
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET python_enable_replacements = false",
        "SET enable_progress_bar = false",
        f"SET {setting} = [{quote(str(allowed))}]",
        "SET enable_external_access = false",
        *_MACROS,
        "SET lock_configuration = true",
    ):
        connection.execute(statement)
    return connection


def utc_now() -> dt.datetime:
    """Now, as the catalogue keeps times: UTC without a zone."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
