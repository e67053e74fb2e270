"""A ranking on stdout as programs read it."""

from __future__ import annotations

import sys
from dataclasses import asdict

from selection.ranking import Ranking
from zoo.terminal.spreadsheet import print_utf8, write_csv

_FIRST = ("model", "value", "low", "high", "group", "knn")  # columns of CSV before the others


def print_machine_form(ranking: Ranking, form: str) -> None:
    """Print ``ranking`` in the ``form`` json (the text of ``ranking.json``) or csv: a row a model,
    best first, further scores as columns ``score:NAME``.
    """
    print_utf8()
    if form == "json":
        sys.stdout.write(ranking.to_json())
    else:
        _write_rows(ranking)


def _write_rows(ranking: Ranking) -> None:
    lines = []
    for row in ranking.rows:
        line = asdict(row)
        scores = line.pop("scores")
        lines.append(line | {f"score:{name}": value for name, value in scores.items()})
    others = dict.fromkeys(name for line in lines for name in line)
    names = [*_FIRST, *(name for name in others if name not in _FIRST)]
    values = [[_plain(line.get(name)) for name in names] for line in lines]
    write_csv(sys.stdout, names, values)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
