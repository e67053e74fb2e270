"""Every pretrained model that the installed timm knows: no network, no weights, no
instantiation.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.card import ModelCard
from zoo.sources.describe import describe

SIZES = Path(__file__).with_name("timm_sizes.csv")
# What the parts of timm's pretrained tags (resnet50.a1_in1k) say of the training data, in the Hub's
# dataset names.
_DATASETS = {
    "in1k": "imagenet-1k",
    "in12k": "imagenet-12k",
    "in21k": "imagenet-21k",
    "in22k": "imagenet-22k",
    "inw21k": "imagenet-w21-p",
    "laion2b": "laion-2b",
    "laion400m": "laion-400m",
    "laiona": "laion-aesthetic",
    "openai": "openai-wit-400m",
    "webli": "webli",
    "metaclip": "metaclip",
    "datacompxl": "datacomp-1b",
    "datacomp1b": "datacomp-1b",
    "dfn2b": "dfn-2b",
    "dfn5b": "dfn-5b",
    "dfndr2b": "dfndr-2b",
    "yfcc15m": "yfcc-15m",
    "cc12m": "cc-12m",
    "lvd142m": "lvd-142m",
    "lvd1689m": "lvd-1689m",
    "sat493m": "sat-493m",
    "sa1b": "sa-1b",
    "jft": "jft-300m",
    "bamboo": "bamboo",
    "merged2b": "merged-2b",
    "m38m": "merged-38m",
    "swag": "instagram-3.6b",
    "swsl": "instagram-1b",
    "ssl": "yfcc-100m",
    "wsl": "instagram-1b",
}


def cards() -> Iterator[ModelCard]:
    """One card for each name of ``timm.list_pretrained()``, in that order; ids are those of the Hub
    (``timm/...``).

    Weights lie on the Hub at ``location``. A name without a Hub repository, or that shares
    another's, is not loadable. Label names are ImageNet's where the number of classes is that of an
    ImageNet.
    """
    import timm
    from timm.models import get_pretrained_cfg

    names = timm.list_pretrained()
    owners = {f"timm/{name}" for name in names}
    known = sizes()
    for name in names:
        cfg = get_pretrained_cfg(name).to_dict()
        params, width = known.get((name.split(".")[0], cfg["num_classes"]), (None, None))
        yield replace(_card(name, cfg, owners), params_total=params, feature_dim=width)


def sizes(file: Path = SIZES) -> dict[tuple[str, int], tuple[int, int]]:
    """(architecture, number of classes) -> (scalars in the weights, width of the pooled features).

    A table that ``benchmarks.build.make_timm_sizes`` made: building all models takes minutes. A
    newer model is not in it.
    """
    with file.open(newline="") as lines:
        return {
            (row[0], int(row[1])): (int(row[2]), int(row[3]))
            for row in csv.reader(lines)
            if row[1].isdecimal()
        }


def _card(name: str, cfg: dict[str, Any], owners: set[str]) -> ModelCard:
    repository: str | None = cfg.get("hf_hub_id")
    # Unknown where the repository is not in timm's own layout, as far as its name tells.
    loadable = True if repository and repository.split("/")[1] == name else None
    reason = None
    if repository is None:
        reason = (
            "its weights are on no Hub repository as safetensors, only at an address of their own"
        )
    elif repository in owners - {f"timm/{name}"}:
        reason = f"its weights are those of {repository}, which is listed by itself"
    architecture = name.split(".")[0]
    datasets = _datasets(cfg.get("tag") or "")
    # label names follow from the data that the head was trained on, which is the last
    fields = describe(
        {"architecture": architecture, "pretrained_cfg": cfg},
        datasets=datasets[-1:] or ["unknown"],
    )
    if fields.get("license") == "unknown":
        del fields["license"]
    fields |= {
        "id": repository if repository and not reason else f"timm/{name}",
        "source": "timm",
        "location": repository,
        "author": repository.split("/")[0] if repository else None,
        "pipeline_tag": f"image-{'classification' if 'labels' in fields else 'feature-extraction'}",
        "datasets": datasets or None,
        "weight_format": "safetensors" if repository else None,
        "loadable": False if reason else loadable,
        "not_loadable_reason": reason,
        "detail_state": None,
        "detail_error": None,
    }
    return ModelCard(**fields)


def _datasets(tag: str) -> tuple[str, ...]:
    """The training data that a pretrained tag names, in order: pretraining first."""
    parts = re.split(r"[_\W]+", tag)
    return tuple(dict.fromkeys(_DATASETS[part] for part in parts if part in _DATASETS))
