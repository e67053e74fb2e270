"""Passing a student on: the Hub's upload protocol on the loopback, and what is refused before
training.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from distill.student.image_student import export
from distill.student.share import check, push_student
from tests.distill_setting import student
from zoo.errors import Unavailable, UserError


class Uploads(BaseHTTPRequestHandler):
    """As much of the Hub as an upload touches: make a repository, take commits whose files come
    inline.
    """

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server: Any = self.server
        server.asked.append(self.path)
        if server.refuse and self.path == server.refuse:
            return self._answer(
                {"error": "You don't have the rights to create a model under this namespace"}, 403
            )
        if self.headers.get("Authorization") != "Bearer hf_test":
            return self._answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            server.created.append(json.loads(body))
            return self._answer({"url": f"{server.url}/birds/student"})
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self._answer({"files": files})
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self._answer(
                {
                    "success": True,
                    "commitOid": "0" * 40,
                    "commitUrl": f"{server.url}/birds/student/commit/0",
                }
            )
        return self._answer({})

    def _answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from huggingface_hub import constants

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Uploads)
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.files, server.asked, server.created, server.refuse = {}, [], [], ""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    export(student(), tmp_path / "student")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A student\n")
    (tmp_path / "student" / "notes.txt").write_text("not to be pushed")
    return tmp_path


@pytest.mark.journey
def test_a_student_and_its_card_arrive_on_the_hub(hub: Any, run: Path) -> None:
    address = push_student(run / "student", run / "README.md", "birds/student")
    assert "birds/student" in address
    assert sorted(hub.files) == ["README.md", "config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        assert hub.files[name] == (run / "student" / name).read_bytes()
    assert hub.files["README.md"] == (run / "README.md").read_bytes()


def is_private(created: dict[str, Any]) -> bool:
    """As huggingface_hub says it since version 2, or as it did before."""
    return created.get("visibility") == "private" or created.get("private") is True


@pytest.mark.journey
def test_a_pushed_student_is_private_unless_it_is_to_be_public(hub: Any, run: Path) -> None:
    push_student(run / "student", run / "README.md", "birds/student")
    assert is_private(hub.created[-1])
    push_student(run / "student", run / "README.md", "birds/student", public=True)
    assert not is_private(hub.created[-1])


@pytest.mark.journey
def test_a_refused_push_is_a_sentence_and_the_student_stays(hub: Any, run: Path) -> None:
    hub.refuse = "/api/repos/create"
    with pytest.raises(Unavailable, match=r"(?s)birds/student.*rights.*kept in"):
        push_student(run / "student", run / "README.md", "birds/student")
    assert (run / "student" / "model.safetensors").exists()
    assert not hub.files


def test_a_hub_out_of_reach_is_a_sentence(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="kept in"):
        push_student(run / "student", run / "README.md", "birds/student")


def test_what_cannot_be_passed_on_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check(onnx=False, push="birds/student", offline=False)
    with pytest.raises(UserError, match="--push ORG/NAME"):
        check(onnx=False, push=None, public=True, offline=False)
    with pytest.raises(UserError, match="ORG/NAME"):
        check(onnx=False, push="birds/a/b", offline=False)
    with pytest.raises(UserError, match="--offline"):
        check(onnx=False, push="birds/student", offline=True)
    monkeypatch.setattr("distill.student.share.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"teacher-zoo\[onnx\]"):
        check(onnx=True, push=None, offline=True)
