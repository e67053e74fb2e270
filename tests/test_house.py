"""The house rules: where code may lie, what may import what, and how light a command is."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.places import ROOT

FLOORS = ("zoo", "selection", "distill", "benchmarks")
HEAVY = (
    "torch",
    "faiss",
    "ot",
    "timm",
    "transformers",
    "tokenizers",
    "plotly",
    "datasets",
    "accelerate",
)
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


MOST_ENTRIES = 14  # Python files and folders in a folder
FULLER = {"selection/scores"}  # one file a score
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("*.py"))
}
IMPORT_NAMES = {  # distribution -> module, where they differ
    "pot": "ot",
    "faiss-gpu": "faiss",
    "faiss-cpu": "faiss",
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "huggingface-hub": "huggingface_hub",
}


def _imported(path: Path) -> set[str]:
    """Every module that a file imports, in functions and for typing too."""
    return _dotted_names(ast.parse(path.read_text()))


def _dotted_names(code: ast.AST) -> set[str]:
    """The dotted names of all imports: modules, and what is taken from them."""
    names: set[str] = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            assert node.module
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_import_runs_in_a_circle() -> None:
    graph = {
        name: {target for target in _imported(path) if target in MODULES and target != name}
        for name, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_class_name_has_one_meaning() -> None:
    places = defaultdict(list)
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(name)
    assert {name: rooms for name, rooms in places.items() if len(rooms) > 1} == {}


def test_no_folder_is_crowded() -> None:
    entries: dict[str, set[str]] = defaultdict(set)
    for path in MODULES.values():
        folder = path.parent.relative_to(ROOT)
        if path.name != "__init__.py":
            entries[str(folder)].add(path.name)
        elif folder.parent != Path():
            entries[str(folder.parent)].add(folder.name)
    crowded = {folder: len(names) for folder, names in entries.items() if len(names) > MOST_ENTRIES}
    assert set(crowded) <= FULLER, crowded


def test_every_requirement_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {re.split(r"[<>=!~;\[ ]", line)[0].lower() for line in project["dependencies"]}
    roots = {name.split(".")[0] for path in MODULES.values() for name in _imported(path)}
    unused = {
        name for name in required if IMPORT_NAMES.get(name, name.replace("-", "_")) not in roots
    }
    assert unused == set()


def _documented() -> set[str]:
    """The dotted names that README and the pages of the site promise: those that the API pages
    show, the options classes of the command pages, and every import in a code block.
    """
    names: set[str] = set()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        names |= set(re.findall(r"^::: ([\w.]+)$", text, flags=re.M))
        options = re.findall(r"^<!-- options: ([\w.]+):(\w+) -->$", text, flags=re.M)
        names |= {f"{module}.{name}" for module, name in options}
        for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S):
            names |= _dotted_names(ast.parse(block))
    return {name for name in names if name.split(".")[0] in FLOORS}


@pytest.mark.parametrize("name", sorted(_documented()))
def test_a_documented_name_exists(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


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


def test_the_files_where_things_are_decided_exist() -> None:
    rooms = re.findall(r"`([\w/]+(?:\.py|/))`", (ROOT / "docs" / "concepts.md").read_text())
    assert len(rooms) > 20
    assert [room for room in rooms if not (ROOT / room).exists()] == []
