"""``python -m zoo.query``: ask the catalogue."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.catalogue import Catalogue
from zoo.errors import UserError
from zoo.sql.columns import COLUMNS
from zoo.sql.statement import select
from zoo.terminal.command import printable, run, validate_choice
from zoo.terminal.options import CatalogueFile, check_bounds, command_of
from zoo.terminal.spreadsheet import as_json, print_utf8, write_csv
from zoo.terminal.table import Column, paragraph, print_table, short_count, terminal_width

if TYPE_CHECKING:
    import pyarrow as pa

    Batches = Iterator[pa.RecordBatch]
    Rows = list[tuple[Any, ...]]

TABLE_COLUMNS = (
    "id",
    "num_classes",
    "params_total",
    "license",
    "loadable",
    "architecture",
    "labels",
)
_TABLE_ROWS = 50
_COUNTS = ("params_total", "downloads", "likes")
_LONGEST_CELL = 80
_MOST_NAMED = 4  # columns without room that are named


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """What is asked of the catalogue, and in what format the answer is printed."""

    where: Annotated[
        str | None,
        typer.Option(
            help="Only models that meet this SQL expression, e.g. \"license = 'apache-2.0' and"
            ' num_classes > 100".'
        ),
    ] = None
    sql: Annotated[
        str | None, typer.Option(help="A whole SELECT over the table models, instead of the rest.")
    ] = None
    columns: Annotated[
        tuple[str, ...], typer.Option(help="Columns to show; repeat, or separate by commas.")
    ] = ()
    sort: Annotated[
        str | None,
        typer.Option(
            help="COL, 'COL desc' or -COL; downloads, likes, accuracy and times come largest first"
            " by themselves."
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(min=0, help=f"At most this many rows (default of a table: {_TABLE_ROWS})."),
    ] = None
    format: Annotated[str, typer.Option(help="table, csv, json or parquet.")] = "table"
    catalogue: CatalogueFile = None

    def __post_init__(self) -> None:
        check_bounds(self)
        validate_choice("format", self.format, ("table", *_WRITERS))
        if self.sql and (self.where or self.columns or self.sort):
            raise UserError("--sql is a whole query; put --where, --columns and --sort into it")


def query(options: QueryOptions) -> None:
    """Ask the catalogue. Columns and examples: docs/catalogue.md."""
    as_table, limit = options.format == "table", options.limit
    if options.format == "parquet" and sys.stdout.isatty():
        raise UserError(
            "parquet is no text for a terminal; send it into a file: ... --format parquet >"
            " models.parquet"
        )
    columns: Sequence[str] = options.columns
    if as_table:
        columns = columns or _table_columns(options.sort)
        limit = _TABLE_ROWS if limit is None else limit
    with Catalogue.open(options.catalogue) as catalogue:
        statement = options.sql or select(
            where=options.where,
            columns=columns or None,
            sort=options.sort,
            limit=limit,
        )
        batches = catalogue.batches(statement)
        if as_table:
            total = None if options.sql else catalogue.count(options.where)
            _write_table(batches, limit or 0, total=total)
        else:
            print_utf8()
            _WRITERS[options.format](batches if limit is None else _first(batches, limit))


def _table_columns(sort: str | None) -> list[str]:
    """The default columns of a table, with those that it is sorted by."""
    words = re.findall(r"\w+", sort or "")
    by = [name for name in COLUMNS if name in words and name not in TABLE_COLUMNS]
    return [TABLE_COLUMNS[0], *by, *TABLE_COLUMNS[1:]]


def _first(batches: Batches, left: int) -> Batches:
    for batch in batches:
        yield batch.slice(0, left)
        left = max(0, left - batch.num_rows)
        if not left:
            return


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """The rows in plain Python values; unknown is ``None``."""
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _write_table(batches: Batches, limit: int, *, total: int | None) -> None:
    """Print the first ``limit`` rows.

    ``total`` is how many rows there are; ``None`` where ``batches`` hold them all.
    """
    rows: Rows = []
    names: list[str] = []
    count = 0
    for batch in batches:
        names, count = batch.schema.names, count + batch.num_rows
        rows += _rows(batch.slice(0, limit - len(rows)))
    total = count if total is None else total
    if not rows:
        print(f"0 of {total:,} rows" if total else "no model meets this")
        return
    cells = [[_cell(name, value) for name, value in zip(names, row, strict=True)] for row in rows]
    columns = [
        _column(
            names,
            i,
            rows,
            cells,
        )
        for i in range(len(names))
    ]
    left_out = print_table(columns, cells)
    more = f" of {total:,}" if total > len(rows) else ""
    parts = [f"{len(rows):,}{more} row{'s' if total != 1 else ''}"]
    if more:
        parts.append("--limit shows more")
    if left_out:
        parts.append(f"left out for width: {_in_short(left_out)}; choose with --columns")
    print(paragraph("; ".join(parts), width=terminal_width()))


def _column(
    names: Sequence[str],
    place: int,
    rows: Rows,
    cells: Sequence[Sequence[str]],
) -> Column:
    """The column at ``place``: the first always stays, sentences and lists may be cut."""
    name = names[place]
    is_number = all(not isinstance(row[place], str | list) for row in rows)
    return Column(
        name,
        is_number=is_number,
        is_name=name == "id",
        can_cut=not is_number and any(" " in row[place] for row in cells),
        optional=place > 0,
    )


def _in_short(heads: Sequence[str]) -> str:
    """The first few names, and how many more."""
    more = f" and {len(heads) - _MOST_NAMED} more" if len(heads) > _MOST_NAMED else ""
    return ", ".join(heads[:_MOST_NAMED]) + more


def _write_csv(batches: Batches) -> None:
    for i, batch in enumerate(batches):
        write_csv(sys.stdout, batch.schema.names if i == 0 else (), _rows(batch))


def _write_json(batches: Batches) -> None:
    """A JSON array with one row a line."""
    separator = "["
    for batch in batches:
        for row in _rows(batch):
            print(
                separator,
                as_json(dict(zip(batch.schema.names, row, strict=True))),
                sep="\n",
                end="",
            )
            separator = ","
    print("[]" if separator == "[" else "\n]")


def _write_parquet(batches: Batches) -> None:
    import pyarrow.parquet as pq

    first = next(batches)
    with pq.ParquetWriter(sys.stdout.buffer, first.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


_WRITERS: dict[str, Callable[[Batches], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "parquet": _write_parquet,
}


def _cell(name: str, value: object) -> str:
    """One cell as people read it; the text is a stranger's."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _COUNTS and isinstance(value, int):
        return short_count(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        more = f", ... {len(value) - 2:,} more" if len(value) > 3 else ""
        shown = value if len(value) <= 3 else value[:2]
        texts = ", ".join(str(item)[:_LONGEST_CELL] for item in shown)
        return printable(texts, _LONGEST_CELL) + more
    return printable(value, _LONGEST_CELL)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(command_of(QueryOptions, query), argv, name="zoo.query")


if __name__ == "__main__":
    raise SystemExit(main())
