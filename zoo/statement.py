"""What a user asks as SQL, and DuckDB's answers to what was wrong with it as sentences."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import UserError
from zoo.sql import COLUMNS
from zoo.terminal.command import clean

DESCENDING = (
    "downloads",
    "likes",
    "accuracy",
    "created_at",
    "last_modified",
    "indexed_at",
    "removed_at",
)


def select(
    *,
    where: str | None = None,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    limit: int | None = None,
) -> str:
    """The SELECT that ``Catalogue.models`` asks with these arguments."""
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
        quoted = column(name)
        word = (
            "DESC"
            if minus or (name.lower() in DESCENDING and not direction)
            else direction or "ASC"
        )
        terms.append(f"{quoted} {word} NULLS LAST")
    return ", ".join([*terms, "id"])


def column(name: str) -> str:
    """``name`` quoted for SQL; ``UserError`` naming the nearest column where there is none of that
    name.
    """
    if name.lower() in COLUMNS:
        return f'"{name.lower()}"'
    near = difflib.get_close_matches(name.lower(), COLUMNS, n=1, cutoff=0.6)
    if near:
        raise UserError(
            f"no column {name!r}; did you mean {near[0]!r}? (docs/catalogue.md explains them all)"
        )
    raise UserError(
        f"no column {name!r} (text stands in single quotes: license = 'mit'; "
        f"columns: {', '.join(COLUMNS)})"
    )


def unreadable(error: Exception, path: Path) -> UserError:
    """DuckDB's error on opening ``path``, or on finding it damaged later, as one line that says
    what to do.
    """
    holder = re.search(r"held in (\S+) \(PID (\d+)\)", str(error))
    if holder or "set lock on file" in str(error):
        who = f"process {holder[2]} ({Path(holder[1]).name})" if holder else "another process"
        return UserError(
            f"{who} is writing the catalogue {path}; wait for it to end, or give another file with "
            "--catalogue (reading works meanwhile)"
        )
    return UserError(
        f"the catalogue {path} cannot be read ({_first_line(str(error))}); if it is damaged, remove"
        " it and crawl again, or give another file with --catalogue"
    )


def misunderstood(error: Exception, snapshot: Path) -> UserError:
    """DuckDB's error on a user's query as one line."""
    kind, text = type(error).__name__, str(error)
    missing = re.search(r'column "([^"]+)" not found|column named "([^"]+)"', text)
    if missing:
        try:
            column(missing[1] or missing[2])
        except UserError as named:
            return named
    if "operations are disabled" in text or kind == "PermissionException":
        return UserError(
            "a query reads the table models only; files and the network are out of its reach"
        )
    if kind in ("IOException", "SerializationException", "InternalException", "FatalException"):
        return unreadable(error, snapshot)
    return UserError(f"the query was not understood: {_first_line(text)}")


def _first_line(text: str) -> str:
    return clean(text.strip().splitlines()[0] if text.strip() else "no reason given", 300)
