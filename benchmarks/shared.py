"""Where the real datasets and models are: ``$TEACHER_ZOO_SHARED``, else ../shared."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import UserError

PROJECT = Path(__file__).resolve().parents[1]


def shared(*parts: str) -> Path:
    """A path in the folder of real datasets and models, whether it exists or not."""
    folder = os.environ.get("TEACHER_ZOO_SHARED") or PROJECT.parent / "shared"
    return Path(folder, *parts)


def existing_shared(*parts: str) -> Path:
    """The same; ``UserError`` if it does not exist."""
    path = shared(*parts)
    if not path.exists():
        raise UserError(
            f"{path} is not there; set TEACHER_ZOO_SHARED to the folder that holds datasets/,"
            " models/ and oracles/"
        )
    return path
