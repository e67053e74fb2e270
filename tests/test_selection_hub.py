"""A dataset of a Hub that cannot be reached: one sentence, after one request."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from selection.rank import main
from selection.task import Task
from zoo.errors import Unavailable


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(0)
        yield server


@pytest.fixture
def refusing() -> str:
    """An address at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def use_endpoint(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", address)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the libraries' retries


@pytest.mark.journey
def test_a_hub_that_refuses_is_one_line(
    refusing: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    use_endpoint(monkeypatch, refusing, tmp_path)
    assert main(["--task", "hf:org/name"]) == 1
    assert caplog.record_tuples == []
    assert capfd.readouterr().err == (
        f"error: the dataset hf:org/name could not be fetched ({refusing} cannot be reached: [Errno"
        " 111] Connection refused); check the name and the connection, or give a local folder\n"
    )


@pytest.mark.journey
def test_a_hub_that_never_answers_is_asked_once(
    silent: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    address = f"http://127.0.0.1:{silent.getsockname()[1]}"
    use_endpoint(monkeypatch, address, tmp_path)
    with pytest.raises(Unavailable, match=rf"\({address} has not answered for 0\.3 seconds\)"):
        Task.open("hf:org/name")
    silent.accept()[0].close()
    with pytest.raises(BlockingIOError):
        silent.accept()  # a second connection
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.journey
def test_what_this_machine_keeps_is_read_where_the_hub_cannot_be_reached(
    refusing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets
    from huggingface_hub import constants
    from PIL import Image

    use_endpoint(monkeypatch, refusing, tmp_path)
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"])
    )
    columns = {
        "image": [Image.new("L", (8, 8), i) for i in range(20)],
        "label": [i % 2 for i in range(20)],
    }
    kept = datasets.DatasetDict(train=datasets.Dataset.from_dict(columns, features=features))

    def load(path: str, config: str | None, revision: str | None) -> datasets.DatasetDict:
        assert constants.HF_HUB_OFFLINE and datasets.config.HF_HUB_OFFLINE
        return kept

    monkeypatch.setattr(datasets, "load_dataset", load)
    task = Task.open("hf:org/name", duplicates=False)
    assert task.classes == ("cat", "dog")
    assert task.warnings[0] == (
        f"{refusing} cannot be reached: [Errno 111] Connection refused; hf:org/name is read as this"
        " machine keeps it"
    )
