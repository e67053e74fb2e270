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
# parts of timm's tags (vit_base_patch16_224.augreg_in21k_ft_in1k), the last of which is the head's
_TAG_SUBSETS = {"in1k": "1k", "in12k": "12k", "in21k": "21k", "in22k": "21k"}
# words in a model's name or tags that speak of other classes than ImageNet's
_OTHER_CLASSES = re.compile(
    r"food|dish|cuisine|meal|recipe|inat|bird|plant|flower|insect|butterfl|fung|mushroom|fish|pets?$"
    r"|cars?$|vehicle|landmark|places?|product|logo|faces?$|person|people|celeb|charact|kanji|hanzi"
    r"|cifar|texture|aircraft|scene|medical|xray|histo|skin|retina|satellite|anime|pokemon|fashion"
    r"|cloth|card|coin|sign|leaf|leaves|wine|book|art$|paint"
)


class LabelSpace(NamedTuple):
    """A model's class names.

    ``labels`` are in the order of the logits, ``None`` where unknown; ``source`` is ``config`` or
    ``inferred:imagenet-1k`` and its like; ``fault`` is why the config's names cannot be used.
    """

    labels: tuple[str, ...] | None = None
    source: str | None = None
    fault: str | None = None


class Training(NamedTuple):
    """What is known of the data that a head was trained on.

    ``tag`` is timm's tag of the weights, ``datasets`` what the card names, ``words`` the model's
    name and tags, ``base_model`` whether the card names a model that this one was made from.
    """

    tag: str = ""
    datasets: Sequence[str] = ()
    words: Sequence[str] = ()
    base_model: bool = False


def label_space(
    config: Mapping[str, Any], num_classes: int | None, *, training: Training | None = None
) -> LabelSpace:
    """The names that ``config`` gives (timm's ``label_names``, transformers' ``id2label`` or
    ``label2id``), else ImageNet's where the head was trained on an ImageNet.

    Placeholders (LABEL_0, ...) are no names. Names whose number is not ``num_classes`` are not
    used: their order says nothing of the logits. A number of classes alone says nothing either:
    ImageNet's names need evidence in ``training``, and none against it (``None``: no evidence).
    """
    named = from_config(config)
    if named.labels and num_classes is not None and len(named.labels) != num_classes:
        named = LabelSpace(
            fault=f"the config names {len(named.labels):,} labels for {num_classes:,} classes"
        )
    if named.labels or named.fault or training is None:
        return named
    space = inferred(num_classes)
    return space if space.source and _is_imagenet(space.source, training) else named


def _is_imagenet(source: str, training: Training) -> bool:
    """Whether ``training`` says that the classes are those of ``source``, and nothing else."""
    if training.datasets:
        if not any("imagenet" in name.lower() for name in training.datasets):
            return False
        return all("imagenet" in name.lower() for name in training.datasets) or not _others(
            training.words
        )
    if training.base_model or _others(training.words):
        return False
    if any("imagenet" in word.lower() for word in training.words):
        return True
    subsets = [_TAG_SUBSETS[part] for part in training.tag.split("_") if part in _TAG_SUBSETS]
    counted = source.removeprefix("inferred:imagenet-").replace("22k", "21k")
    return bool(subsets) and counted.startswith(subsets[-1])


def _others(words: Sequence[str]) -> bool:
    parts = [part for word in words for part in re.split(r"[\W\d_]+", word.lower())]
    return any(_OTHER_CLASSES.match(part) for part in parts)


def from_config(config: Mapping[str, Any]) -> LabelSpace:
    """The names in ``config``, of a model of either library."""
    nested = config.get("pretrained_cfg")
    holders = [config]
    if isinstance(nested, Mapping):
        holders.append(nested)
    for holder in holders:
        names = holder.get("label_names")
        if names:
            return _with_descriptions(_ordered(names), holder.get("label_descriptions"))
    names = _ordered(config.get("id2label"))
    return names if names != LabelSpace() else _ordered(_inverted(config.get("label2id")))


def inferred(num_classes: int | None) -> LabelSpace:
    """The ImageNet label space with that many classes, in the order of timm's models, if any."""
    if num_classes is None or num_classes < 1_000:
        return LabelSpace()
    subset = _subset(num_classes)
    if subset is None:
        return LabelSpace()
    return LabelSpace(_imagenet(subset), f"inferred:{subset}")


def _inverted(numbers: object) -> object:
    """``label2id`` as a mapping from numbers to names; two names of one number are a gap."""
    if not isinstance(numbers, Mapping):
        return None
    if any(isinstance(number, (Mapping, list)) for number in numbers.values()):
        return "numbers that are none"
    return {str(number): name for name, number in numbers.items()}


def _ordered(names: object) -> LabelSpace:
    """A list of names, or a mapping from 0 ... n - 1 (as numbers or text) to names."""
    if names in (None, [], {}):
        return LabelSpace()
    if not isinstance(names, (Mapping, list)):
        return LabelSpace(fault="the labels are neither a list nor a mapping")
    if len(names) > _MOST_LABELS:
        return LabelSpace(fault=f"{len(names):,} labels, more than {_MOST_LABELS:,}")
    if isinstance(names, Mapping):
        by_index = {str(key): value for key, value in names.items()}
        try:
            names = [by_index[str(i)] for i in range(len(by_index))]
        except KeyError as missing:
            number = missing.args[0]
            return LabelSpace(fault=f"the labels' numbers have a gap: there is no {number}")
    if any(isinstance(name, (Mapping, list)) or name is None for name in names):
        return LabelSpace(fault="a label is not a text")
    labels = tuple(printable(str(name)[: 2 * _LONGEST_LABEL], _LONGEST_LABEL) for name in names)
    if _are_placeholders(labels):
        return LabelSpace()
    if len(labels) > 1 and len(set(labels)) == 1:
        return LabelSpace(fault=f"all {len(labels):,} labels are {labels[0][:40]!r}")
    return LabelSpace(labels, "config")


def _are_placeholders(labels: Sequence[str]) -> bool:
    """LABEL_0 ... and bare numbers are no names, but ten digits are a digit classifier's."""
    are_numbers = all(label == str(i) for i, label in enumerate(labels))
    if are_numbers and len(labels) != 10:
        return True
    return all(_PLACEHOLDER.fullmatch(label) for label in labels)


def _with_descriptions(space: LabelSpace, descriptions: object) -> LabelSpace:
    """WordNet numbers (n01440764) as their descriptions, where the config has all of them."""
    labels = space.labels
    if not labels or not all(_SYNSET.fullmatch(label) for label in labels):
        return space
    if isinstance(descriptions, Mapping):
        descriptions = [descriptions.get(label) for label in labels]
    if not isinstance(descriptions, list) or len(descriptions) != len(labels):
        return space
    described = _ordered(descriptions)
    return described if described.labels else space


@lru_cache(maxsize=64)
def _subset(num_classes: int) -> str | None:
    from timm.data import infer_imagenet_subset

    subset: str | None = infer_imagenet_subset({"num_classes": num_classes})
    return subset


@lru_cache
def _imagenet(subset: str) -> tuple[str, ...]:
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo(subset).label_descriptions())
