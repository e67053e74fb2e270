"""A statement of SQL on the catalogue, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import UserError
from zoo.sql.columns import COLUMNS, column

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


def quoted_file(file: Path) -> str:
    """``file`` as a literal for ``read_parquet``, which takes ``*``, ``?`` and ``[`` for a glob."""
    import glob

    return quote(glob.escape(str(file)))


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
