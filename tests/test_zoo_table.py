"""The table of the terminal: it fits, a pipe gets all of it, no name is broken in the middle."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

import zoo.terminal.table
from zoo.terminal.table import Column, legend, paragraph, print_table, short_count, table_text

COLUMNS = [
    Column("model", is_name=True),
    Column("params", is_number=True),
    Column("what", can_cut=True),
    Column("licence", can_cut=True),
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
@given(tables, st.integers(40, 200))
def test_a_terminal_gets_whole_names_and_no_other_line_is_too_long(
    rows: list[list[str]], width: int
) -> None:
    lines = table_text(COLUMNS, rows, width=width).splitlines()
    for row in rows:
        assert any(row[0] in line for line in lines)  # names are never broken
        assert any(row[1] in line for line in lines)  # numbers are never cut
    for line in lines:
        assert cell_len(line) <= width or line in [row[0] for row in rows]


LONG = "google/vit-base-patch16-224-in21k"
LONGEST = "owner/" + "a-name-of-many-parts-" * 3 + "x"


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("name", ["resnet18", LONG, LONGEST, "x" * 250])
def test_each_name_stands_whole_on_one_line(width: int, name: str) -> None:
    columns = [
        Column("", is_number=True),
        Column("model", is_name=True),
        *(Column(f"number {i}", is_number=True) for i in range(3)),
        Column("licence", optional=True),
    ]
    lines = table_text(
        columns, [["1", name, "0.5", "0.25", "12", "apache-2.0"]], width=width
    ).splitlines()
    assert [line for line in lines if name in line.split()] != []
    assert "apache-2.0" in " ".join(lines)
    beside = len(name) + 3 + 2 * (2 + 8) + 10 + 12 <= width
    assert len(lines) == (2 if beside else 4)


def test_names_on_lines_of_their_own_stand_above_their_figures() -> None:
    columns = [
        Column("", is_number=True),
        Column("model", is_name=True),
        Column("score", is_number=True),
        Column("licence", optional=True),
    ]
    rows = [["1", LONGEST, "0.5", "mit"], ["2", "org/b", "0.25", "apache-2.0"]]
    assert table_text(columns, rows, width=70).splitlines() == [
        "   model",
        "   score  licence",
        f"1  {LONGEST}",
        "     0.5  mit",
        "2  org/b",
        "    0.25  apache-2.0",
    ]


@pytest.mark.parametrize("width", [20, 50, 80, 1000])
def test_optional_columns_are_left_out_from_the_right_and_named(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    columns = [Column("a", can_cut=True)]
    columns += [Column(f"column{i}", is_number=True, optional=True) for i in range(20)]
    left_out = print_table(columns, [["x" * 30] + ["1"] * 20])
    lines = capsys.readouterr().out.splitlines()
    kept = lines[0].split()[1:]
    assert kept + left_out == [column.head for column in columns[1:]]
    assert max(map(len, lines)) <= width
    assert (left_out == []) == (width == 1000)


def test_a_sentence_is_cut_before_a_column_goes() -> None:
    columns = [Column("a"), Column("b", can_cut=True), Column("c", optional=True)]
    line = table_text(columns, [["mit", "a long sentence here", "kept"]], width=22).splitlines()[1]
    assert line == "mit  a long sen…  kept"


def test_texts_are_cut_to_eight_letters_and_no_further() -> None:
    text = "a long sentence"
    assert table_text([Column("t", can_cut=True)], [[text]], width=9).splitlines()[1] == "a long s…"
    assert table_text([Column("t", can_cut=True)], [[text]], width=3).splitlines()[1] == "a long …"


def test_a_text_that_should_not_be_cut_is_where_all_is_lost() -> None:
    assert table_text([Column("t")], [["x" * 30]], width=12).splitlines()[1] == "x" * 11 + "…"


def test_no_line_of_a_legend_is_longer_than_the_terminal() -> None:
    lines = legend([("head", "x " * 40)], width=40).splitlines()
    assert [len(line) for line in lines] == [39, 39, 23]


def test_a_legend_keeps_heads_apart_from_sentences() -> None:
    text = legend([("s", "seconds " * 12), ("a very long name of a score", "no unit")], width=60)
    assert text.splitlines() == [
        "  s  seconds seconds seconds seconds seconds seconds seconds",
        "     seconds seconds seconds seconds seconds",
        "  a very long name of a score",
        "     no unit",
    ]
    assert paragraph("one two " + LONGEST, width=30) == f"one two\n{LONGEST}"


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
