"""A task as a folder of image files, one sub-folder a class; which of its files are images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from selection.sources.images import MAX_BYTES, CorruptImage
from selection.sources.split import Part, Rows, class_name, spread
from zoo.errors import UserError

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
UNLABELLED = ("unlabelled", "unlabeled")
_IGNORED = {
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "icon\r",
    "lost+found",
    "@eadir",
    "$recycle.bin",
}
# Files with any other suffix, or none, may be images: names are often wrong, so the content decides
# when the file is read (``selection.sources.images.decode``).
_OTHER_SUFFIXES = """
.txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .md .html .htm .log .pdf .ini .db .py .ipynb .npy
.npz .mat .h5 .parquet .arrow .zip .gz .tar .mp4 .avi .mov
"""
_NO_IMAGE_SUFFIXES = set(_OTHER_SUFFIXES.split())


class Files:
    """Image files, named by their paths under ``root``."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = root
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def raw(self, row: int) -> bytes:
        try:
            with open(self._file(row), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_BYTES:
                    raise CorruptImage(
                        f"a file of {size / 2**20:.0f} MiB, more than {MAX_BYTES // 2**20}"
                    )
                return file.read()
        except OSError as error:
            raise CorruptImage(error.strerror or type(error).__name__) from error

    def _file(self, row: int) -> str:
        return os.path.join(self.root, self.paths[row])  # a Path each would take twice as long

    def name(self, row: int) -> str:
        return os.fsencode(self.paths[row]).decode("utf-8", "replace")

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        sizes = np.zeros(len(rows), dtype=np.int64)
        for i, row in enumerate(rows):
            yield os.fsencode(self.paths[row])
            try:
                sizes[i] = os.stat(self._file(row)).st_size
            except OSError:
                sizes[i] = -1
        yield sizes.tobytes()
        for i in spread(len(rows)):
            try:
                with open(self._file(rows[i]), "rb") as file:
                    yield file.read(65_536)
            except OSError:
                yield b""


def find_images(folder: Path, *, leave_out: Iterable[str] = ()) -> tuple[list[str], int]:
    """The sorted relative paths of files that may be images, and the number of broken links.

    Sub-folders are searched too. Hidden files, files with a suffix of another kind and the
    sub-folders ``leave_out`` (names directly in ``folder``) are skipped. Links are followed, each
    folder is visited once, so a loop of links ends. No file is opened.
    """
    paths: list[str] = []
    broken = 0
    top = os.stat(folder)
    seen = {(top.st_dev, top.st_ino)}
    skip = set(leave_out)
    todo = [""]
    while todo:
        inside = todo.pop()
        for entry in _entries(folder / inside):
            path = f"{inside}{entry.name}"
            if entry.is_dir():
                status = entry.stat()
                if (status.st_dev, status.st_ino) not in seen and path not in skip:
                    seen.add((status.st_dev, status.st_ino))
                    todo.append(f"{path}/")
            elif os.path.splitext(entry.name)[1].lower() not in _NO_IMAGE_SUFFIXES:
                if entry.is_file():
                    paths.append(path)
                else:  # a link to nowhere, a pipe, a socket
                    broken += 1
    return sorted(paths), broken


def sub_folders(folder: Path) -> list[str]:
    """The sorted names of the folders directly in ``folder``, without those of the system."""
    return sorted(entry.name for entry in _entries(folder) if entry.is_dir())


class FolderContent(NamedTuple):
    """A folder of class folders: parts by split name, unlabelled files, number of broken links."""

    parts: dict[str, Part]
    unlabelled: list[Files]
    broken_links: int


def read(folder: Path, warnings: list[str]) -> FolderContent:
    """Read a folder of class folders, with or without folders of splits above them."""
    names = sub_folders(folder)
    unlabelled_folders = [name for name in names if name.lower() in UNLABELLED]
    rest = [name for name in names if name not in unlabelled_folders]
    parts: dict[str, Part] = {}
    broken = 0
    if _has_splits(folder, rest):
        for name in rest:
            kind = SPLITS.get(name.lower())
            if kind is None:
                warnings.append(
                    f"folder {class_name(name)!r} next to train/ is no split and is not used"
                )
            elif kind in parts:
                warnings.append(
                    f"folder {class_name(name)!r} is a second {kind} split and is not used"
                )
            else:
                inner_folders = sub_folders(folder / name)
                parts[kind], missed = _part(folder, name, inner_folders, warnings)
                broken += missed
                if kind == "train":
                    unlabelled_folders += [
                        f"{name}/{inner}" for inner in inner_folders if inner.lower() in UNLABELLED
                    ]
    else:
        parts["train"], broken = _part(folder, "", rest, warnings)
    unlabelled = []
    for name in unlabelled_folders:
        paths, missed = find_images(folder / name)
        broken += missed
        unlabelled.append(Files(folder, [f"{name}/{path}" for path in paths]))
    return FolderContent(parts, unlabelled, broken)


def _has_splits(folder: Path, names: Sequence[str]) -> bool:
    """Whether the sub-folders are splits, with class folders below.

    A class may be called train too, so the other sub-folders have to look like splits as well.
    """
    train = [name for name in names if SPLITS.get(name.lower()) == "train"]
    others = [name for name in names if name not in train]
    if not train or not sub_folders(folder / train[0]):
        return False
    return not others or any(name.lower() in SPLITS for name in others)


def _part(
    folder: Path,
    inside: str,
    names: Sequence[str],
    warnings: list[str],
) -> tuple[Part, int]:
    paths: list[str] = []
    labels: list[int] = []
    classes: dict[str, int] = {}
    broken = 0
    for name in names:
        if name.lower() in UNLABELLED:
            continue
        shown = class_name(name) or "unnamed"
        if shown in classes:
            warnings.append(f"two folders read as class {shown!r}; their images are taken together")
        below = f"{inside}/{name}" if inside else name
        images, missed = find_images(folder / below)
        broken += missed
        if images:
            label = classes.setdefault(shown, len(classes))
            paths += [f"{below}/{path}" for path in images]
            labels += [label] * len(images)
        else:
            warnings.append(f"class folder {shown!r} holds no image")
    return Part(Files(folder, paths), np.asarray(labels, dtype=np.int64), tuple(classes)), broken


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.name.lower() not in _IGNORED
            ]
    except OSError as error:
        raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
