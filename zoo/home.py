"""The folder in which the tool keeps its catalogue, stored outputs and plain controls."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """``$TEACHER_ZOO_HOME``, or ``teacher-zoo`` in the user's cache folder; it need not exist."""
    chosen = os.environ.get("TEACHER_ZOO_HOME")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "teacher-zoo"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "teacher-zoo"


def default_catalogue() -> Path:
    """The catalogue that commands use when ``--catalogue`` is not given."""
    return home() / "catalogue.duckdb"


def feature_folder() -> Path:
    """The folder of the teachers' stored outputs."""
    return home() / "features"
