"""One row of the Hub's model listing, whatever it holds, as the catalogue's columns."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from zoo.loading.transformers.families import encoder
from zoo.sources.values import as_count, as_line, first_line
from zoo.terminal.command import printable

Row = dict[str, Any]
# Asked of the listing, the most needed first: a server that refuses one loses the last ones.
EXPAND = (
    "sha",
    "createdAt",
    "lastModified",
    "tags",
    "pipeline_tag",
    "library_name",
    "gated",
    "downloads",
    "likes",
    "author",
    "safetensors",
    "config",
    "disabled",
    "baseModels",
)
_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[\w-][\w.-]{0,95})?", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}")
_MOST_TAGS = 500
_MOST_ODD = 8  # values that one fault names
# tasks of the Hub whose models read texts, and may teach
TEXT_TAGS = ("text-classification", "feature-extraction", "sentence-similarity", "fill-mask")
_RELATIONS = ("quantized", "finetune", "adapter", "merge")
_FORMATS = (
    "safetensors",
    "gguf",
    "onnx",
    "pytorch",
    "tf",
    "jax",
    "keras",
    "mlx",
    "openvino",
    "coreml",
    "tflite",
)
_REPACKED = ("gguf", "onnx", "mlx", "openvino", "coreml")  # formats that others are changed into


class Fault(NamedTuple):
    """A row that cannot be read, or only in part; ``id`` is ``None`` where it is not usable."""

    id: str | None
    error: str
    raw: str


class Rows(NamedTuple):
    """The readable rows of a page, each id once (the last wins), and the faults of the others."""

    rows: list[Row]
    faults: list[Fault]


def read(page: Iterable[object], *, now: dt.datetime) -> Rows:
    """The rows of a page; never raises on any JSON value. A row without a usable id is a fault
    alone; a row with a field of an odd form is a row without that field, and a fault that names
    it.
    """
    faults, unique = [], {}
    for raw in page:
        row, fault = read_row(raw, now=now)
        if fault is not None:
            faults.append(fault)
        if row is not None:
            unique[row["id"]] = row
    return Rows(list(unique.values()), faults)


def read_row(raw: object, *, now: dt.datetime) -> tuple[Row | None, Fault | None]:
    """The columns that a listing knows, or ``None`` where there is no usable id; and what was
    wrong, if anything.
    """
    if not isinstance(raw, dict):
        return None, _fault(None, f"a {type(raw).__name__}, no object", raw)
    model = raw.get("id", raw.get("modelId"))
    if not isinstance(model, str) or not _ID.fullmatch(model) or ".." in model:
        return None, _fault(None, f"the id {str(model)[:80]!r} is none", raw)
    values = _Values(raw)
    config = values.mapping("config")
    tags = _tags(values)
    reason = _reason(raw, tags)
    row: Row = {
        "id": model,
        "source": "hub",
        "location": model,
        "indexed_at": now,
        "family": model,
        "author": values.text("author") or (model.split("/")[0] if "/" in model else None),
        "sha": values.sha(),
        "created_at": values.time("createdAt"),
        "last_modified": values.time("lastModified"),
        "downloads": values.count("downloads"),
        "likes": values.count("likes"),
        "gated": values.gated(),
        "library_name": values.text("library_name"),
        "pipeline_tag": values.text("pipeline_tag"),
        "model_type": values.text("model_type", config),
        "params_total": values.parameters(),
        "architecture": first_line(config.get("architectures")),
        "modality": _modality(raw, first_line(config.get("architectures"))),
        **tags,
        "base_model": tags["base_model"] or _bases(raw),
        "loadable": False if reason else None,
        "not_loadable_reason": reason,
    }
    odd = ", ".join(values.faults)
    return row, _fault(model, f"odd {odd}", raw) if odd else None


def _modality(raw: Mapping[str, Any], architecture: str | None) -> str | None:
    """``text`` where the tag of the task or the class says so; other models' is left open."""
    is_text = raw.get("pipeline_tag") in TEXT_TAGS or encoder(architecture) is not None
    return "text" if is_text else None


def _fault(model: str | None, error: str, raw: object) -> Fault:
    return Fault(model, printable(error, 500), printable(repr(raw)[:1_000], 500))


class _Values:
    """The values of a listing row, taken only in the form that is expected; the others are noted in
    ``faults``.
    """

    __slots__ = ("faults", "raw")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw, self.faults = raw, list[str]()

    def odd(self, name: str, value: object) -> Any:
        """Note a value of an unexpected form (an absent one is fine); what is known of it is
        ``None``.
        """
        if value is not None and len(self.faults) < _MOST_ODD:
            self.faults.append(f"{name} {str(value)[:40]!r}")
        return None

    def text(self, name: str, within: Mapping[str, Any] | None = None) -> str | None:
        value = (self.raw if within is None else within).get(name)
        return as_line(value) or self.odd(name, value)

    def count(self, name: str) -> int | None:
        value = self.raw.get(name)
        count = as_count(value)
        return self.odd(name, value) if count is None else count

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.raw.get(name)
        return value if isinstance(value, dict) else self.odd(name, value) or {}

    def parameters(self) -> int | None:
        weights = self.mapping("safetensors")
        total = as_count(weights.get("total"))
        if weights and total is None:
            self.odd("total", weights.get("total") or "nothing")
        return total

    def sha(self) -> str | None:
        value = self.raw.get("sha")
        return value if isinstance(value, str) and _SHA.fullmatch(value) else self.odd("sha", value)

    def gated(self) -> str | None:
        value = self.raw.get("gated")
        if value is None or value is False or value in ("auto", "manual"):
            return value or None
        self.odd("gated", value)
        return "manual"  # what is not understood is not open

    def time(self, name: str) -> dt.datetime | None:
        """A time in UTC without a zone, between 2000 and 2200."""
        value = self.raw.get(name)
        try:
            time = dt.datetime.fromisoformat(value if isinstance(value, str) else "")
            if time.tzinfo is not None:
                time = time.astimezone(dt.UTC).replace(tzinfo=None)
            if 2000 <= time.year < 2200:
                return time
        except (ValueError, OverflowError):
            pass
        self.odd(name, value)
        return None


def _tags(values: _Values) -> Row:
    """What the tags say: the Hub keeps licence, languages, data sets and lineage in them."""
    items = values.raw.get("tags")
    if not isinstance(items, list):
        items = values.odd("tags", items) or ()
    tags, bases, datasets, languages = list[str](), list[str](), list[str](), list[str]()
    license_, repack = None, False
    for item in items[:_MOST_TAGS]:
        tag = as_line(item)
        if tag is None:
            values.odd("tag", item)
            continue
        tags.append(tag)
        head, _, rest = tag.partition(":")
        if not rest:
            if len(tag) == 2 and tag.islower() and tag != "tf":
                languages.append(tag)
        elif head == "license":
            license_ = license_ or rest
        elif head == "dataset":
            datasets.append(rest)
        elif head == "base_model":
            relation, _, base = rest.partition(":")
            repack = repack or (relation == "quantized" and bool(base))
            bases.append(base if base and relation in _RELATIONS else rest)
    present = set(tags)
    weight_format = next((name for name in _FORMATS if name in present), None)
    return {
        "tags": tags or None,
        "license": license_,
        "datasets": datasets or None,
        "languages": languages or None,
        "base_model": list(dict.fromkeys(bases)) or None,
        "weight_format": weight_format,
        "custom_code": "custom_code" in present,
        "repack": repack or bool(bases and weight_format in _REPACKED),
    }


def _reason(raw: Mapping[str, Any], tags: Row) -> str | None:
    """Why the model cannot be loaded, as far as a listing tells; ``None`` leaves it open for the
    details.
    """
    if raw.get("disabled") is True:
        return "disabled on the Hub"
    if tags["custom_code"]:
        return "needs code of its own (custom_code), which is never run"
    if tags["weight_format"] not in (None, "safetensors"):
        return f"no safetensors weights ({tags['weight_format']} only)"
    return None


def _bases(raw: Mapping[str, Any]) -> list[str] | None:
    bases = raw.get("baseModels")
    models = bases.get("models") if isinstance(bases, dict) else None
    if not isinstance(models, list):
        return None
    names = [as_line(item.get("id")) for item in models[:20] if isinstance(item, dict)]
    return [name for name in names if name] or None
