"""The files that a table's paths mean: relative, absolute, from another machine, without suffix."""

from __future__ import annotations

import itertools
import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from selection.sources.layouts.folder import IMAGE_SUFFIXES, find_images

_SAMPLE = 200  # values from which the common prefix of paths of another machine is told


class FileIndex:
    """The images under ``root``, found by what a table calls them.

    A value is looked for as written, relative to ``root`` or absolute; then as the end of a path
    under ``root``, then without regard to upper and lower case, then without its suffix. It must
    mean one file only.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prefix = ""  # what paths of another machine have in front
        self.ambiguous: list[str] = []

    @cached_property
    def paths(self) -> list[str]:
        """The relative paths of all files under ``root`` that may be images."""
        return find_images(self.root)[0]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return self._grouped(lambda path: _fold(posixpath.basename(path)))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return self._grouped(lambda path: _fold(posixpath.splitext(posixpath.basename(path))[0]))

    def _grouped(self, key: Callable[[str], str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            groups[key(path)].append(path)
        return groups

    def fit(self, values: Sequence[str]) -> int:
        """Tell what all ``values`` have in front that does not exist here; how many of a sample
        are found.
        """
        step = max(1, len(values) // _SAMPLE)
        sample = [value for value in values[::step] if value]
        self.prefix = ""
        hits = self._count(sample)
        if hits or not sample:
            return hits
        folders = [posixpath.dirname(_with_slashes(value)) for value in sample]
        for prefix in _prefixes(folders):
            self.prefix = prefix
            hits = self._count(sample)
            if hits:
                return hits
        self.prefix = ""
        return 0

    def _count(self, sample: Sequence[str]) -> int:
        hits = sum(self.find(value) is not None for value in sample)
        self.ambiguous.clear()
        return hits

    def find(self, value: str, *, inside: Sequence[str] = ()) -> str | None:
        """The path of the file that ``value`` means, relative to ``root`` where it lies below it.

        ``inside``: folders that are preferred where several files fit. None where no file fits, or
        several do.
        """
        for text in dict.fromkeys((value.strip(), _with_slashes(value))):
            if self.prefix and text.startswith(self.prefix):
                text = text[len(self.prefix) :].lstrip("/")
            if "\0" in text or not text:
                continue
            place = self._relative(text)
            if os.path.isfile(os.path.join(self.root, place)):
                return place
        return None if os.path.isabs(text) else self._by_end(text, inside)

    def _relative(self, text: str) -> str:
        """``text`` normalised, and relative to ``root`` if it lies below it."""
        if not os.path.isabs(text):
            return posixpath.normpath(text)
        root = os.path.abspath(self.root)
        place = os.path.normpath(text)
        return os.path.relpath(place, root) if place.startswith(root + os.sep) else place

    def _by_end(self, text: str, inside: Sequence[str]) -> str | None:
        wanted = _fold(posixpath.normpath(text))
        name = posixpath.basename(wanted)
        matches = [path for path in self._by_name.get(name, ()) if _ends(_fold(path), wanted)]
        if not matches and posixpath.splitext(name)[1] not in IMAGE_SUFFIXES:
            stems = self._by_stem.get(name, ())
            matches = [path for path in stems if _ends(_fold(posixpath.splitext(path)[0]), wanted)]
        if len(matches) > 1:
            preferred = [path for path in matches if path.split("/")[0] in inside]
            exact = [path for path in matches if _ends(path, posixpath.normpath(text))]
            matches = next((some for some in (preferred, exact) if len(some) == 1), matches)
        if len(matches) > 1:
            self.ambiguous.append(f"{text} ({', '.join(matches[:2])})")
        return matches[0] if len(matches) == 1 else None


def has_image_suffix(text: str) -> bool:
    """Whether ``text`` ends as the name of an image file does."""
    suffix = posixpath.splitext(text.strip().replace("\\", "/"))[1]
    return suffix.lower() in IMAGE_SUFFIXES


def _with_slashes(value: str) -> str:
    """A path of Windows or a ``file://`` address as a plain path."""
    text = value.strip()
    if text.lower().startswith("file://"):
        text = unquote(text[len("file://") :])
    if "?d=" in text:  # Label Studio's address of a local file
        text = unquote(text.partition("?d=")[2])
    return text.replace("\\", "/")


def _prefixes(folders: Sequence[str]) -> list[str]:
    """What all ``folders`` begin with, the shortest first: ``/data``, ``/data/train``."""
    parts = [folder.split("/") for folder in folders]
    levels = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    common = [level[0] for level in levels]
    return ["/".join(common[: i + 1]) + "/" for i in range(len(common)) if common[: i + 1] != [""]]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _ends(path: str, end: str) -> bool:
    return path == end or path.endswith("/" + end)
