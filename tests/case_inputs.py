"""The inputs of ../shared/cases, and commands run on them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.places import ROOT, SHARED

CASES = SHARED / "cases"
NEEDED = {"03": ["datasets"], "04": ["datasets"], "07": ["pillow_heif"], "20": ["transformers"]}
COUNTS = re.compile(r"(\S.*?)  +(\d+) +(\d+) +(\d+)")
Counts = dict[str, tuple[int, int, int]]


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def counts(self) -> Counts:
        """The images of each class in train, validation and test, as printed."""
        rows = filter(None, map(COUNTS.fullmatch, self.err.splitlines()))
        return {row[1]: (int(row[2]), int(row[3]), int(row[4])) for row in rows}

    @property
    def warnings(self) -> list[str]:
        return re.findall(r"^warning: (.*)$", self.err, flags=re.MULTILINE)


class Made:
    """The folders of a case, made when first asked for, once in a run of the tests."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, inside: str) -> Path:
        """The input ``06-duplicates/leak``; skips where it cannot be made here."""
        case = inside.split("/")[0]
        if not CASES.is_dir():
            pytest.skip(f"no cases in {SHARED}")
        for package in NEEDED.get(case[:2], []):
            if find_spec(package) is None:
                pytest.skip(f"{package} is not installed, which makes the inputs of case {case}")
        if not (self.root / case).is_dir():
            (self.root / case).mkdir()
            subprocess.run(
                [sys.executable, str(CASES / case / "make.py")],
                env=os.environ | {"PYTHONPATH": str(CASES), "HF_HUB_OFFLINE": "1"},
                cwd=self.root / case,
                capture_output=True,
                check=True,
            )
        return self.root / inside


def run(main: Callable[[Sequence[str] | None], int], *options: str | Path) -> Done:
    """A command in this process."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(option) for option in options])
    return Done(status, out.getvalue(), err.getvalue())


def typed(folder: Path, *words: str, python_path: str = "") -> Done:
    """``python -m ...`` in ``folder``, as somebody types it."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{python_path}{os.pathsep}{ROOT}", "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )
    return Done(done.returncode, done.stdout, done.stderr)
