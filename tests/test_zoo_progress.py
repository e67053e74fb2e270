"""One progress: what it says, where it says nothing, and that lines and bars do not mix."""

from __future__ import annotations

import doctest
import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

import zoo.terminal.progress
from selection.kinds.image import IMAGE
from selection.probing.progress import RankingProgress
from selection.ranking import Row
from tests.places import ROOT
from zoo.terminal import progress as module
from zoo.terminal.command import run
from zoo.terminal.progress import Meter, Progress

Shown = pytest.CaptureFixture[str]
PASS = """
import sys, time
from zoo.terminal.progress import Progress, warn
with Progress.live().over("[red]asking", unit="images", total=40) as meter:
    for part in range(4):
        time.sleep(0.15)
        meter.advance(10)
        with Progress.live().over("inner", unit="parts") as inner:
            inner.advance()
            time.sleep(0.15)
    warn("careful")
print("done")
"""


class Clock:
    """Stands for ``time.monotonic``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_facts_are_count_rate_time_to_the_end_and_more() -> None:
    meter = Meter("listing", unit="rows", total=None, done=1_000, shown=False)
    meter.at(11_000)
    assert meter.facts(10.0) == "11,000 rows, 1,000 rows/s"
    meter.at(11_000, total=71_000, extra="431 requests left")
    expected = "11,000 of 71,000 rows, 1,000 rows/s, 1:00 to go, 431 requests left"
    assert meter.facts(10.0) == expected


def test_rates_from_ten_on_are_whole_and_no_end_lies_in_the_past() -> None:
    meter = Meter("listing", unit="rows", total=100, done=0, shown=False)
    meter.at(100)
    assert meter.facts(10.0) == "100 of 100 rows, 10 rows/s, 0:00 to go"
    meter.at(150)
    assert meter.facts(16.0) == "150 of 100 rows, 9.4 rows/s, 0:00 to go"


def test_the_last_state_stays_where_it_is_asked_for(clock: Clock, capsys: Shown) -> None:
    for progress in (Progress.live(), Progress.silent()):
        with progress.over("decoding", unit="images", total=4) as meter:
            clock.now += 2
            meter.at(4)
            meter.conclude()
    assert capsys.readouterr().err == "decoding: 4 of 4 images, 2.0 images/s, 0:00 to go\n"


def test_what_was_stored_says_nothing_about_the_speed() -> None:
    meter = Meter("probing", unit="images", total=100, done=0, shown=False)
    meter.skip(50)
    assert meter.facts(10.0) == "50 of 100 images"
    meter.advance(10)
    assert meter.facts(10.0) == "60 of 100 images, 1.0 images/s, 0:40 to go"


@pytest.mark.parametrize("stored", [0, 5_000])
def test_the_first_part_of_a_pass_does_not_foresee_its_end(stored: int) -> None:
    meter = Meter("probing", unit="images", total=stored + 8_000, done=0, shown=False)
    meter.skip(stored)
    meter.advance(32)  # waited for the imports
    assert meter.facts(20.0) == f"{stored + 32:,} of {stored + 8_000:,} images, 1.6 images/s"
    meter.advance(128)
    assert meter.facts(40.0).endswith("4.0 images/s, 32:40 to go")


def test_lines_come_every_few_seconds(clock: Clock, capsys: Shown) -> None:
    with Progress.live().over("decoding", unit="images", total=100) as meter:
        for second in range(1, 21):
            clock.now += 1
            meter.at(second)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "decoding: 5 of 100 images, 1.0 images/s, 1:35 to go"


def test_the_python_api_is_silent_and_a_command_is_not(clock: Clock, capsys: Shown) -> None:
    def work() -> None:
        with Progress.default().over("decoding", unit="images") as meter:
            clock.now += 60
            meter.advance()
            meter.line("one \x1b[31mline")

    work()
    assert capsys.readouterr().err == ""
    assert run(work, [], name="work") == 0
    assert capsys.readouterr().err.splitlines() == [
        "decoding: 1 images, 0.0 images/s",
        "one [31mline",
    ]
    work()
    assert capsys.readouterr().err == ""


def test_a_ranking_prints_a_line_for_each_model_that_ran(capsys: Shown) -> None:
    ranking = RankingProgress(Progress.live(), IMAGE)
    row = Row(model="a/b", revision="r", source="hub", location=None, value=1.0, seconds=2.0)
    with ranking.shown():
        ranking.round(1, 2, models=3, samples=10)
        ranking.finished(row, cached=True)
        ranking.advance(5)
        ranking.finished(row, cached=False)
        ranking.round(2, 2, models=1, samples=20)
        ranking.finished(
            Row(model="c", revision="r", source="hub", location=None, value=None, error="no"),
            cached=False,
        )
    assert capsys.readouterr().err.splitlines() == [
        "round 1 of 2: 3 models, 10 images",
        "[2/3] a/b: 2.0 s",
        "round 2 of 2: 1 models, 20 images",
        "[1/1] c: failed: no",
    ]


def bar(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of so many columns shows of a pass over a model with a long name."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    clock = Clock(monkeypatch)
    with Progress.live().over("probing", unit="images", total=5_208) as meter:
        meter.at_work_on("google-coral__mobilenetv2_100.qat_inat_insect")
        clock.now += 279
        meter.advance(1_674)
        assert meter._bars is not None
        console = Console(width=columns, file=io.StringIO())
        console.print(meter._bars)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().rstrip("\n")


def test_the_time_to_go_is_never_cut_for_the_name_of_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow = bar(80, monkeypatch)
    assert len(narrow.splitlines()) == 1
    assert "1,674 of 5,208 images, 6.0 images/s, 9:49 to go google-c" in narrow
    assert narrow.startswith("probing ━")
    wide = bar(140, monkeypatch)
    assert wide.rstrip().endswith("9:49 to go google-coral__mobilenetv2_100.qat_inat_insect")


@pytest.mark.journey
def test_on_a_terminal_bars_are_nested_and_gone_at_the_end() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", PASS],
        stderr=theirs,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        text=True,
    )
    out, _ = done.communicate(timeout=60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # the end of a terminal on Linux
            break
        if not part:
            break
        shown += part
    os.close(ours)
    text = shown.decode()
    assert out == "done\n"
    assert "[red]asking" in text
    assert "inner" in text
    assert "of 40 images" in text
    assert "warning: careful" in text
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h")  # the cursor comes back


def test_the_examples_of_the_docstring_run() -> None:
    assert doctest.testmod(zoo.terminal.progress).failed == 0
