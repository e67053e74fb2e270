"""The header of a safetensors file: read exactly, and never believed where it does not fit the
file.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from zoo.errors import TeacherError
from zoo.loading.weights import (
    Header,
    header_length,
    parse_header,
    read_header,
    read_headers,
    shard_names,
    weight_files,
)

DTYPES = {
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "uint8": "U8",
    "bool": "BOOL",
    "float64": "F64",
}


def raw(entries: object, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


def one(dtype: str = "F32", shape: Any = (2, 3), span: Any = (0, 24)) -> dict[str, Any]:
    return {"fc.weight": {"dtype": dtype, "shape": shape, "data_offsets": span}}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@given(
    tensors=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 4), max_size=3)),
        max_size=4,
    )
)
@pytest.mark.journey
def test_what_the_library_writes_is_read(tensors: dict[str, tuple[str, list[int]]]) -> None:
    content = save(
        {name: np.zeros(shape, dtype=dtype) for name, (dtype, shape) in tensors.items()},
        metadata={"a": "b"},
    )
    length = header_length(content[:8])
    header = parse_header(content[8 : 8 + length], file_bytes=len(content))
    assert header.tensors == {
        name: (DTYPES[dtype], tuple(shape)) for name, (dtype, shape) in tensors.items()
    }
    assert header.params_total == sum(int(np.prod(shape)) for _, shape in tensors.values())
    assert header.bytes == len(content)


def test_a_file_cut_anywhere_is_a_fault(tmp_path: Path) -> None:
    content = save({"a": np.zeros((3, 2), np.float32), "b": np.zeros(4, np.int64)})
    assert read_header(write(tmp_path / "x", content)).params_total == 10
    for end in range(len(content)):
        with pytest.raises(TeacherError, match="cut off"):
            read_header(write(tmp_path / "x", content[:end]))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_fault(text: bytes) -> None:
    with contextlib.suppress(TeacherError):
        assert isinstance(parse_header(text, file_bytes=8 + len(text)), Header)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
)


@given(
    json_values
    | st.builds(
        one, st.sampled_from(["F32", "U8", "F4", "X"]) | json_values, json_values, json_values
    )
)
def test_any_json_is_a_header_or_a_fault(entries: object) -> None:
    text = json.dumps(entries).encode()
    with contextlib.suppress(TeacherError):
        assert parse_header(text, file_bytes=8 + len(text)).params_total >= 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut off: 0 bytes"),
        ((10 * 10**9).to_bytes(8, "little") + b"{}", "claims 10,000,000,000 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", "claims"),
        ((1000).to_bytes(8, "little") + b"{}", "cut off"),
        (raw([]), "not a JSON object"),
        ((3).to_bytes(8, "little") + b"{a}", "not valid JSON"),
        ((20000).to_bytes(8, "little") + b"[" * 20000, "not valid JSON"),
        (raw({"fc.weight": 3}), "wrong about tensor 'fc.weight'"),
        (raw(one(span=(0, 20)), b"\0" * 20), "wrong about tensor"),
        (raw(one(span=(24, 0)), b"\0" * 24), "wrong about tensor"),
        (raw(one(shape=(-2, -3)), b"\0" * 24), "wrong about tensor"),
        (raw(one(shape=(True, 6)), b"\0" * 24), "wrong about tensor"),
        (raw(one(shape=(2**40, 2**40)), b"\0" * 24), "wrong about tensor"),
        (raw(one(dtype="Q7"), b"\0" * 24), "unknown type 'Q7'"),
        (raw(one(span=(8, 32)), b"\0" * 32), "leaves a gap"),
        (raw(one() | {"b": one()["fc.weight"]}, b"\0" * 24), "overlaps"),
        (raw(one(), b"\0" * 25), "1 bytes belong to no tensor"),
        (raw(one(), b"\0" * 23), "cut off: 24 bytes of tensors expected, 23 found"),
        (
            (44).to_bytes(8, "little") + b'{"__metadata__": {}, "a": {}, "a": {}}      ',
            "stands twice",
        ),
    ],
)
def test_a_lying_header_is_a_fault_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(TeacherError) as raised:
        read_header(write(tmp_path / "model.safetensors", content))
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"no\.safetensors cannot be read"):
        read_header(tmp_path / "no.safetensors")


def test_shards_add_up_and_must_not_share_a_tensor(tmp_path: Path) -> None:
    first = write(tmp_path / "1", save({"a": np.zeros(3, np.float32)}))
    second = write(tmp_path / "2", save({"b": np.zeros(4, np.float32)}))
    both = read_headers([first, second])
    assert (set(both.tensors), both.params_total) == ({"a", "b"}, 7)
    assert both.bytes == first.stat().st_size + second.stat().st_size
    with pytest.raises(TeacherError, match="'a' stands in more than one shard"):
        read_headers([first, first])


def test_files_of_a_model(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(
        json.dumps(
            {"weight_map": {"a": "two.safetensors", "b": "one.safetensors", "c": "two.safetensors"}}
        )
    )
    (tmp_path / "one.safetensors").touch()
    with pytest.raises(
        TeacherError, match=r"1 of 2 shards are missing, the first is two\.safetensors"
    ):
        weight_files(tmp_path)
    (tmp_path / "two.safetensors").touch()
    assert [path.name for path in weight_files(tmp_path)] == ["one.safetensors", "two.safetensors"]
    (tmp_path / "model.safetensors").touch()
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch_model.bin", "only pytorch_model.bin: loading a pickle"),
        ("model.pth", "pickle"),
        ("x.ckpt", "pickle"),
        ("other.safetensors", r"only other\.safetensors"),
        ("README.md", "no other weights"),
    ],
)
def test_without_weights_it_says_what_is_there(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(TeacherError, match=reason):
        weight_files(tmp_path)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/b", "..", "", "C:x", "a\\b", 3, None, "a\0b"]
)
def test_an_index_names_plain_files_only(name: object) -> None:
    with pytest.raises(TeacherError, match="not a plain file name"):
        shard_names({"weight_map": {"a": name}})


@pytest.mark.parametrize("index", [None, [], {}, {"weight_map": []}, {"weight_map": {}}])
def test_an_index_without_a_map_is_a_fault(index: object) -> None:
    with pytest.raises(TeacherError, match="no weight_map"):
        shard_names(index)


def test_an_index_of_too_many_shards_is_a_fault() -> None:
    with pytest.raises(TeacherError, match="1,001 shards"):
        shard_names({"weight_map": {str(i): f"{i}.safetensors" for i in range(1001)}})
