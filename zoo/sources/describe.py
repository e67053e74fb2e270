"""A model's config.json as fields of ``ModelCard``: pure functions over hostile input.

None of them raises on any JSON value: a part that cannot be understood is left out, and
``detail_error`` is the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from zoo.card import TOWERS
from zoo.errors import TeacherError
from zoo.loading.backbones import (
    feature_width,
    is_classifier,
    is_embedding,
    known_backbone,
    obstacle,
    tower_config,
)
from zoo.loading.checkpoint.architecture import timm_architectures, timm_name
from zoo.loading.checkpoint.head import HeadShape, config_count, head_contradiction, head_shape
from zoo.loading.inputs.preprocessing import (
    Preprocessing,
    from_config,
    from_transformers,
    timm_settings,
)
from zoo.loading.inputs.processors import family_processor
from zoo.loading.inputs.tokenization import max_length, missing_tokenizer
from zoo.loading.transformers.families import encoder
from zoo.loading.weights import Header, check_floats
from zoo.sources.front_matter import license_name
from zoo.sources.labels import Training, label_space
from zoo.sources.values import ODD_VALUES, Fields, as_count, as_fraction, as_line, first_line
from zoo.terminal.command import printable

_RECOMMENDER_FILES = ("users.parquet", "items.parquet")
_RECOMMENDER_TENSORS = ("user_vectors", "item_vectors", "item_bias", "rating_weights")
_LARGEST_SIZE = 1_000_000  # of anything that a network is built with
_SIZES = (
    "num_classes",
    "num_labels",
    "num_features",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_channels",
    "image_size",
    "patch_size",
)


def describe(
    config: object,
    *,
    processor: object = None,
    tokenizer: object = None,
    files: Collection[str] | None = None,
    weights: Header | None = None,
    datasets: Sequence[str] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Fields:
    """The fields that follow from a parsed ``config.json``, in timm's form (new or old flat) or
    transformers'.

    ``processor`` is the parsed ``preprocessor_config.json``, ``tokenizer`` the parsed
    ``tokenizer_config.json``, ``files`` the names of the model's files where they are known (a text
    model needs a tokenizer among them); ``weights`` the header of the safetensors file, whose head
    has the last word on the number of classes; ``datasets`` what the card names as training data,
    and ``card`` the model's ``id`` and the fields of its front matter: ImageNet's labels are
    inferred only where these or timm's tag speak for an ImageNet. ``loadable`` is whether this tool
    can load the model as far as these files tell.
    """
    if not isinstance(config, Mapping):
        wrong = f"config.json holds a {type(config).__name__}, an object is expected"
        return {
            "loadable": False,
            "not_loadable_reason": wrong,
            "detail_state": "failed",
            "detail_error": wrong,
        }
    if config.get("model_type") == TOWERS:
        return _recommender(config, files, weights)
    known = _Config.of(config)
    faults, classes = _classes(known, weights, _training(known, datasets, card or {}))
    if known.is_text:
        pipeline, obstacle = _text_input(known, tokenizer, files)
    else:
        pipeline, obstacle = _input(known, processor)
    if _lacks_processor(known, processor) and not obstacle:
        faults.append(
            "no preprocessor_config.json: images are prepared as models of"
            f" {as_line(known.whole.get('model_type')) or 'its family'} usually are"
        )
    reason = _obstacle(known) or obstacle or _oversized(known) or _unusable(known, weights)
    transformers = known.architecture or config.get("model_type")
    fields: Fields = {
        "library_name": "timm" if known.timm else "transformers" if transformers else None,
        "architecture": known.architecture,
        "model_type": as_line(config.get("model_type")),
        "modality": known.modality,
        "license": license_name(known.cfg.get("license")),
        "accuracy": as_fraction(config.get("accuracy", known.cfg.get("accuracy"))),
        "custom_code": bool(config.get("auto_map")),
        **classes,
        **pipeline,
        "loadable": reason is None,
        "not_loadable_reason": reason,
        "detail_state": "done",
        "detail_error": ("; ".join(fault for fault in (*faults, obstacle) if fault)[:500] or None),
    }
    if weights is not None:
        fields |= _size(weights)
    return {name: value for name, value in fields.items() if value is not None}


def _recommender(
    config: Mapping[str, Any], files: Collection[str] | None, weights: Header | None
) -> Fields:
    """The fields of an exported student of ratings, which needs the names of users and items."""
    missing = [name for name in _RECOMMENDER_FILES if files is not None and name not in files]
    reason = f"no {missing[0]}, which names what its vectors stand for" if missing else None
    if reason is None and weights is not None:
        lacking = [name for name in _RECOMMENDER_TENSORS if name not in weights.tensors]
        reason = f"tensor {lacking[0]!r} is missing from the weights" if lacking else None
    fields: Fields = {
        "library_name": "safetensors",
        "architecture": as_line(config.get("architecture")),
        "model_type": TOWERS,
        "modality": "ratings",
        "num_classes": 0,
        "feature_dim": as_count(config.get("width")) or None,
        "loadable": reason is None,
        "not_loadable_reason": reason,
        "detail_state": "done",
    }
    if weights is not None:
        fields |= _size(weights)
    return {name: value for name, value in fields.items() if value is not None}


def _size(weights: Header) -> Fields:
    return {
        "params_total": weights.params_total,
        "weight_bytes": weights.bytes,
        "weight_format": "safetensors",
    }


def not_loadable(fields: Mapping[str, Any], reason: str) -> Fields:
    """``fields`` of a model that cannot be loaded for ``reason``; an earlier reason stays."""
    if fields.get("loadable") is False:
        return dict(fields)
    return {**fields, "loadable": False, "not_loadable_reason": printable(reason, 500)}


class _Config(NamedTuple):
    """A ``config.json``: ``cfg`` is the whole with timm's ``pretrained_cfg`` at its top; ``tag`` is
    timm's tag of the weights.
    """

    whole: Mapping[str, Any]
    cfg: Mapping[str, Any]
    timm: bool
    architecture: str | None
    tag: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> _Config:
        given = as_line(config.get("architecture"))
        if given is None:
            return cls(config, config, False, first_line(config.get("architectures")))
        cfg = timm_settings(config)
        name = timm_name(given, cfg.get("tag"))
        known = name.architecture in timm_architectures()
        return cls(
            config,
            cfg,
            True,
            name.architecture if known else given,
            name.tag,
        )

    @property
    def classifies_images(self) -> bool:
        return self.timm or is_classifier(self.architecture)

    @property
    def is_headless(self) -> bool:
        return not self.timm and known_backbone(self.architecture) is not None

    @property
    def is_text(self) -> bool:
        return not self.timm and encoder(self.architecture) is not None

    @property
    def modality(self) -> str | None:
        """``text`` or ``image``, None for networks of another kind."""
        if self.is_text:
            return "text"
        return "image" if self.classifies_images or self.is_headless else None


def _classes(
    known: _Config, weights: Header | None, training: Training | None
) -> tuple[list[str | None], Fields]:
    """Class count, label names and feature width, and what is wrong with them; the head's shape
    decides on count and width.
    """
    if known.is_headless:
        width = feature_width(known.whole, known.architecture)
        return [], {"num_classes": 0, "feature_dim": as_count(width) or None}
    head = head_shape(known.whole, weights.tensors) if weights else None
    count, fault = config_count(known.whole), None
    if head is not None and count != head.classes:
        if count is not None:
            fault = (
                f"the config says {count:,} classes, the weights have {head.classes:,}, which are"
                " right"
            )
        count = head.classes
    named = known.cfg.get("label_names")
    if known.timm and not named and is_embedding(str(known.architecture), known.tag, count):
        return [], {"num_classes": 0, "feature_dim": _width(known, head)}
    space = label_space(known.whole, count, training=training)
    if count is None and space.labels:
        count = len(space.labels)
    return [fault, space.fault], {
        "num_classes": count,
        "labels": space.labels,
        "label_source": space.source,
        "feature_dim": _width(known, head),
    }


def _width(known: _Config, head: HeadShape | None) -> int | None:
    if known.is_text:
        return as_count(feature_width(known.whole, known.architecture)) or None
    features = known.whole.get("num_features" if known.timm else "hidden_size")
    return (head.width if head else None) or as_count(features) or None


def _training(
    known: _Config, datasets: Sequence[str] | None, card: Mapping[str, Any]
) -> Training | None:
    """What is known of the data that the head was trained on; ``None`` for other heads than image
    classifiers'.
    """
    if not known.classifies_images:
        return None
    return Training(
        tag=known.tag,
        datasets=datasets or card.get("datasets") or (),
        words=(str(card.get("id", "")), *(card.get("tags") or ())),
        base_model=bool(card.get("base_model")),
    )


def _oversized(known: _Config) -> str | None:
    """The number in the config that no network is built with, if there is one."""
    given = known.whole.get("model_args")
    sizes = {name: known.cfg.get(name, known.whole.get(name)) for name in _SIZES}
    sizes |= given if isinstance(given, Mapping) else {}
    for name, value in sizes.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not abs(value) <= _LARGEST_SIZE:
            return f"{as_line(str(name))} is {str(value)[:20]}, expected at most {_LARGEST_SIZE:,}"
        if name in _SIZES and number and value < 0:
            return f"{name} is {str(value)[:20]}, expected 0 or more"
    return None


def _unusable(known: _Config, weights: Header | None) -> str | None:
    """Why the weights cannot be used with this config, if so."""
    if weights is None:
        return None
    try:
        check_floats(weights, known.whole.get("quantization_config"))
    except TeacherError as error:
        return printable(error, 300)
    return head_contradiction(known.whole, weights.tensors)


def _input(known: _Config, processor: object) -> tuple[Fields, str | None]:
    """The input pipeline as far as the files, or timm's own settings of the architecture, give it,
    and why it cannot be used; what is left open stays unknown.
    """
    try:
        if known.timm:
            pipeline = _pipeline(from_config(dict(known.whole), Path()))
            if known.architecture in timm_architectures():
                return pipeline, None
            return {n: value for n, value in pipeline.items() if known.cfg.get(n) is not None}, None
        if isinstance(processor, Mapping):
            return _pipeline(from_transformers(dict(processor))), None
        tower = tower_config(known.whole, known.architecture)
        if _lacks_processor(known, processor):
            return _pipeline(from_transformers(family_processor(tower))), None
    except (TeacherError, *ODD_VALUES) as error:
        return {}, f"the input pipeline cannot be read: {printable(error, 200)}"
    return {"input_size": as_count(tower.get("image_size")) or None}, None


def _text_input(
    known: _Config, tokenizer: object, files: Collection[str] | None
) -> tuple[Fields, str | None]:
    """The longest text that is taken, and why texts cannot be tokenised, if so."""
    missing = missing_tokenizer(files) if files is not None else None
    try:
        settings = tokenizer if isinstance(tokenizer, Mapping) else {}
        return {"max_length": max_length(known.whole, settings)}, missing
    except TeacherError as error:
        return {}, missing or str(error)


def _lacks_processor(known: _Config, processor: object) -> bool:
    """Whether an image model of transformers brings no file that says how images are prepared."""
    return known.modality == "image" and not known.timm and not isinstance(processor, Mapping)


def _pipeline(preprocessing: Preprocessing) -> Fields:
    fields = asdict(preprocessing) | {"input_size": int(min(preprocessing.input_size))}
    del fields["channel_order"]  # follows from the kind of the processor, no column holds it
    return fields


def _obstacle(known: _Config) -> str | None:
    """Why this tool cannot load such an architecture, if so."""
    if known.whole.get("auto_map"):
        return "needs code of its own (auto_map), which is never run"
    if not known.timm:
        return obstacle(known.whole, known.architecture)
    if known.architecture not in timm_architectures():
        return f"the installed timm knows no architecture {known.architecture!r}"
    return None
