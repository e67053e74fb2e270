"""CSV that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from decimal import Decimal

import pytest

from zoo.terminal.spreadsheet import as_json, csv_cell, write_csv


def written(names: Sequence[str], *rows: Sequence[object]) -> str:
    file = io.StringIO(newline="")
    write_csv(file, names, rows)
    return file.getvalue()


def test_a_table_is_written_with_plain_ends_of_lines_and_disarmed_heads() -> None:
    text = written(["=a", "b"], [1.5, None], [[1, "é"], {"k": None}])
    assert text == """'=a,b\n1.5,\n"[1, ""é""]","{""k"": null}"\n"""
    assert written([], ["x", -1]) == "x,-1\n"


@pytest.mark.parametrize("cell", ["one\ntwo", "one\rtwo", "one\r\ntwo", 'a "quote"', "a,b"])
def test_a_cell_is_read_back_as_it_was(cell: str) -> None:
    rows = list(csv.reader(io.StringIO(written(["t"], [cell]), newline="")))
    assert rows == [["t"], [cell]]


@pytest.mark.parametrize("sign", "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
def test_a_text_that_begins_as_a_formula_gets_an_apostrophe(sign: str) -> None:
    assert csv_cell(f"{sign}1+1") == f"'{sign}1+1"
    assert csv_cell(f"1{sign}") == f"1{sign}"


def test_large_whole_numbers_of_a_database_stay_numbers_in_json() -> None:
    assert as_json([Decimal(2**70), 1]) == f"[{2**70}, 1]"
