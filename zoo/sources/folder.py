"""A folder of models in Hub layout: ``NAME/config.json`` and ``NAME/model.safetensors``, on this
machine.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from zoo.card import ModelCard
from zoo.errors import TeacherError
from zoo.files import load_json, regular_file
from zoo.loading.checkpoint.formats import foreign_model
from zoo.loading.inputs.tokenization import SETTINGS
from zoo.loading.revision import content_revision, reach_of
from zoo.loading.weights import INDEX, read_headers, weight_files
from zoo.sources.describe import describe, not_loadable
from zoo.sources.front_matter import front_matter
from zoo.sources.layout import ModelFolder, find_models, listing_fault
from zoo.terminal.command import printable

_LARGEST_README = 2**20
_LONGEST_ID = 200


def small_zoo() -> Path:
    """The folder of the small zoo that ships inside the package."""
    return Path(__file__).resolve().parents[1] / "small"


def cards(
    root: Path, source: str = "folder", *, taken: Collection[str] = frozenset()
) -> Iterator[ModelCard]:
    """A card for each model below ``root``, in order of path, or for ``root`` itself where that is
    one model.

    An id is the folder's name, in the Hub's cache the repository's (``organisation/name``); where
    it is in ``taken``, or met before, a number is added (``name-2``). A model at fault is a card
    with ``loadable = False`` and the reason. Raises ``UserError`` where ``root`` is no folder or
    holds no model.
    """
    yield from cards_of(find_models(root), source, taken=taken)


def cards_of(
    models: Sequence[ModelFolder],
    source: str = "folder",
    *,
    taken: Collection[str] = frozenset(),
    ids: Mapping[Path, str] | None = None,
) -> Iterator[ModelCard]:
    """The cards of ``models``, as ``cards`` makes them; a folder in ``ids`` keeps that id."""
    ids = ids or {}
    used = {*taken, *(ids[model.path] for model in models if model.path in ids)}
    for model in models:
        name = preferred_id(model)
        numbered = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
        chosen = ids.get(model.path) or next(each for each in numbered if each not in used)
        used.add(chosen)
        yield card(
            model.path,
            source=source,
            model=chosen,
            root=model.inside,
        )


def preferred_id(model: ModelFolder) -> str:
    """The id of ``model`` where no other model has it."""
    return printable(model.name, _LONGEST_ID) or "model"


def card(
    folder: Path,
    *,
    source: str = "folder",
    model: str | None = None,
    root: Path | None = None,
) -> ModelCard:
    """The card of one model; never raises for what is in its files.

    ``sha`` is the first 40 hex digits of the sha256 over config and weights. Files that are links
    to outside of ``root`` are not read (default: ``folder``, or the repository in the Hub's cache
    that it is a snapshot of).
    """
    inside = (root or reach_of(folder)).resolve()
    location = str(folder).encode(errors="replace").decode()
    files = [folder / "config.json"]
    front = fields = front_matter(_readme(folder / "README.md", inside))
    try:
        config = _config(folder, inside)
        describe_with = partial(
            describe,
            config,
            processor=_side_file(folder, "preprocessor_config.json", inside),
            tokenizer=_side_file(folder, SETTINGS, inside),
            files=_regular_names(folder, inside),
            card={"id": model or folder.name} | front,
        )
        fields = describe_with() | front
        weights = _weights(folder, inside)
        fields = describe_with(weights=read_headers(weights)) | front
        files += weights
    except Exception as error:  # noqa: BLE001 - any fault of one model is its row's reason
        fields = not_loadable(fields, _reason(error)) | {
            "detail_state": "failed",
            "detail_error": printable(_reason(error), 500),
        }
    if location != str(folder):
        fields = not_loadable(fields, "the folder's name is not UTF-8")
    return ModelCard(
        id=model or folder.name,
        source=source,
        location=location,
        **{"sha": _digest(files, inside), **fields},
    )


def _reason(error: Exception) -> str:
    """Why a model's files cannot be used, without the path of this machine."""
    if isinstance(error, OSError) and error.strerror:
        name = Path(str(error.filename)).name if error.filename else "a file"
        return f"{printable(name, 100)} cannot be read: {error.strerror}"
    return str(error) if isinstance(error, TeacherError) else f"{type(error).__name__}: {error}"


def _config(folder: Path, inside: Path) -> object:
    """The parsed ``config.json``; ``TeacherError`` where there is none that may be read."""
    path = folder / "config.json"
    if not folder.resolve().is_relative_to(inside):
        raise TeacherError(f"the folder is a link to outside of {inside}, which is not followed")
    if fault := listing_fault(folder):
        raise TeacherError(f"the folder cannot be listed: {fault}")
    if not path.is_symlink() and not path.exists():
        foreign = foreign_model(entry.name for entry in folder.iterdir())
        if foreign:
            raise TeacherError(foreign)
        weight_files(folder)  # its reason says more: weights of another library
    return load_json(regular_file(path, inside))


def _side_file(folder: Path, name: str, inside: Path) -> object:
    """The parsed JSON file of that name, None where there is none."""
    path = folder / name
    return load_json(regular_file(path, inside)) if path.is_file() else None


def _regular_names(folder: Path, inside: Path) -> list[str]:
    """The names of the files that may be read: links out of ``inside`` are not followed."""
    names = []
    for path in folder.iterdir():
        with contextlib.suppress(TeacherError, OSError):
            names.append(regular_file(path, inside).name)
    return names


def _weights(folder: Path, inside: Path) -> list[Path]:
    if (folder / INDEX).exists():
        regular_file(folder / INDEX, inside)
    return [regular_file(path, inside) for path in weight_files(folder)]


def _readme(path: Path, root: Path) -> str:
    """The beginning of the README; empty where there is none that may be read."""
    try:
        with regular_file(path, root).open("rb") as file:
            return file.read(_LARGEST_README).decode("utf-8", errors="replace")
    except (TeacherError, OSError):
        return ""


def _digest(files: Sequence[Path], root: Path) -> str | None:
    try:
        return content_revision(regular_file(path, root) for path in files)
    except (TeacherError, OSError):
        return None
