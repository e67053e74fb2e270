"""The catalogue: a DuckDB file with one writer, and a Parquet snapshot for every reader."""

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
from zoo.sql.columns import COLUMNS, column
from zoo.sql.connection import (
    PUBLISHED,
    check_place,
    check_replaceable,
    open_database,
    open_snapshot,
)
from zoo.sql.faults import query_error
from zoo.sql.paths import snapshot_of
from zoo.sql.statement import quote, select
from zoo.sql.tables import SCHEMA_VERSION, arrow_table
from zoo.terminal.limits import QueryLimits

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

__all__ = ["Catalogue", "snapshot_of", "utc_now"]

_BATCH_ROWS = 10_000


class Catalogue:
    """Models and what is known of them; a context manager made by ``Catalogue.open``.

    A reader (the default) sees the last published snapshot and needs no lock, so any number may
    read while one writer crawls. A writer excludes every other writer. Expressions and queries of
    the user run on a connection that can reach no other file and no network.

    Parameters
    ----------
    path : Path
        The database file; its snapshot lies beside it (``catalogue.parquet``).
    connection : duckdb.DuckDBPyConnection
        To the database for a writer, to a view of the snapshot for a reader.

    Examples
    --------
    >>> import tempfile
    >>> from zoo.card import ModelCard
    >>> path = Path(tempfile.mkdtemp()) / "catalogue.duckdb"
    >>> with Catalogue.open(path, write=True) as catalogue:
    ...     catalogue.upsert([ModelCard(id="timm/resnet18", source="timm", params_total=7)])
    ...     catalogue.publish().name
    1
    'catalogue.parquet'
    >>> with Catalogue.open(path) as catalogue:
    ...     catalogue.models(where="params_total < 9", columns=["id"])["id"].tolist()
    ['timm/resnet18']
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection = connection
        self._in_transaction = False

    @classmethod
    def open(cls, path: str | Path | None = None, *, write: bool = False) -> Catalogue:
        """Open the catalogue at ``path``.

        Parameters
        ----------
        path : str or Path, optional
            The ``.duckdb`` file; a reader may also name a snapshot (``.parquet``) itself. Default:
            ``catalogue.duckdb`` under ``$TEACHER_ZOO_HOME``.
        write : bool
            Open the database itself, and make it where there is none.

        Raises
        ------
        UserError
            If there is nothing to read, the file is damaged, foreign or from a newer version of
            this tool, or publishing would replace a file that is not a snapshot of this tool.
        CatalogueLocked
            If another process is writing.
        """
        path = Path(path) if path is not None else default_catalogue()
        return cls(path, open_database(path) if write else open_snapshot(path))

    @staticmethod
    def check_writable(path: str | Path | None = None) -> None:
        """Raise what ``open(path, write=True)`` would, before work is spent; makes no file."""
        path = Path(path) if path is not None else default_catalogue()
        check_place(path)
        if path.exists():  # damaged, of another version, or locked
            Catalogue.open(path, write=True).close()

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
        """The models that meet a condition, as a table.

        Parameters
        ----------
        where : str, optional
            A boolean SQL expression over the columns; default: all models.
        columns : sequence of str, optional
            Columns of the table; default: all.
        sort : str, optional
            Columns separated by commas: ``COL``, ``COL asc``, ``COL desc`` or ``-COL``
            (descending). Without a direction it is ascending, except for downloads, likes, accuracy
            and the times: most or latest first. Unknown values come last.
        limit : int, optional
            At most this many rows.

        Returns
        -------
        pandas.DataFrame
            One row per model; an unknown value is ``NA`` (``None`` in a column of objects).

        Raises
        ------
        UserError
            For a faulty expression or an unknown column; the message names the nearest column.
        """
        return self.sql(
            select(
                where=where,
                columns=columns,
                sort=sort,
                limit=limit,
            )
        )

    def sql(self, query: str) -> pd.DataFrame:
        """The result of one SELECT over the table ``models``; ``UserError`` for anything else."""
        frame: pd.DataFrame = self._run(query, lambda relation: relation.df())
        return frame

    def batches(self, query: str) -> Iterator[pa.RecordBatch]:
        """The result of one SELECT in batches, the first of them empty: for results larger than
        memory.
        """
        import pyarrow as pa

        limits = QueryLimits.of_environment()
        reader = self._run(
            query, lambda relation: relation.to_arrow_reader(_BATCH_ROWS), limits=limits
        )
        yield pa.RecordBatch.from_pylist([], reader.schema)
        while True:
            try:
                with limits.bound(self._connection.interrupt):
                    batch = next(reader, None)
            except (
                pa.ArrowException,
                OSError,
                MemoryError,
                RuntimeError,
            ) as error:  # of a row met midway
                raise limits.error(error) or query_error(error, self.snapshot) from None
            if batch is None:
                return
            yield batch

    def cards(
        self,
        *,
        where: str | None = None,
        models: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[ModelCard]:
        """Cards in order of id.

        Parameters
        ----------
        where : str, optional
            As for ``models``.
        models : sequence of str
            Exact ids or globs (``timm/resnet*``); a card must meet one of them and ``where``.
        limit : int, optional
            At most this many cards.
        """
        if models:
            condition = f" AND ({where}\n)" if where else ""
            where = _any_of(models) + condition
        query = select(where=where, sort="id", limit=limit)
        rows = self._run(query, lambda relation: relation.to_arrow_table().to_pylist())
        return [ModelCard.from_row(row) for row in rows]

    def count(self, where: str | None = None) -> int:
        """How many models meet ``where``."""
        query = "SELECT count(*) FROM models" + (f" WHERE ({where}\n)" if where else "")
        return int(self._run(query, lambda relation: relation.fetchall())[0][0])

    def _run(
        self,
        query: str,
        fetch: Callable[[duckdb.DuckDBPyRelation], Any],
        *,
        limits: QueryLimits | None = None,
    ) -> Any:
        """Run a query of the user's, if it is one SELECT, within the limits of the environment."""
        import duckdb

        limits = limits or QueryLimits.of_environment()
        try:
            statements = self._connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise UserError(
                    "one SELECT is expected; the catalogue can be read, not changed, by a query"
                )
            with limits.bound(self._connection.interrupt):
                return fetch(self._connection.sql(query))
        except (duckdb.Error, MemoryError, RuntimeError) as error:
            limit = limits.error(error)
            if limit is None and not isinstance(error, duckdb.Error):
                raise
            raise limit or query_error(error, self.snapshot) from None

    # --- writing

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written in the block is kept, or nothing of it (also after kill -9)."""
        if self._in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        self._in_transaction = True
        try:
            with self._full_disk_as_oserror():
                try:
                    yield
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
        finally:
            self._in_transaction = False

    @contextlib.contextmanager
    def _full_disk_as_oserror(self) -> Iterator[None]:
        """DuckDB's error on a full disk becomes the operating system's, which commands explain."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            if os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from None
            raise

    def upsert(self, cards: Iterable[ModelCard]) -> int:
        """Add ``cards``, replacing rows of the same id (the last card of an id wins).

        Returns how many ids were written.
        """
        unique = list({card.id: card for card in cards}.values())
        if unique:
            self.replace_rows("models", arrow_table(map(vars, unique)))
        return len(unique)

    def locations(self, where: str) -> dict[str, str | None]:
        """Id -> location of the rows that meet ``where`` (trusted SQL, not the user's)."""
        query = f"SELECT id, location FROM models WHERE {where}"
        return dict(self._connection.execute(query).fetchall())

    def remove(self, ids: Iterable[str]) -> None:
        """Remove the rows of these models."""
        self._connection.execute(
            "DELETE FROM models WHERE id IN (SELECT unnest(?::VARCHAR[]))", [sorted(ids)]
        )

    def update(self, where: str, values: Mapping[str, object]) -> int:
        """Set columns of the rows that meet ``where`` (trusted SQL, not the user's).

        Returns how many rows were set.
        """
        assignments = ", ".join(f"{column(name)} = ?" for name in values)
        query = f"UPDATE models SET {assignments} WHERE {where}"
        return int(self._connection.execute(query, list(values.values())).fetchall()[0][0])

    def state(self, key: str) -> str | None:
        """The value of ``key`` (a crawl's cursor, a watermark), or ``None``."""
        rows = self._connection.execute("SELECT value FROM state WHERE key = ?", [key]).fetchall()
        return rows[0][0] if rows else None

    def set_state(self, key: str, value: str | None) -> None:
        """Save ``value`` under ``key``; ``None`` removes the key."""
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
        """Write the snapshot and rename it into place; readers see the old one or the new one.

        Raises ``UserError`` where the file to be replaced is not a snapshot of this tool.
        """
        check_replaceable(self.snapshot, self._connection)
        # Not sorted, which would take gigabytes, but like with like: filters and top lists skip
        # most row groups.
        columns = ", ".join(column(name) for name in COLUMNS)
        parts = (
            f"SELECT {columns} FROM models WHERE loadable IS {loadable} TRUE AND"
            f" coalesce(downloads, 0) {downloads}"
            for loadable in ("NOT DISTINCT FROM", "DISTINCT FROM")
            for downloads in ("< 1000", ">= 1000")
        )
        with self._full_disk_as_oserror(), replacing(self.snapshot) as partial:
            self._connection.execute("CHECKPOINT")
            self._connection.execute(
                f"COPY ({' UNION ALL '.join(parts)}) TO {quote(str(partial))} (FORMAT parquet,"
                " COMPRESSION zstd, ROW_GROUP_SIZE_BYTES '32MB', KV_METADATA"
                f" {{teacher_zoo_schema: '{SCHEMA_VERSION}'}})"
            )
        self.set_state(PUBLISHED, self.snapshot.name)
        return self.snapshot

    def replace_rows(
        self,
        table: str,
        rows: pa.Table,
        *,
        key: Sequence[str] = ("id",),
    ) -> None:
        """Write ``rows``, unique by ``key``, into ``table``, replacing those of the same key."""
        matches = " AND ".join(f"{table}.{part} = page.{part}" for part in key)
        with self.as_page(rows):
            self._connection.execute(f"DELETE FROM {table} USING page WHERE {matches}")
            self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM page")

    @contextlib.contextmanager
    def as_page(self, rows: pa.Table) -> Iterator[None]:
        """A transaction in which ``rows`` are the table ``page``."""
        self._connection.register("page", rows)
        try:
            with self.transaction():
                yield
        finally:
            self._connection.unregister("page")


def utc_now() -> dt.datetime:
    """Now, as the catalogue keeps times: UTC without a zone."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def _any_of(models: Sequence[str]) -> str:
    """A condition that the id is one of ``models``: exact ids or globs."""
    terms = []
    for model in models:
        operator = "GLOB" if set("*?[") & set(model) else "="
        terms.append(f"id {operator} {quote(model)}")
    return f"({' OR '.join(terms)})"
