"""Weights on this machine: only what is needed, whole, checked, and without a network where none is
allowed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hub_server import FILE_FAULTS, Faults, Hub, Repo, weights
from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.loading.download import fetch, is_local, remote_files
from zoo.loading.revision import cached, pinned, repository
from zoo.sources.folder import card as folder_card
from zoo.sources.folder import small_zoo

pytestmark = pytest.mark.journey

TENSORS = weights({"conv1.weight": (4, 3, 3, 3), "fc.weight": (3, 4)})
CONFIG = json.dumps({"architecture": "resnet18", "num_classes": 3}).encode()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)


def repo(**files: bytes) -> Repo:
    named = {name.replace("__", "."): body for name, body in files.items()}
    return Repo(
        "org/model",
        {"library_name": "timm"},
        {
            "config.json": CONFIG,
            "model.safetensors": TENSORS,
            "README.md": b"# read me",
            "pytorch_model.bin": b"\x80",
        }
        | named,
    )


def card(given: Repo, **changes: Any) -> ModelCard:
    return ModelCard(
        **({"id": given.id, "source": "hub", "location": given.id, "sha": given.sha} | changes)
    )


def load(given: Repo, tmp_path: Path, *, hub: Hub, **changes: Any) -> Path:
    return fetch(card(given, **changes), endpoint=hub.url, cache=tmp_path / "hub", wait=0.01)


# --- what comes


def test_only_config_and_safetensors_come_and_are_the_hubs_own(tmp_path: Path) -> None:
    given = repo(preprocessor_config__json=b"{}", tf_model__h5=b"x" * 99)
    with Hub(repos=(given,)) as hub:
        folder = load(given, tmp_path, hub=hub)
        assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
            name: given.files[name]
            for name in ("config.json", "model.safetensors", "preprocessor_config.json")
        }
        assert folder.name == given.sha
        sent = sum(hub.count.values())
        assert load(given, tmp_path, hub=hub) == folder
        assert sum(hub.count.values()) == sent


def test_main_is_pinned_to_the_revision_it_names(tmp_path: Path) -> None:
    given = repo()
    with Hub(repos=(given,)) as hub:
        assert load(given, tmp_path, hub=hub, sha=None, source="timm").name == given.sha


def test_shards_come_all_or_it_is_not_complete(tmp_path: Path) -> None:
    index = json.dumps(
        {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    ).encode()
    given = Repo(
        "org/model",
        {},
        {
            "config.json": CONFIG,
            "model.safetensors.index.json": index,
            "model-1-of-2.safetensors": TENSORS,
            "model-2-of-2.safetensors": TENSORS + b"x",
        },
    )
    with Hub(repos=(given,)) as hub:
        folder = load(given, tmp_path, hub=hub)
    assert sorted(p.name for p in folder.iterdir()) == sorted(given.files)
    assert cached("org/model", given.sha, cache=tmp_path / "hub") == folder
    (folder / "model-2-of-2.safetensors").unlink()
    assert cached("org/model", given.sha, cache=tmp_path / "hub") is None


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_every_fault_of_the_line_is_overcome(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    if fault == "hang":
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 1)
    given, met = repo(), 0
    for phase in range(
        3
    ):  # each kind of request (what there is, HEAD, GET, the storage's GET) is hit in one of them
        with Hub(repos=(given,), faults=Faults(every=3, files=(fault,), hang=1.3)) as hub:
            hub.count.update({"files": phase, "cdn": phase, "info": phase})
            folder = load(given, tmp_path / str(phase), hub=hub)
            assert (folder / "model.safetensors").read_bytes() == TENSORS
            assert (folder / "config.json").read_bytes() == CONFIG
            met += sum(hub.injected.values())
    assert met >= 4


def test_a_large_file_that_was_cut_goes_on_where_it_stopped(tmp_path: Path) -> None:
    given = repo(
        model__safetensors=weights({"fc.weight": (3_000, 2_500)})
    )  # 30 MB; the Hub's client keeps whole 10 MiB
    with Hub(repos=(given,)) as hub:
        sizes: list[tuple[str | None, int]] = []
        handler = hub.RequestHandlerClass
        reply = handler.reply  # type: ignore[attr-defined]

        def noted(self: Any, status: int, body: bytes, headers: Any = None, **rest: Any) -> None:
            if body and "safetensors" in self.path and "resolve" in self.path:
                sizes.append((self.headers.get("Range"), len(body)))
                self.damage = "cut" if len(sizes) == 1 else None
            reply(self, status, body, headers, **rest)

        hub.RequestHandlerClass = type("Noted", (handler,), {"reply": noted})  # type: ignore[assignment]
        folder = load(given, tmp_path, hub=hub)
    assert (folder / "model.safetensors").read_bytes() == given.files["model.safetensors"]
    assert [wanted for wanted, _ in sizes] == [None, "bytes=10485760-"]
    assert sizes[1][1] == len(given.files["model.safetensors"]) - 10_485_760


def test_a_file_with_another_digest_is_never_used(tmp_path: Path) -> None:
    given = repo()
    with Hub(repos=(given,)) as hub:
        handler = hub.RequestHandlerClass
        reply = handler.reply  # type: ignore[attr-defined]

        def swapped(self: Any, status: int, body: bytes, headers: Any = None, **rest: Any) -> None:
            reply(self, status, body.replace(TENSORS, TENSORS[:-1] + b"\x01"), headers, **rest)

        hub.RequestHandlerClass = type("Swapped", (handler,), {"reply": swapped})  # type: ignore[assignment]
        with pytest.raises(TeacherError, match="another digest"):
            load(given, tmp_path, hub=hub)
    assert cached("org/model", given.sha, cache=tmp_path / "hub") is None
    with Hub(repos=(given,)) as hub:
        assert (load(given, tmp_path, hub=hub) / "model.safetensors").read_bytes() == TENSORS


# --- what does not


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"row": {"gated": "manual"}}, "accept its terms at http"),
        (
            {"files": {"config.json": CONFIG, "pytorch_model.bin": b"\x80"}},
            r"no safetensors weights \(it has: bin, json\)",
        ),
        ({"files": {"model.safetensors": TENSORS}}, "no config.json"),
        (
            {
                "files": {
                    "config.json": CONFIG,
                    "model.safetensors.index.json": b'{"weight_map": {"a": "../../x"}}',
                }
            },
            "plain file name",
        ),
        (
            {
                "files": {
                    "config.json": CONFIG,
                    "model.safetensors.index.json": b'{"weight_map": {"a": "b.safetensors"}}',
                }
            },
            "not in the repository",
        ),
        (
            {"files": {"config.json": CONFIG, "model.safetensors.index.json": b"[" * 100_000}},
            "not valid JSON",
        ),
    ],
)
def test_what_cannot_come_says_why(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    given = Repo("org/model", change.get("row", {}), change.get("files", repo().files))
    with Hub(repos=(given,)) as hub, pytest.raises(TeacherError, match=reason):
        load(given, tmp_path, hub=hub)


def test_a_model_or_a_revision_that_is_gone_says_so(tmp_path: Path) -> None:
    given = repo()
    with Hub(repos=(given,)) as hub:
        with pytest.raises(TeacherError, match="not on the Hub, or is private"):
            load(given, tmp_path, hub=hub, location="org/other")
        with pytest.raises(TeacherError, match="no revision 000000000000 any more"):
            load(given, tmp_path, hub=hub, sha="0" * 40)


def test_too_little_space_is_said_before_anything_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 64_000_100))
    given = repo()
    with Hub(repos=(given,)) as hub:
        with pytest.raises(TeacherError, match="MB free"):
            load(given, tmp_path, hub=hub)
        assert hub.count["files"] == hub.count["cdn"] == 0


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/b/c", "a\x00b", "", "a/../b", "-rf", "a b"]
)
def test_an_id_that_is_none_reaches_no_path_and_no_network(name: str) -> None:
    with pytest.raises(TeacherError):
        fetch(ModelCard(id=name, source="hub"), endpoint="http://127.0.0.1:9")
    with pytest.raises(TeacherError):
        repository(ModelCard(id="x", source="hub", location=name or "/"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["siblings", "rfilename", "lfs", "sha256", "size", "blobId"]), inner
            )
        ),
        max_leaves=15,
    )
)
def test_any_file_list_is_read_without_an_exception(info: Any) -> None:
    files = remote_files(info if isinstance(info, dict) else {"siblings": info})
    assert all("/" not in name and not name.startswith(".") for name in files)


def test_a_path_among_the_siblings_is_left_out() -> None:
    names = ["/etc/passwd", "../x", "a/b", "ok.json", ".hidden", "c\\d", "x\n", 7, None]
    assert set(remote_files({"siblings": [{"rfilename": name} for name in names]})) == {"ok.json"}


# --- offline


def test_offline_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = repo()
    with Hub(repos=(given,)) as hub:
        folder = load(given, tmp_path, hub=hub)

    def refuse(*_: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert fetch(card(given), offline=True, cache=tmp_path / "hub") == folder
    assert is_local(card(given), cache=tmp_path / "hub")
    assert not is_local(card(given, sha="0" * 40), cache=tmp_path / "hub")
    with pytest.raises(TeacherError, match="not complete on this machine"):
        fetch(card(given, sha="0" * 40), offline=True, cache=tmp_path / "hub")
    (folder / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match="not complete"):
        fetch(card(given), offline=True, cache=tmp_path / "hub")


# --- models that name no revision: timm's own list


def unpinned(given: Repo) -> ModelCard:
    return card(given, source="timm", sha=None)


def test_a_model_without_a_revision_is_local_after_its_download(tmp_path: Path) -> None:
    given, cache = repo(), tmp_path / "hub"
    assert not is_local(unpinned(given), cache=cache)
    with Hub(repos=(given,)) as hub:
        folder = load(given, tmp_path, hub=hub, sha=None, source="timm")
        assert folder.name == given.sha
    assert is_local(unpinned(given), cache=cache)
    assert fetch(unpinned(given), offline=True, cache=cache) == folder
    assert pinned([unpinned(given)], offline=True, cache=cache) == [card(given, source="timm")]


def test_a_revision_is_that_of_main_online_and_that_of_the_copy_offline(tmp_path: Path) -> None:
    old, cache = repo(), tmp_path / "hub"
    new = repo(model__safetensors=weights({"fc.weight": (3, 9)}))
    assert old.sha != new.sha
    with Hub(repos=(old,)) as hub:
        folder = load(old, tmp_path, hub=hub, sha=None, source="timm")
    with Hub(repos=(new,)) as hub:
        [moved] = pinned([unpinned(new)], endpoint=hub.url, cache=cache)
        assert moved.sha == new.sha
        assert not is_local(moved, cache=cache)
        # the new weights were never fetched: what is here is the old copy
        assert pinned([unpinned(old)], offline=True, cache=cache)[0].sha == old.sha
        assert fetch(unpinned(old), offline=True, cache=cache) == folder
        assert load(new, tmp_path, hub=hub, sha=None, source="timm").name == new.sha
    assert pinned([unpinned(new)], offline=True, cache=cache)[0].sha == new.sha


def test_where_the_hub_does_not_answer_the_copy_gives_the_revision(tmp_path: Path) -> None:
    given, cache = repo(), tmp_path / "hub"
    with Hub(repos=(given,)) as hub:
        load(given, tmp_path, hub=hub)
        hub.count.clear()
    cards = [unpinned(given), *(ModelCard(id=f"org/m{i}", source="timm") for i in range(20))]
    first, *others = pinned(cards, endpoint="http://127.0.0.1:9", cache=cache, wait=0.01)
    assert first.sha == given.sha
    assert others == cards[1:]


def test_a_hub_that_is_not_there_is_tried_patiently_once_only(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        tries = []

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    tries.append(connection)
                    connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        endpoint, counts = f"http://127.0.0.1:{server.getsockname()[1]}", []
        for number in range(4):
            card = ModelCard(id=f"org/m{number}", source="hub", sha=40 * "a")
            with pytest.raises(TeacherError, match="is the Hub reachable"):
                fetch(card, endpoint=endpoint, cache=tmp_path, wait=0.01)
            counts.append(len(tries))
        server.shutdown(socket.SHUT_RDWR)
    assert counts == [3, 4, 5, 6]


def test_only_cards_without_a_revision_are_asked_for(tmp_path: Path) -> None:
    given = repo()
    known = [
        card(given),
        ModelCard(id="m", source="folder", location="/m"),
        ModelCard(id="../x", source="timm"),
    ]
    with Hub(repos=(given,)) as hub:
        assert pinned(known, endpoint=hub.url, cache=tmp_path) == known
        gone = ModelCard(id="org/gone", source="timm")
        assert pinned([gone], endpoint=hub.url, cache=tmp_path, wait=0.01) == [gone]
        assert hub.count["info"] == 1


def test_the_revisions_of_many_models_take_few_requests(tmp_path: Path) -> None:
    repos = tuple(
        Repo(f"timm/model-{i}", {}, {"config.json": CONFIG, "n": b"%d" % i}) for i in range(120)
    )
    cards = [unpinned(each) for each in repos]
    with Hub(repos=repos, page=50) as hub:
        shas = [each.sha for each in pinned(cards, endpoint=hub.url, cache=tmp_path)]
        assert shas == [each.sha for each in repos]
        assert (hub.count["api"], hub.count["info"]) == (3, 0)


def test_a_folder_is_its_own_download(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(CONFIG)
    given = ModelCard(id="m", source="folder", location=str(tmp_path))
    assert fetch(given, offline=True) == tmp_path
    assert is_local(given)
    (tmp_path / "config.json").unlink()
    with pytest.raises(TeacherError, match="was the folder moved"):
        fetch(given)
    assert not is_local(given)


# --- an independent server


@pytest.mark.skipif(
    importlib.util.find_spec("olah") is None or shutil.which("git") is None,
    reason="needs olah (pip install olah) and git",
)
def test_olah_serves_a_git_mirror_that_is_fetched_whole(tmp_path: Path) -> None:
    mirror = tmp_path / "mirrors" / "models" / "org" / "model"
    mirror.mkdir(parents=True)
    for name, body in repo().files.items():
        (mirror / name).write_bytes(body)
    identity = {
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
    }
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "m"]):
        subprocess.run(["git", *words], cwd=mirror, check=True, env=os.environ | identity)
    sha = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=mirror, check=True, capture_output=True, text=True
    ).stdout.strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "olah.toml").write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nrepos-path = "{tmp_path}/repos"\nmirrors-path'
        f' = ["{tmp_path}/mirrors"]\n[accessibility]\noffline = true\n'
    )
    server = subprocess.Popen(
        [sys.executable, "-m", "olah.server", "-c", "olah.toml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_open(port)
        given = ModelCard(id="org/model", source="hub", location="org/model", sha=sha)
        folder = fetch(
            given, endpoint=f"http://127.0.0.1:{port}", cache=tmp_path / "hub", wait=0.01
        )
        assert (
            hashlib.sha256((folder / "model.safetensors").read_bytes()).digest()
            == hashlib.sha256(TENSORS).digest()
        )
    finally:
        server.terminate()
        server.wait()


def _until_open(port: int) -> None:
    import time

    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("olah did not start")


# --- a folder that changes after the crawl


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_that_changed_since_the_crawl_is_refused_with_the_way_on(
    tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(small_zoo() / "vit_mnist", tmp_path / "my zoo" / "vit"))
    card = folder_card(folder)
    assert fetch(card) == folder
    file = folder / name
    content = bytearray(file.read_bytes())
    content[-2] ^= 1  # of the same size, and as old as before
    before = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(TeacherError, match=r"vit changed since the crawl.*--source '.*my zoo'"):
        fetch(card)
    assert is_local(card)  # no network would help


def test_an_unchanged_folder_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(small_zoo() / "vit_mnist", tmp_path / "vit"))
    card, reads = folder_card(folder), list[str]()
    real = Path.open

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        reads.append(path.name)
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    for _ in range(3):
        assert fetch(card) == folder
    assert reads == []


def save_shards(folder: Path, tensors: dict[str, Any]) -> Path:
    """``tensors`` in two files with their index; the second file."""
    from safetensors.numpy import save_file

    names = sorted(tensors)
    parts = names[: len(names) // 2], names[len(names) // 2 :]
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        save_file({name: tensors[name] for name in part}, folder / file)
    places = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder / files[1]


def test_another_shard_than_at_the_crawl_is_noticed(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folder = Path(shutil.copytree(small_zoo() / "vit_mnist", tmp_path / "vit"))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_shards(folder, tensors)
    card = folder_card(folder)
    assert card.loadable
    assert fetch(card) == folder
    save_shards(folder, {name: -values for name, values in tensors.items()})
    with pytest.raises(TeacherError, match="vit changed since the crawl"):
        fetch(card)


def snapshot(tmp_path: Path) -> Path:
    """A model as the Hub's cache keeps it: a snapshot of links to blobs."""
    repository = tmp_path / "hub" / "models--me--vit"
    folder = repository / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    shutil.copytree(small_zoo() / "vit_mnist", repository / "blobs")
    for file in (repository / "blobs").iterdir():
        (folder / file.name).symlink_to(f"../../blobs/{file.name}")
    return folder


def test_another_blob_than_at_the_crawl_is_noticed(tmp_path: Path) -> None:
    folder = snapshot(tmp_path)
    card = folder_card(folder)
    assert fetch(card) == folder
    blob = folder.parents[1] / "blobs" / "model.safetensors"
    other = small_zoo() / "resnet_mnist" / "model.safetensors"
    link = folder / "model.safetensors"
    link.unlink()
    link.symlink_to(other)  # out of the repository, and other weights
    with pytest.raises(TeacherError, match="changed since the crawl"):
        fetch(card)
    link.unlink()
    link.symlink_to(blob)
    assert fetch(card) == folder


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_out_of_a_folder_without_a_revision_are_not_followed(
    tmp_path: Path, name: str
) -> None:
    folder = snapshot(tmp_path)
    card = ModelCard(id="vit", source="folder", location=str(folder))
    assert fetch(card) == folder  # links inside the repository
    (folder / name).unlink()
    (folder / name).symlink_to(small_zoo() / "vit_mnist" / name)
    with pytest.raises(TeacherError, match=f"{name} is a link to outside of .*models--me--vit"):
        fetch(card)
