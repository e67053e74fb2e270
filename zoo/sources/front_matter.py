"""The front matter of a model card, the YAML block at its top, as fields of ``ModelCard``.

Nothing here raises on any YAML: a part that cannot be understood is left out, and ``detail_error``
is the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from zoo.sources.values import ODD_VALUES, Fields, as_fraction, as_line, as_lines
from zoo.terminal.command import printable

_LARGEST_FRONT_MATTER = 64 * 2**10
_ACCURACIES = ("accuracy", "top-1", "top1")
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
    except ODD_VALUES as error:
        return {
            "detail_error": f"the card's front matter is no valid YAML: {printable(error, 200)}"
        }


def card_data(data: object) -> Fields:
    """The fields of parsed front matter (the Hub's ``cardData``); whatever has an odd type is left
    out or made a text.
    """
    if not isinstance(data, Mapping):
        return {}
    data = {str(name).casefold(): value for name, value in data.items()} | {**data}
    language = data.get("language")
    license_ = data.get("license", data.get("licence"))
    fields: Fields = {
        "license": license_name(license_, other=data.get("license_name")),
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
