"""The classifier of a model, as its config names it and as the weights have it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from zoo.errors import TeacherError
from zoo.loading.checkpoint.architecture import default_cfg, timm_name
from zoo.loading.checkpoint.names import shared_prefix
from zoo.loading.inputs.preprocessing import timm_settings

# how the families of transformers call the last layer
_HEADS = (
    "classifier",
    "classifier.1",
    "cls_classifier",
    "classifier.linear",
    "classifier.classifier",
    "classifier.out_proj",  # RoBERTa's, and of those that follow it
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
            _, bias = tensors.get(full.removesuffix("weight") + "bias", ("", shape[:1]))
            if len(shape) >= 2 and "F" in dtype and bias == shape[:1]:
                return HeadShape(shape[0], math.prod(shape[1:]))
    return None


def config_count(config: Mapping[str, Any]) -> int | None:
    """The number of classes that a config says, ``None`` where it says none.

    timm's ``num_classes``, also in ``model_args``; transformers' ``num_labels``, else the number of
    its ``id2label`` or ``label2id``. Without a head it is 0.
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
    for each in counts:
        count = _as_count(each)
        if count is not None:
            return count
    names = config.get("id2label") or config.get("label2id")
    return len(names) if isinstance(names, (Mapping, list)) and names else None


def head_contradiction(config: Mapping[str, Any], tensors: Tensors) -> str | None:
    """Why a timm config cannot belong to the weights: it says another number of classes.

    transformers counts names, which are often left from another head; the weights then decide.
    """
    head, said = head_shape(config, tensors), _as_count(config.get("num_classes"))
    if not isinstance(config.get("architecture"), str) or None in (head, said):
        return None
    if head is None or head.classes == said:
        return None
    return (
        f"config.json says {said:,} classes, the head in the weights has {head.classes:,}: one of"
        " the two files is another model's"
    )


def with_head_of(config: Mapping[str, Any], tensors: Tensors) -> dict[str, Any]:
    """``config`` with the number of classes that the weights have, and without label names, which
    in transformers would set it.

    A config that says none of a head that the weights do not name stays without; an architecture
    of transformers then has its own default. One that says nonsense is left as it is. Raises
    ``TeacherError`` where it says two different numbers.
    """
    head = head_shape(config, tensors)
    count = config_count(config) if head is None else head.classes
    timm = isinstance(config.get("architecture"), str)
    said = config.get("num_classes" if timm else "num_labels")
    if said is not None and _as_count(said) is None:
        return dict(config)
    arguments = config.get("model_args")
    twice = arguments.get("num_classes") if timm and isinstance(arguments, Mapping) else None
    contradiction = head_contradiction(config, tensors)
    if contradiction:
        raise TeacherError(contradiction)
    if None not in (said, twice) and said != twice:
        raise TeacherError(f"model_args and config differ about num_classes ({said} in the config)")
    plain = {
        key: value
        for key, value in config.items()
        if key not in _LABEL_KEYS and not _is_no_number(value)
    }
    if count is not None:
        plain["num_classes" if timm else "num_labels"] = count
    return plain


def _is_no_number(value: object) -> bool:
    """NaN and infinity, which Python's JSON has: notes of a training, no network's settings."""
    return isinstance(value, float) and not math.isfinite(value)


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


def _as_count(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _MOST_CLASSES else None


def _first(values: object) -> object:
    return values[0] if isinstance(values, list) and values else None
