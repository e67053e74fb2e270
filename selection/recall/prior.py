"""What can be guessed of a teacher before it is run: the order in which candidates are tried."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.recall.names import NameEncoder
from selection.recall.text_prior import text_quality
from zoo.card import ModelCard

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (  # of the catalogue, read by ``quality``
    "id",
    "architecture",
    "model_type",
    "base_model",
    "datasets",
    "params_total",
    "input_size",
    "num_classes",
    "modality",
    "pipeline_tag",
    "downloads",
)
FAMILIES = {  # in this order: a DeiT calls itself a ViT, too
    "beit": "beit|data2vec",
    "deit": "deit",
    "convnext": "convnext",
    "swin": "swin",
    "van": r"\bvan\b|van[_-]b|visual-attention",
    "vit": r"vit|eva\d|dinov[23]|clip|siglip",
    "resnet": "resnet|resnext|regnet",
}
_MANY_CLASSES = re.compile(r"2[12]k|12k")  # pretrained on ImageNet-21k or a part of it
# Medians of the table below, for what a card does not say.
_MEDIANS = {"params_total": 85.8e6, "input_size": 224.0}
# Ridge regression (alpha 10) on 175 Hub models of the table of zLizy/transferability_graph, fitted
# by benchmarks/truth/external.py. The target is the mean over 12 data sets of the normal scores of
# the models' accuracies after fine-tuning. It holds for that recipe: at its learning rate of 0.01
# every BEiT failed.
COEFFICIENTS = {
    "size": 0.335,
    "tiny": 0.977,
    "resolution": 0.555,
    "wide": 0.127,
    "wide_head": 0.188,
    "narrow_head": 0.012,
    "beit": -1.495,
    "beit_size": -0.492,
    "deit": 0.098,
    "deit_size": 0.381,
    "convnext": 0.698,
    "convnext_size": 0.471,
    "swin": 0.267,
    "swin_size": 0.902,
    "van": 0.121,
    "van_size": -0.273,
    "vit": -0.187,
    "vit_size": 0.115,
    "resnet": -0.391,
    "resnet_size": 0.659,
}
_NAMES_WEIGHT = 3.0  # of the label names' similarity, at most 1; ours: the table has no names
LARGE = 250e6  # parameters: 100 times those of a small student, such as a MobileNet V3
_LARGE_WEIGHT = 2.0  # taken off per factor of ten beyond that; no family gains as much by its size


def prior(
    cards: Sequence[ModelCard],
    classes: Sequence[str],
    *,
    encoder: NameEncoder | None = None,
) -> npt.NDArray[np.float64]:
    """Guess from the cards alone how well each model would teach a task.

    ``quality``, plus how near its label names come to the task's: the mean over the classes of the
    largest cosine to a label name, which is 1 - RWMD (see ``selection.recall.search``). It orders
    the models that are tried; it is not a result. On data sets and models that its coefficients
    were not fitted on, ``quality`` reaches a weighted tau of 0.554 (0.473 to 0.629) and loses
    0.0034 of accuracy in the best of its first five (``python -m benchmarks.run external``). The
    penalty on large models was chosen on that same table: without it 0.564 and 0.0049.

    Parameters
    ----------
    cards : sequence of n ModelCard
        A model without label names counts as the mean of the others.
    classes : sequence of str
        The task's class names.
    encoder : NameEncoder, optional
        Default: the packaged table.

    Returns
    -------
    (n,) float64
        Higher is better.
    """
    import pandas as pd

    rows = [{name: getattr(card, name) for name in COLUMNS} for card in cards]
    similarity = _label_similarity(cards, classes, encoder or NameEncoder.table())
    is_known = np.isfinite(similarity)
    mean = similarity[is_known].mean() if is_known.any() else 0.0
    similarity = np.where(is_known, similarity, mean)
    return quality(pd.DataFrame(rows, columns=list(COLUMNS))) + _NAMES_WEIGHT * similarity


def quality(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The part (n,) of ``prior`` that no task changes, for rows with the columns ``COLUMNS``."""
    values = np.zeros(len(table))
    modality = table["modality"].fillna("image").to_numpy()
    for name in np.unique(modality):
        rows = np.flatnonzero(modality == name)
        values[rows] = MODALITIES.get(name, image_quality)(table.iloc[rows])
    return values - size_penalty(table)


def image_quality(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The guess (n,) for models of images, without the penalty on large ones."""
    values = features(table)[list(COEFFICIENTS)].to_numpy(np.float64)
    return np.asarray(values @ np.array(list(COEFFICIENTS.values())))


MODALITIES: dict[str, Callable[[pd.DataFrame], npt.NDArray[np.float64]]] = {
    "image": image_quality,
    "text": text_quality,
}


def size_penalty(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """What is taken off (n,): 0 up to ``LARGE`` parameters, then 2 per factor of ten.

    A model beyond that costs much to fetch and to run for a small student, so it must promise more
    than its size does.
    """
    parameters = _number(table, "params_total").to_numpy(np.float64)
    return _LARGE_WEIGHT * np.log10(np.maximum(parameters / LARGE, 1.0))


def copies_last(table: pd.DataFrame, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The order (n,) in which to try models: by ``values``, higher first, near copies later.

    A near copy has the family, the resolution and about the size of a model before it. One with k
    such models before it comes after all models with fewer.
    """
    numbers = features(table)
    kinds = numbers[[*FAMILIES, "resolution"]].round(1)
    kinds["size"] = (5 * numbers["size"]).round()
    order = np.argsort(-np.asarray(values, float), kind="stable")
    same_kind = kinds.iloc[order].groupby(list(kinds.columns), sort=False)
    copies = same_kind.cumcount().to_numpy()  # such models before
    return np.asarray(order[np.argsort(copies, kind="stable")])


def features(table: pd.DataFrame) -> pd.DataFrame:
    """(n, F): what is known of each model, in numbers; what is unknown counts as the median."""
    import pandas as pd

    description = _description(table)
    size = np.log10(_number(table, "params_total").clip(1e6, 1e9)) - 8
    classes = _number(table, "num_classes")
    columns = {
        "size": size,
        "tiny": np.minimum(size + 0.5, 0),  # below 30 million parameters
        "resolution": _number(table, "input_size").clip(96, 512) / 224 - 1,
        "wide": description.str.contains(_MANY_CLASSES).astype(float),
        "wide_head": (classes > 5_000).astype(float),
        "narrow_head": (classes < 500).astype(float),
    }
    is_without_family = pd.Series(True, index=table.index)
    for family, pattern in FAMILIES.items():
        is_member = is_without_family & description.str.contains(pattern, regex=True)
        columns[family] = is_member.astype(float)
        columns[f"{family}_size"] = is_member * size
        is_without_family &= ~is_member
    return pd.DataFrame(columns, index=table.index)


def _number(table: pd.DataFrame, column: str) -> pd.Series:
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    return values.fillna(_MEDIANS[column]) if column in _MEDIANS else values


def _description(table: pd.DataFrame) -> pd.Series:
    """All words that name a model's kind and its pretraining, in lower case."""
    ids = table["id"].fillna("").astype(str)
    words = ids.str.rsplit("/", n=1).str[-1]
    for column in ("architecture", "model_type"):
        words += " " + table[column].fillna("").astype(str)
    for column in ("base_model", "datasets"):
        words += " " + table[column].map(_joined)
    return words.str.lower()


def _joined(names: object) -> str:
    return " ".join(names) if isinstance(names, (list, tuple, np.ndarray)) else ""


def _label_similarity(
    cards: Sequence[ModelCard],
    classes: Sequence[str],
    encoder: NameEncoder,
) -> npt.NDArray[np.float64]:
    """1 - RWMD (n,) between each card's label names and ``classes``; NaN without label names."""
    class_vectors = encoder.encode(classes)  # (C, E)
    similarity: dict[tuple[str, ...], float] = {(): np.nan}
    for card in cards:
        labels = card.labels or ()
        if labels not in similarity:
            cosines = encoder.encode(labels) @ class_vectors.T  # (C_t, C)
            similarity[labels] = float(cosines.max(axis=0).mean())
    return np.array([similarity[card.labels or ()] for card in cards])
