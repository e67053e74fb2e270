"""What one query may take: memory and time are bounded, and the sentence says how to allow more."""

from __future__ import annotations

import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.errors import UserError
from zoo.query import main
from zoo.terminal.limits import MEMORY, SECONDS

pytestmark = pytest.mark.journey

MONSTERS = (
    "select repeat('x', 4000000000) as t from range(3)",
    "select list_sort(range(400000000)) as l",
    "select list(range) from range(300000000)",
    "select string_agg(repeat('x', 10000)) from range(1000000)",
    "select a.range, b.range from range(30000) a, range(30000) b order by all",
    "select count(distinct a.range * 100000 + b.range) from range(20000) a, range(20000) b",
)

LONG = "select max(hash(a.range, b.range)) from range(1000000) a, range(1000000) b"


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path))
    with Catalogue.open(write=True) as opened:
        opened.upsert([ModelCard(id=f"m{i}", source="timm") for i in range(1_000)])
        opened.publish()
    return tmp_path


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("sql", MONSTERS)
def test_a_query_that_wants_much_memory_is_one_line_that_says_how_to_allow_more(
    sql: str, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(MEMORY, "300MB")
    before = resource.getrlimit(resource.RLIMIT_DATA)
    assert main(["--sql", sql, "--format", form]) == 2
    error = capsys.readouterr().err
    assert "more than 0.3 GB of memory" in error
    assert "TEACHER_ZOO_QUERY_MEMORY=1.2GB" in error
    assert len(error.splitlines()) == 1
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_table_larger_than_the_limit_is_refused_in_python_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MEMORY, "300MB")
    with Catalogue.open() as catalogue:
        with pytest.raises(UserError, match="memory"):
            catalogue.sql("select a.id, b.id from models a, models b, range(100)")
        assert catalogue.count() == 1_000  # the connection goes on


def test_a_stream_larger_than_the_limit_is_given_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY, "200MB")
    with Catalogue.open() as catalogue:
        batches = catalogue.batches("select repeat('x', 1000) as t from range(1000000)")
        assert sum(batch.num_rows for batch in batches) == 1_000_000


@pytest.mark.parametrize("words", [["--format", "csv"], []])
def test_a_query_that_takes_long_is_one_line_that_says_how_to_allow_more(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SECONDS, "0.3")
    assert main(["--sql", LONG, *words]) == 2
    error = capsys.readouterr().err
    assert "took more than 0.3 s" in error
    assert "TEACHER_ZOO_QUERY_SECONDS=3" in error
    assert len(error.splitlines()) == 1


def test_time_of_the_reader_is_not_time_of_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS, "2")
    with Catalogue.open() as catalogue:
        batches = catalogue.batches("select range from range(30000)")
        rows = 0
        for batch in batches:
            rows += batch.num_rows
            time.sleep(0.6)
    assert rows == 30_000


def test_a_stream_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS, "0.5")
    with Catalogue.open() as catalogue, pytest.raises(UserError, match=r"0\.5 s"):
        for _ in catalogue.batches("select range from range(1000000000000)"):
            pass


@pytest.mark.parametrize(
    ("name", "value"),
    [(MEMORY, "much"), (MEMORY, "-1GB"), (SECONDS, "soon"), (SECONDS, "-1"), (SECONDS, "nan")],
)
def test_a_limit_that_is_none_is_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert main([]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert len(error.splitlines()) == 1


def test_an_interrupted_query_is_an_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    assert main(["--sql", LONG]) == 130
    assert "to go on: python -m zoo.query --sql" in capsys.readouterr().err


def test_no_thread_of_a_query_is_left_when_it_has_ended() -> None:
    """Woken while Python ends, it aborted scripts that left the catalogue open."""
    before = threading.active_count()
    for _ in range(30):
        with Catalogue.open() as catalogue:
            catalogue.models(limit=1)
            assert threading.active_count() == before
