"""Where models lie below a folder: one folder a model, ORG/NAME, the Hub's cache, outputs of
training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from zoo.errors import UserError
from zoo.loading.checkpoint.formats import is_model_file
from zoo.loading.revision import CACHED, reach_of

DEEPEST = 6  # folders between the source and a model's files
_MOST_FOLDERS = 200_000
_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_OTHER_CACHED = ("datasets--", "spaces--", "kernels--")
_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN")  # at the root of a disk
_STUDENT = "student"  # a run folder keeps its model in it, and its own config.json beside
# how sentence-transformers saves an encoder: its parts by number, listed in a file
_SENTENCES, _ENCODER = "modules.json", "0_Transformer"
_RUN_FILES = ("metrics.jsonl", "checkpoint")


class ModelFolder(NamedTuple):
    """A folder with one model's files.

    ``name`` is the folder's name, or ``organisation/name`` of a repository in the Hub's cache.
    Links in it may lead anywhere below ``inside``.
    """

    path: Path
    name: str
    inside: Path


def find_models(source: Path) -> list[ModelFolder]:
    """The models below ``source``, in order of their paths, or ``source`` itself where it is one.

    Of a repository in the Hub's cache it is the snapshot that ``refs/main`` names, else the newest.
    A folder that is a model is not searched further; hidden folders and links to folders that hold
    no model at their top are passed over. A folder that cannot be listed is taken for a model; its
    card says why. Raises ``UserError`` where there is no model.
    """
    if not source.exists():
        raise UserError(
            f"no folder {source}; a folder with one sub-folder a model (config.json and"
            " model.safetensors in each) is expected"
        )
    if not source.is_dir():
        raise UserError(f"{source} is a file; a folder with one sub-folder a model is expected")
    source = source.resolve()
    if fault := listing_fault(source):
        raise UserError(f"the folder {source} cannot be listed: {fault}")
    models = sorted(_Search(source).models(source, ()), key=lambda model: model.path)
    if not models:
        raise UserError(
            f"no model in {source}: it has {_folder_count(source)}; NAME/config.json and"
            " NAME/model.safetensors are expected"
        )
    return models


class _Search:
    """The walk through the folders below ``source``."""

    def __init__(self, source: Path) -> None:
        self.source, self.visited = source, 0

    def models(self, folder: Path, names: tuple[str, ...]) -> Iterator[ModelFolder]:
        """The models in ``folder``, which lies at ``names`` below the source."""
        self.visited += 1
        if self.visited > _MOST_FOLDERS:
            raise UserError(
                f"more than {_MOST_FOLDERS:,} folders in {self.source}; name the folder of the"
                " models"
            )
        if listing_fault(folder):
            yield self._model(folder, names)
            return
        entries = _entries(folder)
        if CACHED.fullmatch(folder.name) and "snapshots" in entries:
            yield from self._cached(folder)
            return
        if _STUDENT in entries and any(name in entries for name in _RUN_FILES):
            yield from self.models(folder / _STUDENT, (*names, _STUDENT))
            return
        if _SENTENCES in entries and _ENCODER in entries and _CONFIG not in entries:
            yield self._model(folder / _ENCODER, names)._replace(name=folder.name)
            return
        content = _content_of(entries)
        if content.config and content.weights:
            yield self._model(folder, names)
            return
        below = list(self._all_below(folder, names, entries))
        if content.config or content.weights:  # half a model, or whole ones below it
            below = [model for model in below if _is_whole(model) or listing_fault(model.path)]
            if not any(map(_is_whole, below)):
                below.insert(0, self._model(folder, names))
        yield from below

    def _all_below(
        self,
        folder: Path,
        names: tuple[str, ...],
        entries: dict[str, os.DirEntry[str]],
    ) -> Iterator[ModelFolder]:
        if len(names) >= DEEPEST:
            return
        for name in _folders(entries):
            path = folder / name
            if not path.is_symlink():
                yield from self.models(path, (*names, name))
            elif self._is_linked_model(path):
                yield self._model(path, (*names, name))

    def _is_linked_model(self, link: Path) -> bool:
        """Whether a link to a folder is a row: it leads to a model, or out of the source, which is
        that row's reason. Others are passed over: their folders lie in the source anyway.
        """
        if not link.resolve().is_relative_to(self.source):
            return True
        return any(_content_of(_entries(link)))

    def _model(self, folder: Path, names: tuple[str, ...]) -> ModelFolder:
        inside = self.source if names else reach_of(folder)
        return ModelFolder(folder, folder.name if names else _name_of(folder), inside)

    def _cached(self, repository: Path) -> Iterator[ModelFolder]:
        snapshot = _snapshot(repository)
        if snapshot is not None:
            inside = repository if repository == self.source else self.source
            yield ModelFolder(snapshot, _repository_id(repository), inside)


def _name_of(folder: Path) -> str:
    """The name of a model folder that is itself the source."""
    reach = reach_of(folder)
    return folder.name if reach == folder else _repository_id(reach)


def _repository_id(repository: Path) -> str:
    return repository.name.removeprefix("models--").replace("--", "/", 1)


def _snapshot(repository: Path) -> Path | None:
    """The snapshot that ``refs/main`` names, else the newest; ``None`` where there is none."""
    entries = _entries(repository / "snapshots")
    snapshots = {
        name: repository / "snapshots" / name
        for name, entry in entries.items()
        if entry.is_dir(follow_symlinks=False)
    }
    main = _first_line(repository / "refs" / "main")
    if main in snapshots:
        return snapshots[main]
    return max(snapshots.values(), key=lambda path: path.stat().st_mtime, default=None)


def _first_line(path: Path) -> str:
    try:
        if not path.is_file() or path.is_symlink():
            return ""
        with path.open("rb") as file:
            return file.read(200).decode("utf-8", errors="replace").strip()
    except OSError:
        return ""


def listing_fault(folder: Path) -> str | None:
    """Why ``folder`` cannot be listed; None where it can."""
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
    except OSError as error:
        return error.strerror or type(error).__name__
    return None


def _is_whole(model: ModelFolder) -> bool:
    """Whether a folder holds a model's config and its weights."""
    return all(_content_of(_entries(model.path)))


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError:
        return {}


class _Content(NamedTuple):
    """Whether a folder holds a model's config, and weights of whatever format."""

    config: bool
    weights: bool


def _content_of(entries: dict[str, os.DirEntry[str]]) -> _Content:
    names = [name for name in entries if not name.startswith(".")]
    return _Content(
        config=_CONFIG in entries,
        weights=_INDEX in entries or any(is_model_file(name) for name in names),
    )


def _folders(entries: dict[str, os.DirEntry[str]]) -> list[str]:
    """The folders that may hold models, in order of name."""
    return [
        name
        for name, entry in sorted(entries.items())
        if not name.startswith((".", *_OTHER_CACHED)) and name not in _SYSTEM and _is_folder(entry)
    ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _folder_count(source: Path) -> str:
    count = len(_folders(_entries(source)))
    return f"{count} sub-folders, none with a config.json" if count else "no sub-folder"
