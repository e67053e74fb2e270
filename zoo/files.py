"""Files: JSON read with a size limit, anything written whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from zoo.errors import TeacherError, UserError
from zoo.home import home

_LARGEST_JSON = 32 * 2**20  # bytes
_PARTIAL = ".part"  # ends the name of a file that is not complete
_POINTERS = (
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
)
_CHECKSUM = "checksum"  # the field of a checked JSON object
_CHECKED = b"teacher-zoo crc32 "  # begins a checked file of bytes
_LONGEST_NAME = 255  # bytes of a file's name
_LONGEST_PREFIX = 200  # bytes of a file's name that the names of its partial files repeat


class DamagedFile(ValueError):
    """A file of our own does not hold what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} is damaged: {reason}")


def load_json(path: Path) -> Any:
    """The JSON value in a model's file, of at most 32 MiB; a byte order mark may precede it.

    Raises ``TeacherError`` where the file cannot be read, is larger, or is not JSON.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise TeacherError(f"{path.name} is larger than {_LARGEST_JSON >> 20} MiB")
        content = path.read_bytes()
        if is_lfs_pointer(content):
            raise TeacherError(f"{path.name} is a Git LFS pointer: run git lfs pull in its folder")
        if encoding := _foreign_encoding(content):
            raise TeacherError(
                f"{path.name} is {encoding}, not UTF-8: save it as UTF-8, as by iconv -f {encoding}"
                f" -t UTF-8 {path.name}"
            )
        return json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise TeacherError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise TeacherError(
            f"{path.name} is not UTF-8 (at byte {error.start:,}): save it as UTF-8 in an editor"
        ) from None
    except (ValueError, RecursionError) as error:
        raise TeacherError(f"{path.name} is not valid JSON ({str(error)[:100]})") from None


def _foreign_encoding(content: bytes) -> str | None:
    """The encoding of JSON text that is UTF-16 or UTF-32, marked or not, as iconv calls it."""
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        return None
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    name = encoding.upper().replace("-LE", "LE").replace("-BE", "BE")
    return name if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[") else None


def regular_file(path: Path, inside: Path) -> Path:
    """``path`` if it is a regular file below ``inside``, wherever links lead; ``TeacherError``
    otherwise.
    """
    try:
        resolved = path.resolve()
        regular, exists = resolved.is_file(), resolved.exists()
    except RuntimeError:  # how Python 3.11 and 3.12 call a loop
        raise TeacherError(f"{path.name} is a link that leads in a circle") from None
    except OSError as error:
        raise TeacherError(f"{path.name} cannot be read: {error.strerror}") from None
    if not resolved.is_relative_to(inside):
        raise TeacherError(f"{path.name} is a link to outside of {inside}, which is not followed")
    if not regular:
        raise TeacherError(f"{path.name} is not a regular file" if exists else f"no {path.name}")
    return path


def is_lfs_pointer(beginning: bytes) -> bool:
    """Whether a file that begins so only says where Git LFS keeps the content."""
    return beginning.startswith(_POINTERS)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder for the block to write, renamed to ``path`` at its end.

    A reader sees the old content or the new, also after a crash: the new file is on the disk
    before it is renamed. When the block fails, ``path`` stays as it was and the temporary file is
    removed. The block may make a folder instead of a file; an older folder is then removed just
    before the new one is renamed. The parent folder is made where it is missing. A link stays, the
    file that it names is written; an older file's permissions stay too. Raises ``UserError`` where
    ``path`` is a device, a pipe or a socket.
    """
    target = _behind_links(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    name = f"{_partial_prefix(target)}{os.getpid()}-{os.urandom(4).hex()}{_PARTIAL}"
    partial = target.with_name(name)
    try:
        yield partial
        if partial.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        else:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, partial)
        os.replace(partial, target)
    except BaseException as error:
        _remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file
        raise


def check_can_write(path: Path) -> None:
    """Raise ``UserError`` if no file could be written at ``path``, before work is spent on it."""
    target = _behind_links(path)
    if target.is_dir():
        raise UserError(f"{path} is a folder; give a file to write")
    folder = next(parent for parent in target.parents if parent.exists())
    if not folder.is_dir():
        raise UserError(f"{path} cannot be written: {folder} is a file, not a folder")
    if len(os.fsencode(target.name)) > _LONGEST_NAME:
        raise UserError(f"{path} cannot be written: its name has more than {_LONGEST_NAME} bytes")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written: the folder {folder} is read-only for you")
    if target.exists() and not os.access(target, os.W_OK):
        raise UserError(f"{path} cannot be written: the file is read-only for you")


def check_can_write_text(path: Path) -> None:
    """As ``check_can_write``, and raise ``UserError`` where the file holds no text: an image that
    was named by mistake would be lost.
    """
    check_can_write(path)
    if path.is_file() and not _is_text(path):
        raise UserError(
            f"{path} is there already and is no text, so it is not replaced; give another name, or"
            " remove it first"
        )


def _is_text(path: Path) -> bool:
    """Whether a file begins with text, or is empty, or cannot be read."""
    try:
        with open(path, "rb") as file:
            beginning = file.read(4096)
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except OSError:
        return True
    except UnicodeDecodeError:
        return False
    return b"\0" not in beginning


def check_home() -> None:
    """Raise ``UserError`` if the tool's home takes no files, before work is spent on them."""
    try:
        check_can_write(home() / "file")
    except UserError as error:
        reason = str(error).rpartition("cannot be written: ")[2]
        raise UserError(
            f"{home()} takes no files ({reason}); set TEACHER_ZOO_HOME to a folder that you can"
            " write to"
        ) from None


def _behind_links(path: Path) -> Path:
    """The absolute path of the file or folder that ``path`` names, or will name.

    ``UserError`` where it is neither: renaming a file over a device or a pipe would take it away.
    """
    try:
        target = path.resolve()
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself, a name too long
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be written: {reason}") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{path} is a device, a pipe or a socket; give a regular file to write")
    return target


def remove_partial(path: Path) -> list[Path]:
    """Remove the partial files that killed writers of ``path`` left; returns their paths.

    The caller makes sure that nobody is writing ``path`` now.
    """
    import glob

    target = _behind_links(path)
    partials = sorted(target.parent.glob(f"{glob.escape(_partial_prefix(target))}*{_PARTIAL}"))
    for partial in partials:
        _remove(partial)
    return partials


def _partial_prefix(target: Path) -> str:
    """How the names of the partial files of ``target`` begin; short where its name is long."""
    return f".{os.fsencode(target.name)[:_LONGEST_PREFIX].decode(errors='ignore')}."


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path``, whole or not at all (see ``replacing``)."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_checked_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` to ``path`` as JSON with one more field: a checksum over the others."""
    write_json(path, {**value, _CHECKSUM: _json_checksum(value)})


def load_checked_json(path: Path) -> dict[str, Any]:
    """The object that ``write_checked_json`` wrote, without its checksum.

    An object without a checksum, as earlier versions wrote it, is taken as it is. Raises
    ``FileNotFoundError`` where there is no file, ``DamagedFile`` where it is not as written.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise DamagedFile(path, "it is not JSON") from None
    if not isinstance(value, dict):
        raise DamagedFile(path, "it is not a JSON object")
    name = _CHECKSUM if _CHECKSUM in value else next(reversed(value), "")
    rest = {key: item for key, item in value.items() if key != name}
    if value.get(name) == _json_checksum(rest):  # also where the damage is in the field's name
        return rest
    if name == _CHECKSUM:
        raise DamagedFile(
            path, f'its checksum does not match (take the field "{_CHECKSUM}" out if you edited it)'
        )
    return value


def _json_checksum(value: Mapping[str, Any]) -> str:
    """crc32 over the values, however the text of the file is laid out."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return f"{zlib.crc32(text.encode()):08x}"


def write_checked_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path`` behind a line with its checksum, whole or not at all."""
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(b"%s%08x\n" % (_CHECKED, zlib.crc32(data)))
        file.write(data)


def load_checked_bytes(path: Path) -> bytes:
    """What ``write_checked_bytes`` wrote.

    A file that does not begin with a checksum, of an earlier version, is read as it is. Raises
    ``DamagedFile`` where the content is not as written.
    """
    content = path.read_bytes()
    if not content.startswith(_CHECKED):
        return content
    head, _, data = content.partition(b"\n")
    if head[len(_CHECKED) :] != b"%08x" % zlib.crc32(data):
        raise DamagedFile(path, "its checksum does not match")
    return data


def known_fields(record: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a JSON object that the dataclass ``record`` has a field for.

    A newer version may have added fields to a file; they are left out.
    """
    names = {field.name for field in fields(record)}
    return {name: value for name, value in values.items() if name in names}
