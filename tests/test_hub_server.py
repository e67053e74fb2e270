"""The loopback Hub itself: the real client understands it, it is the same every time, and its
faults come on schedule.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.hub_server import KINDS, Faults, Hub, Repo, World, weights
from tests.places import ROOT


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


def pages(world: World, sort: str, size: int = 37) -> list[str]:
    """The ids of a whole listing."""
    found: list[str] = []
    start: int | None = None
    while True:
        rows, start = world.page(sort, start, size, [], None)
        found += [json.loads(row)["id"] for row in rows]
        if start is None:
            return found


@pytest.mark.parametrize("sort", ["createdAt", "lastModified"])
def test_a_listing_holds_every_model_once_before_and_after_a_change(sort: str) -> None:
    world = World(500)
    assert pages(world, sort) == world.ids()
    world.change(changed=60, appeared=20, vanished=10)
    found = pages(world, sort)
    assert sorted(found) == sorted(world.ids())
    assert len(set(found)) == 510


def test_the_last_modified_come_first_and_the_created_keep_their_order() -> None:
    world = World(300)
    before = pages(world, "createdAt")
    world.change(changed=25, seed=5)
    assert pages(world, "createdAt") == before
    assert set(pages(world, "lastModified")[:25]) == {world.id_of(s) for s, _ in world.touches}


def test_a_cursor_stays_where_it_is_while_models_appear() -> None:
    world = World(100)
    first, start = world.page("createdAt", None, 40, [], None)
    world.change(appeared=7)
    rest, _ = world.page("createdAt", start, 1_000, [], None)
    assert [json.loads(row)["id"] for row in first + rest] == pages(World(100), "createdAt")


def test_the_rows_are_the_same_every_time_and_mixed() -> None:
    rows = [World(2_000).row(s) for s in range(2_000)]
    assert rows == [World(2_000).row(s) for s in range(2_000)]
    kinds = {
        (json.loads(row).get("pipeline_tag"), json.loads(row).get("library_name")) for row in rows
    }
    assert len(kinds) >= 9
    assert sum(kind[0] for kind in KINDS) == 1_000


def test_the_real_client_lists_and_downloads(tmp_path: Path) -> None:
    from huggingface_hub import HfApi, snapshot_download

    body = weights({"fc.weight": (3, 4)})
    repo = Repo(
        "zoo/tiny",
        {"library_name": "timm", "tags": ["timm"]},
        {"config.json": b"{}", "model.safetensors": body},
    )
    with Hub(120, repos=(repo,), page=50, hostile=False) as hub:
        api = HfApi(hub.url, token=False)
        assert [model.id for model in api.list_models(sort="created_at")] == hub.world.ids()
        assert next(model.id for model in api.list_models(filter="timm")) == "zoo/tiny"
        info = api.model_info("zoo/tiny", files_metadata=True)
        assert info.sha == repo.sha
        assert {file.rfilename: file.size for file in info.siblings or ()} == {
            "config.json": 2,
            "model.safetensors": len(body),
        }
        assert sorted(file.path for file in api.list_repo_tree("zoo/tiny")) == [
            "config.json",
            "model.safetensors",
        ]
        folder = Path(
            snapshot_download("zoo/tiny", endpoint=hub.url, cache_dir=tmp_path, token=False)
        )
        assert (folder / "model.safetensors").read_bytes() == body


def test_errors_are_the_hubs(tmp_path: Path) -> None:
    from huggingface_hub import HfApi, errors, hf_hub_download

    repos = (
        Repo("a/open", {}, {"config.json": b"{}"}),
        Repo("a/gated", {"gated": "manual"}, {"config.json": b"{}"}),
    )
    with Hub(repos=repos) as hub:
        with pytest.raises(errors.RepositoryNotFoundError):
            HfApi(hub.url, token=False).model_info("a/none")
        for repo, name, revision, error in (
            ("a/open", "x.json", None, errors.RemoteEntryNotFoundError),
            ("a/open", "config.json", "0" * 40, errors.RevisionNotFoundError),
            ("a/gated", "config.json", None, errors.GatedRepoError),
        ):
            with pytest.raises(error):
                hf_hub_download(
                    repo, name, revision=revision, endpoint=hub.url, cache_dir=tmp_path, token=False
                )


def test_ranges_are_answered_and_large_files_lie_elsewhere() -> None:
    repo = Repo("a/b", {}, {"model.safetensors": bytes(range(200))})
    with Hub(repos=(repo,)) as hub:
        request = urllib.request.Request(
            f"{hub.url}/a/b/resolve/main/model.safetensors", headers={"Range": "bytes=10-19"}
        )
        with urllib.request.urlopen(request) as answer:
            assert (answer.status, answer.read()) == (206, bytes(range(10, 20)))
            assert answer.url.startswith("http://localhost:")
        assert hub.count["files"] == hub.count["cdn"] == 1


def test_faults_come_on_schedule_and_in_turn() -> None:
    with Hub(10, faults=Faults(every=3, pages=("503", "504"))) as hub:
        status = []
        for _ in range(9):
            try:
                status.append(urllib.request.urlopen(f"{hub.url}/api/models").status)
            except urllib.error.HTTPError as error:
                status.append(error.code)
                error.close()
        assert status == [200, 200, 504, 200, 200, 503, 200, 200, 504]
        assert hub.injected == {"api 503": 1, "api 504": 2}


def test_a_folder_can_be_served_as_a_model() -> None:
    small = ROOT / "zoo" / "small"
    folders = (
        [path for path in sorted(small.iterdir()) if (path / "config.json").is_file()]
        if small.is_dir()
        else []
    )
    if not folders:
        pytest.skip("the small zoo is not there")
    with (
        Hub(repos=tuple(Repo.of_folder(folder) for folder in folders)) as hub,
        urllib.request.urlopen(
            f"{hub.url}/zoo/{folders[0].name}/resolve/main/config.json"
        ) as answer,
    ):
        assert answer.read() == (folders[0] / "config.json").read_bytes()
