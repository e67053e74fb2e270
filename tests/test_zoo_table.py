"""The table of the terminal: it fits, a pipe gets all of it, no name is broken in the middle."""

from __future__ import annotations

import doctest
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.terminal.table
from zoo.terminal.table import Column, break_name, print_table, short_count, table_text

COLUMNS = [
    Column("model", is_name=True),
    Column("params", is_number=True),
    Column("what"),
    Column("licence"),
]
names = st.text(st.sampled_from("abc0/_.-"), min_size=1, max_size=60)
texts = st.text(st.sampled_from("abc é中[/]"), max_size=100).map(str.strip)
numbers = st.integers(0, 10**8).map(str)
tables = st.lists(st.tuples(names, numbers, texts, texts).map(list), min_size=1, max_size=5)


@settings(deadline=None)
@given(tables)
def test_a_pipe_gets_every_cell_and_one_line_a_row(rows: list[list[str]]) -> None:
    lines = table_text(COLUMNS, rows).splitlines()
    assert len(lines) == 1 + len(rows)
    for line, row in zip(lines[1:], rows, strict=True):
        assert all(cell in line for cell in row)
        assert line == line.rstrip()


@settings(deadline=None)
@given(tables, st.integers(60, 200))
def test_a_terminal_is_never_too_narrow(rows: list[list[str]], width: int) -> None:
    lines = table_text(COLUMNS, rows, width=width).splitlines()
    assert max(map(len, lines)) <= width
    for row in rows:
        assert any(row[1] in line for line in lines)  # numbers are never cut


@settings(deadline=None)
@given(names, st.integers(8, 40))
def test_names_are_broken_only_after_a_separator(name: str, width: int) -> None:
    lines = break_name(name, width).split("\n")
    assert "".join(lines) == name
    assert all(line[-1] in "/._-" for line in lines[:-1])
    assert all(len(line) <= width or not re.search(r"[/._-][^/._-]", line) for line in lines)


@pytest.mark.parametrize("width", [20, 50, 80, 1000])
def test_columns_without_room_are_left_out_at_the_right_and_counted(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    columns = [Column(f"column{i}", is_number=i % 2 == 1) for i in range(20)]
    left_out = print_table(columns, [["x" * 30] + ["1"] * 19], droppable=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines[0].split()) == 20 - left_out
    assert max(map(len, lines)) <= width
    assert (left_out == 0) == (width == 1000)


def test_a_long_name_gives_half_of_the_room_before_a_column_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = [Column("model", is_name=True), Column("first", is_number=True), Column("second")]
    assert print_table(columns, [["owner/" + "part-" * 8, "1234", "text"]], droppable=True) == 0
    assert "1234  text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (410_260, "410k"),
        (3_504_872, "3.5M"),
        (10_240_000, "10.2M"),
        (999_950, "1000k"),
        (2_500_000_000, "2.5B"),
    ],
)
def test_counts_are_short(number: int | None, text: str) -> None:
    assert short_count(number) == text


def test_the_examples_of_the_docstrings_run() -> None:
    failed, attempted = doctest.testmod(zoo.terminal.table)
    assert attempted >= 3
    assert failed == 0
