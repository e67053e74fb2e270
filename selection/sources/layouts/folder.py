"""A folder of image files: which of its files are images, and the images as a source."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from selection.sources.images import MAX_BYTES, CorruptImage
from selection.sources.split import Rows, class_name, spread
from zoo.errors import UserError

# the plain names of splits; selection.sources.layouts.split_names knows further ones
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
    "system volume information",
    "__pycache__",
    "license",
    "licence",
    "readme",
    "makefile",
    "dockerfile",
}
# Files with any other suffix, or none, may be images: names are often wrong, so the content decides
# when the file is read (``selection.sources.images.decode``).
_OTHER_SUFFIXES = """
.txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .md .html .htm .log .pdf .ini .db .py .ipynb .npy
.npz .mat .h5 .parquet .arrow .zip .gz .tar .mp4 .avi .mov
"""
_NO_IMAGE_SUFFIXES = set(_OTHER_SUFFIXES.split())
_USUAL_SUFFIXES = """
.jpg .jpeg .jpe .jfif .png .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .heic .heif .avif .jp2
"""
IMAGE_SUFFIXES = set(_USUAL_SUFFIXES.split())


def read_image_file(path: str | Path) -> bytes:
    """The bytes of an image file; ``CorruptImage`` where it is missing, too large or no file."""
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for somebody to write
            raise CorruptImage("no file but a folder, a device, a pipe or a socket")
        if facts.st_size > MAX_BYTES:
            raise CorruptImage(
                f"a file of {facts.st_size / 2**20:.0f} MiB, more than {MAX_BYTES // 2**20}"
            )
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise CorruptImage("no such file") from None
    except OSError as error:
        raise CorruptImage(error.strerror or type(error).__name__) from error
    except ValueError as error:  # a NUL in its name
        raise CorruptImage(str(error)) from error


class Files:
    """Image files, named by their paths under ``root``."""

    def __init__(self, root: Path, paths: Sequence[str]) -> None:
        self.root = root
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def raw(self, row: int) -> bytes:
        return read_image_file(self._file(row))

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


class Folder:
    """A folder of a task, listed once, when it is first asked what it holds.

    Parameters
    ----------
    root : Path
        The task's folder.
    inside : str
        The path below ``root``; empty for the task's folder itself.
    leave_out : collection of str
        Names of folders directly in it that are passed over.
    parent : Folder, optional
        The folder it lies in; None for the task's folder.
    reach : tuple of str, optional
        The real paths of the folders that are read already: the task's, and those outside of it
        that links beside this folder and its parents lead to.

    A link to a folder is followed where it leads out of the task. One that leads to a folder of
    the same task is left out, because its images would be read twice, perhaps as another class.
    """

    def __init__(
        self,
        root: Path,
        inside: str = "",
        *,
        leave_out: Collection[str] = (),
        parent: Folder | None = None,
        reach: tuple[str, ...] = (),
    ) -> None:
        self.root, self.inside, self._leave_out = root, inside, leave_out
        self._reach = reach or (os.path.realpath(root),)
        self.links_left_out: dict[str, str] = parent.links_left_out if parent else {}
        """Links to folders of the same task, by path below ``root``, and the path they lead to;
        one dictionary for a task's folder and all in it, filled as they are listed."""

    @property
    def path(self) -> Path:
        return self.root / self.inside

    @property
    def name(self) -> str:
        return self.inside.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The path below the task's folder for messages: ``train/roses/``."""
        return f"{class_name(self.inside) or '.'}/"

    @cached_property
    def _listing(self) -> tuple[list[Folder], list[str], int]:
        below = f"{self.inside}/" if self.inside else ""
        folders: list[str] = []
        files: list[str] = []
        targets: list[str] = []
        broken = 0
        entries = _entries(self.path)
        if self.inside and _is_run({entry.name for entry in entries}):
            return [], [], 0
        for entry in entries:
            inside = f"{below}{entry.name}"
            if _is(entry.is_dir):
                if entry.name in self._leave_out:
                    continue
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if self._leads_back(target):
                        self.links_left_out[inside] = os.path.relpath(target, self._reach[0])
                        continue
                    targets.append(target)
                folders.append(inside)
            elif os.path.splitext(entry.name)[1].lower() not in _NO_IMAGE_SUFFIXES:
                if _is(entry.is_file):
                    files.append(inside)
                else:  # a link to nowhere or to itself, a pipe, a socket
                    broken += 1
        reach = (*self._reach, *targets) if targets else self._reach
        inner = [Folder(self.root, name, parent=self, reach=reach) for name in sorted(folders)]
        return inner, sorted(files), broken

    def _leads_back(self, target: str) -> bool:
        """Whether the folder ``target`` is read already, or holds one that is."""
        return any(
            _is_within(base, target) or (_is_within(target, base) and _is_searched(target, base))
            for base in self._reach
        )

    @property
    def folders(self) -> list[Folder]:
        """The folders directly in it, sorted, without those of the system."""
        return self._listing[0]

    @property
    def files(self) -> list[str]:
        """The files directly in it that may be images, as sorted paths below ``root``."""
        return self._listing[1]

    @property
    def pictures(self) -> list[str]:
        """Those of ``files`` whose suffix says that they are images."""
        return [file for file in self.files if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES]

    @cached_property
    def has_images(self) -> bool:
        """Whether a file that may be an image lies in it or below it."""
        return any(folder.files for folder in self._walk())

    def images(self) -> tuple[list[str], int]:
        """The sorted paths below ``root`` of all its images, and the number of broken links."""
        paths: list[str] = []
        broken = 0
        for folder in self._walk():
            paths += folder.files
            broken += folder._listing[2]
        return sorted(paths), broken

    def _walk(self) -> Iterator[Folder]:
        """Itself and all folders below, each once; links that lead out of the task are followed."""
        seen: set[tuple[int, int]] = set()
        todo = [self]
        while todo:
            folder = todo.pop()
            status = os.stat(folder.path)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield folder
                todo += reversed(folder.folders)


def find_images(folder: Path) -> tuple[list[str], int]:
    """The sorted relative paths of files that may be images, and the number of broken links.

    Sub-folders are searched too. Hidden files and files with a suffix of another kind are skipped.
    Links to folders outside of it are followed; each folder is visited once. No file is opened.
    """
    return Folder(folder).images()


def sub_folders(folder: Path) -> list[str]:
    """The sorted names of the folders directly in ``folder``, without those of the system."""
    return [inner.name for inner in Folder(folder).folders]


def _is(test: Callable[[], bool]) -> bool:
    """``entry.is_dir()`` or ``is_file()``; a link that leads to itself is neither."""
    try:
        return test()
    except OSError:
        return False


def _is_run(names: set[str]) -> bool:
    """Whether a folder with these names is one of ``distill.train --out``, made in the task."""
    return "config.json" in names and bool({"checkpoint", "metrics.jsonl"} & names)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _is_searched(path: str, folder: str) -> bool:
    """Whether a walk from ``folder`` comes to ``path``, which a hidden folder keeps it from."""
    return not any(map(_is_passed_over, os.path.relpath(path, folder).split(os.sep)))


def _is_passed_over(name: str) -> bool:
    """Whether ``name`` is hidden or of the system."""
    return (name.startswith(".") and name != os.curdir) or name.lower() in _IGNORED


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _is_passed_over(entry.name)]
    except OSError as error:
        raise UserError(f"cannot read folder {folder}: {error.strerror}") from error
