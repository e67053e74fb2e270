"""The store of teachers' outputs by image, which ranking, distillation and benchmarks share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from zoo.files import replacing, write_json
from zoo.terminal.progress import note

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from PIL.Image import Image

    from zoo.card import ModelCard
    from zoo.teacher import Teacher

Array = npt.NDArray[Any]

OUTPUTS = ("features", "logits")
CLASSIFIER = ("classifier_weights", "classifier_bias")
BATCH = 64  # images that a teacher sees at once
SHARD_ROWS = 2048  # rows of one file; a killed run loses at most so many
# Of shards and keys. Raised also where networks are shown their images otherwise, or pooled
# otherwise, under an unchanged key: 3 for processors and cuts of transformers' networks.
_FORMAT = "3"
_FLOAT16_MAX = 65504.0
_ABANDONED_SECONDS = 600.0  # writing a shard takes well under that


@dataclass(frozen=True, kw_only=True)
class StoreKey:
    """All that a teacher's stored outputs depend on, except for the image.

    model, revision  the teacher's weights
    preprocessing    ``Preprocessing.key``
    precision        of the network: float32, or bf16 on a GPU
    view             None for the image as it is; else which seeded views of which images
    content          the names of the arrays that are stored
    """

    model: str
    revision: str
    preprocessing: str
    precision: str = "float32"
    view: str | None = None
    content: tuple[str, ...] = OUTPUTS

    @classmethod
    def of(
        cls,
        card: ModelCard,
        *,
        device: str,
        largest: int | None = None,
        view: str | None = None,
        content: tuple[str, ...] = OUTPUTS,
    ) -> StoreKey:
        """The key of a card's outputs on ``device``; ``TeacherError`` if its config is wrong.

        A GPU runs in bfloat16, so its outputs are kept apart from a CPU's. ``largest`` bounds the
        teacher's input size, see ``Teacher.load``.
        """
        from zoo.loading.inputs.preprocessing import preprocessing_of

        preprocessing = preprocessing_of(card).at_most(largest).key
        return cls(
            model=card.id,
            revision=card.revision,
            preprocessing=preprocessing,
            precision=precision_of(device),
            view=view,
            content=content,
        )

    @property
    def digest(self) -> str:
        """The entry's folder name: no part of a key ever becomes a path."""
        text = json.dumps([_FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, lossless, for outputs on the image as it is; float16 for everything else."""
        exact = self.view is None and self.content == OUTPUTS
        return np.dtype(np.float32 if exact else np.float16)


@dataclass(frozen=True, eq=False)
class StoredRows:
    """What is stored of N images.

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
    """What a teacher answered on n images: name -> (n, ...), and its classifier, see
    ``StoredRows``.
    """

    arrays: Mapping[str, Array]
    classifier: Mapping[str, Array]


class TeacherStore:
    """Outputs of teachers by image, in a folder; safe to use from several processes.

    Each key has a folder of its own, with ``key.json`` and append-only shards of safetensors. A
    shard carries its key, the digests of its images and a checksum over everything in it. It is
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
        """The rows of the images ``digests`` (N of 16 bytes each), bit for bit as written."""
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
            shard = _read_shard(path, key, missing)
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
        tensors = _read_tensors(classifier, key)
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
        """Add the rows of images. Raises ``OSError`` if the disk is full, and leaves no litter.

        ``seconds`` is what computing them took, in all.
        """
        entry = self.entry(key)
        tensors = {name: _as_dtype(name, values, key) for name, values in new.arrays.items()}
        if not tensors or not tensors.keys() <= set(key.content):
            raise ValueError(f"arrays {sorted(tensors)}; expected {' or '.join(key.content)}")
        if not digests or any(len(values) != len(digests) for values in tensors.values()):
            raise ValueError(f"arrays of other lengths than {len(digests)} images, or no image")
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
            _write_tensors(classifier_path, key, classifier)
        shard = f"rows-{time.time_ns():020d}-{secrets.token_hex(4)}.safetensors"
        _write_tensors(entry / shard, key, tensors)
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
    """The outputs on N images: what is missing in the store is computed and kept.

    ``compute`` runs the teacher on some of the N rows, in their order, in batches of ``BATCH``. It
    may stop early and return fewer rows; then the rest is not present. It is called for the missing
    rows of each block of ``SHARD_ROWS``, so that a run that was killed goes on with the same
    batches. Rows computed in other batches can differ in the last bits of a float32.
    """
    stored = store.read(key, digests)
    missing = np.flatnonzero(~stored.present)
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
    images: Sequence[Image],
    *,
    on_batch: Callable[[int], object] | None = None,
) -> NewRows:
    """The outputs of a teacher on images as they are, and its classifier.

    ``on_batch`` gets the number of images done, and ends the run by answering False.
    """
    outputs = teacher.outputs(images, batch_size=BATCH, on_batch=on_batch)
    arrays = {"features": outputs.features}
    if outputs.logits is not None:
        arrays["logits"] = outputs.logits
    return NewRows(arrays, dict(zip(CLASSIFIER, teacher.classifier or (), strict=False)))


def precision_of(device: str) -> str:
    """The precision that networks run in on ``device``, see ``Teacher.autocast``."""
    return "bf16" if device.startswith("cuda") else "float32"


def _matches(digests: Array, missing: dict[bytes, list[int]]) -> tuple[list[int], list[int]]:
    """The wanted rows that a shard holds and their places in it; takes them out of ``missing``."""
    rows: list[int] = []
    places: list[int] = []
    for place, digest in enumerate(_as_bytes(digests)):
        wanted = missing.pop(digest, [])
        rows += wanted
        places += [place] * len(wanted)
    return rows, places


def _as_bytes(digests: Array) -> list[bytes]:
    """(n, 16) uint8 as n byte strings."""
    content = digests.tobytes()
    return [content[start : start + 16] for start in range(0, len(content), 16)]


def _as_dtype(name: str, values: Array, key: StoreKey) -> Array:
    """``values`` as they are stored: unchanged, or as float16 within its range."""
    if values.dtype == key.dtype:
        return np.ascontiguousarray(values)
    if key.dtype == np.float32 or values.dtype != np.float32:
        raise ValueError(f"{name} are {values.dtype}; float32 is stored")
    return np.clip(values, -_FLOAT16_MAX, _FLOAT16_MAX).astype(np.float16)


def _write_tensors(path: Path, key: StoreKey, tensors: dict[str, Array]) -> None:
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    facts = {"format": _FORMAT, "key": key.digest, "checksum": _checksum(key, contiguous)}
    content = save(contiguous, metadata=facts)
    with replacing(path) as partial:
        partial.write_bytes(content)


def _read_shard(
    path: Path,
    key: StoreKey,
    wanted: Mapping[bytes, object],
) -> dict[str, Array] | None:
    """The arrays of a shard that holds any of the ``wanted`` digests; None otherwise."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            digests = file.get_tensor("digests")
    except (SafetensorError, OSError, ValueError, TypeError):
        return _read_tensors(path, key)  # notes the damage and removes the file
    if wanted.keys().isdisjoint(_as_bytes(digests)):
        return None
    return _read_tensors(path, key)


def _read_tensors(path: Path, key: StoreKey) -> dict[str, Array] | None:
    """The arrays of a file, or None if it does not exist; a damaged file is removed."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        expected = {"format": _FORMAT, "key": key.digest, "checksum": _checksum(key, tensors)}
        if facts == expected:
            return tensors
        reason = "its checksum does not match"
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, TypeError, MemoryError) as error:
        reason = str(error)
    note(f"stored outputs of {key.model} are damaged ({reason}); they are computed anew")
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def _checksum(key: StoreKey, tensors: Mapping[str, Array]) -> str:
    """crc32 over the key and the name, type, shape and bytes of every array."""
    value = zlib.crc32(key.digest.encode())
    for name in sorted(tensors):
        values = tensors[name]
        value = zlib.crc32(f"{name} {values.dtype} {values.shape}".encode(), value)
        value = zlib.crc32(np.ascontiguousarray(values).data, value)
    return f"{value:08x}"


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
