"""A model's files as fields of ``ModelCard``: pure functions over hostile input.

None of them raises on any JSON or YAML value: a part that cannot be understood is left out, and
``detail_error`` is the reason.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import TeacherError
from zoo.loading.preprocessing import Preprocessing, from_config, from_transformers
from zoo.loading.weights import Header
from zoo.sources.labels import LabelSpace, label_space
from zoo.terminal.command import printable

Fields = dict[str, Any]
_LARGEST_FRONT_MATTER = 64 * 2**10
_MOST_TEXTS = 200
# what a value of an unexpected type or size raises
_ODD_VALUES = (
    ValueError,
    TypeError,
    RecursionError,
    ArithmeticError,
    LookupError,
    AttributeError,
)
_LONGEST_TEXT = 200
_ACCURACIES = ("accuracy", "top-1", "top1")
_CLASSIFIER = "ForImageClassification"
_LICENSES = {
    "apache-2": "apache-2.0",
    "apache2": "apache-2.0",
    "apache2.0": "apache-2.0",
    "apache": "apache-2.0",
    "bsd-2": "bsd-2-clause",
    "bsd-3": "bsd-3-clause",
    "mit-license": "mit",
    "apache-license-2.0": "apache-2.0",
}


def describe(
    config: object,
    *,
    processor: object = None,
    weights: Header | None = None,
    datasets: Sequence[str] | None = None,
) -> Fields:
    """The fields that follow from a parsed ``config.json``, in timm's form (new or old flat) or
    transformers'.

    ``processor`` is the parsed ``preprocessor_config.json``; ``weights`` the header of the
    safetensors file; ``datasets`` what the card names as training data: where none of it is an
    ImageNet, labels are not inferred from the number of classes. ``loadable`` is whether this tool
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
    known = _Config.of(config)
    space, classes = _classes(known, weights, datasets)
    pipeline, obstacle = _input(known, processor)
    reason = _obstacle(known) or obstacle
    transformers = known.architecture or config.get("model_type")
    fields: Fields = {
        "library_name": "timm" if known.timm else "transformers" if transformers else None,
        "architecture": known.architecture,
        "model_type": as_line(config.get("model_type")),
        "license": license_name(known.cfg.get("license")),
        "accuracy": as_fraction(config.get("accuracy", known.cfg.get("accuracy"))),
        "custom_code": bool(config.get("auto_map")),
        **classes,
        **pipeline,
        "loadable": reason is None,
        "not_loadable_reason": reason,
        "detail_state": "done",
        "detail_error": (
            "; ".join(fault for fault in (space.fault, obstacle) if fault)[:500] or None
        ),
    }
    if weights is not None:
        fields |= {
            "params_total": weights.params_total,
            "weight_bytes": weights.bytes,
            "weight_format": "safetensors",
        }
    return {name: value for name, value in fields.items() if value is not None}


def not_loadable(fields: Mapping[str, Any], reason: str) -> Fields:
    """``fields`` of a model that cannot be loaded for ``reason``; an earlier reason stays."""
    if fields.get("loadable") is False:
        return dict(fields)
    return {**fields, "loadable": False, "not_loadable_reason": printable(reason, 500)}


class _Config(NamedTuple):
    """A ``config.json``: ``cfg`` is timm's ``pretrained_cfg`` in it, or the whole."""

    whole: Mapping[str, Any]
    cfg: Mapping[str, Any]
    timm: bool
    architecture: str | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> _Config:
        if isinstance(config.get("architecture"), str):
            nested = config.get("pretrained_cfg")
            cfg = nested if isinstance(nested, Mapping) else config
            return cls(config, cfg, True, as_line(config["architecture"]))
        return cls(config, config, False, first_line(config.get("architectures")))

    @property
    def classifies_images(self) -> bool:
        return self.timm or str(self.architecture).endswith(_CLASSIFIER)


def _classes(
    known: _Config, weights: Header | None, datasets: Sequence[str] | None
) -> tuple[LabelSpace, Fields]:
    """Class count, label names and feature width; the head's shape decides on the width."""
    config, cfg = known.whole, known.cfg
    rows, width = _head(cfg.get("classifier"), weights)
    if known.timm:
        count = as_count(config.get("num_classes", cfg.get("num_classes")))
        features = config.get("num_features")
    else:
        names = config.get("id2label")
        named = len(names) if isinstance(names, Mapping) else None
        count = as_count(config.get("num_labels")) or named or None
        features = config.get("hidden_size")
    count = rows if count is None else count
    imagenet = not datasets or any("imagenet" in name.lower() for name in datasets)
    space = label_space(config, count, inferable=known.classifies_images and imagenet)
    if count is None and space.labels:
        count = len(space.labels)
    return space, {
        "num_classes": count,
        "labels": space.labels,
        "label_source": space.source,
        "feature_dim": width or as_count(features) or None,
    }


def _head(classifier: object, weights: Header | None) -> tuple[int | None, int | None]:
    """(rows, width) of the last layer, where its name is known: timm's ``classifier`` or
    transformers' own name.
    """
    name = classifier if isinstance(classifier, str) else "classifier"
    shape = weights.tensors.get(f"{name}.weight", ("", ()))[1] if weights else ()
    return (shape[0], math.prod(shape[1:])) if len(shape) >= 2 else (None, None)


def _input(known: _Config, processor: object) -> tuple[Fields, str | None]:
    """The input pipeline as far as the files give it, and why it cannot be used; what is left open
    stays unknown.
    """
    try:
        if known.timm:
            pipeline = _pipeline(from_config(dict(known.whole), Path()))
            fields = {name: pipeline[name] for name in pipeline if known.cfg.get(name) is not None}
            return fields, None
        if isinstance(processor, Mapping):
            return _pipeline(from_transformers(dict(processor))), None
    except (TeacherError, *_ODD_VALUES) as error:
        return {}, f"the input pipeline cannot be read: {printable(error, 200)}"
    return {"input_size": as_count(known.whole.get("image_size")) or None}, None


def _pipeline(preprocessing: Preprocessing) -> Fields:
    return asdict(preprocessing) | {"input_size": int(min(preprocessing.input_size))}


def _obstacle(known: _Config) -> str | None:
    """Why this tool cannot load such an architecture, if so."""
    if known.whole.get("auto_map"):
        return "needs code of its own (auto_map), which is never run"
    if not known.architecture:
        return "config.json names no architecture"
    if known.timm and known.architecture.split(".")[0] not in timm_architectures():
        return f"the installed timm knows no architecture {known.architecture!r}"
    if known.classifies_images:
        return None
    return (
        f"{known.architecture} is no image classifier ({_CLASSIFIER} or a timm architecture is"
        " expected)"
    )


@lru_cache
def timm_architectures() -> frozenset[str]:
    """The names of all architectures of the installed timm, read from its source: importing it
    takes seconds.
    """
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return frozenset()
    sources = (Path(spec.origin).parent / "models").rglob("*.py")
    registered = re.compile(r"^@register_model\s+def\s+(\w+)\(", re.MULTILINE)
    return frozenset(
        name for path in sources for name in registered.findall(path.read_text(encoding="utf-8"))
    )


# --- the model card's front matter


def front_matter(readme: str) -> Fields:
    """The fields that the YAML block at the top of a README gives; ``detail_error`` where it is no
    valid YAML.
    """
    block = re.match(
        r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$",
        readme[:_LARGEST_FRONT_MATTER],
        re.DOTALL | re.MULTILINE,
    )
    if not block:
        return {}
    try:
        return card_data(_yaml(block[1]))
    except _ODD_VALUES as error:
        return {
            "detail_error": f"the card's front matter is no valid YAML: {printable(error, 200)}"
        }


def card_data(data: object) -> Fields:
    """The fields of parsed front matter (the Hub's ``cardData``); whatever has an odd type is left
    out or made a text.
    """
    if not isinstance(data, Mapping):
        return {}
    language = data.get("language")
    fields: Fields = {
        "license": license_name(data.get("license"), other=data.get("license_name")),
        "datasets": as_lines(data.get("datasets")),
        "base_model": as_lines(data.get("base_model")),
        "languages": as_lines("no" if language is False else language),  # YAML's Norwegian
        "tags": as_lines(data.get("tags")),
        "pipeline_tag": as_line(data.get("pipeline_tag")),
        "library_name": as_line(data.get("library_name")),
        "accuracy": _accuracy(data),
    }
    return {name: value for name, value in fields.items() if value is not None}


def license_name(value: object, *, other: object = None) -> str | None:
    """The licence in the Hub's spelling (``apache-2.0``); several are joined by commas, ``other``
    names an own one.
    """
    names = []
    for line in as_lines(value) or ():
        name = re.sub(r"[\s_]+", "-", line.lower())
        names.append(_LICENSES.get(name, name))
    if names == ["other"] and as_line(other):
        return license_name(other)
    return ",".join(names) or None


def as_fraction(value: object) -> float | None:
    """``value`` as a fraction in [0, 1]; numbers above 1 are taken for percentages."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        return None
    return value / 100 if value > 1 else float(value)


def as_count(value: object) -> int | None:
    """``value`` as a count, ``None`` where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**53 else None


def as_line(value: object) -> str | None:
    """``value`` as one short printable line that UTF-8 can hold, ``None`` where it is no text or
    empty.
    """
    if not isinstance(value, str):
        return None
    if len(value) <= _LONGEST_TEXT and value.isprintable():  # nearly all of the millions
        return value.strip() or None
    return printable(value[: 4 * _LONGEST_TEXT], _LONGEST_TEXT) or None


def first_line(values: object) -> str | None:
    """The first of a list of texts."""
    return as_line(values[0]) if isinstance(values, list) and values else None


def as_lines(value: object) -> tuple[str, ...] | None:
    """One text or a list of them as a tuple; anything else in it is left out; ``None`` where
    nothing remains.
    """
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    lines = [as_line(item) for item in items[:_MOST_TEXTS]]
    return tuple(line for line in lines if line) or None


def _accuracy(data: Mapping[Any, Any]) -> float | None:
    """A field ``accuracy``, or the first accuracy among the results of a ``model-index``."""
    direct = as_fraction(data.get("accuracy"))
    if direct is not None:
        return direct
    for model in _mappings(data.get("model-index")):
        for result in _mappings(model.get("results")):
            for metric in _mappings(result.get("metrics")):
                accuracy = as_fraction(metric.get("value"))
                if accuracy is not None and str(metric.get("type"))[:20].lower() in _ACCURACIES:
                    return accuracy
    return None


def _mappings(value: object) -> list[Mapping[Any, Any]]:
    items = value[:20] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _yaml(source: str) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses aliases: nested in lists and merge keys they grow without bound (a YAML bomb)."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases are not read")
            return super().compose_node(parent, index)

    try:
        return yaml.load(source, Loader=Loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
