"""timm's architectures by name: tags, prefixes, names that timm changed, and their own settings."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

_PREFIX = re.compile(r"(?:hf[-_]hub:)?(?:timm/)?")
_REGISTERED = re.compile(r"^@register_model\s+def\s+(\w+)\(", re.MULTILINE)
_RENAMED = re.compile(r"^register_model_deprecations\(\s*\w+,\s*(\{.*?\})\s*\)", re.M | re.S)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class TimmName(NamedTuple):
    """An architecture of timm and the tag of its weights, ``""`` where none is named."""

    architecture: str
    tag: str = ""


def timm_name(name: str, tag: object = None) -> TimmName:
    """The present name of the architecture that a config calls ``name``.

    ``hf-hub:timm/`` before it is taken off, a tag behind a dot is split off (``tag`` is the one
    that the config gives elsewhere), and a name that timm has replaced becomes the new one, with
    the tag that it stood for.
    """
    architecture, _, own_tag = _PREFIX.sub("", name.strip(), count=1).partition(".")
    renamed = _sources().renamed.get(architecture)
    if renamed:
        architecture, _, new_tag = renamed.partition(".")
        own_tag = own_tag or new_tag
    return TimmName(architecture, own_tag or (tag if isinstance(tag, str) else ""))


def timm_architectures() -> frozenset[str]:
    """The names of all architectures of the installed timm, read from its source: importing it
    takes seconds.
    """
    return _sources().registered


def default_cfg(name: TimmName) -> Mapping[str, Any]:
    """timm's own ``pretrained_cfg`` of ``name``: the tag's, else the architecture's default, else
    nothing. Imports timm.
    """
    return _default_cfg(*name)


@lru_cache(maxsize=512)
def _default_cfg(architecture: str, tag: str) -> Mapping[str, Any]:
    from timm.models import get_pretrained_cfg

    for name in (f"{architecture}.{tag}", architecture) if tag else (architecture,):
        try:
            cfg = get_pretrained_cfg(name)
        except RuntimeError:  # the tag is none of timm's
            continue
        if cfg is not None:
            return MappingProxyType(cfg.to_dict())
    return _NOTHING


class _Sources(NamedTuple):
    """Names in timm's source: architectures, and renamed ones with their present ``name.tag``."""

    registered: frozenset[str]
    renamed: Mapping[str, str | None]


@lru_cache
def _sources() -> _Sources:
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return _Sources(frozenset(), {})
    registered: set[str] = set()
    renamed: dict[str, str | None] = {}
    for path in (Path(spec.origin).parent / "models").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        registered.update(_REGISTERED.findall(source))
        for table in _RENAMED.findall(source):
            renamed.update(ast.literal_eval(table))
    return _Sources(frozenset(registered), renamed)
