"""A folder of models in Hub layout: ``NAME/config.json`` and ``NAME/model.safetensors``, on this
machine.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Container, Iterator, Sequence
from functools import partial
from pathlib import Path

from zoo.card import ModelCard
from zoo.errors import TeacherError, UserError
from zoo.files import load_json
from zoo.loading.weights import PICKLES, read_headers, weight_files
from zoo.sources.describe import describe, front_matter, not_loadable
from zoo.terminal.command import printable

_LARGEST_README = 2**20
_SIGNS = ("config.json", "model.safetensors.index.json")


def small_zoo() -> Path:
    """The folder of the small zoo that ships inside the package."""
    return Path(__file__).resolve().parents[1] / "small"


def cards(
    root: Path, source: str = "folder", *, taken: Container[str] = frozenset()
) -> Iterator[ModelCard]:
    """A card for each model below ``root``, in order of name, or for ``root`` itself where that is
    one model.

    An id is the folder's name; where it is in ``taken``, or met before, a number is added
    (``name-2``). A model at fault is a card with ``loadable = False`` and the reason. Raises
    ``UserError`` where ``root`` is no folder or holds no model.
    """
    seen: set[str] = set()
    for folder in model_folders(root):
        name = printable(folder.name, 200) or "model"
        numbered = itertools.chain([name], (f"{name}-{i}" for i in itertools.count(2)))
        chosen = next(each for each in numbered if each not in taken and each not in seen)
        seen.add(chosen)
        yield card(folder, source=source, model=chosen, root=root)


def model_folders(root: Path) -> list[Path]:
    """The folders below ``root`` (or ``root`` itself) that look like models. ``UserError`` where
    there is none.
    """
    if not root.exists():
        raise UserError(
            f"no folder {root}; a folder with one sub-folder a model (config.json and"
            " model.safetensors in each) is expected"
        )
    if not root.is_dir():
        raise UserError(f"{root} is a file; a folder with one sub-folder a model is expected")
    root = root.resolve()
    if _looks_like_model(root):
        return [root]
    folders = [
        path for path in sorted(root.iterdir()) if not path.name.startswith(".") and path.is_dir()
    ]
    models = [path for path in folders if _looks_like_model(path)]
    if not models:
        content = (
            f"{len(folders)} sub-folders, none with a config.json" if folders else "no sub-folder"
        )
        raise UserError(
            f"no model in {root}: it has {content}; NAME/config.json and NAME/model.safetensors are"
            " expected"
        )
    return models


def card(
    folder: Path,
    *,
    source: str = "folder",
    model: str | None = None,
    root: Path | None = None,
) -> ModelCard:
    """The card of one model; never raises for what is in its files.

    ``sha`` is the first 40 hex digits of the sha256 over config and weights. Files that are links
    to outside of ``root`` (default: ``folder``) are not read.
    """
    inside = (root or folder).resolve()
    location = str(folder).encode(errors="replace").decode()
    files = [folder / "config.json"]
    fields = front_matter(_readme(folder / "README.md", inside))
    try:
        config = load_json(_inside(folder / "config.json", inside))
        processor_file = folder / "preprocessor_config.json"
        processor = load_json(_inside(processor_file, inside)) if processor_file.is_file() else None
        describe_with = partial(
            describe, config, processor=processor, datasets=fields.get("datasets")
        )
        fields = describe_with() | fields
        weights = [_inside(path, inside) for path in weight_files(folder)]
        fields = describe_with(weights=read_headers(weights)) | fields
        files += weights
    except (TeacherError, OSError) as error:
        fields = not_loadable(fields, str(error)) | {
            "detail_state": "failed",
            "detail_error": printable(error, 500),
        }
    if location != str(folder):
        fields = not_loadable(fields, "the folder's name is not UTF-8")
    return ModelCard(
        id=model or folder.name,
        source=source,
        location=location,
        **{"sha": _digest(files, inside), **fields},
    )


def _looks_like_model(folder: Path) -> bool:
    try:
        return any(
            path.name in _SIGNS or path.name.endswith((*PICKLES, ".safetensors"))
            for path in folder.iterdir()
        )
    except OSError:
        return False


def _inside(path: Path, root: Path) -> Path:
    """``path`` if it is a regular file below ``root``, wherever links lead; ``TeacherError``
    otherwise.
    """
    resolved = path.resolve()
    if not resolved.is_relative_to(root):
        raise TeacherError(f"{path.name} is a link to outside of {root}, which is not followed")
    if not resolved.is_file():
        raise TeacherError(
            f"{path.name} is not a regular file" if resolved.exists() else f"no {path.name}"
        )
    return path


def _readme(path: Path, root: Path) -> str:
    """The beginning of the README; empty where there is none that may be read."""
    try:
        with _inside(path, root).open("rb") as file:
            return file.read(_LARGEST_README).decode("utf-8", errors="replace")
    except (TeacherError, OSError):
        return ""


def _digest(files: Sequence[Path], root: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        for path in files:
            with _inside(path, root).open("rb") as file:
                hashlib.file_digest(file, lambda: digest)
    except (TeacherError, OSError):
        return None
    return digest.hexdigest()[:40]
