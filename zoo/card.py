"""One model as the catalogue knows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

BUILT_IN = "built-in"  # the source of models that need no network
TOWERS = "towers"  # the model_type of an exported student of ratings
LOCAL = ("folder", "small", BUILT_IN)  # sources of which nothing is ever fetched


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One model: a row of the catalogue. ``None`` means unknown, never zero.

    Attributes
    ----------
    id : str
        Unique name: on the Hub, and in its cache, ``owner/name``, for a folder the folder's name.
    source : str
        ``hub``, ``timm``, ``folder`` or ``small``.
    location : str
        A Hub id for ``hub`` and ``timm``, a local folder for ``folder`` and ``small``.
    sha : str
        The commit, 40 hexadecimal digits; of a folder: of the content of config and weights.
    labels : tuple of str
        Class names in the order of the logits.
    label_source : str
        ``config`` (the model's own), or ``inferred:imagenet-1k`` and its like, by evidence.
    modality : str
        What it is shown: ``image`` or ``text``; None stands for ``image``. ``ratings`` of a
        recommender.
    max_length : int
        Tokens of a text that it takes, special ones among them.
    input_size : int
        Pixels, the shorter of height and width.
    mean, std : tuple of float
        Per channel, for pixels in [0, 1].
    feature_dim : int
        Width of the pooled features.
    params_total, weight_bytes : int
        Scalars in the weights; size of their files in bytes.
    datasets : tuple of str
        The training data that the card names.
    accuracy : float
        A fraction in [0, 1] as the card reports it.
    loadable : bool
        Whether this tool can load the model; ``not_loadable_reason`` says why not.
    detail_state : str
        ``done``, ``failed``, or ``None`` where the model's own files were not read yet.
    family : str
        The id at the root of the ``base_model`` lineage.
    repack : bool
        Whether the model is a mere change of format of its base model.
    created_at, last_modified, indexed_at, removed_at : datetime
        Times in UTC; ``removed_at`` is when a crawl noticed that the source no longer has the
        model.

    The other fields are the columns of the same name in docs/catalogue.md.
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
    modality: str | None = None
    max_length: int | None = None
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
        """``sha`` as rankings and caches write it; ``unknown`` where there is none."""
        return self.sha or "unknown"

    @property
    def is_recommender(self) -> bool:
        """Whether it knows users and items by their ids, so that no sample is shown to it."""
        return self.source == BUILT_IN or self.modality == "ratings"

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ModelCard:
        """A card from a row of plain values; other columns are left out, lists become tuples."""
        names = {f.name for f in fields(cls)}
        values: dict[str, Any] = {name: row[name] for name in row if name in names}
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = tuple(value)
        return cls(**values)
