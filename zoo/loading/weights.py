"""The header of a safetensors file: names, types and shapes of its tensors, which stay unread."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from zoo.errors import TeacherError
from zoo.files import load_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
_LARGEST_HEADER = 25 * 2**20
_MOST_SHARDS = 1_000
# the name of a type begins with its kind and its bits: BF16, F8_E4M3, U8, C64
_DTYPE = re.compile(r"(?:BF|[CFIU])(4|6|8|16|32|64)(?:_E\dM\d(?:FNUZ)?)?")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of the weights without reading them.

    ``tensors`` maps a name to (dtype as safetensors writes it, shape); ``params_total`` counts the
    scalars of all tensors, ``bytes`` is the size of the file, or of all shards together.
    """

    tensors: dict[str, tuple[str, tuple[int, ...]]]
    params_total: int
    bytes: int


def header_length(first: bytes) -> int:
    """The length of the JSON that follows ``first``, the file's first 8 bytes.

    Raises ``TeacherError`` where it is more than 25 MB, so that a caller reads, or fetches, no more
    than that.
    """
    if len(first) < 8:
        raise TeacherError(
            f"the weights are cut off: {len(first)} bytes, a safetensors file has at least 8"
        )
    length = int.from_bytes(first[:8], "little")
    if length > _LARGEST_HEADER:
        raise TeacherError(
            f"the weights' header claims {length:,} bytes, more than {_LARGEST_HEADER:,}: "
            "not a safetensors file, or a hostile one"
        )
    return length


def parse_header(text: bytes, *, file_bytes: int) -> Header:
    """The header from its JSON ``text``, which follows the first 8 of ``file_bytes`` bytes.

    Raises ``TeacherError`` where it is no valid header or does not agree with the file's size:
    tensors must lie back to back, each as long as its shape and dtype, and fill the file.
    """
    try:
        entries = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise TeacherError(f"the weights' header is not valid JSON ({str(error)[:80]})") from None
    if not isinstance(entries, dict):
        raise TeacherError("the weights' header is not a JSON object")
    entries.pop("__metadata__", None)
    tensors = {name: _entry(name, entry) for name, entry in entries.items()}
    end, data_bytes = 0, file_bytes - 8 - len(text)
    for name, (_, _, (begin, stop)) in sorted(tensors.items(), key=lambda item: item[1][2]):
        if begin != end:
            raise TeacherError(
                f"the weights' header lies: tensor {name[:80]!r} overlaps another or leaves a gap"
            )
        end = stop
    if end > data_bytes:
        raise TeacherError(
            f"the weights are cut off: {end:,} bytes of tensors expected, {max(data_bytes, 0):,}"
            " found"
        )
    if end < data_bytes:
        raise TeacherError(
            f"the weights' header lies: {data_bytes - end:,} bytes belong to no tensor"
        )
    return Header(
        tensors={name: (dtype, shape) for name, (dtype, shape, _) in tensors.items()},
        params_total=sum(math.prod(shape) for _, shape, _ in tensors.values()),
        bytes=file_bytes,
    )


def read_header(path: Path) -> Header:
    """The header of one safetensors file; ``TeacherError`` where it is damaged or lies."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = header_length(file.read(8))
            if length > size - 8:
                raise TeacherError(
                    f"the weights are cut off: the header alone should have {length:,} bytes, "
                    f"{path.name} has {size:,}"
                )
            return parse_header(file.read(length), file_bytes=size)
    except OSError as error:
        raise TeacherError(f"{path.name} cannot be read: {error.strerror or error}") from None


def read_headers(paths: Iterable[Path]) -> Header:
    """One header for all shards of a model; ``TeacherError`` where two have the same tensor."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    params, size = 0, 0
    for path in paths:
        header = read_header(path)
        twice = tensors.keys() & header.tensors.keys()
        if twice:
            raise TeacherError(f"tensor {min(twice)!r} stands in more than one shard")
        tensors |= header.tensors
        params, size = params + header.params_total, size + header.bytes
    return Header(tensors=tensors, params_total=params, bytes=size)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model in ``folder``: ``model.safetensors``, or the shards that
    its index names.

    Raises ``TeacherError`` where there are none (saying what is there instead), where the index
    names anything but plain file names, or a shard is missing.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        files = [folder / name for name in shard_names(load_json(folder / INDEX))]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise TeacherError(
                f"{len(missing)} of {len(files)} shards are missing, the first is {missing[0]}"
            )
        return files
    names = sorted(path.name for path in folder.iterdir())
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles:
        raise TeacherError(
            f"no safetensors, only {pickles[0]}: loading a pickle can run any code, so it is never"
            " done"
        )
    others = [name for name in names if name.endswith(".safetensors")]
    raise TeacherError(
        f"no {WEIGHTS}" + (f", only {others[0]}" if others else " and no other weights")
    )


def shard_names(index: object) -> list[str]:
    """The files that a parsed index names, sorted; ``TeacherError`` for a faulty index."""
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise TeacherError(f"{INDEX} has no weight_map")
    names = set()
    for name in weight_map.values():
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise TeacherError(f"{INDEX} names {str(name)[:80]!r}, which is not a plain file name")
        names.add(name)
    if len(names) > _MOST_SHARDS:
        raise TeacherError(f"{INDEX} names {len(names):,} shards, more than {_MOST_SHARDS:,}")
    return sorted(names)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a name stands twice")
    return entries


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    fault = TeacherError(f"the weights' header is wrong about tensor {name[:80]!r}")
    if not isinstance(entry, dict):
        raise fault
    dtype, shape, span = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if (
        not isinstance(dtype, str)
        or not _are_counts(shape)
        or not _are_counts(span)
        or len(span) != 2
    ):
        raise fault
    known = _DTYPE.fullmatch(dtype)
    if not known and dtype != "BOOL":
        raise TeacherError(f"tensor {name[:80]!r} has the unknown type {dtype[:20]!r}")
    bits = int(known[1]) if known else 8
    if 8 * (span[1] - span[0]) != bits * math.prod(shape):
        raise fault
    return dtype, tuple(shape), (span[0], span[1])


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(item) is int and 0 <= item < 2**60 for item in value
    )
