"""One measured figure, with all that is needed to believe it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.files import known_fields

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "timm",
    "faiss-gpu",
    "faiss-cpu",
    "pot",
    "duckdb",
    "pandas",
)


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that move the figures, those that are installed."""
    installed = {"python": platform.python_version()}
    for name in ("teacher-zoo", *PACKAGES):
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def machine() -> dict[str, str | int]:
    """The processor, how many cores this process may use, and how many threads it allows itself."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": model,
        "cores": cores,
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
    }


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """One figure.

    ``name`` is dotted, benchmark first (``scoring.knn``); ``unit`` in words (``ms``, ``accuracy``,
    ``ratio``); ``low`` and ``high`` are the error bar in the same unit, and ``spread`` says what
    they are; ``setting`` what was measured on (sizes, data sets, digests, revisions); ``seeds`` the
    seeds it is a mean over.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    spread: str = ""
    setting: Mapping[str, object] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    versions: Mapping[str, str] = field(default_factory=versions)
    machine: Mapping[str, str | int] = field(default_factory=machine)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def append(path: Path, records: Iterable[BenchRecord]) -> None:
    """Add the records to a JSON Lines file, as ``append_rows`` does."""
    append_rows(path, map(asdict, records))


def append_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Add the rows to a JSON Lines file in one write, so that two writers never mix lines.

    A last line that a kill or a full disk cut short is closed first; ``read_rows`` passes over it.
    """
    text = "".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (("\n" if torn else "") + text).encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON Lines file in the order they were written, none if there is no file; torn
    lines are passed over.
    """
    for line in path.read_text().splitlines() if path.exists() else ():
        with suppress(json.JSONDecodeError):
            yield json.loads(line)


def read(path: Path) -> list[BenchRecord]:
    """The records of a JSON Lines file."""
    return [
        BenchRecord(**known_fields(BenchRecord, row) | {"seeds": tuple(row["seeds"])})
        for row in read_rows(path)
    ]
