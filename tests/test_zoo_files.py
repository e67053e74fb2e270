"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

import zoo.files
from zoo.catalogue import Catalogue
from zoo.errors import TeacherError, UserError
from zoo.files import (
    DamagedFile,
    check_can_write,
    check_can_write_text,
    check_home,
    known_fields,
    load_checked_bytes,
    load_checked_json,
    load_json,
    regular_file,
    remove_partial,
    replacing,
    write_bytes,
    write_checked_bytes,
    write_checked_json,
    write_json,
    write_text,
)
from zoo.home import default_catalogue


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
    with pytest.raises(OSError, match="No such") as caught, replacing(tmp_path / "a.txt"):
        (tmp_path / "read.txt").read_text()
    assert caught.value.filename == str(tmp_path / "read.txt")  # it names its own file


def test_json_that_is_too_large_or_kept_elsewhere_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo.files, "_LARGEST_JSON", 2**20)
    text = json.dumps("x" * (2**20 - 2))
    write_text(tmp_path / "fits.json", text)
    assert len(load_json(tmp_path / "fits.json")) == 2**20 - 2
    write_text(tmp_path / "large.json", text + " ")
    with pytest.raises(TeacherError, match=r"large\.json is larger than 1 MiB"):
        load_json(tmp_path / "large.json")
    write_text(
        tmp_path / "config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    with pytest.raises(TeacherError, match=r"config\.json is a Git LFS pointer: run git lfs pull"):
        load_json(tmp_path / "config.json")


def test_links_that_stay_inside_are_followed(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    write_text(inside / "blobs" / "1", "{}")
    write_text(tmp_path / "secret", "{}")
    (inside / "config.json").symlink_to(inside / "blobs" / "1")
    (inside / "away.json").symlink_to(tmp_path / "secret")
    assert regular_file(inside / "config.json", inside) == inside / "config.json"
    with pytest.raises(TeacherError, match=r"away\.json is a link to outside of"):
        regular_file(inside / "away.json", inside)
    with pytest.raises(TeacherError, match="blobs is not a regular file"):
        regular_file(inside / "blobs", inside)
    with pytest.raises(TeacherError, match=r"no none\.json"):
        regular_file(inside / "none.json", inside)


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
    [
        (b"\xff", r"is not UTF-8 \(at byte 0\): save it as UTF-8 in an editor"),
        ('{"a": "\u00e9"}'.encode("latin-1"), r"is not UTF-8 \(at byte 7\)"),
        (b"\0" * 64, "valid JSON"),
        (b"{", "valid JSON"),
        (b"[" * 200_000, "valid JSON"),
        *(
            (mark + '{"a": 1}'.encode(codec), f"is {name}, not UTF-8: .* iconv -f {name} -t UTF-8")
            for name, codec, mark in (
                ("UTF-16", "utf-16", b""),
                ("UTF-16LE", "utf-16-le", b""),
                ("UTF-16BE", "utf-16-be", b""),
                ("UTF-16", "utf-16-be", b"\xfe\xff"),
                ("UTF-32", "utf-32", b""),
            )
        ),
    ],
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


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "below" / "target.json", tmp_path / "link.json"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("new", "newer"):  # the target is made, then replaced
        check_can_write(link)
        write_text(link, text)
        assert link.is_symlink() and target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["target.json"]


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "private.json"
    write_text(path, "old")
    path.chmod(0o600)
    write_text(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a pipe"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    elif kind == "device":
        path.symlink_to(os.ttyname(os.openpty()[1]))
    else:
        os.mkfifo(tmp_path / "pipe" if "link" in kind else path)
        if "link" in kind:
            path.symlink_to(tmp_path / "pipe")
    before = path.lstat()
    for write in (check_can_write, lambda path: write_text(path, "lost")):
        with pytest.raises(UserError, match="is a device, a pipe or a socket; give a regular"):
            write(path)
    after = path.lstat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_an_image_is_not_replaced_by_a_text(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for content in (b"\xff\xd8\xff\xe0 JFIF", b"GIF89a\x10\0\x10\0"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"photo\.jpg is there already and is no text"):
            check_can_write_text(path)
        assert path.read_bytes() == content
    for text in ("", '{"rows": []}', "ä" * 2048, "\ufeff" + "ab" * 2047 + "ä"):
        path.write_text(text, encoding="utf-8")
        check_can_write_text(path)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    path.symlink_to(path)
    with pytest.raises(UserError, match="loop cannot be written"):
        check_can_write(path)
    assert path.is_symlink()


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / ("a" * 255), tmp_path / ("ä" * 127)):
        check_can_write(path)
        write_text(path, "whole")
        assert path.read_text() == "whole"
        assert not remove_partial(path)
    for path in (tmp_path / ("a" * 256), tmp_path / ("ä" * 128)):
        with pytest.raises(UserError, match="cannot be written"):
            check_can_write(path)


def test_a_home_that_takes_no_files_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "new" / "home"))
    check_home()
    assert names(tmp_path) == []
    (tmp_path / "new").write_text("a user's")
    with pytest.raises(UserError, match=r"takes no files .*a file, not a folder.*set TEACHER_ZOO"):
        check_home()
    with pytest.raises(UserError, match="set TEACHER_ZOO_HOME"):
        Catalogue.open(default_catalogue(), write=True)
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=r"takes no files .*read-only.*set TEACHER_ZOO_HOME"):
        check_home()


def test_a_file_that_is_read_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).is_dir())  # root may all
    with pytest.raises(UserError, match="the file is read-only for you"):
        check_can_write(tmp_path / "old")
    check_can_write(tmp_path / "new")


def test_the_checksum_holds_however_the_json_is_laid_out(tmp_path: Path) -> None:
    value = {"b": {"y": 1, "x": "ü"}, "a": [2, 1]}
    write_checked_json(tmp_path / "file", value)
    stored = json.loads((tmp_path / "file").read_text(encoding="utf-8"))
    (tmp_path / "file").write_text(json.dumps(stored, sort_keys=True))
    assert load_checked_json(tmp_path / "file") == value


def test_checked_json_that_was_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    write_checked_json(file, {"seed": 1})
    whole = file.read_text()
    file.write_text(whole.replace('"seed": 1', '"seed": 2'))
    with pytest.raises(DamagedFile, match=r'does not match .take the field "checksum" out'):
        load_checked_json(file)
    file.write_text(whole.replace("checksum", "checksun"))  # the damage is in the field's name
    assert load_checked_json(file) == {"seed": 1}
    file.write_text('{"seed": 2}')  # of an earlier version, or edited
    assert load_checked_json(file) == {"seed": 2}
    file.write_text("[1]")
    with pytest.raises(DamagedFile, match="not a JSON object"):
        load_checked_json(file)


def test_checked_bytes_that_were_changed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    write_checked_bytes(file, b"one\ntwo")
    assert load_checked_bytes(file) == b"one\ntwo"
    file.write_bytes(file.read_bytes().replace(b"two", b"twa"))
    with pytest.raises(DamagedFile, match="its checksum does not match"):
        load_checked_bytes(file)
    file.write_bytes(b"of an earlier version\nwithout a checksum")
    assert load_checked_bytes(file) == b"of an earlier version\nwithout a checksum"


def test_fields_that_a_newer_version_added_are_left_out() -> None:
    @dataclass
    class Record:
        seed: int
        task: str = "digits"

    assert known_fields(Record, {"seed": 3, "colour": "red"}) == {"seed": 3}
