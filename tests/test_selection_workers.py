"""Ray workers rank as one process does, and one that is killed changes nothing but time."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from selection.probing.workers import connect
from selection.rank import Settings, main, rank
from selection.ranking import Ranking
from zoo.errors import UserError

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed"
)
SETTINGS = Settings(probe_size=200, models=("resnet_*", "vit_*"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_without_ray_it_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["--task", "digits", "--probe-size", "40", "--ray", "local:2"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert (
        error[-1]
        == "error: --ray local:2 needs Ray, which is not installed: pip install 'teacher-zoo[ray]'"
    )


@pytest.mark.parametrize(
    "address", ["local", "local:0", "local:-1", "local:two", "", "somewhere", "a b:3", "http://x:1"]
)
def test_an_address_that_is_none_is_the_users_error(address: str) -> None:
    with pytest.raises(UserError, match="expected local:N"):
        connect(address)


def facts(ranking: Ranking) -> dict[str, object]:
    """The ranking's JSON but for the seconds."""
    raw: dict[str, object] = json.loads(ranking.to_json())
    rows = raw["rows"]
    assert isinstance(rows, list)
    return raw | {
        "rows": [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    }


def workers_at_work() -> list[int]:
    """Ray's workers below this process that have a model in work."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int(
                (place / "stat").read_text().rsplit(")", 1)[1].split()[1]
            )
            names[int(place.name)] = (place / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue

    def ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return [
        process
        for process, name in names.items()
        if name.startswith(b"ray::_probe") and ours(process)
    ]


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("kill", [False, True])
def test_two_workers_rank_as_one_process_does_even_if_one_is_killed(
    kill: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if kill and not Path("/proc/self/stat").exists():
        pytest.skip("no /proc to find a worker in")
    killed: list[int] = []

    def killer() -> None:
        deadline = time.monotonic() + 120
        while not killed and time.monotonic() < deadline:
            for process in workers_at_work()[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)
            time.sleep(0.05)

    thread = threading.Thread(target=killer, daemon=True)
    if kill:
        thread.start()
    many = rank("digits", replace(SETTINGS, ray="local:2"))
    if kill:
        thread.join()
        assert killed
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "other"))
    assert facts(many) == facts(rank("digits", SETTINGS))


@pytest.mark.slow
@needs_ray
@pytest.mark.filterwarnings("default")
def test_workers_keep_to_the_rounds_of_a_budget() -> None:
    many = rank("digits", replace(SETTINGS, ray="local:2", budget=600.0, top=1))
    assert [one["images"] for one in many.candidates["rounds"]] == [64, 128, 200]
    assert {row.probe_size for row in many.finalists} == {200}
