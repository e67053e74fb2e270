"""The classifier of a model, as its config names it and as the weights have it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from zoo.loading.checkpoint.architecture import default_cfg, timm_name
from zoo.loading.checkpoint.names import shared_prefix
from zoo.loading.preprocessing import timm_settings

# how the families of transformers call the last layer
_HEADS = (
    "classifier",
    "classifier.1",
    "cls_classifier",
    "classifier.linear",
    "classifier.classifier",
)
_WITHOUT_HEAD = "TimmWrapperModel"
_LABEL_KEYS = ("id2label", "label2id", "label_names", "label_descriptions", "num_classes")
_MOST_CLASSES = 2**53

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


class HeadShape(NamedTuple):
    """(number of classes, width of the features) of a last layer."""

    classes: int
    width: int


def head_shape(config: Mapping[str, Any], tensors: Tensors) -> HeadShape | None:
    """The shape of the last layer in the weights; ``None`` where its name is not known, or is not
    among them. ``tensors`` maps names to (dtype, shape).
    """
    prefix = shared_prefix(tensors)
    for name in _head_names(config):
        for full in (f"{name}.weight", f"{prefix}{name}.weight"):
            dtype, shape = tensors.get(full, ("", ()))
            if len(shape) >= 2 and "F" in dtype:
                return HeadShape(shape[0], math.prod(shape[1:]))
    return None


def config_count(config: Mapping[str, Any]) -> int | None:
    """The number of classes that a config says, ``None`` where it says none.

    timm's ``num_classes``, also in ``model_args``; transformers' ``num_labels``, else the number of
    its ``id2label`` or ``label2id``.
    """
    if _first(config.get("architectures")) == _WITHOUT_HEAD:
        return 0
    arguments = config.get("model_args")
    timm = isinstance(config.get("architecture"), str)
    settings = timm_settings(config) if timm else {}
    counts = [
        config.get("num_classes") if timm else None,
        arguments.get("num_classes") if timm and isinstance(arguments, Mapping) else None,
        settings.get("num_classes"),
        config.get("num_labels"),
    ]
    for count in counts:
        if isinstance(count, float) and count.is_integer():
            count = int(count)
        if type(count) is int and 0 <= count < _MOST_CLASSES:
            return count
    names = config.get("id2label") or config.get("label2id")
    return len(names) if isinstance(names, (Mapping, list)) and names else None


def _head_names(config: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(config.get("architecture"), str):
        yield from _HEADS
        return
    settings = timm_settings(config)
    names = settings.get("classifier")
    if names is None:
        name = timm_name(str(config["architecture"]), settings.get("tag"))
        names = default_cfg(name).get("classifier")
    for each in names if isinstance(names, (list, tuple)) else [names]:
        if isinstance(each, str):
            yield each


def _first(values: object) -> object:
    return values[0] if isinstance(values, list) and values else None
