"""What teachers said of probes, kept on disk: features in a flat faiss index, and what belongs to
them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import struct
import time
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_FORMAT = 1
_SUFFIX = ".outputs"
_TEMPORARY = ".writing"
# seconds; writing an entry takes well under one, so an older temporary file has lost its writer
_ABANDONED = 600.0
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    OverflowError,
)  # what reading a damaged zip of arrays was seen to raise, and its neighbours


@dataclass(frozen=True)
class CacheKey:
    """All that the stored outputs depend on: model id and revision, ``Preprocessing.key``, the
    probe's digest.
    """

    model: str
    revision: str
    preprocessing: str
    probe: str

    @property
    def digest(self) -> str:
        """sha256, the entry's file name: no part of a key ever becomes a path."""
        parts = [_FORMAT, self.model, self.revision, self.preprocessing, self.probe]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class StoredOutputs:
    """One teacher on one probe, all float32 and C-contiguous.

    features            (N, D), N and D at least 1
    logits              (N, C_t), or None where the teacher has no head
    classifier_weights  (C_t, D), or None; ``classifier_bias`` (C_t,), or None
    seconds             what it took to compute them
    """

    features: Floats
    logits: Floats | None = None
    classifier_weights: Floats | None = None
    classifier_bias: Floats | None = None
    seconds: float = 0.0


class Neighbours(NamedTuple):
    """``distances`` (N, k) float32 ascending along rows, and ``indices`` (N, k) int64 of the
    probe's other samples.
    """

    distances: Floats
    indices: npt.NDArray[np.int64]


class FeatureCache:
    """Entries in ``folder``, one file each, safe to use from several processes.

    A file is a zip of npy arrays (checksums inside), of which the features are a serialised
    ``faiss.IndexFlatL2``: the vectors themselves, lossless. It is written beside its place and
    renamed into it, so a reader sees all or nothing. With ``max_bytes``, the entries that were not
    used for longest give way, never the one just written.
    """

    def __init__(self, folder: Path, *, max_bytes: int | None = None) -> None:
        if max_bytes is not None and max_bytes < 0:
            raise ValueError(f"max_bytes is {max_bytes}; expected 0 or more, or None for no limit")
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    def path(self, key: CacheKey) -> Path:
        return self.folder / f"{key.digest}{_SUFFIX}"

    def get(self, key: CacheKey) -> StoredOutputs | None:
        """The entry of ``key``, bit for bit what was put, or None. A damaged entry is removed and
        counts as missing.
        """
        stored = self._read(key)
        return None if stored is None else stored[0]

    def put(self, key: CacheKey, stored: StoredOutputs) -> None:
        """Keep ``stored``. Raises ``OSError`` where it cannot be written (disk full), and leaves
        nothing behind then.
        """
        content = _pack(key, stored)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(key)
        temporary = self.folder / f"{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{_TEMPORARY}"
        try:
            with open(temporary, "xb", buffering=0) as file:
                view = memoryview(content)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(path)
            raise
        self.evict(keep=key)

    def neighbours(
        self, key: CacheKey, k: int, *, metric: Literal["cosine", "l2"] = "cosine"
    ) -> Neighbours:
        """The ``k`` nearest other samples of each sample of an entry.

        Distances are 1 - cosine in [0, 2] (a zero vector has 1 to all), or squared Euclidean.
        Raises ``KeyError`` where there is no entry, ``ValueError`` where the probe has no ``k``
        other samples.
        """
        stored = self._read(key)
        if stored is None:
            raise KeyError(f"no stored outputs of {key.model} for this probe")
        return _search(stored[1], k, metric)

    def evict(self, *, keep: CacheKey | None = None) -> None:
        """Remove abandoned temporary files, then the least recently used entries beyond
        ``max_bytes``, but not ``keep``.
        """
        entries: list[tuple[int, int, str]] = []
        kept = self.path(keep).name if keep else ""
        total = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as found:
            for entry in found:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if (
                        entry.name.endswith(_TEMPORARY)
                        and time.time() - status.st_mtime > _ABANDONED
                    ):
                        os.unlink(entry.path)
                    elif entry.name.endswith(_SUFFIX):
                        total += status.st_size
                        if entry.name != kept:
                            entries.append((status.st_mtime_ns, status.st_size, entry.path))
        for _, size, path in sorted(entries) if self.max_bytes is not None else ():
            if self.max_bytes is None or total <= self.max_bytes:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size

    def _read(self, key: CacheKey) -> tuple[StoredOutputs, npt.NDArray[np.uint8]] | None:
        path = self.path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            stored = _unpack(key, content)
        except _DAMAGE:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(
            OSError
        ):  # the time of last use, for eviction; a read-only cache still answers
            os.utime(path)
        return stored


def _pack(key: CacheKey, stored: StoredOutputs) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {"index": _serialise(stored.features)}
    for name in ("logits", "classifier_weights", "classifier_bias"):
        if (values := getattr(stored, name)) is not None:
            if values.dtype != np.float32:
                raise ValueError(f"{name} are {values.dtype}; float32 is stored")
            arrays[name] = values
    shape = list(stored.features.shape)
    about = {
        "format": _FORMAT,
        "key": asdict(key),
        "seconds": stored.seconds,
        "shape": shape,
        "arrays": list(arrays),
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _unpack(key: CacheKey, content: bytes) -> tuple[StoredOutputs, npt.NDArray[np.uint8]]:
    """The outputs and the serialised index; raises one of ``_DAMAGE`` where anything is not as it
    was put.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(arrays.pop("about").tobytes())
    if about["format"] != _FORMAT or about["key"] != asdict(key) or about["arrays"] != list(arrays):
        raise ValueError("an entry of another key or format")
    samples, width = about["shape"]
    index = arrays["index"]
    features = np.empty((samples, width), dtype=np.float32)
    features.view(np.uint8).reshape(-1)[:] = index[index.nbytes - features.nbytes :]
    others = {
        name: arrays.get(name) for name in ("logits", "classifier_weights", "classifier_bias")
    }
    return StoredOutputs(features, **others, seconds=float(about["seconds"])), index


def _serialise(features: Floats) -> npt.NDArray[np.uint8]:
    """A flat faiss index of ``features`` (N, D) as bytes, the vectors at its end: reading them back
    needs no faiss (1 s).
    """
    import faiss

    if features.dtype != np.float32 or features.ndim != 2 or not features.size:
        raise ValueError(
            f"features are {features.dtype} {features.shape}; float32 (N, D) is stored"
        )
    index = faiss.IndexFlatL2(features.shape[1])
    index.add(np.ascontiguousarray(features))
    written: npt.NDArray[np.uint8] = faiss.serialize_index(index)
    if written[written.nbytes - features.nbytes :].tobytes() != features.tobytes():
        raise RuntimeError(
            f"faiss {faiss.__version__} lays out a flat index in another way than this cache reads"
        )
    return written


def _search(written: npt.NDArray[np.uint8], k: int, metric: str) -> Neighbours:
    import faiss

    index = faiss.deserialize_index(written)
    if not 1 <= k < index.ntotal:
        raise ValueError(
            f"{k} neighbours among {index.ntotal} samples; expected 1 to {index.ntotal - 1}"
        )
    vectors = index.reconstruct_n(0, index.ntotal)  # (N, D)
    if metric == "cosine":
        faiss.normalize_L2(vectors)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
    values, found = index.search(vectors, k + 1)
    own = found == np.arange(len(found))[:, None]
    own[~own.any(axis=1), -1] = (
        True  # among many copies of itself a sample may be missing: then the farthest goes
    )
    values, found = values[~own].reshape(-1, k), found[~own].reshape(-1, k)
    distances = np.clip(1 - values, 0, 2) if metric == "cosine" else np.maximum(values, 0)
    return Neighbours(distances.astype(np.float32), found)
