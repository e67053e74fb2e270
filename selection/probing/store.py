"""The store of teachers' outputs by sample, which ranking, distillation and benchmarks share."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from selection.probing.stored.key import OUTPUTS, StoreKey, precision_of
from selection.probing.stored.tensor_file import (
    Array,
    read_shard,
    read_tensors,
    split_digests,
    write_tensors,
)
from zoo.files import write_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from zoo.teacher import Teacher

__all__ = [
    "BATCH",
    "CLASSIFIER",
    "OUTPUTS",
    "SHARD_ROWS",
    "Array",
    "NewRows",
    "StoreKey",
    "StoredRows",
    "TeacherStore",
    "outputs_of",
    "precision_of",
    "run_teacher",
]

CLASSIFIER = ("classifier_weights", "classifier_bias")
BATCH = 64  # samples that a teacher sees at once
SHARD_ROWS = 2048  # rows of one file; a killed run loses at most so many
_FLOAT16_MAX = 65504.0
_ABANDONED_SECONDS = 600.0  # writing a shard takes well under that


@dataclass(frozen=True, eq=False)
class StoredRows:
    """What is stored of N samples.

    present     (N,) bool
    arrays      name -> (N, ...) of the key's dtype; rows that are not present are 0
    classifier  ``classifier_weights`` (C_t, D) and ``classifier_bias`` (C_t,) float32, or empty
    seconds     what computing the present rows took
    """

    present: npt.NDArray[np.bool_]
    arrays: dict[str, Array]
    classifier: dict[str, Array]
    seconds: float

    @property
    def complete(self) -> bool:
        return bool(self.present.all())

    @property
    def leading(self) -> int:
        """How many rows are present before the first that is missing."""
        return len(self.present) if self.complete else int(self.present.argmin())


class NewRows(NamedTuple):
    """What a teacher answered on n samples: name -> (n, ...), and its classifier, see
    ``StoredRows``.
    """

    arrays: Mapping[str, Array]
    classifier: Mapping[str, Array]


class TeacherStore:
    """Outputs of teachers by sample, in a folder; safe to use from several processes.

    Each key has a folder of its own, with ``key.json`` and append-only shards of safetensors. A
    shard carries its key, the digests of its samples and a checksum over everything in it. It is
    written whole or not at all; a damaged one is removed with a note, and its rows count as
    missing. A damaged classifier takes the rows of its key with it. With ``max_bytes``, the entries
    that were not used for longest are removed, never the one just written.
    """

    def __init__(self, folder: Path, *, max_bytes: int | None = None) -> None:
        if max_bytes is not None and max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}; expected 0 or more, or None for no limit")
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    def entry(self, key: StoreKey) -> Path:
        """The folder of a key."""
        return self.folder / key.digest

    def lock(self, key: StoreKey) -> BaseFileLock:
        """A lock that lets one of several processes compute, while the others wait to read."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.entry(key)}.lock")

    def read(self, key: StoreKey, digests: Sequence[bytes]) -> StoredRows:
        """The rows of the samples ``digests`` (N of 16 bytes each), bit for bit as written."""
        entry = self.entry(key)
        missing: dict[bytes, list[int]] = {}
        for row, digest in enumerate(digests):
            missing.setdefault(digest, []).append(row)
        present = np.zeros(len(digests), dtype=bool)
        arrays: dict[str, Array] = {}
        seconds = 0.0
        for path in sorted(entry.glob("rows-*.safetensors")):
            if not missing:
                break
            shard = read_shard(path, key, missing)
            if shard is None:
                continue
            rows, places = _matches(shard.pop("digests"), missing)
            row_seconds = shard.pop("seconds")[np.unique(places)]
            seconds += float(row_seconds.sum(dtype=np.float64))
            for name, values in shard.items():
                if name not in arrays:
                    shape = (len(digests), *values.shape[1:])
                    arrays[name] = np.zeros(shape, values.dtype)
                arrays[name][rows] = values[places]
            present[rows] = True
        with contextlib.suppress(OSError):  # the time of last use; a read-only store still answers
            os.utime(entry / "key.json")
        classifier = entry / "classifier.safetensors"
        if not arrays or not classifier.exists():
            return StoredRows(present, arrays, {}, seconds)
        tensors = read_tensors(classifier, key)
        if tensors is None:  # without its classifier the teacher would be another one
            _remove_entry(entry)
            return StoredRows(np.zeros_like(present), {}, {}, 0.0)
        return StoredRows(present, arrays, tensors, seconds)

    def write(
        self,
        key: StoreKey,
        digests: Sequence[bytes],
        new: NewRows,
        *,
        seconds: float = 0.0,
    ) -> None:
        """Add the rows of samples. Raises ``OSError`` if the disk is full, and leaves no litter.

        ``seconds`` is what computing them took, in all.
        """
        entry = self.entry(key)
        tensors = {name: _as_dtype(name, values, key) for name, values in new.arrays.items()}
        if not tensors or not tensors.keys() <= set(key.content):
            raise ValueError(f"arrays {sorted(tensors)}; expected {' or '.join(key.content)}")
        if not digests or any(len(values) != len(digests) for values in tensors.values()):
            raise ValueError(f"arrays of other lengths than {len(digests)} samples, or no sample")
        count = len(digests)
        content = np.frombuffer(b"".join(digests), np.uint8)
        tensors["digests"] = content.reshape(count, 16)
        tensors["seconds"] = np.full(count, seconds / count, np.float32)
        if not (entry / "key.json").exists():
            write_json(entry / "key.json", asdict(key))
        classifier_path = entry / "classifier.safetensors"
        if new.classifier and not classifier_path.exists():
            classifier = {
                name: np.asarray(values, np.float32) for name, values in new.classifier.items()
            }
            write_tensors(classifier_path, key, classifier)
        shard = f"rows-{time.time_ns():020d}-{secrets.token_hex(4)}.safetensors"
        write_tensors(entry / shard, key, tensors)
        if self.max_bytes is not None:
            self.evict(keep=key)

    def keys(self, model: str, revision: str) -> Iterator[StoreKey]:
        """The keys under which outputs of this model are stored."""
        for path in self.folder.glob("*/key.json"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                fields = json.loads(path.read_text(encoding="utf-8"))
                key = StoreKey(**fields | {"content": tuple(fields["content"])})
                is_sound = key.digest == path.parent.name
                if is_sound and (key.model, key.revision) == (model, revision):
                    yield key

    def evict(self, *, keep: StoreKey | None = None) -> None:
        """Remove partial files and outdated formats, then the least recently used entries.

        Entries are removed until ``max_bytes`` are left; ``keep`` stays.
        """
        kept = self.entry(keep) if keep else None
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.is_dir():
                entries.append(_usage(path))
            elif path.suffix == ".outputs":  # of versions before 0.1
                path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if self.max_bytes is None or total <= self.max_bytes:
                break
            if path != kept:
                _remove_entry(path)
                total -= size


def outputs_of(
    store: TeacherStore,
    key: StoreKey,
    digests: Sequence[bytes],
    compute: Callable[[Sequence[int]], NewRows],
) -> StoredRows:
    """The outputs on N samples: what is missing in the store is computed and kept.

    ``compute`` runs the teacher on some of the N rows, in their order, in batches of ``BATCH``. It
    may stop early and return fewer rows; then the rest is not present. It is called for the missing
    rows of each block of ``SHARD_ROWS``, so that a run that was killed goes on with the same
    batches; of samples of one digest the first is computed. Rows computed in other batches can
    differ in the last bits of a float32.
    """
    stored = store.read(key, digests)
    first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    wanted = np.fromiter((first[digest] == row for row, digest in enumerate(digests)), bool)
    missing = np.flatnonzero(~stored.present & wanted)
    for block in np.unique(missing // SHARD_ROWS):
        rows = missing[missing // SHARD_ROWS == block].tolist()
        begin = time.perf_counter()
        new = compute(rows)
        count = min((len(values) for values in new.arrays.values()), default=0)
        if count:
            part = [digests[row] for row in rows[:count]]
            store.write(
                key,
                part,
                new,
                seconds=time.perf_counter() - begin,
            )
        if count < len(rows):
            break
    return store.read(key, digests) if len(missing) else stored


def run_teacher(
    teacher: Teacher,
    samples: Sequence[Any],
    *,
    on_batch: Callable[[int], object] | None = None,
) -> NewRows:
    """The outputs of a teacher on samples as they are, and its classifier.

    ``on_batch`` gets the number of samples done, and ends the run by answering False.
    """
    outputs = teacher.outputs(samples, batch_size=BATCH, on_batch=on_batch)
    arrays = {"features": outputs.features}
    if outputs.logits is not None:
        arrays["logits"] = outputs.logits
    return NewRows(arrays, dict(zip(CLASSIFIER, teacher.classifier or (), strict=False)))


def _matches(digests: Array, missing: dict[bytes, list[int]]) -> tuple[list[int], list[int]]:
    """The wanted rows that a shard holds and their places in it; takes them out of ``missing``."""
    rows: list[int] = []
    places: list[int] = []
    for place, digest in enumerate(split_digests(digests)):
        wanted = missing.pop(digest, [])
        rows += wanted
        places += [place] * len(wanted)
    return rows, places


def _as_dtype(name: str, values: Array, key: StoreKey) -> Array:
    """``values`` as they are stored: unchanged, or as float16 within its range."""
    if values.dtype == key.dtype:
        return np.ascontiguousarray(values)
    if key.dtype == np.float32 or values.dtype != np.float32:
        raise ValueError(f"{name} are {values.dtype}; float32 is stored")
    return np.clip(values, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16)


def _usage(entry: Path) -> tuple[float, int, Path]:
    """When an entry was used last, and its bytes.

    Abandoned temporary files are removed, and an empty folder once no writer can just have made it.
    """
    used, size, abandoned = 0.0, 0, time.time() - _ABANDONED_SECONDS
    paths = list(entry.iterdir())
    with contextlib.suppress(OSError):
        if not paths and entry.stat().st_mtime < abandoned:
            entry.rmdir()
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.stat()
            if path.suffix == ".part" and status.st_mtime < abandoned:
                path.unlink()
                continue
            size += status.st_size
            used = max(used, status.st_mtime)
    return used, size, entry


def _remove_entry(entry: Path) -> None:
    """Remove an entry's files, but not the folder: another process may be about to write there."""
    for path in [*entry.glob("*.safetensors"), entry / "key.json"]:
        path.unlink(missing_ok=True)
