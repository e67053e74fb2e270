"""Whole ways across the floors, where files are handed from one command to the next: crawl, rank,
train, compare, predict; offline after online, and after a kill.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.run import RunFolder
from tests.distill_setting import write_ranking, write_task, write_teacher
from tests.hub_server import Hub, Repo
from tests.places import ROOT
from zoo.catalogue import Catalogue
from zoo.sources.folder import small_zoo

pytestmark = pytest.mark.journey

NAMES = ("resnet_mnist", "resnet_fashion", "vit_mnist", "resnet_cifar10")
NO_NETWORK = "http://127.0.0.1:9"


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "TEACHER_ZOO_HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def call(home: Path, *arguments: str, endpoint: str = NO_NETWORK) -> str:
    """Run ``python -m ARGUMENTS`` in ``home``; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment(home) | {"HF_ENDPOINT": endpoint},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ranked(home: Path, *options: str, endpoint: str = NO_NETWORK) -> dict[str, Any]:
    """The ranking.json of the digits, and what the command ``printed``."""
    small = ("--task", "digits", "--probe-size", "60", "--out", "r.json")
    printed = call(home, "selection.rank", *small, *options, endpoint=endpoint)
    return {"printed": printed, **json.loads((home / "r.json").read_text())}


def values_of(ranking: dict[str, Any]) -> list[tuple[str, float]]:
    """(model, value) in the order of the ranking; every model must have one."""
    rows = ranking["rows"]
    assert rows and all(row["value"] is not None for row in rows), rows
    return [(row["model"], row["value"]) for row in rows]


def revisions_of(ranking: dict[str, Any]) -> dict[str, str]:
    return {row["model"]: row["revision"] for row in ranking["rows"]}


def weights_sent(hub: Hub) -> int:
    return sum(count for (_, path), count in hub.seen.items() if path.endswith("model.safetensors"))


def test_models_of_the_hub_are_crawled_fetched_ranked_and_stay(tmp_path: Path) -> None:
    repos = tuple(Repo.of_folder(small_zoo() / name, author="acme") for name in NAMES)
    ours = ("--where", "author = 'acme'")
    with Hub(60, repos=repos) as hub:  # among models of other kinds
        call(tmp_path, "zoo.crawl", "--endpoint", hub.url, "--details", "library_name = 'timm'")
        room_for_one = ("--budget", "5m", "--budget-gb", "0.0003")
        bounded = ranked(tmp_path, *ours, *room_for_one, endpoint=hub.url)
        assert "for their download" in bounded["printed"]
        assert len([row for row in bounded["rows"] if row["value"] is not None]) == 1
        whole = ranked(tmp_path, *ours, endpoint=hub.url)
        assert revisions_of(whole) == {repo.id: repo.sha for repo in repos}
        assert {row["source"] for row in whole["rows"]} == {"hub"}
        assert values_of(whole)[0][0] == "acme/resnet_mnist"
        sent = weights_sent(hub)
        assert values_of(ranked(tmp_path, *ours, "--offline")) == values_of(whole)
        assert weights_sent(hub) == sent


# --- models of timm's own list, which name no revision

TIMM = ("test_byobnet.r160_in1k", "test_resnet.r160_in1k")


def timm_repo(folder: Path, name: str, seed: int) -> Repo:
    """A network of random weights under the name and the layout of a model of timm's list."""
    written = write_teacher(
        folder / name, seed=seed, classes=1000, architecture=name.partition(".")[0]
    )
    return Repo.of_folder(written, author="timm")


def crawl_timm(catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``zoo.crawl --source timm`` where timm knows two models only."""
    import timm

    from zoo.crawl import main

    with monkeypatch.context() as patch:
        patch.setattr(timm, "list_pretrained", lambda: list(TIMM))
        assert main(["--source", "timm", "--catalogue", str(catalogue)]) == 0


def test_models_of_timm_are_ranked_by_commit_stay_offline_and_are_read_anew_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crawl_timm(tmp_path / "catalogue.duckdb", monkeypatch)
    repos = [timm_repo(tmp_path / "made", name, seed) for seed, name in enumerate(TIMM)]
    score = ("--score", "knn")
    with Hub(repos=tuple(repos)) as hub:
        first = ranked(tmp_path, *score, endpoint=hub.url)
        assert revisions_of(first) == {repo.id: repo.sha for repo in repos}
        sent = weights_sent(hub)
        crawl_timm(tmp_path / "catalogue.duckdb", monkeypatch)  # a new crawl forgets nothing
        requests = hub.count.total()
        offline = ranked(tmp_path, *score, "--offline")
        assert revisions_of(offline) == revisions_of(first)
        assert values_of(offline) == values_of(first)
        assert hub.count.total() == requests
        # nothing is charged to the budget again
        bounded = ranked(
            tmp_path, *score, "--budget", "5m", "--budget-gb", "0.000001", endpoint=hub.url
        )
        assert revisions_of(bounded) == revisions_of(first)
        assert weights_sent(hub) == sent
        # other weights under the same name: another commit, nothing comes from the old features
        changed = timm_repo(tmp_path / "anew", TIMM[0], seed=7)
        repos[0].files.update(changed.files)
        again = ranked(tmp_path, *score, endpoint=hub.url)
        assert revisions_of(again) == {repo.id: repo.sha for repo in repos}
        assert revisions_of(again) != revisions_of(first)
        assert weights_sent(hub) > sent


# --- a crawl that is killed


def crawl_killed_at(hub: Hub, home: Path, kind: str, count: int, *options: str) -> None:
    """Start ``zoo.crawl`` and kill it -9 when the ``count``-th request of a ``kind`` comes in."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo.crawl", "--endpoint", hub.url, *options],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    schedule = hub.fault

    def kill(request: str, path: str) -> str | None:
        answer = schedule(request, path)
        if request == kind and hub.count[kind] >= count:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return "reset"
        return answer

    hub.fault = kill  # type: ignore[method-assign]
    try:
        assert process.wait(timeout=120) == -signal.SIGKILL
    finally:
        hub.fault = schedule  # type: ignore[method-assign]


def crawled(home: Path, hub: Hub, *options: str) -> dict[str, str]:
    """Run the crawl to its end; (id, revision) of every model that the catalogue then lists."""
    call(home, "zoo.crawl", "--endpoint", hub.url, *options)
    with Catalogue.open(home / "catalogue.duckdb") as catalogue:
        table = catalogue.sql("SELECT id, sha FROM models WHERE removed_at IS NULL")
        assert table["id"].is_unique
        return dict(zip(table["id"], table["sha"], strict=True))


def revisions_on(hub: Hub) -> dict[str, str]:
    world = hub.world
    positions = [s for s in range(-len(world.front), world.count) if s not in world.vanished]
    return {world.id_of(s): world.sha(s) for s in positions}


@pytest.fixture
def big_hub() -> Iterator[Hub]:
    """3,000 models in six pages, of which some 200 have details to fetch."""
    with Hub(3_000, hostile=False, page=500) as hub:
        yield hub


def test_a_crawl_killed_in_its_listing_repeats_one_page_at_most(
    tmp_path: Path, big_hub: Hub
) -> None:
    crawl_killed_at(big_hub, tmp_path, "api", 4, "--details", "none")
    assert crawled(tmp_path, big_hub, "--details", "none") == revisions_on(big_hub)
    assert big_hub.count["api"] == 6 + 1  # the page that was cut, twice


def test_a_crawl_killed_in_its_details_lists_nothing_again_and_asks_few_models_again(
    tmp_path: Path, big_hub: Hub
) -> None:
    crawl_killed_at(big_hub, tmp_path, "files", 300)
    assert big_hub.count["api"] == 6
    assert crawled(tmp_path, big_hub) == revisions_on(big_hub)
    assert big_hub.count["api"] == 6
    asked_again = {
        path.split("/resolve/")[0].rsplit("/", 2)[0]
        for (kind, path), count in big_hub.seen.items()
        if kind == "files" and count > 1
    }
    assert len(asked_again) <= 100  # what is written in one transaction
    with Catalogue.open(tmp_path / "catalogue.duckdb") as catalogue:
        assert catalogue.count("detail_state IS NOT NULL") > 150


def test_an_update_killed_in_its_listing_ends_with_every_change(
    tmp_path: Path, big_hub: Hub
) -> None:
    crawled(tmp_path, big_hub, "--details", "none")
    big_hub.world.change(changed=1_200, appeared=5)
    listed = big_hub.count["api"]
    crawl_killed_at(big_hub, tmp_path, "api", listed + 2, "--update", "--details", "none")
    assert crawled(tmp_path, big_hub, "--update", "--details", "none") == revisions_on(big_hub)
    assert big_hub.count["api"] <= listed + 3 + 1  # three pages hold what changed


# --- a catalogue beside files of the user


@pytest.mark.parametrize("catalogue", ["photos.duckdb", "photos.parquet"])
def test_no_command_touches_a_table_of_the_user_beside_the_catalogue(
    tmp_path: Path, catalogue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    import selection.rank
    import zoo.crawl
    import zoo.doctor
    import zoo.query

    photos = tmp_path / "photos.parquet"
    pd.DataFrame({"picture": ["beach.jpg"]}).to_parquet(photos)
    before = photos.read_bytes()
    for command, options in (
        (zoo.crawl.main, ["--source", "small"]),
        (zoo.query.main, []),
        (zoo.doctor.main, []),
        (selection.rank.main, ["--task", "digits"]),
    ):
        assert command([*options, "--catalogue", str(tmp_path / catalogue)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("photos.parquet", before)
    ]


# --- from a ranking to a student, and on


def train(task: Path, ranking: Path, out: Path, *options: str) -> RunFolder:
    """One epoch of ``distill.train`` on a small student."""
    from distill.train import main

    small = ["--student", "test_efficientnet", "--epochs", "1", "--views", "1", "--size", "32"]
    files = ["--task", str(task), "--ranking", str(ranking), "--out", str(out)]
    assert main([*files, *small, "--batch-size", "8", "--device", "cpu", *options]) == 0
    return RunFolder(out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_ranking_of_a_newer_version_trains_a_student(tmp_path: Path, home: Path) -> None:
    task = write_task(tmp_path / "squares")
    teacher = write_teacher(tmp_path / "zoo" / "headed")
    path = write_ranking(tmp_path / "ranking.json", str(task), [teacher])

    def extended(value: Any) -> Any:
        if isinstance(value, list):
            return [extended(each) for each in value]
        if isinstance(value, dict):
            return {key: extended(each) for key, each in value.items()} | {"added": {"by": "2.0"}}
        return value

    path.write_text(json.dumps(extended(json.loads(path.read_text()))))
    run = train(task, path, tmp_path / "run", "--no-control")
    assert [teacher["id"] for teacher in run.config()["teachers"]] == ["headed"]
    assert run.finished


def test_a_student_is_trained_compared_used_and_crawled_as_a_teacher(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import distill.compare
    import distill.predict
    import selection.rank
    import zoo.crawl

    task = write_task(tmp_path / "squares")
    for seed, name in enumerate(("first", "second")):
        write_teacher(tmp_path / "zoo" / name, seed=seed)
    probe = ["--task", str(task), "--probe-size", "18", "--score", "knn", "--device", "cpu"]
    assert zoo.crawl.main(["--source", str(tmp_path / "zoo")]) == 0
    assert selection.rank.main([*probe, "--top", "1", "--out", str(tmp_path / "r.json")]) == 0
    ranking = json.loads((tmp_path / "r.json").read_text())
    assert {row["model"] for row in ranking["rows"]} == {"first", "second"}

    run = train(task, tmp_path / "r.json", tmp_path / "run", "--no-control")
    assert [teacher["id"] for teacher in run.config()["teachers"]] == ranking["committee"]
    methods = ["--methods", "plain,average", "--device", "cpu"]
    assert distill.compare.main([str(run.path), *methods]) == 0
    compared = json.loads((run.path / "compare.json").read_text())
    assert [line["method"] for line in compared["lines"]] == ["plain", "average"]
    assert all(line["test"] is not None for line in compared["lines"])

    capsys.readouterr()
    assert distill.predict.main([str(run.path), str(task / "red"), "--format", "json"]) == 0
    predictions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(predictions) == 12
    assert {name for each in predictions for name, _ in each["classes"]} <= {"red", "green", "blue"}

    assert zoo.crawl.main(["--source", str(run.student)]) == 0
    assert selection.rank.main([*probe, "--out", str(tmp_path / "again.json")]) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert {row["model"] for row in again["rows"]} == {"first", "second", "student"}
    assert all(row["value"] is not None for row in again["rows"]), again["rows"]
