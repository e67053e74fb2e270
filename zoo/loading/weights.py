"""The header of a safetensors file: names, types and shapes of its tensors, which stay unread."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from zoo.errors import TeacherError
from zoo.files import is_lfs_pointer, load_json
from zoo.loading.checkpoint.formats import missing_weights

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LARGEST_HEADER = 25 * 2**20
_MOST_SHARDS = 1_000
# the name of a type begins with its kind and its bits: BF16, F8_E4M3, U8, C64
_DTYPE = re.compile(r"(?:BF|[CFIU])(4|6|8|16|32|64)(?:_E\dM\d(?:FNUZ)?)?")
_FLOAT = re.compile(r"B?F(16|32|64)|F8_E[45]M[23]\w*")
_LEARNED = ("weight", "bias", "kernel", "_data")  # how names of learned tensors end
_SCALE = re.compile(
    r"SCB|absmax|quant_map|scales?|zeros|qzeros|zero_point|(weight|input|output)?_?scale(_inv|_2)?"
    r"|scale_(weight|input)|weight_format"
)
_FIRST_BYTES = 256  # enough to know what a file that is no safetensors file is
_OTHER_CONTENT = {
    b"PK\x03\x04": "a PyTorch pickle (a zip archive), which is never loaded",
    b"\x80\x02": "a pickle, which is never loaded",
    b"\x80\x04": "a pickle, which is never loaded",
    b"\x89HDF": "an HDF5 file (Keras)",
    b"GGUF": "a GGUF file",
    b"<!DOCTYP": "an HTML page: the download failed",
    b"<!doctyp": "an HTML page: the download failed",
    b"<html": "an HTML page: the download failed",
}


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
    """The length of the JSON that follows the first 8 bytes of ``first``, a file's beginning.

    Raises ``TeacherError`` where it is more than 25 MB, so that a caller reads, or fetches, no more
    than that; where ``first`` is the beginning of another kind of file, that is the reason.
    """
    _check_content(first)
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


def _check_content(first: bytes) -> None:
    """Raise ``TeacherError`` where a file that begins with ``first`` is known to be of another
    kind.
    """
    if is_lfs_pointer(first):
        raise TeacherError(
            "the weights are a Git LFS pointer, not the weights: run git lfs pull in the model's"
            " folder"
        )
    for beginning, kind in _OTHER_CONTENT.items():
        if first.startswith(beginning):
            raise TeacherError(f"the weights are {kind}; not a safetensors file")


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
            length = header_length(file.read(_FIRST_BYTES))
            file.seek(8)
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
    if (folder / WEIGHTS).is_symlink():
        raise TeacherError(
            f"{WEIGHTS} is a link to a file that is not there: the download is not complete"
        )
    if (folder / INDEX).is_file():
        files = [folder / name for name in shard_names(load_json(folder / INDEX))]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise TeacherError(
                f"{len(missing)} of {len(files)} shards are missing, the first is {missing[0]}"
            )
        return files
    if os.path.lexists(folder / WEIGHTS):
        raise TeacherError(f"{WEIGHTS} is not a regular file, or a link that leads nowhere")
    names = [path.name for path in folder.iterdir()]
    names += [f"onnx/{path.name}" for path in (folder / "onnx").glob("*.onnx")]  # by Optimum
    raise TeacherError(missing_weights(names))


def check_floats(header: Header, quantization: object = None) -> None:
    """Raise ``TeacherError`` where the learned tensors are not stored as floating-point numbers.

    Integers stand for numbers only together with their scales, and every method of quantisation
    keeps those in its own way. 8-bit floats are numbers as they are, unless scales lie beside them.
    ``quantization`` is the config's ``quantization_config``, which names the method.
    """
    odd = {
        name: dtype
        for name, (dtype, _) in header.tensors.items()
        if name.endswith(_LEARNED) and (dtype.startswith("F8") or not _FLOAT.fullmatch(dtype))
    }
    if not odd:
        return
    owners = {name.rpartition(".")[0] for name in odd}
    has_scales = any(
        _SCALE.fullmatch(last) and owner in owners
        for owner, _, last in (name.rpartition(".") for name in header.tensors)
    )
    if not has_scales and all(_FLOAT.fullmatch(dtype) for dtype in odd.values()):
        return
    dtype = Counter(odd.values()).most_common(1)[0][0]
    method = quantization.get("quant_method") if isinstance(quantization, Mapping) else None
    by = f" ({method[:40]})" if isinstance(method, str) else ""
    raise TeacherError(
        f"quantised {_type_word(dtype)} weights {'with' if has_scales else 'without'} scales{by}:"
        " save the model in float32, float16 or bfloat16"
    )


def _type_word(dtype: str) -> str:
    """``I8`` -> ``int8``, ``U8`` -> ``uint8``, ``F8_E4M3`` -> ``fp8``, ``BOOL`` -> ``bool``."""
    bits = re.match(r"([A-Z]+)(\d+)", dtype)
    words = {"I": "int", "U": "uint", "F": "fp", "C": "complex"}
    return words[bits[1]] + bits[2] if bits else dtype.lower()


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
