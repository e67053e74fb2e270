"""A task as its source states it, before splits are cut."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from selection.kinds.image import IMAGE
from selection.kinds.kind import Kind, TaskContent
from selection.kinds.registry import KINDS
from selection.kinds.text import TEXT
from selection.sources import hub as hub_task
from selection.sources.digits import digits
from selection.sources.split import Part, Source, class_name
from selection.sources.tables import label_file
from selection.sources.tables.columns import Columns
from selection.sources.texts.requests import requests
from zoo.errors import UserError
from zoo.terminal.command import validate_choice


class BuiltIn(NamedTuple):
    """A task that comes with the package or its dependencies."""

    kind: Kind
    read: Callable[[], TaskContent]


BUILT_IN = {"digits": BuiltIn(IMAGE, digits), "requests": BuiltIn(TEXT, requests)}


@dataclass
class RawTask:
    """A task as its source states it, before splits are cut."""

    name: str
    parts: dict[str, Part]  # by split name
    unlabelled: list[Source] = field(default_factory=list)
    broken_links: int = 0
    revision: str | None = None
    warnings: list[str] = field(default_factory=list)
    kind: Kind = IMAGE


def read_task(
    spec: str,
    columns: Columns,
    revision: str | None,
    *,
    offline: bool,
    kind: str | None = None,
) -> RawTask:
    """The task that ``spec`` names: a path, ``hf:org/name``, or a built-in name.

    ``kind`` is a name of ``KINDS``; None: what the task holds tells it.

    ``UserError`` where it is none of them, or cannot be read.
    """
    path = Path(spec).expanduser()
    if kind is not None:
        validate_choice("kind", kind, KINDS)
    if spec and path.exists():
        return _read_path(path, columns, kind)
    warnings: list[str] = []
    if spec.startswith("hf:"):
        if kind is not None and not KINDS[kind].on_hub:
            raise UserError(
                f"tasks of {kind} are not read from the Hub; download the files of {spec[3:]} and"
                f" give their folder: {KINDS[kind].expected}"
            )
        dataset = hub_task.read(
            spec[3:],
            columns,
            warnings,
            revision,
            offline=offline,
            texts=None if kind is None else kind == TEXT.name,
        )
        return RawTask(
            spec[3:],
            dataset.parts,
            revision=dataset.revision,
            warnings=warnings,
            kind=TEXT if dataset.texts else IMAGE,
        )
    if spec in BUILT_IN:
        columns.require_unused(spec)
        return _read_built_in(spec, kind)
    known = {folder: str(path.parent / folder) for folder in _siblings(path)}
    known |= {name: name for name in BUILT_IN}
    near = difflib.get_close_matches(
        path.name,
        known,
        n=1,
        cutoff=0.5,
    )
    hint = (
        "give a folder with one sub-folder a class or with train.parquet, a table of texts,"
        f" hf:org/name, or the built-in {' or '.join(map(repr, BUILT_IN))}"
    )
    if near:
        hint = f"did you mean {known[near[0]]!r}?"
    raise UserError(f"no task {spec!r}: no such folder; {hint}")


def _read_built_in(name: str, kind: str | None) -> RawTask:
    task = BUILT_IN[name]
    if kind not in (None, task.kind.name):
        raise UserError(
            f"the built-in task {name!r} holds {task.kind.nouns}; leave out --kind {kind}, or give"
            f" a path such as ./{name}"
        )
    return RawTask(name, *task.read(), kind=task.kind)


def _read_path(path: Path, columns: Columns, kind: str | None) -> RawTask:
    kinds = [KINDS[kind]] if kind else [*KINDS.values()]
    for candidate in kinds:
        warnings: list[str] = []
        content = candidate.read(path, columns, warnings)
        if content is not None:
            return RawTask(_name(path), *content, warnings=warnings, kind=candidate)
    raise UserError(f"{path} holds no {kinds[0].nouns} that are known here; {kinds[0].expected}")


def more_samples(path: Path, raw: RawTask, columns: Columns) -> None:
    """Add the samples of ``--unlabelled`` to the pool of ``raw``; ``UserError`` where none are."""
    if not path.exists():
        near = difflib.get_close_matches(path.name, _siblings(path), n=1, cutoff=0.5)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        place = "file or folder" if raw.kind.pool_in_files else "folder"
        raise UserError(f"the unlabelled {raw.kind.nouns}: no such {place} {str(path)!r}{hint}")
    sources = [*(part.source for part in raw.parts.values()), *raw.unlabelled]
    content = raw.kind.read_pool(path, sources, columns, raw.warnings)
    raw.unlabelled += content.unlabelled
    raw.broken_links += content.broken_links


def _name(path: Path) -> str:
    """The name of a folder, or of a file unless it says nothing, as ``labels.csv``."""
    whole = path.resolve()
    name = whole.name
    if whole.is_file():
        name = whole.parent.name if label_file.is_plain_name(whole.stem) else whole.stem
    return class_name(name) or "task"


def _siblings(path: Path) -> list[str]:
    try:
        return sorted(child.name for child in path.parent.iterdir())
    except OSError:
        return []
