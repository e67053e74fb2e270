"""``teacher-zoo VERB`` is the same as the ``python -m`` form, and says so in help and errors."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
import torch
import typer

from benchmarks.main import VERBS, main
from tests.places import ROOT
from zoo.terminal.command import resumable, run, typed_as

pytestmark = pytest.mark.journey

Shown = pytest.CaptureFixture[str]


def test_the_verbs_are_those_of_the_contract() -> None:
    expected = "crawl, query, doctor, rank, train, compare, predict, benchmark, report"
    assert ", ".join(VERBS) == expected


@pytest.mark.parametrize("words", [[], ["--help"], ["--debug"]])
def test_help_lists_every_verb_with_a_line(words: list[str], capsys: Shown) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, verb in VERBS.items():
        assert f"  {name:9}  {verb.summary}" in lines


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_the_main_of_its_module_under_the_name_typed(verb: str, capsys: Shown) -> None:
    assert callable(importlib.import_module(VERBS[verb].module).main)
    assert main([verb, "--help"]) == 0
    assert f"Usage: teacher-zoo {verb} " in capsys.readouterr().out
    assert main([verb, "--no-such-option"]) == 2
    error = capsys.readouterr().err
    assert "--no-such-option" in error
    assert f"(teacher-zoo {verb} --help lists the options)" in error
    assert error.count("\n") == 1


def test_after_a_verb_the_other_form_has_its_name_again(capsys: Shown) -> None:
    from zoo.doctor import main as doctor

    assert main(["doctor", "--help"]) == 0
    assert doctor(["--no-such-option"]) == 2
    assert "(python -m zoo.doctor --help" in capsys.readouterr().err


def test_an_unknown_verb_is_one_line_with_the_nearest(capsys: Shown) -> None:
    assert main(["rnak", "--task", "digits"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no verb 'rnak'; did you mean 'rank'?")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [["--version"], ["rank", "--version"], ["doctor", "--version"]])
def test_the_version_is_that_of_the_project(words: list[str], capsys: Shown) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert shown == f"teacher-zoo {project['version']}\n" or "not installed" in shown
    assert project["scripts"] == {"teacher-zoo": "benchmarks.main:main"}


@pytest.mark.journey
def test_statuses_and_streams_are_those_of_the_python_m_form(tmp_path: Path) -> None:
    def outcome(*command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TEACHER_ZOO_HOME": str(tmp_path)},
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    words = ("--catalogue", str(tmp_path / "none.duckdb"))
    through_verb = outcome("benchmarks.main", "query", *words)
    assert through_verb == outcome("zoo.query", *words)
    assert through_verb[0] == 2


def test_the_list_of_verbs_imports_none_of_their_modules() -> None:
    modules = [verb.module for verb in VERBS.values()]
    code = (
        "import sys; from benchmarks.main import main; main(['--help']);"
        f"print([name for name in {modules} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert re.search(r"^\[\]$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("words", ["--help", "--version", "query --version", "doctor --help"])
def test_a_reader_that_has_gone_is_no_error(words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for unbuffered in ("", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.main", *words.split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
        assert (done.returncode, done.stderr) == (0, "")
    os.close(writing)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str, tmp_path: Path) -> None:
    """As a scheduler starts programs; Python has None in place of the stream."""
    for words in ("query --version", "doctor"):
        command = f"{sys.executable} -m benchmarks.main {words} {closed}"
        environment = os.environ | {"TEACHER_ZOO_HOME": str(tmp_path)}
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            env=environment,
        )
        assert "NoneType" not in done.stderr
        assert done.returncode == (0 if "--version" in words else 2), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    code = (
        "import sys; from zoo.terminal.command import run\n"
        "def much() -> None:\n    print('x' * 100_000)\n"
        "sys.exit(run(much, [], name='zoo.query'))"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.stderr.splitlines()[0] == (
        "error: the disk is full; free some space and run again, what was finished is kept"
    )


def interrupted(names: Annotated[list[str] | None, typer.Option("--name")] = None) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_is_one_line_with_the_exact_command_that_goes_on(capsys: Shown) -> None:
    assert run(interrupted, ["--name", "it's one", "--name=two"], name="zoo.doctor") == 130
    assert capsys.readouterr().err == (
        "error: stopped; what was finished is kept; to go on: python -m zoo.doctor --name"
        " 'it'\"'\"'s one' --name=two\n"
    )


def test_the_innermost_work_says_what_is_kept_and_which_option_goes_on(capsys: Shown) -> None:
    pages = 0

    def work(out: str = "", resume: bool = False) -> None:
        nonlocal pages
        with resumable("the folder is kept"), resumable(lambda: f"{pages} pages are", "--resume"):
            pages = 3
            raise KeyboardInterrupt

    with typed_as("teacher-zoo train"):
        assert run(work, ["--out", "a b"], name="distill.train") == 130
        assert run(work, ["--resume"], name="distill.train") == 130
    assert capsys.readouterr().err.splitlines() == [
        "error: stopped; 3 pages are; to go on: teacher-zoo train --out 'a b' --resume",
        "error: stopped; 3 pages are; to go on: teacher-zoo train --resume",
    ]
    assert run(interrupted, [], name="zoo.query") == 130  # nothing is left of the one before
    assert "what was finished is kept" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_is_one_line_and_its_status(name: str, capsys: Shown) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def killed() -> None:
        os.kill(os.getpid(), number)
        time.sleep(60)

    assert run(killed, [], name="zoo.doctor") == 128 + number
    by = "" if name == "SIGINT" else f" by {name}"
    assert capsys.readouterr().err == (
        f"error: stopped{by}; what was finished is kept; to go on: python -m zoo.doctor\n"
    )
    assert signal.getsignal(number) is before


def test_a_child_process_ends_by_its_signal_and_ignored_signals_stay_ignored(capfd: Shown) -> None:
    import multiprocessing

    def parent() -> None:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        fork = multiprocessing.get_context("fork")
        runs = fork.Event()
        child = fork.Process(target=lambda: (runs.set(), time.sleep(60)))
        child.start()
        assert runs.wait(30)
        child.terminate()
        child.join(30)
        assert child.exitcode == -signal.SIGTERM

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        assert run(parent, [], name="zoo.doctor") == 0
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert capfd.readouterr().err == ""


def test_the_help_of_verbs_computes_nothing_so_numpy_stays_out() -> None:
    verbs = [verb for verb in VERBS if verb != "report"]  # it draws from tables
    code = (
        f"import sys; from benchmarks.main import main; done = [main([verb, '--help']) for verb in"
        f" {verbs}]; print(done, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{[0] * len(verbs)} False"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_a_terminal_lacks_are_replaced(tmp_path: Path, encoding: str) -> None:
    """The command goes on, in ASCII too; what a program reads is UTF-8 everywhere."""
    environment = os.environ | {
        "PYTHONIOENCODING": encoding,
        "TEACHER_ZOO_HOME": str(tmp_path),
        "COLUMNS": "80",
    }
    made = subprocess.run(
        [sys.executable, "-m", "zoo.crawl", "--source", "small"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert not made.stderr or b"Error" not in made.stderr
    shown = {}
    for form in ("table", "csv", "json"):
        query = ["--sql", "select 'naïve 猫…' as name from models limit 1", "--format", form]
        done = subprocess.run(
            [sys.executable, "-m", "zoo.query", *query],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        shown[form] = done.stdout
    expected = "naïve 猫…".encode(encoding, "replace")
    assert expected in shown["table"]
    for form in ("csv", "json"):
        assert "naïve 猫…" in shown[form].decode("utf-8")


def fails(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), "memory"),
        (MemoryError("Unable to allocate 9 GiB for an array"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9"), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "GPU memory"),
        (RuntimeError("CUDA error: out of memory"), "GPU memory"),
    ],
)
def test_exhausted_memory_is_one_line_with_the_option_that_helps(
    error: BaseException, memory: str, capsys: Shown
) -> None:
    for name, option in (("distill.train", "--batch-size"), ("selection.rank", "--where")):
        assert run(fails(error), [], name=name) == 1
        line = capsys.readouterr().err
        assert line.startswith(f"error: {memory} is exhausted; ")
        assert option in line
        assert line.count("\n") == 1
