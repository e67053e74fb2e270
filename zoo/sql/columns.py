"""The columns of the catalogue's table ``models``."""

from __future__ import annotations

import difflib
from dataclasses import fields

from zoo.card import ModelCard
from zoo.errors import UserError

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
