"""The Hub in a local catalogue: what a crawl of 3,000,000 models, an update, a snapshot and typical
questions cost.

    python -m benchmarks.run catalogue

The Hub is the loopback one of tests/hub_server.py in a process of its own; the crawler is the
command, in another. ``$TEACHER_ZOO_BENCH_MODELS`` makes it smaller, ``$TEACHER_ZOO_BENCH_FOLDER``
keeps its files and goes on with them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import BenchRecord
from zoo.catalogue import Catalogue
from zoo.errors import Unavailable
from zoo.sources.ledger import CANDIDATES

ROOT = Path(__file__).parents[2]
MODELS = 3_000_000
CHANGED, APPEARED, VANISHED = 20_000, 500, 300
DETAILED = 4_000  # of the candidates, drawn by their ids: the mix of tasks stays that of the whole
# The questions of a user at a terminal or in a notebook; each ends in a pandas table.
QUERIES: dict[str, dict[str, Any]] = {
    "label": {
        "where": "list_contains(labels, 'golden retriever') and loadable and params_total < 30e6",
        "sort": "downloads",
        "limit": 50,
    },
    "licence": {
        "where": "license = 'apache-2.0' and num_classes > 100",
        "sort": "params_total",
        "limit": 50,
    },
    "loadable": {
        "where": "loadable and pipeline_tag = 'image-classification'",
        "columns": ["id", "params_total", "downloads"],
    },
    "author": {"where": "author = 'org07'", "sort": "last_modified", "limit": 50},
    "architectures": {
        "sql": "select architecture, count(*) as models from models group by 1 order by 2 desc"
    },
}


@dataclass(frozen=True)
class Cost:
    """What a command took: wall and CPU seconds, peak MB, and its last line on the listing."""

    wall: float
    cpu: float
    peak: float
    last_line: str


def run(out: Path) -> list[BenchRecord]:
    """Measure, and return the records; prints them as they come."""
    models = int(os.environ.get("TEACHER_ZOO_BENCH_MODELS", MODELS))
    kept = os.environ.get("TEACHER_ZOO_BENCH_FOLDER")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="catalogue-"))
    folder.mkdir(parents=True, exist_ok=True)
    records: list[BenchRecord] = []

    def note(
        name: str,
        value: float,
        unit: str,
        **setting: object,
    ) -> None:
        records.append(
            BenchRecord(
                name=f"catalogue.{name}",
                value=round(value, 4),
                unit=unit,
                setting={"models": models, "server": "loopback", **setting},
            )
        )
        print(f"{name:32} {value:12,.2f} {unit}", flush=True)

    try:
        with _server(models) as url:
            _measure_listing(folder, url, models, note)
            _measure_update(folder, url, models, note)
            _measure_details(folder, url, note)
        _measure_queries(folder, note)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return records


def _measure_listing(
    folder: Path,
    url: str,
    models: int,
    note: Any,
) -> None:
    cost = _crawl(folder, url, "--details", "none")
    note(
        "crawl_wall",
        cost.wall / 60,
        "minutes",
        load=os.getloadavg()[1],
    )
    note("crawl_cpu", cost.cpu, "CPU s", quota="16 minutes of a free token: at most 240")
    note("crawl_peak", cost.peak, "MB", limit=700)
    note("crawl_rate", models / cost.wall, "rows/s")
    note("pages", _control(url)["requests"]["api"], "requests")
    with Catalogue.open(folder / "catalogue.duckdb") as catalogue:
        rows, ids = catalogue.sql("SELECT count(*), count(DISTINCT id) FROM models").iloc[0]
    if not rows == ids == models:
        raise Unavailable(f"{rows:,} rows and {ids:,} ids came of {models:,} models")


def _measure_update(
    folder: Path,
    url: str,
    models: int,
    note: Any,
) -> None:
    share = min(1.0, models / MODELS)
    changes = {
        "changed": round(CHANGED * share),
        "appeared": round(APPEARED * share),
        "vanished": round(VANISHED * share),
    }
    before = _control(url, change=changes)["requests"]["api"]
    cost = _crawl(folder, url, "--details", "none", "--update")
    note("update_wall", cost.wall, "s", **changes, said=cost.last_line)
    note("update_cpu", cost.cpu, "CPU s", **changes)
    note(
        "update_pages",
        _control(url)["requests"]["api"] - before,
        "requests",
        **changes,
    )
    if os.environ.get("TEACHER_ZOO_BENCH_SECOND"):
        cost = _crawl(folder, url, "--details", "none")
        note("second_pass_cpu", cost.cpu, "CPU s", **changes, said=cost.last_line)
        with Catalogue.open(folder / "catalogue.duckdb") as catalogue:
            note(
                "second_pass_marked", catalogue.count("removed_at IS NOT NULL"), "models", **changes
            )


def _measure_details(folder: Path, url: str, note: Any) -> None:
    """A share of the candidates is asked; the requests are those that the server counted, redirects
    and retries too.
    """
    with Catalogue.open(folder / "catalogue.duckdb") as catalogue:
        share = max(1, catalogue.count(CANDIDATES) // DETAILED)
    chosen, before = f"({CANDIDATES}) AND hash(id) % {share} = 0", _control(url)["requests"]
    cost = _crawl(folder, url, "--update", "--details", chosen)
    after = _control(url)["requests"]
    with Catalogue.open(folder / "catalogue.duckdb") as catalogue:
        asked = max(1, catalogue.count("detail_state IS NOT NULL"))
    hub, storage = (after.get(kind, 0) - before.get(kind, 0) for kind in ("files", "cdn"))
    note(
        "details_requests",
        (hub + storage) / asked,
        "requests per model",
        asked=asked,
        limit=2.1,
    )
    note(
        "details_requests_of_the_hub",
        hub / asked,
        "requests per model",
        asked=asked,
        storage=storage,
    )
    note("details_wall", cost.wall, "s", asked=asked)
    note("details_cpu", cost.cpu, "CPU s", asked=asked)
    _crawl(folder, url, "--update", "--details", chosen)
    again = _control(url)["requests"]
    note(
        "details_repeated",
        sum(again.get(kind, 0) - after.get(kind, 0) for kind in ("files", "cdn")),
        "requests",
        asked=asked,
    )


def _measure_queries(folder: Path, note: Any) -> None:
    path = folder / "catalogue.duckdb"
    with Catalogue.open(path, write=True) as catalogue:
        _give_labels(catalogue)
        begin, cpu = time.perf_counter(), time.process_time()
        catalogue.publish()
        note("publish", time.perf_counter() - begin, "s")
        note("publish_cpu", time.process_time() - cpu, "CPU s")
    note("database_size", path.stat().st_size / 1e6, "MB")
    note("snapshot_size", path.with_suffix(".parquet").stat().st_size / 1e6, "MB")
    with Catalogue.open(path) as catalogue:
        shape = catalogue.sql(
            "SELECT count(labels) AS labelled, sum(len(labels)) AS names FROM models"
        ).iloc[0]
        for name, query in QUERIES.items():
            times, rows = [], 0
            for _ in range(5):
                begin = time.perf_counter()
                table = catalogue.sql(query["sql"]) if "sql" in query else catalogue.models(**query)
                times.append(time.perf_counter() - begin)
                rows = len(table)
            note(
                f"query_{name}",
                1_000 * statistics.median(times),
                "ms",
                first=round(1_000 * times[0]),
                rows=rows,
                limit=500,
                labelled=int(shape["labelled"]),
                names=int(shape["names"]),
                query=json.dumps(query),
                load=os.getloadavg()[0],
            )


def _give_labels(catalogue: Catalogue) -> None:
    """Label spaces for the candidates that were not asked: three of five timm models have
    ImageNet's names, the others the names of a model of their task that was.
    """
    from timm.data import ImageNetInfo

    db = catalogue.connection
    names = list(ImageNetInfo("imagenet-1k").label_descriptions())
    db.execute(
        "UPDATE models SET labels = ?, label_source = 'inferred:imagenet-1k', num_classes = 1000 "
        "WHERE library_name = 'timm' AND hash(id) % 5 < 3",
        [names],
    )
    db.execute(
        "CREATE TEMP TABLE spaces AS SELECT pipeline_tag, labels, row_number() OVER (PARTITION BY"
        " pipeline_tag) - 1 AS n, count(*) OVER (PARTITION BY pipeline_tag) AS total FROM models"
        " WHERE label_source = 'config' AND pipeline_tag LIKE '%-classification'"
    )
    db.execute(
        "UPDATE models SET labels = spaces.labels, num_classes = len(spaces.labels), label_source ="
        " 'config', loadable = models.pipeline_tag = 'image-classification' FROM spaces WHERE"
        " models.labels IS NULL AND models.pipeline_tag = spaces.pipeline_tag AND"
        " models.weight_format = 'safetensors' AND spaces.n = hash(models.id) % spaces.total"
    )


# --- processes


@contextmanager
def _server(models: int) -> Iterator[str]:
    """The loopback Hub in a process of its own; yields its address."""
    script = ROOT / "tests" / "hub_server.py"
    if not script.is_file():
        raise Unavailable(
            f"{script} is not there; this benchmark runs from a clone of the repository"
        )
    process = subprocess.Popen(
        [sys.executable, str(script), "--models", str(models), "--no-hostile"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def _control(url: str, **order: object) -> Mapping[str, Any]:
    """Tell the server of changes; returns its counts of requests."""
    request = urllib.request.Request(
        f"{url}/_control", data=json.dumps(order).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        state: Mapping[str, Any] = json.loads(answer.read())
    return state


def _crawl(folder: Path, url: str, *options: str) -> Cost:
    """``python -m zoo.crawl`` with these options, measured from outside."""
    environment = os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [
        sys.executable,
        "-m",
        "zoo.crawl",
        "--endpoint",
        url,
        "--catalogue",
        str(folder / "catalogue.duckdb"),
        *options,
    ]
    begin = time.perf_counter()
    with (folder / "crawl.log").open("w+") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read()
    if process.returncode:
        raise Unavailable(f"the crawl failed: {output[-500:]}")
    last_line = next(
        (line for line in output.splitlines() if " listing: " in line and " rows on " in line), ""
    )
    return Cost(
        time.perf_counter() - begin,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1e3,
        last_line,
    )
