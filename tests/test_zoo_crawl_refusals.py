"""What a crawl cannot do is refused before the first request, before work, before a catalogue."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import weights
from zoo.catalogue import Catalogue
from zoo.crawl import main
from zoo.errors import UserError
from zoo.sources import folder, layout

pytestmark = pytest.mark.journey

CONFIG = {"architecture": "resnet18", "num_classes": 2, "label_names": ["cat", "dog"]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def hub() -> Iterator[socket.socket]:
    """A Hub that nobody should ask: ``accept`` raises ``BlockingIOError``."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(0)
        yield server


def make(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(weights({"fc.weight": (2, 8), "fc.bias": (2,)}))
    return path


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--filter", ""], "--filter is empty; expected a tag"),
        (["--filter", " , "], "--filter is empty; expected a tag"),
        (["--filter", "timm,license=mit"], "--filter 'license=mit' is no tag of the Hub"),
        (["--filter", "num_classes > 100"], "--filter 'num_classes > 100' is no tag of the Hub"),
        (["--pipeline-tag", ""], "--pipeline-tag '' is no task of the Hub"),
        (["--pipeline-tag", "Image Classification"], "is no task of the Hub"),
        (["--details", "nope = 1"], "no column 'nope'"),
        (["--details", "num_classes >"], "syntax error"),
        (["--token"], "is no token: it is empty, or holds spaces or characters that are not ASCII"),
        (["--endpoint", "foo"], "--endpoint foo: an address that begins with https://"),
        (["--endpoint", "https://a:b@c"], "--endpoint holds a user name or a password"),
        (["--catalogue", "file/c.duckdb"], "is a file, not a folder"),
        (["--catalogue", "c.txt"], "expected a name that ends in .duckdb"),
        (["--source", "small", "--catalogue", "file/c.duckdb"], "is a file, not a folder"),
        (["--source", "timm", "--catalogue", "file/c.duckdb"], "is a file, not a folder"),
        (["--source", ""], "--source is empty"),
        (["--source", "nowhere"], "no folder nowhere"),
        (["--source", "n" * 300], "no folder nnn"),
        (["--source", "file"], "is a file; a folder"),
    ],
)
def test_it_is_refused_before_a_request_and_a_catalogue(
    words: list[str],
    reason: str,
    home: Path,
    hub: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_\u00e9")
    (tmp_path / "file").write_text("text")
    address = f"http://127.0.0.1:{hub.getsockname()[1]}"
    asks_hub = not {"--source", "--endpoint"} & set(words)
    endpoint = ["--endpoint", address] if asks_hub else []
    assert main([*words, *endpoint]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    with pytest.raises(BlockingIOError):
        hub.accept()
    assert not home.exists()
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_offline_is_refused_before_a_catalogue(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main([]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert not home.exists()


@pytest.mark.parametrize("harm", ["locked", "damaged", "no place"])
def test_a_catalogue_that_takes_nothing_is_refused_before_the_folders_are_searched(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "zoo" / "a")
    file = tmp_path / "c.duckdb"
    if harm == "damaged":
        file.write_bytes(b"no database" * 1000)
    if harm == "no place":
        file.mkdir()

    def search(source: Path) -> Any:
        pytest.fail("the folders were searched")

    monkeypatch.setattr(layout, "find_models", search)
    if harm == "locked":
        refused = UserError("another process writes it")
        file.write_bytes(b"")

        def locked(path: Path, *, write: bool = False) -> Any:
            raise refused

        monkeypatch.setattr(Catalogue, "open", locked)
    assert main(["--source", str(tmp_path / "zoo"), "--catalogue", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def unlisted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders called ``secret`` cannot be listed, as by a user who is not root."""
    scandir = os.scandir

    def refusing(path: Any = ".") -> Any:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.mark.usefixtures("unlisted")
def test_a_folder_that_cannot_be_listed_is_a_row_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "zoo" / "a")
    make(tmp_path / "zoo" / "org" / "secret" / "b")
    (tmp_path / "zoo" / "lost+found" / "secret").mkdir(parents=True)
    assert [(card.id, card.loadable, card.not_loadable_reason) for card in folder.cards(tmp_path)][
        1:
    ] == [("secret", False, "the folder cannot be listed: Permission denied")]
    assert main(["--source", str(tmp_path / "zoo")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"2 models in {tmp_path / 'zoo'}: ")
    assert "  not loadable: secret: the folder cannot be listed: Permission denied" in lines

    with pytest.raises(UserError, match=r"secret cannot be listed: Permission denied"):
        layout.find_models(tmp_path / "zoo" / "org" / "secret")


@pytest.mark.usefixtures("unlisted")
def test_half_a_model_keeps_its_row_beside_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    half = make(tmp_path / "half")
    (half / "model.safetensors").unlink()
    (half / "secret").mkdir()
    reasons = {card.id: card.not_loadable_reason or "" for card in folder.cards(tmp_path)}
    assert set(reasons) == {"half", "secret"}
    assert reasons["half"].startswith("no model.safetensors")
    assert reasons["secret"] == "the folder cannot be listed: Permission denied"
