"""Every command of the README runs as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT, SHARED

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
COMMANDS = [
    line.split("  #")[0].strip()
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith(("python", "pip"))
]


def test_the_two_lines_that_do_everything() -> None:
    assert "pip install -e . && python -m selection.rank --task digits" in COMMANDS
    assert "pip install -e '.[test]' && python -m pytest -n 2" in COMMANDS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone beside its data, with a small task called mydata."""
    place = tmp_path_factory.mktemp("user") / "clone"
    place.mkdir()
    if SHARED.is_dir():
        (place.parent / "shared").symlink_to(SHARED.resolve())
    _mydata(place / "mydata")
    return place


def _mydata(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (folder / label).mkdir(parents=True)
        for i in range(30):
            pixels = np.clip(rng.normal(colour, 60, (40, 40, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")


@pytest.mark.journey
@pytest.mark.parametrize("command", [c for c in COMMANDS if "pytest" not in c])
def test_a_command_of_the_readme_runs(command: str, place: Path) -> None:
    command = command.removeprefix("pip install -e . && ")
    if "../shared" in command and not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent")
    env = os.environ | {
        "TEACHER_ZOO_HOME": str(place / "home"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    command = re.sub(r"\bpython\b", sys.executable, command)
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


@pytest.mark.journey
@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, flags=re.S))
def test_the_python_of_the_readme_runs(block: str, place: Path) -> None:
    # a home of its own: the catalogue that the commands made names models of the Hub
    env = os.environ | {"TEACHER_ZOO_HOME": str(place / "python"), "PYTHONPATH": str(ROOT)}
    crawl = [sys.executable, "-m", "zoo.crawl", "--source", "small"]
    subprocess.run(crawl, cwd=place, env=env, capture_output=True, check=True)
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=place,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
