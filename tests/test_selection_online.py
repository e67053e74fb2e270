"""The whole way online, against a Hub on the loopback: crawl, rank with downloads and bounds, once
more without a network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import Hub, Repo
from zoo.catalogue import Catalogue
from zoo.sources import folder
from zoo.sources.folder import small_zoo

ROOT = Path(__file__).parents[1]
NAMES = ("resnet_mnist", "resnet_fashion", "vit_mnist", "resnet_cifar10")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    repos = tuple(Repo.of_folder(small_zoo() / name, author="acme") for name in NAMES)
    with Hub(60, repos=repos) as running:  # among models of other kinds
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Path:
    folder = tmp_path_factory.mktemp("online")
    done = call(
        folder, hub, "-m", "zoo.crawl", "--endpoint", hub.url, "--details", "library_name = 'timm'"
    )
    assert done.returncode == 0, done.stderr
    return folder


def call(home: Path, hub: Hub, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = {
        "TEACHER_ZOO_HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | given | env,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def ranked(home: Path, hub: Hub, *options: str, **env: str) -> dict[str, Any]:
    done = call(
        home,
        hub,
        "-m",
        "selection.rank",
        "--task",
        "digits",
        "--probe-size",
        "60",
        "--where",
        "author = 'acme'",
        "--out",
        "r.json",
        *options,
        **env,
    )
    assert done.returncode == 0, done.stderr
    return {"said": done.stdout, **json.loads((home / "r.json").read_text())}


def weights_sent(hub: Hub) -> int:
    return sum(count for (_, path), count in hub.seen.items() if path.endswith("model.safetensors"))


def test_models_of_the_hub_are_fetched_ranked_and_stay(home: Path, hub: Hub) -> None:
    tight = ranked(home, hub, "--budget", "5m", "--budget-gb", "0.0003")  # room for one of them
    assert "for their download" in tight["said"]
    assert len([row for row in tight["rows"] if row["value"] is not None]) == 1
    whole = ranked(home, hub)
    rows = whole["rows"]
    assert {row["model"] for row in rows} == {f"acme/{name}" for name in NAMES}
    assert all(row["value"] is not None and row["source"] == "hub" for row in rows)
    assert rows[0]["model"] == "acme/resnet_mnist"
    sent = weights_sent(hub)
    again = ranked(home, hub, "--offline", HF_ENDPOINT="http://127.0.0.1:9")
    assert [(row["model"], row["value"]) for row in again["rows"]] == [
        (row["model"], row["value"]) for row in rows
    ]
    assert weights_sent(hub) == sent


# --- models of timm's own list, which name no revision


def test_models_of_timm_are_ranked_by_commit_stay_offline_and_are_read_anew_when_they_change(
    tmp_path: Path,
) -> None:
    repos = [Repo.of_folder(small_zoo() / name, author="acme") for name in NAMES[:2]]
    with Hub(repos=tuple(repos)) as hub:
        with Catalogue.open(tmp_path / "catalogue.duckdb", write=True) as catalogue:
            known = folder.cards(small_zoo(), source="small")
            catalogue.upsert(
                replace(
                    card, id=f"acme/{card.id}", source="timm", location=f"acme/{card.id}", sha=None
                )
                for card in known
                if card.id in NAMES[:2]
            )
            for card in catalogue.cards():
                catalogue.update(f"id = '{card.id}'", {"author": "acme"})
            catalogue.publish()

        def revisions(result: dict[str, Any]) -> dict[str, str]:
            assert all(row["value"] is not None for row in result["rows"]), result["rows"]
            return {row["model"]: row["revision"] for row in result["rows"]}

        first = ranked(tmp_path, hub)
        assert revisions(first) == {repo.id: repo.sha for repo in repos}
        sent = weights_sent(hub)
        offline = ranked(tmp_path, hub, "--offline", HF_ENDPOINT="http://127.0.0.1:9")
        assert revisions(offline) == revisions(first)
        assert [row["value"] for row in offline["rows"]] == [row["value"] for row in first["rows"]]
        # nothing is charged to the budget again
        bounded = ranked(tmp_path, hub, "--budget", "5m", "--budget-gb", "0.000001")
        assert revisions(bounded) == revisions(first)
        assert weights_sent(hub) == sent
        # other weights under the same name: another commit, nothing comes from the old features
        repos[0].files["model.safetensors"] = repos[1].files["model.safetensors"]
        repos[0].files["config.json"] = repos[1].files["config.json"]
        changed = ranked(tmp_path, hub)
        assert revisions(changed) == {repo.id: repo.sha for repo in repos}
        assert weights_sent(hub) > sent
        values = {row["model"]: row["value"] for row in changed["rows"]}
        assert values[repos[0].id] == pytest.approx(values[repos[1].id])
