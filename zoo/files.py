"""Files: JSON read with a size limit, anything written whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from zoo.errors import TeacherError, UserError

_LARGEST_JSON = 32 * 2**20  # bytes
_PARTIAL = ".part"  # ends the name of a file that is not complete
_POINTERS = (
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
)


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
        return json.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise TeacherError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TeacherError(f"{path.name} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise TeacherError(f"{path.name} is not valid JSON ({str(error)[:100]})") from None


def is_lfs_pointer(beginning: bytes) -> bool:
    """Whether a file that begins so only says where Git LFS keeps the content."""
    return beginning.startswith(_POINTERS)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder for the block to write, renamed to ``path`` at its end.

    A reader sees the old content or the new, also after a crash: the new file is on the disk
    before it is renamed. When the block fails, ``path`` stays as it was and the temporary file is
    removed. The block may make a folder instead of a file; an older folder is then removed just
    before the new one is renamed. The parent folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_PARTIAL}")
    try:
        yield partial
        if partial.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        _remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file
        raise


def check_can_write(path: Path) -> None:
    """Raise ``UserError`` if no file could be written at ``path``, before work is spent on it."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file to write")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise UserError(f"{path} cannot be written: {folder} is a file, not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written: the folder {folder} is read-only for you")


def remove_partial(path: Path) -> list[Path]:
    """Remove the partial files that killed writers of ``path`` left; returns their paths.

    The caller makes sure that nobody is writing ``path`` now.
    """
    pattern = f".{glob.escape(path.name)}.*{_PARTIAL}"
    partials = sorted(path.parent.glob(pattern))
    for partial in partials:
        _remove(partial)
    return partials


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


def known_fields(record: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a JSON object that the dataclass ``record`` has a field for.

    A newer version may have added fields to a file; they are left out.
    """
    names = {field.name for field in fields(record)}
    return {name: value for name, value in values.items() if name in names}
