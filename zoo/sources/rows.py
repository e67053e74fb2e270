"""One row of the Hub's model listing, whatever it holds, as the catalogue's columns."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo.command import clean

if TYPE_CHECKING:
    import pyarrow as pa

# Asked of the listing, the most needed first: a server that refuses one loses the last ones.
EXPAND = ("sha", "createdAt", "lastModified", "tags", "pipeline_tag", "library_name", "gated", "downloads", "likes",
          "author", "safetensors", "config", "disabled", "baseModels")
COLUMNS = ("id", "source", "location", "author", "sha", "created_at", "last_modified", "indexed_at", "downloads", "likes",
           "library_name", "pipeline_tag", "tags", "license", "gated", "base_model", "datasets", "languages", "model_type",
           "architecture", "params_total", "weight_format", "custom_code", "loadable", "not_loadable_reason", "repack", "family")
_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[\w-][\w.-]{0,95})?", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}")
_LONGEST = 200
_MOST_TAGS = 500
_RELATIONS = ("quantized", "finetune", "adapter", "merge")
_FORMATS = ("safetensors", "gguf", "onnx", "pytorch", "tf", "jax", "keras", "mlx", "openvino", "coreml", "tflite")
_LOADABLE_FORMATS = ("safetensors",)


@dataclass
class Fault:
    """What was wrong with a row: its id where it has a usable one, and the start of what it held."""

    id: str | None
    error: str
    raw: str


@dataclass
class Rows:
    """The readable rows of a page as columns (each id once, the last one wins) and the faults met on the way."""

    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    faults: list[Fault] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.columns["id"])

    def table(self) -> pa.Table:
        """The columns in the catalogue's types."""
        import pyarrow as pa

        from zoo.schema import arrow_type

        return pa.table({name: pa.array(values, arrow_type(name)) for name, values in self.columns.items()})


def read(page: Iterable[object], *, now: dt.datetime) -> Rows:
    """The rows of a page; never raises on any JSON value. A row without a usable id is a fault alone; a row with a field
    of an odd form is a row without that field, and a fault that names it."""
    rows, unique = Rows(), {}
    for raw in page:
        values, fault = read_row(raw, now=now)
        if fault is not None:
            rows.faults.append(fault)
        if values is not None:
            unique[values[0]] = values
    if unique:
        rows.columns = {name: list(column) for name, column in zip(COLUMNS, zip(*unique.values(), strict=True), strict=True)}
    return rows


def read_row(raw: object, *, now: dt.datetime) -> tuple[tuple[Any, ...] | None, Fault | None]:
    """The values of ``COLUMNS`` in their order, or ``None`` where there is no usable id; and what was wrong, if anything."""
    model = raw.get("id", raw.get("modelId")) if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(model, str) or not _ID.fullmatch(model) or ".." in model:
        what = f"the id {str(model)[:80]!r} is none" if isinstance(raw, dict) else f"a {type(raw).__name__}, no object"
        return None, Fault(None, clean(what, 200), clean(repr(raw)[:1_000], 500))
    odd: list[str] = []
    said = _Tags(raw.get("tags"), odd)
    config = raw.get("config")
    config = config if isinstance(config, dict) else _odd(odd, "config", config) or {}
    architectures = config.get("architectures")
    weights = raw.get("safetensors")
    gated = raw.get("gated")
    if gated is not None and gated is not False and gated not in ("auto", "manual"):
        gated = "manual" if _odd(odd, "gated", gated) is None else None  # what is not understood is not open
    library = _text(raw, "library_name", odd)
    sha = raw.get("sha")
    if sha is not None and not (isinstance(sha, str) and _SHA.fullmatch(sha)):
        sha = _odd(odd, "sha", sha)
    reason = _reason(raw, said)
    values = (
        model, "hub", model, _text(raw, "author", odd) or (model.split("/")[0] if "/" in model else None), sha,
        _time(raw, "createdAt", odd), _time(raw, "lastModified", odd), now, _count(raw, "downloads", odd),
        _count(raw, "likes", odd), library, _text(raw, "pipeline_tag", odd), said.tags, said.license, gated or None,
        said.bases or _bases(raw), said.datasets, said.languages, _text(config, "model_type", odd),
        _plain(architectures[0]) if isinstance(architectures, list) and architectures else None,
        _count(weights, "total", odd) if isinstance(weights, dict) else _odd(odd, "safetensors", weights),
        said.format, said.custom_code, False if reason else None, reason, said.repack, model,
    )
    fault = Fault(model, clean("odd " + ", ".join(odd), 500), clean(repr(raw)[:1_000], 500)) if odd else None
    return values, fault


class _Tags:
    """What the tags say: the Hub keeps licence, languages, data sets and lineage in them."""

    __slots__ = ("bases", "custom_code", "datasets", "format", "languages", "license", "repack", "tags")

    def __init__(self, given: object, odd: list[str]) -> None:
        self.license: str | None = None
        self.format: str | None = None
        self.custom_code = self.repack = False
        tags, bases, datasets, languages = [], [], [], []
        if not isinstance(given, list):
            given = _odd(odd, "tags", given) or []
        for item in given[:_MOST_TAGS]:
            tag = _plain(item)
            if tag is None:
                _odd(odd, "tag", item)
                continue
            tags.append(tag)
            head, _, rest = tag.partition(":")
            if not rest:
                if len(tag) == 2 and tag.islower() and tag != "tf":
                    languages.append(tag)
            elif head == "license":
                self.license = self.license or rest
            elif head == "dataset":
                datasets.append(rest)
            elif head == "base_model":
                relation, _, base = rest.partition(":")
                self.repack = self.repack or (relation == "quantized" and bool(base))
                name = base if base and relation in _RELATIONS else rest
                if name not in bases:
                    bases.append(name)
        present = set(tags)
        self.tags, self.bases, self.datasets, self.languages = (v or None for v in (tags, bases, datasets, languages))
        self.custom_code = "custom_code" in present
        self.format = next((name for name in _FORMATS if name in present), None)
        self.repack = self.repack or bool(bases and self.format in ("gguf", "onnx", "mlx", "openvino", "coreml"))


def _reason(raw: dict[str, Any], said: _Tags) -> str | None:
    """Why the model cannot be loaded, as far as a listing tells; ``None`` leaves it open for the details."""
    if raw.get("disabled") is True:
        return "disabled on the Hub"
    if said.custom_code:
        return "needs code of its own (custom_code), which is never run"
    if said.format is not None and said.format not in _LOADABLE_FORMATS:
        return f"no safetensors weights ({said.format} only)"
    return None


def _bases(raw: dict[str, Any]) -> list[str] | None:
    found = raw.get("baseModels")
    models = found.get("models") if isinstance(found, dict) else None
    names = [_plain(item.get("id")) for item in models[:20] if isinstance(item, dict)] if isinstance(models, list) else []
    return [name for name in names if name] or None


def _odd(odd: list[str], name: str, value: object) -> Any:
    """Note a value of an unexpected form (an absent one is fine); what is known of it is ``None``."""
    if value is not None and len(odd) < 8:
        odd.append(f"{name} {str(value)[:40]!r}")
    return None


def _plain(value: object) -> str | None:
    """``value`` as a short printable text that UTF-8 can hold, or ``None``."""
    if not isinstance(value, str) or not value:
        return None
    if len(value) <= _LONGEST and value.isprintable():
        return value
    return clean(value[: 4 * _LONGEST].encode("utf-8", "replace").decode(), _LONGEST) or None


def _text(raw: dict[str, Any], name: str, odd: list[str]) -> str | None:
    value = raw.get(name)
    return None if value is None else _plain(value) or _odd(odd, name, value)


def _count(raw: dict[str, Any], name: str, odd: list[str]) -> int | None:
    value = raw.get(name)
    if type(value) is int and 0 <= value < 2**63:
        return value
    _odd(odd, name, "nothing" if value is None and name == "total" else value)
    return None


def _time(raw: dict[str, Any], name: str, odd: list[str]) -> dt.datetime | None:
    """A time in UTC without a zone, between 2000 and 2200."""
    value = raw.get(name)
    try:
        if isinstance(value, str) and value[-1:] == "Z":
            found = dt.datetime.fromisoformat(value[:-1])
        elif isinstance(value, str):
            found = dt.datetime.fromisoformat(value)
            found = found.astimezone(dt.UTC).replace(tzinfo=None) if found.tzinfo else found
        else:
            found = dt.datetime.min
        if found.tzinfo is None and 2000 <= found.year < 2200:
            return found
    except (ValueError, OverflowError):
        pass
    _odd(odd, name, value)
    return None
