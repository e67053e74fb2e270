"""Text files: read within bounds, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from zoo.errors import TeacherError

_LARGEST_JSON = 32 * 2**20


def load_json(path: Path) -> Any:
    """The JSON value in a model's file; ``TeacherError`` where it is none, cannot be read or is larger than 32 MiB."""
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


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` through a temporary file beside it; makes the folder; readable as umask allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # mkstemp's 0600 would hide the file from everybody else
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
