"""A Hub on the loopback: any number of models, real files for some, and every fault of
../shared/hub.md on schedule.

In a test ``with Hub(models=100) as hub: ... hub.url``; as a process of its own ``python
tests/hub_server.py --models N``, which prints its URL and is told of changes by ``POST /_control``.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from zoo.loading.client import Client

PAGE_FAULTS = (
    "429-ratelimit",
    "503",
    "reset",
    "truncated-json",
    "duplicates",
    "429-retry-after",
    "empty-page",
    "cut",
    "malformed-rows",
    "504",
    "repeated-cursor",
    "short",
    "hang",
)
FILE_FAULTS = (
    "503",
    "429-ratelimit",
    "cut",
    "reset",
    "no-range",
    "504",
    "short",
    "429-retry-after",
    "hang",
)
NOT_ROWS = [
    None,
    "text",
    5,
    [],
    {},
    {"id": 7},
    {"id": "../../etc/passwd"},
    {"id": "a/b/c"},
    {"likes": 3},
]
_EPOCH = 1_787_000_000  # creation of the newest generated model, seconds
_STEP = 26  # seconds between two models
_HEX40 = re.compile(r"[0-9a-f]{40}")
_ANIMALS = (
    "tabby cat",
    "golden retriever",
    "red fox",
    "goldfish",
    "hen",
    "ostrich",
    "zebra",
    "tiger",
    "lion",
    "hippo",
)

# (of 1,000 models, pipeline, library, safetensors?, listing config, tags)
KINDS: list[tuple[int, str | None, str | None, bool, str, str]] = [
    (
        383,
        "text-generation",
        "transformers",
        True,
        '{"architectures":["LlamaForCausalLM"],"model_type":"llama"}',
        '"llama"',
    ),
    (90, "text-generation", "gguf", False, "{}", '"gguf","base_model:quantized:org00/model-1"'),
    (
        120,
        None,
        "peft",
        True,
        '{"peft":{"task_type":"CAUSAL_LM"}}',
        '"lora","base_model:adapter:org00/model-1"',
    ),
    (
        70,
        "text-to-image",
        "diffusers",
        True,
        '{"diffusers":{"_class_name":"X"}}',
        '"base_model:org01/model-2"',
    ),
    (180, None, None, False, "{}", '"region:us"'),
    (82, "sentence-similarity", "sentence-transformers", True, '{"model_type":"bert"}', '"bert"'),
    (
        42,
        "text-classification",
        "transformers",
        True,
        '{"architectures":["BertForSequenceClassification"],"model_type":"bert"}',
        '"bert","license:apache-2.0"',
    ),
    (15, "text-classification", "transformers", False, '{"model_type":"bert"}', '"pytorch","bert"'),
    (
        8,
        "image-classification",
        "transformers",
        True,
        '{"architectures":["ViTForImageClassification"],"model_type":"vit"}',
        '"vit","license:apache-2.0"',
    ),
    (2, "image-classification", "transformers", False, '{"model_type":"vit"}', '"pytorch","vit"'),
    (
        3,
        "image-classification",
        "timm",
        True,
        "{}",
        '"timm","license:apache-2.0","dataset:imagenet-1k"',
    ),
    (
        3,
        "image-feature-extraction",
        "transformers",
        True,
        '{"architectures":["Dinov2Model"],"model_type":"dinov2"}',
        '"dinov2"',
    ),
    (
        2,
        "text-classification",
        "transformers",
        True,
        '{"model_type":"odd","auto_map":{"AutoModel":"modeling.X"}}',
        '"custom_code"',
    ),
]
_KIND_OF = [k for k, kind in enumerate(KINDS) for _ in range(kind[0])]
random.Random(0).shuffle(_KIND_OF)
_TEMPLATES = [
    '{"_id":"%024x","id":"%s","author":"%s","sha":"%s","createdAt":"%s","lastModified":"%s","likes":%d,"downloads":%d,'
    '"gated":%s,"private":false,"disabled":false,"tags":['
    + tags
    + (',"safetensors"' if st else "")
    + ',"en"]'
    + (f',"pipeline_tag":"{pipeline}"' if pipeline else "")
    + (f',"library_name":"{library}"' if library else "")
    + (',"safetensors":{"parameters":{"F32":%d},"total":%d}' if st else "")
    + ',"config":'
    + config
    + "}"
    for _, pipeline, library, st, config, tags in KINDS
]
_HOSTILE = {  # one generated model in 499 has one of these said of it
    0: ('"likes":', '"likes":"\\u001b[31mmany\\u001b[0m","was":'),
    1: ('"createdAt":', '"createdAt":"yesterday","was":'),
    2: ('"total":', '"sum":'),
    3: ('"tags":[', '"tags":["license:x\'; DROP TABLE models; --",{"a":1},'),
    4: ('"downloads":', '"downloads":1e400,"was":'),
    5: ('"gated":', '"gated":{"x":[]},"was":'),
    6: ('"config":', '"config":[1,2],"was":'),
    7: ('"sha":', '"sha":"../../x","was":'),
}


def weights(tensors: dict[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of float32 zeros."""
    header, at = {}, 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def when(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


@dataclass
class Repo:
    """A model put there by a test: what its listing row says, and its files."""

    id: str
    row: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        given = self.row.get("sha")
        seen = [self.id.encode(), *(v for _, v in sorted(self.files.items()))]
        return given if isinstance(given, str) else hashlib.sha1(b"\0".join(seen)).hexdigest()

    @classmethod
    def of_folder(cls, folder: Path, author: str = "zoo") -> Repo:
        files = {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}
        tags = ["timm", "safetensors"]
        return cls(
            f"{author}/{folder.name}",
            {"pipeline_tag": "image-classification", "library_name": "timm", "tags": tags},
            files,
        )


class World:
    """The models that exist, in order of creation. Position s: -1, -2 ... are newer than 0, 1 ...
    count - 1.
    """

    def __init__(self, count: int, *, hostile: bool = True) -> None:
        self.count, self.hostile = count, hostile
        self.front: list[Repo | int] = []  # position -1 - j
        self.touches: list[tuple[int, float]] = []  # (position, time), oldest first
        self.touched: dict[int, int] = {}  # position -> its last touch
        self.vanished: set[int] = set()
        self.gated: set[int] = set()

    def add(self, repo: Repo | int) -> None:
        self.front.append(repo)
        self.touch(-len(self.front))

    def touch(self, s: int) -> None:
        self.touched[s] = len(self.touches)
        self.touches.append((s, time.time()))

    def change(
        self,
        *,
        changed: int = 0,
        appeared: int = 0,
        vanished: int = 0,
        gated: int = 0,
        seed: int = 1,
    ) -> None:
        """Touch, make and remove models; the choice is random but always the same."""
        picks = random.Random(seed).sample(range(self.count), changed + vanished + gated)
        for s in picks[:changed]:
            self.touch(s)
        self.vanished.update(picks[changed : changed + vanished])
        self.gated.update(picks[changed + vanished :])
        for _ in range(appeared):
            self.add(self.count + len(self.front))

    def ids(self) -> list[str]:
        """Every id that a crawl must end with."""
        return [
            self.id_of(s) for s in range(-len(self.front), self.count) if s not in self.vanished
        ]

    def index(self, s: int) -> int | Repo:
        return s if s >= 0 else self.front[-1 - s]

    def id_of(self, s: int) -> str:
        i = self.index(s)
        return i.id if isinstance(i, Repo) else f"org{i % 997:02d}/model-{i}"

    def find(self, repo: str) -> int | None:
        """The position of a model by its id."""
        for j, item in enumerate(self.front):
            if repo == (item.id if isinstance(item, Repo) else f"org{item % 997:02d}/model-{item}"):
                return -1 - j
        tail = repo.rsplit("-", 1)[-1]
        s = int(tail) if tail.isdecimal() else -1
        return (
            s if 0 <= s < self.count and self.id_of(s) == repo and s not in self.vanished else None
        )

    def sha(self, s: int) -> str:
        i = self.index(s)
        if isinstance(i, Repo):
            return i.sha
        return f"{i:08x}{self.touched.get(s, -1) + 1:08x}{i * 2654435761:024x}"

    def row(self, s: int) -> str:
        """The listing row as JSON text."""
        i = self.index(s)
        if isinstance(i, Repo):
            base = {
                "id": i.id,
                "author": i.id.split("/")[0],
                "sha": i.sha,
                "createdAt": when(_EPOCH - s * _STEP),
                "lastModified": when(self.touches[self.touched[s]][1]),
                "likes": 1,
                "downloads": 10,
                "gated": False,
                "tags": [],
            }
            return json.dumps(base | i.row)
        h = i * 2654435761 & 0xFFFFFFFF
        k = _KIND_OF[h % 1000]
        touch = self.touched.get(s)
        created = when(_EPOCH - s * _STEP)
        modified = created if touch is None else when(self.touches[touch][1])
        gated = '"manual"' if h % 97 == 0 or s in self.gated else "false"
        params = (1_000_000 + h % 90_000_000,) * 2 if KINDS[k][3] else ()
        author = f"org{i % 997:02d}"
        text = _TEMPLATES[k] % (
            i,
            f"{author}/model-{i}",
            author,
            self.sha(s),
            created,
            modified,
            h % 50,
            h % 100_000,
            gated,
            *params,
        )
        if self.hostile and h % 499 == 0:
            text = text.replace(*_HOSTILE[h // 499 % len(_HOSTILE)], 1)
        return text

    def matches(self, s: int, filters: list[str], pipeline: str | None) -> bool:
        i = self.index(s)
        if isinstance(i, Repo):
            tags, tag, library = (
                i.row.get("tags", []),
                i.row.get("pipeline_tag"),
                i.row.get("library_name"),
            )
        else:
            _, tag, library, _, _, raw = KINDS[_KIND_OF[(i * 2654435761 & 0xFFFFFFFF) % 1000]]
            tags = raw.replace('"', "").split(",")
        return (pipeline is None or tag == pipeline) and all(
            f in tags or f == library for f in filters
        )

    def page(
        self,
        sort: str,
        start: int | None,
        limit: int,
        filters: list[str],
        pipeline: str | None,
    ) -> tuple[list[str], int | None]:
        """(rows, where the next page starts). Both orders are a log, newest first, and then the
        generated models.
        """
        log = self.touches if sort == "lastModified" else self.front
        n, rows = -len(log) if start is None else start, []
        while n < self.count and len(rows) < limit:
            s = n
            if sort == "lastModified" and n < 0:
                s = self.touches[-1 - n][0]
                fresh = self.touched[s] == -1 - n
            else:
                fresh = sort != "lastModified" or s not in self.touched
            n += 1
            if (
                fresh
                and s not in self.vanished
                and ((not filters and pipeline is None) or self.matches(s, filters, pipeline))
            ):
                rows.append(self.row(s))
        return rows, n if n < self.count else None

    def files(self, s: int) -> dict[str, bytes]:
        """Every file of a model at its present revision."""
        i = self.index(s)
        if isinstance(i, Repo):
            return i.files
        h = i * 2654435761 & 0xFFFFFFFF
        _, pipeline, library, st, listed, _ = KINDS[_KIND_OF[h % 1000]]
        names = [
            f"{_ANIMALS[(h + j) % 10]}" + (f" {j}" if j > 9 else "") for j in range(2 + h % 30)
        ]
        config: dict[str, Any] = {"hidden_size": 8, **json.loads(listed)}
        head, labelled = (
            "classifier",
            h % 7 != 0 and pipeline in ("image-classification", "text-classification"),
        )
        if library == "timm":
            config = {
                "architecture": "resnet18",
                "num_classes": len(names),
                "num_features": 8,
                "label_names": names,
                "pretrained_cfg": {
                    "input_size": [3, 32, 32],
                    "mean": [0.5] * 3,
                    "std": [0.5] * 3,
                    "interpolation": "bicubic",
                    "crop_pct": 0.95,
                    "classifier": "fc",
                },
            }
            head = "fc"
        elif labelled and pipeline == "text-classification":
            config["id2label"] = (
                {"0": "negative", "1": "positive"} if h % 3 else {"0": "LABEL_0", "1": "LABEL_1"}
            )
            names = names[:2]
        elif labelled:
            config["id2label"] = {str(j): name for j, name in enumerate(names)}
        files = {
            "README.md": b"---\nlicense: apache-2.0\n---\n",
            "config.json": json.dumps(config).encode(),
        }
        if pipeline and pipeline.startswith("image") and library == "transformers":
            files["preprocessor_config.json"] = json.dumps(
                {
                    "size": {"height": 224, "width": 224},
                    "image_mean": [0.5] * 3,
                    "image_std": [0.5] * 3,
                    "resample": 3,
                }
            ).encode()
        if st:
            files["model.safetensors"] = weights(
                {"stem.weight": (8, 3), f"{head}.weight": (len(names), 8)}
            )
        else:
            files["pytorch_model.bin"] = b"\x80\x02."
        if self.hostile and h % 53 == 0:
            files["config.json"] = files["config.json"][:-9]  # really broken, whoever asks
        return files


@dataclass
class Faults:
    """The k-th request of a kind fails when ``k % every == 0``, with each of ``pages`` or ``files``
    in turn.
    """

    every: int = 0
    pages: tuple[str, ...] = PAGE_FAULTS
    files: tuple[str, ...] = FILE_FAULTS
    hang: float = 2.0


class Hub(ThreadingHTTPServer):
    """The server, running in a thread inside ``with``. ``seen`` counts (kind, path); ``leaks`` are
    foreign tokens.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        models: int = 0,
        *,
        repos: tuple[Repo, ...] = (),
        faults: Faults | None = None,
        port: int = 0,
        refused: tuple[str, ...] = (),
        quota: int | None = None,
        hostile: bool = True,
        page: int = 1_000,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.world = World(models, hostile=hostile)
        for repo in repos:
            self.world.add(repo)
        self.faults, self.refused, self.quota, self.page = faults or Faults(), refused, quota, page
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.cdn = f"http://localhost:{self.server_port}"  # another origin, the same server
        self.seen: Counter[tuple[str, str]] = Counter()
        self.injected: Counter[str] = Counter()
        self.leaks: list[str] = []
        self.tokens: set[str] = set()
        self.moved: dict[
            str, str
        ] = {}  # a file path of ours -> any address, answered with a redirect
        self.count: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.closing = threading.Event()

    def __enter__(self) -> Hub:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def fault(self, kind: str, path: str) -> str | None:
        """Count a request and say how it must fail, if it must."""
        with self.lock:
            self.seen[kind, path] += 1
            self.count[kind] += 1
            every, names = (
                self.faults.every,
                self.faults.pages if kind == "api" else self.faults.files,
            )
            if not every or not names or self.count[kind] % every:
                return None
            name = names[self.count[kind] // every % len(names)]
            self.injected[f"{kind} {name}"] += 1
            return name


def client(hub: Hub, **options: Any) -> Client:
    """A client of ``hub`` that waits little."""
    from zoo.loading.client import Client  # the server alone runs without the project

    hangs = hub.faults.every and "hang" in (*hub.faults.pages, *hub.faults.files)
    settings = {"timeout": 1.0 if hangs else 20.0, "wait": 0.01, "tries": 20} | options
    return Client(hub.url, token=False, **settings)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Hub
    damage: str | None = (
        None  # "cut" sends less than it promises, "short" promises less than there is
    )

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "change" in told:
            self.server.world.change(**told["change"])
        state = {
            "requests": dict(self.server.count),
            "injected": dict(self.server.injected),
            "ids": len(self.server.world.ids()) if told.get("ids") else None,
        }
        self.reply(200, json.dumps(state).encode())

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        foreign = self.headers.get("Host", "").startswith("localhost")
        if token := self.headers.get("Authorization"):
            self.server.leaks.append(path) if foreign else self.server.tokens.add(token)
        if path == "/api/models":
            return self.listing(parse_qs(url.query))
        if matched := re.fullmatch(r"/api/models/(.+?)(?:/(revision|tree)/([^/]+))?", path):
            return self.info(matched[1], matched[2], matched[3])
        if matched := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            return self.file(matched[1], matched[2], matched[3], foreign)
        return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})

    # --- what is asked

    def listing(self, query: dict[str, list[str]]) -> None:
        server, fault = self.server, self.server.fault("api", self.path)
        if fault not in (
            "repeated-cursor",
            "duplicates",
            "empty-page",
            "malformed-rows",
            "truncated-json",
            None,
        ):
            return self.fail(fault)
        for name in query.get("expand", []):
            if name in server.refused:
                return self.reply(
                    400, json.dumps({"error": f'Invalid option "{name}" for expand'}).encode()
                )
        sort, limit = (
            query.get("sort", ["createdAt"])[0],
            min(int(query.get("limit", ["1000"])[0]), server.page),
        )
        start = (
            json.loads(base64.urlsafe_b64decode(query["cursor"][0]))["n"]
            if "cursor" in query
            else None
        )
        filters, pipeline = query.get("filter", []), query.get("pipeline_tag", [None])[0]
        rows, following = server.world.page(sort, start, limit, filters, pipeline)
        if fault == "duplicates" and start is not None and start > 5:
            rows = server.world.page(sort, start - 5, 5, filters, pipeline)[0] + rows
        if fault == "malformed-rows":
            rows = [json.dumps(row) for row in NOT_ROWS] + rows
        if fault == "empty-page":
            rows, following = [], start if start is not None else -len(server.world.front)
        if fault == "repeated-cursor" and start is not None:
            following = start
        headers = {"Content-Type": "application/json"}
        if following is not None:
            cursor = base64.urlsafe_b64encode(
                json.dumps({"n": following, "by": sort}).encode()
            ).decode()
            rest = {k: v for k, v in query.items() if k != "cursor"}
            if fault == "empty-page":
                rest["again"] = [
                    str(server.count["api"])
                ]  # the same place, but not the same address
            headers["Link"] = (
                f"<{server.url}/api/models?{urlencode({**rest, 'cursor': cursor}, doseq=True)}>;"
                ' rel="next"'
            )
        body = ("[" + ",".join(rows) + "]").encode()
        self.reply(200, body[: len(body) // 2] if fault == "truncated-json" else body, headers)

    def info(self, repo: str, what: str | None, revision: str | None) -> None:
        if fault := self.server.fault("info", self.path):
            return self.fail(fault if fault != "no-range" else "503")
        s = self.known(repo, revision or "main")
        if s is None:
            return
        files = self.server.world.files(s)
        if what == "tree":
            listed = [
                {"type": "file", "path": n, "size": len(b), "oid": _blob(b), **_lfs(n, b, "oid")}
                for n, b in files.items()
            ]
            return self.reply(
                200, json.dumps(listed).encode(), {"X-Repo-Commit": self.server.world.sha(s)}
            )
        row = json.loads(self.server.world.row(s))
        row["siblings"] = [
            {"rfilename": n, "size": len(b), "blobId": _blob(b), **_lfs(n, b, "sha256")}
            for n, b in files.items()
        ]
        return self.reply(200, json.dumps(row | {"sha": self.server.world.sha(s)}).encode())

    def file(self, repo: str, revision: str, name: str, foreign: bool) -> None:
        fault = self.server.fault("cdn" if foreign else "files", f"{repo}/{revision}/{name}")
        if fault in ("cut", "short"):
            self.damage = fault
        elif fault and fault != "no-range":
            return self.fail(fault)
        s = self.known(repo, revision)
        if s is None:
            return
        body = self.server.world.files(s).get(name)
        if body is None:
            return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": self.server.world.sha(s), "Accept-Ranges": "bytes"}
        digest = _lfs(name, body, "sha256").get("lfs", {}).get("sha256")
        target = self.server.moved.get(f"{repo}/{name}")
        if target or (digest and not foreign):
            headers |= {
                "Location": target or f"{self.server.cdn}{self.path}",
                "X-Linked-Size": str(len(body)),
                "X-Linked-Etag": f'"{digest or _blob(body)}"',
            }
            return self.reply(302, b"", headers)
        headers["ETag"] = f'"{digest or _blob(body)}"'
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span and fault != "no-range":
            first, last = int(span[1]), min(int(span[2] or len(body)), len(body) - 1)
            if first >= len(body):
                return self.reply(416, b"")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            return self.reply(206, body[first : last + 1], headers)
        return self.reply(200, body, headers)

    def known(self, repo: str, revision: str) -> int | None:
        """The position of a model at a revision, or the answer why not."""
        s = self.server.world.find(repo)
        if s is None:
            self.reply(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", self.server.world.sha(s)):
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
            s = None
        elif json.loads(self.server.world.row(s)).get("gated") in ("manual", "auto"):
            self.reply(403, b"", {"X-Error-Code": "GatedRepo"})
            s = None
        return s

    # --- how it is answered

    def reply(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        length: int | None = None,
    ) -> None:
        if (quota := self.server.quota) is not None:
            left = max(0, quota - self.server.count["api"])
            headers = {"RateLimit": f'"api";r={left};t=300', **(headers or {})}
        if self.damage:
            body, length = (
                (body[: len(body) // 2], len(body))
                if self.damage == "cut"
                else (body, len(body) // 2)
            )
            self.damage, self.close_connection = None, True
        lines = [
            f"HTTP/1.1 {status} {'OK' if status < 400 else 'Fault'}",
            f"Content-Length: {len(body) if length is None else length}",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def fail(self, fault: str | None) -> None:
        if fault in ("503", "504"):
            return self.reply(int(fault), b"down")
        if fault == "429-ratelimit":
            return self.reply(429, b"slow", {"RateLimit": '"api";r=0;t=0'})
        if fault == "429-retry-after":
            return self.reply(429, b"slow", {"Retry-After": "0"})
        self.close_connection = True
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif fault == "hang":
            self.server.closing.wait(self.server.faults.hang)
        else:
            self.damage = fault
            self.reply(200, b'[{"id": "org/damaged"}, {"id": "org/damaged"}]')


def _blob(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _lfs(name: str, body: bytes, key: str) -> dict[str, Any]:
    large = name.endswith((".safetensors", ".bin"))
    return (
        {"lfs": {key: hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}}
        if large
        else {}
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=1_000)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--every", type=int, default=0, help="one request in so many fails")
    parser.add_argument("--hang", type=float, default=2.0)
    parser.add_argument("--no-hostile", dest="hostile", action="store_false")
    given = parser.parse_args()
    with Hub(
        given.models,
        hostile=given.hostile,
        faults=Faults(every=given.every, hang=given.hang),
        port=given.port,
    ) as hub:
        print(hub.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            hub.closing.wait()


if __name__ == "__main__":
    main()
