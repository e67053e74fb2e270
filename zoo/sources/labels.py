"""A model's class names, and where they came from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from zoo.terminal.command import printable

_MOST_LABELS = 200_000  # the largest public label space, BAMBOO, has 115,217
_LONGEST_LABEL = 500
_PLACEHOLDER = re.compile(r"(label|class)[_\s-]?\d+", re.IGNORECASE)
_SYNSET = re.compile(r"n\d{8}")


class LabelSpace(NamedTuple):
    """``labels`` in the order of the model's logits, or ``None`` where unknown; ``source`` says
    where they came from (``config``, ``inferred:imagenet-1k``, ...); ``fault`` says why names that
    were given could not be used.
    """

    labels: tuple[str, ...] | None = None
    source: str | None = None
    fault: str | None = None


def label_space(
    config: Mapping[str, Any], num_classes: int | None, *, inferable: bool = True
) -> LabelSpace:
    """The names that ``config`` gives (timm's ``label_names``, transformers' ``id2label``), else
    ImageNet's by count.

    Placeholders (LABEL_0, ...) are no names. Names whose number is not ``num_classes`` are not
    used: their order says nothing of the logits. ``inferable = False`` forbids guessing by count
    (the training data is known to be other).
    """
    named = from_config(config)
    if named.labels and num_classes is not None and len(named.labels) != num_classes:
        named = LabelSpace(
            fault=f"the config names {len(named.labels):,} labels for {num_classes:,} classes"
        )
    if named.labels or not inferable:
        return named
    return inferred(num_classes)._replace(fault=named.fault)


def from_config(config: Mapping[str, Any]) -> LabelSpace:
    """The names that stand in ``config``, of a model of either library."""
    nested = config.get("pretrained_cfg")
    for holder in (config, nested if isinstance(nested, Mapping) else {}):
        if holder.get("label_names"):
            return _described(_ordered(holder["label_names"]), holder.get("label_descriptions"))
    return _ordered(config.get("id2label"))


def inferred(num_classes: int | None) -> LabelSpace:
    """The ImageNet label space with that many classes, in the order of timm's models; none where
    there is none.
    """
    subset = _subset(num_classes) if num_classes and num_classes >= 1_000 else None
    return LabelSpace(_imagenet(subset), f"inferred:{subset}") if subset else LabelSpace()


def _ordered(names: object) -> LabelSpace:
    """A list of names, or a mapping from 0 ... n - 1 (as numbers or text) to names."""
    if isinstance(names, (Mapping, list)) and len(names) > _MOST_LABELS:
        return LabelSpace(fault=f"{len(names):,} labels, more than {_MOST_LABELS:,}")
    if isinstance(names, Mapping):
        by_index = {str(key): value for key, value in names.items()}
        missing = next((i for i in range(len(by_index)) if str(i) not in by_index), None)
        if missing is not None:
            return LabelSpace(fault=f"the labels' numbers have a gap: there is no {missing}")
        names = [by_index[str(i)] for i in range(len(by_index))]
    if not isinstance(names, list) or not names:
        return LabelSpace(
            fault=None if names in (None, [], {}) else "the labels are neither a list nor a mapping"
        )
    if any(isinstance(name, (Mapping, list)) or name is None for name in names):
        return LabelSpace(fault="a label is not a text")
    labels = tuple(printable(str(name)[: 2 * _LONGEST_LABEL], _LONGEST_LABEL) for name in names)
    return LabelSpace() if _placeholders(labels) else LabelSpace(labels, "config")


def _placeholders(labels: Sequence[str]) -> bool:
    """LABEL_0 ... and bare numbers are no names, except 0 to 9: ten digits are what a digit
    classifier tells apart.
    """
    numbers = all(label == str(i) for i, label in enumerate(labels)) and len(labels) != 10
    return numbers or all(_PLACEHOLDER.fullmatch(label) for label in labels)


def _described(space: LabelSpace, descriptions: object) -> LabelSpace:
    """WordNet numbers (n01440764) replaced by their descriptions, where the config gives all of
    them.
    """
    if not space.labels or not all(_SYNSET.fullmatch(label) for label in space.labels):
        return space
    if isinstance(descriptions, Mapping):
        descriptions = [descriptions.get(label) for label in space.labels]
    if isinstance(descriptions, list) and len(descriptions) == len(space.labels):
        described = _ordered(descriptions)
        return described if described.labels else space
    return space


@lru_cache(maxsize=64)
def _subset(num_classes: int) -> str | None:
    from timm.data import infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": num_classes})
    return None if subset is None else str(subset)


@lru_cache
def _imagenet(subset: str) -> tuple[str, ...]:
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo(subset).label_descriptions())
