"""What a ranking's settings need of this machine, checked before the task is opened."""

from __future__ import annotations

import importlib.util
from fnmatch import fnmatchcase
from pathlib import Path

from selection.kinds.registry import KINDS
from selection.recall.candidates import check_filters
from selection.scores.registry import resolve, resolve_all
from selection.settings import Settings
from zoo.errors import UserError


def check_requirements(settings: Settings) -> None:
    """Raise ``UserError`` for what would be refused later: scores, device, packages and filters."""
    resolve(settings.score)
    resolve_all(settings.also)
    if settings.device not in (None, "cpu"):  # importing torch takes seconds
        from selection.probing.prober import torch_device

        torch_device(settings.device)
    if settings.ray is not None:
        from selection.probing.workers import check_ray

        check_ray(settings.ray)
    if settings.label_encoder and not importlib.util.find_spec("sentence_transformers"):
        raise UserError(
            f"--label-encoder {settings.label_encoder} needs the package sentence-transformers;"
            " pip install sentence-transformers, or leave the option out"
        )
    unlabelled = settings.unlabelled
    if unlabelled is not None and not Path(unlabelled).expanduser().exists():
        raise UserError(f"--unlabelled {unlabelled}: there is no such folder")
    of_catalogue = [pattern for pattern in settings.models if not _is_built_in(pattern)]
    check_filters(settings.catalogue, where=settings.where, models=of_catalogue)


def _is_built_in(pattern: str) -> bool:
    """Whether a pattern of ``--models`` names a teacher that some kind of task brings along."""
    own = [card.id for kind in KINDS.values() for card in kind.own_teachers]
    return any(fnmatchcase(name, pattern) for name in own)
