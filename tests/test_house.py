"""The house rules: imports flow down the floors, commands are light, every command says what it
does.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("zoo", "selection", "distill", "benchmarks")
HEAVY = ("torch", "faiss", "ot", "timm", "transformers", "plotly", "datasets", "accelerate")
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


def _imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_flow_down(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    files = sorted((ROOT / floor).rglob("*.py"))
    assert files
    climbing = [
        (str(path), name)
        for path in files
        for name in _imported(path)
        if name.split(".")[0] in above
    ]
    assert climbing == []


def test_the_commands_of_the_contract_exist() -> None:
    assert {"zoo.crawl", "zoo.query", "selection.rank", "benchmarks.run"} <= set(COMMANDS)


@pytest.mark.journey
@pytest.mark.parametrize("command", COMMANDS)
def test_importing_a_command_loads_nothing_heavy(command: str) -> None:
    code = f"import sys, {command}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.journey
@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy_and_exits_0(command: str, tmp_path: Path) -> None:
    code = f"""
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module({command!r}, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print()
    print([name for name in {HEAVY!r} if name in sys.modules], end.code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        env=os.environ | {"TEACHER_ZOO_HOME": str(tmp_path)},
    )
    assert done.stdout.strip().splitlines()[-1] == "[] 0"


@pytest.mark.journey
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_one_line_and_status_2(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", command, "--no-such-option"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"TEACHER_ZOO_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "--no-such-option" in done.stderr
    assert "Traceback" not in done.stderr
