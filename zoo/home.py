"""The folder in which the tool keeps its files, and the names of all that lies in it."""

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


def label_folder() -> Path:
    """The folder of the catalogues' label indices."""
    return home() / "labels"


def bandwidth_file() -> Path:
    """The file that keeps how fast the last download was."""
    return home() / "bandwidth.json"


def pixel_folder() -> Path:
    """The folder of decoded and packed training samples."""
    return home() / "distill" / "pixels"


def tokenizer_folder() -> Path:
    """The folder of the tokenizers of text students."""
    return home() / "distill" / "tokenizers"


def thumbnail_folder() -> Path:
    """The folder of small copies of tasks' images, by which duplicates are found."""
    return home() / "duplicates"


def findings_folder() -> Path:
    """The folder of what was found wrong with tasks: lists of duplicates, of unreadable images."""
    return home() / "findings"


def control_folder() -> Path:
    """The folder of plain controls, one run folder each."""
    return home() / "distill" / "controls"


def benchmark_folder(name: str) -> Path:
    """The folder of a benchmark's own files."""
    return home() / "benchmarks" / name


def truth_folder() -> Path:
    """The folder of the truth tables' images and teachers' outputs."""
    return home() / "truth"
