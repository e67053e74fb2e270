"""One model as the catalogue knows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """A row of the catalogue. ``None`` means unknown, never zero; lists are tuples.

    ``source`` is ``hub``, ``timm``, ``folder`` or ``small``; ``location`` is a local folder for the
    last two and a Hub id for the first two. ``sha`` is the 40-hex revision (for folders: of the
    content). ``labels`` are the teacher's class names in the order of its logits and
    ``label_source`` says where they came from: ``config`` (the model's own config),
    ``inferred:imagenet-1k`` and its like (by class count, from timm), or ``None``. ``input_size``
    is pixels, the shorter of height and width; ``mean`` and ``std`` per channel for inputs in [0,
    1]; ``feature_dim`` is the width of the pooled features. ``params_total`` counts scalars,
    ``weight_bytes`` is the file size. ``datasets`` is the training data that the card names,
    ``accuracy`` a fraction in [0, 1] as the card reports it. A model with ``loadable = False``
    stays listed with its reason. ``detail_state`` is ``None`` (not asked), ``done`` or ``failed``.
    ``family`` is the id at the root of the ``base_model`` lineage, ``repack`` marks a mere change
    of format, ``removed_at`` a model that the source no longer has. Times are UTC.
    """

    id: str
    source: str
    location: str | None = None
    author: str | None = None
    sha: str | None = None
    created_at: dt.datetime | None = None
    last_modified: dt.datetime | None = None
    indexed_at: dt.datetime | None = None
    downloads: int | None = None
    likes: int | None = None
    library_name: str | None = None
    pipeline_tag: str | None = None
    tags: tuple[str, ...] | None = None
    license: str | None = None
    gated: str | None = None
    base_model: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None
    model_type: str | None = None
    architecture: str | None = None
    num_classes: int | None = None
    labels: tuple[str, ...] | None = None
    label_source: str | None = None
    input_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    crop_mode: str | None = None
    feature_dim: int | None = None
    params_total: int | None = None
    weight_format: str | None = None
    weight_bytes: int | None = None
    custom_code: bool | None = None
    loadable: bool | None = None
    not_loadable_reason: str | None = None
    accuracy: float | None = None
    detail_state: str | None = None
    detail_error: str | None = None
    family: str | None = None
    repack: bool | None = None
    removed_at: dt.datetime | None = None

    @property
    def revision(self) -> str:
        """The revision as rankings and caches write it; ``unknown`` where the source gives none."""
        return self.sha or "unknown"

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ModelCard:
        """A card from a row of plain values: columns that are none of ours are left out, lists
        become tuples.
        """
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
        }
        return cls(**{name: value for name, value in values.items() if name in known})
