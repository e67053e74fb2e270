"""What a model's own files say of it, as fields of ``ModelCard``: pure functions over hostile input.

None of them raises on any JSON or YAML value whatsoever: a part that cannot be understood is left out, and ``detail_error``
says why.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from zoo.command import clean
from zoo.errors import TeacherError
from zoo.labels import label_space
from zoo.preprocessing import Preprocessing, from_config, from_transformers
from zoo.weights import Header

Fields = dict[str, Any]
_LARGEST_FRONT_MATTER = 64 * 2**10
_MOST_TEXTS = 200
_LONGEST_TEXT = 200
_CLASSIFIER = "ForImageClassification"
_PIPELINE = ("input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode")
_LICENSES = {"apache-2": "apache-2.0", "apache2": "apache-2.0", "apache2.0": "apache-2.0", "apache": "apache-2.0",
             "bsd-2": "bsd-2-clause", "bsd-3": "bsd-3-clause", "mit-license": "mit", "apache-license-2.0": "apache-2.0"}


def describe(
    config: object, *, processor: object = None, weights: Header | None = None, datasets: Sequence[str] | None = None,
) -> Fields:
    """The fields that follow from a parsed ``config.json``, in timm's form (new or old flat) or transformers'.

    ``processor`` is the parsed ``preprocessor_config.json``; ``weights`` the header of the safetensors file;
    ``datasets`` what the card names as training data: where none of it is an ImageNet, labels are not inferred from the
    number of classes. ``loadable`` is whether this tool can load the model as far as these files tell.
    """
    if not isinstance(config, Mapping):
        wrong = f"config.json holds a {type(config).__name__}, an object is expected"
        return {"loadable": False, "not_loadable_reason": wrong, "detail_state": "failed", "detail_error": wrong}
    timm = isinstance(config.get("architecture"), str)
    nested = config.get("pretrained_cfg")
    cfg = nested if timm and isinstance(nested, Mapping) else config
    fields: Fields = {"detail_state": "done", "custom_code": bool(config.get("auto_map"))}
    faults: list[str] = []
    fields |= _identity(config, cfg, timm=timm)
    fields |= _classes(config, cfg, fields, weights, datasets, faults, timm=timm)
    pipeline, obstacle = _input(config, cfg, processor, timm=timm)
    fields |= pipeline
    if weights is not None:
        fields |= {"params_total": weights.params_total, "weight_bytes": weights.bytes, "weight_format": "safetensors"}
    reason: str | None = _obstacle(fields, timm=timm) or obstacle
    fields |= {"loadable": reason is None, "not_loadable_reason": reason}
    fields["detail_error"] = "; ".join([*faults, *([obstacle] if obstacle else [])])[:500] or None
    return {name: value for name, value in fields.items() if value is not None}


def not_loadable(fields: Mapping[str, Any], reason: str) -> Fields:
    """``fields`` of a model that cannot be loaded for ``reason``; an earlier reason stays."""
    if fields.get("loadable") is False:
        return dict(fields)
    return {**fields, "loadable": False, "not_loadable_reason": clean(reason, 500)}


def _identity(config: Mapping[str, Any], cfg: Mapping[str, Any], *, timm: bool) -> Fields:
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    return {
        "library_name": "timm" if timm else "transformers" if first or config.get("model_type") else None,
        "architecture": text(config["architecture"] if timm else first),
        "model_type": text(config.get("model_type")),
        "license": license_name(cfg.get("license")),
        "accuracy": fraction(config.get("accuracy", cfg.get("accuracy"))),
    }


def _classes(
    config: Mapping[str, Any], cfg: Mapping[str, Any], fields: Fields, weights: Header | None,
    datasets: Sequence[str] | None, faults: list[str], *, timm: bool,
) -> Fields:
    """Class count, label names and feature width; the head's shape, where it is known, has the last word on width."""
    rows, width = _head(cfg.get("classifier"), weights)
    count = natural(config.get("num_classes", cfg.get("num_classes")) if timm else config.get("num_labels"))
    if count is None and not timm and isinstance(config.get("id2label"), Mapping):
        count = len(config["id2label"]) or None
    if count is None:
        count = rows
    vision = timm or str(fields["architecture"]).endswith(_CLASSIFIER)
    imagenet = not datasets or any("imagenet" in name.lower() for name in datasets)
    space = label_space(config, count, inferable=vision and imagenet)
    if space.fault:
        faults.append(space.fault)
    if count is None and space.labels:
        count = len(space.labels)
    features = width if width is not None else natural(config.get("num_features" if timm else "hidden_size"))
    return {"num_classes": count, "labels": space.labels, "label_source": space.source, "feature_dim": features or None}


def _head(classifier: object, weights: Header | None) -> tuple[int | None, int | None]:
    """(rows, width) of the last layer, where its name is known: timm's ``classifier`` or transformers' own name."""
    if weights is None:
        return None, None
    name = classifier if isinstance(classifier, str) else "classifier"
    shape = weights.tensors.get(f"{name}.weight", ("", ()))[1]
    return (shape[0], math.prod(shape[1:])) if len(shape) >= 2 else (None, None)


def _input(
    config: Mapping[str, Any], cfg: Mapping[str, Any], processor: object, *, timm: bool,
) -> tuple[Fields, str | None]:
    """The input pipeline as far as the files give it, and why it cannot be used; what is left open stays unknown."""
    try:
        if timm:
            found = _pipeline(from_config(dict(config), Path()))
            return {name: value for name, value in found.items() if cfg.get(name) is not None}, None
        if isinstance(processor, Mapping):
            return _pipeline(from_transformers(dict(processor))), None
    except (TeacherError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        return {}, f"the input pipeline cannot be read: {clean(error, 200)}"
    return {"input_size": natural(config.get("image_size")) or None}, None


def _pipeline(found: Preprocessing) -> Fields:
    return {**{name: getattr(found, name) for name in _PIPELINE}, "input_size": int(min(found.input_size))}


def _obstacle(fields: Fields, *, timm: bool) -> str | None:
    architecture: str | None = fields["architecture"]
    if fields["custom_code"]:
        return "needs code of its own (auto_map), which is never run"
    if not architecture:
        return "config.json names no architecture"
    if timm:
        known = architecture.split(".")[0] in timm_architectures()
        return None if known else f"the installed timm knows no architecture {architecture!r}"
    if architecture.endswith(_CLASSIFIER):
        return None
    return f"{architecture} is no image classifier ({_CLASSIFIER} or a timm architecture is expected)"


@lru_cache
def timm_architectures() -> frozenset[str]:
    """The names of all architectures of the installed timm, read from its source: importing it takes seconds."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return frozenset()
    sources = (Path(spec.origin).parent / "models").rglob("*.py")
    registered = re.compile(r"^@register_model\s+def\s+(\w+)\(", re.MULTILINE)
    return frozenset(name for path in sources for name in registered.findall(path.read_text(encoding="utf-8")))


# --- the model card's front matter -----------------------------------------------------------------------------------


def front_matter(readme: str) -> Fields:
    """The fields that the YAML block at the top of a README gives; ``detail_error`` where it is no valid YAML."""
    found = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", readme[:_LARGEST_FRONT_MATTER], re.DOTALL | re.MULTILINE)
    if not found:
        return {}
    try:
        return card_data(_yaml(found[1]))
    except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError, AttributeError) as error:
        return {"detail_error": f"the card's front matter is no valid YAML: {clean(error, 200)}"}


def card_data(data: object) -> Fields:
    """The fields of parsed front matter (the Hub's ``cardData``); whatever has an odd type is left out or made a text."""
    if not isinstance(data, Mapping):
        return {}
    fields: Fields = {
        "license": license_name(data.get("license"), other=data.get("license_name")),
        "datasets": texts(data.get("datasets")),
        "base_model": texts(data.get("base_model")),
        "languages": texts("no" if data.get("language") is False else data.get("language")),  # YAML's Norwegian
        "tags": texts(data.get("tags")),
        "pipeline_tag": text(data.get("pipeline_tag")),
        "library_name": text(data.get("library_name")),
        "accuracy": _accuracy(data),
    }
    return {name: value for name, value in fields.items() if value is not None}


def license_name(value: object, *, other: object = None) -> str | None:
    """The licence in the Hub's spelling (``apache-2.0``); several are joined by commas, ``other`` names an own one."""
    names = [re.sub(r"[\s_]+", "-", name.strip().lower()) for name in texts(value) or ()]
    names = [_LICENSES.get(name, name) for name in names if name]
    if names == ["other"] and text(other):
        return license_name(other)
    return ",".join(names) or None


def fraction(value: object) -> float | None:
    """``value`` as a fraction in [0, 1]; numbers above 1 are taken for percentages."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        return None
    return value / 100 if value > 1 else float(value)


def natural(value: object) -> int | None:
    """``value`` as a count, ``None`` where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < 2**53 else None


def text(value: object) -> str | None:
    """``value`` as one short printable line that UTF-8 can hold, ``None`` where it is no text or empty."""
    if not isinstance(value, str):
        return None
    if len(value) <= _LONGEST_TEXT and value.isprintable():  # nearly all of the millions
        return value.strip() or None
    return clean(value[: 4 * _LONGEST_TEXT], _LONGEST_TEXT) or None


def texts(value: object) -> tuple[str, ...] | None:
    """One text or a list of them as a tuple; anything else in it is left out; ``None`` where nothing remains."""
    items: Iterable[object] = value if isinstance(value, (list, tuple)) else (value,)
    found = (text(item) for item in itertools.islice(items, _MOST_TEXTS))
    return tuple(item for item in found if item) or None


def _accuracy(data: Mapping[Any, Any]) -> float | None:
    """A field ``accuracy``, or the first accuracy among the results of a ``model-index``."""
    direct = fraction(data.get("accuracy"))
    if direct is not None:
        return direct
    for model in _mappings(data.get("model-index")):
        for result in _mappings(model.get("results")):
            for metric in _mappings(result.get("metrics")):
                found = fraction(metric.get("value"))
                if found is not None and str(metric.get("type"))[:20].lower() in ("accuracy", "top-1", "top1"):
                    return found
    return None


def _mappings(value: object) -> list[Mapping[Any, Any]]:
    return [item for item in value[:20] if isinstance(item, Mapping)] if isinstance(value, list) else []


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
