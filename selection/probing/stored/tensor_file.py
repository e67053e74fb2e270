"""A file of stored arrays, with its key and a checksum."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.probing.stored.key import FORMAT, StoreKey
from zoo.files import replacing
from zoo.terminal.progress import note

Array = npt.NDArray[Any]


def write_tensors(path: Path, key: StoreKey, tensors: dict[str, Array]) -> None:
    """Write the arrays, whole or not at all; raises ``OSError`` if the disk is full."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    facts = {"format": FORMAT, "key": key.digest, "checksum": _checksum(key, contiguous)}
    content = save(contiguous, metadata=facts)
    with replacing(path) as partial:
        partial.write_bytes(content)


def read_shard(
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
        return read_tensors(path, key)  # notes the damage and removes the file
    if wanted.keys().isdisjoint(split_digests(digests)):
        return None
    return read_tensors(path, key)


def read_tensors(path: Path, key: StoreKey) -> dict[str, Array] | None:
    """The arrays of a file, or None if it does not exist; a damaged file is removed."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
        expected = {"format": FORMAT, "key": key.digest, "checksum": _checksum(key, tensors)}
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


def split_digests(digests: Array) -> list[bytes]:
    """(n, 16) uint8 as n byte strings."""
    content = digests.tobytes()
    return [content[start : start + 16] for start in range(0, len(content), 16)]
