"""A file is written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zoo.errors import TeacherError, UserError
from zoo.files import (
    check_can_write,
    load_json,
    remove_partial,
    replacing,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read_again_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "a.bin", memoryview(b"\x00\x01"))
    write_text(tmp_path / "new" / "b.txt", "zoö")
    write_json(tmp_path / "new" / "c.json", {"k": [1, None]})
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "new" / "b.txt").read_text(encoding="utf-8") == "zoö"
    assert load_json(tmp_path / "new" / "c.json") == {"k": [1, None]}
    assert names(tmp_path / "new") == ["a.bin", "b.txt", "c.json"]


def test_a_block_that_fails_leaves_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def stopped() -> None:
        with replacing(file) as partial:
            partial.write_text("half")
            assert file.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with replacing(tmp_path / "index") as partial:
            partial.mkdir()
            (partial / text).write_text(text)
    assert names(tmp_path / "index") == ["two"]
    assert names(tmp_path) == ["index"]

    def fails() -> None:
        with replacing(tmp_path / "index") as partial:
            partial.mkdir()
            (partial / "three").write_text(str(1 / 0))

    with pytest.raises(ZeroDivisionError):
        fails()
    assert names(tmp_path / "index") == ["two"]
    assert names(tmp_path) == ["index"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with replacing(file) as first, replacing(file) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first"  # the outer block ends last


def test_what_a_killed_writer_left_is_removed_and_foreign_files_stay(tmp_path: Path) -> None:
    file = tmp_path / "a[1].txt"
    with replacing(file) as partial:
        partial.write_text("x")
        partial.with_name(partial.name.replace(".part", "-killed.part")).write_text("half")
        (tmp_path / ".a1.txt.7.part").write_text("another file's")
    assert [path.name.endswith("-killed.part") for path in remove_partial(file)] == [True]
    assert names(tmp_path) == [".a1.txt.7.part", "a[1].txt"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"\xff", "UTF-8"), (b"{", "valid JSON"), (b"[" * 200_000, "valid JSON")],
)
def test_json_that_is_none_says_why(tmp_path: Path, body: bytes, reason: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(body)
    with pytest.raises(TeacherError, match=reason):
        load_json(file)
    with pytest.raises(TeacherError, match="cannot be read"):
        load_json(tmp_path / "none.json")


def test_a_place_that_takes_no_file_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a user's")
    (tmp_path / "old.json").write_text("{}")
    for fine in ("new.json", "old.json", "new/folder/a.json"):
        check_can_write(tmp_path / fine)
    assert names(tmp_path) == ["file", "old.json"]
    with pytest.raises(UserError, match="is a folder; give a file"):
        check_can_write(tmp_path)
    for below in ("file/a.json", "file/b/a.json"):
        with pytest.raises(UserError, match="file is a file, not a folder"):
            check_can_write(tmp_path / below)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match="read-only"):
        check_can_write(tmp_path / "new" / "a.json")
