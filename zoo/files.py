"""Files: JSON read within bounds, anything written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from zoo.errors import TeacherError

_LARGEST_JSON = 32 * 2**20


def load_json(path: Path) -> Any:
    """The JSON value in a model's file; ``TeacherError`` where it is none, cannot be read or is
    larger than 32 MiB.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise TeacherError(f"{path.name} is larger than {_LARGEST_JSON >> 20} MiB")
        return json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise TeacherError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise TeacherError(f"{path.name} is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise TeacherError(f"{path.name} is not valid JSON ({str(error)[:100]})") from None


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path``, whole or not at all: a reader sees the old file or the new one.
    Makes the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """The same with ``text`` as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """The same with ``value`` as JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
