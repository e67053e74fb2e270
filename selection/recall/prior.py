"""What can be guessed of a teacher before it is run: the order in which candidates are tried."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from selection.recall.names import NameEncoder
from zoo.card import ModelCard

if TYPE_CHECKING:
    import pandas as pd

# The columns of the catalogue that ``features`` reads.
COLUMNS = (
    "id",
    "architecture",
    "model_type",
    "base_model",
    "datasets",
    "params_total",
    "input_size",
    "num_classes",
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
_WIDE = re.compile(r"2[12]k|12k")
_MEAN = {
    "params_total": 85.8e6,
    "input_size": 224.0,
}  # medians of the table, in place of what a card does not say
# A ridge on 175 Hub models (alpha 10; the mean over 12 data sets of the normal scores of their
# accuracies after fine-tuning), fitted by benchmarks/truth/external.py to the table of
# zLizy/transferability_graph. Facts of that recipe, too: at its learning rate of 0.01 every BEiT
# failed.
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
_NEAR = 3.0  # for label names as near as can be; ours: that table says nothing of them


def prior(
    cards: Sequence[ModelCard], classes: Sequence[str], *, encoder: NameEncoder | None = None
) -> npt.NDArray[np.float64]:
    """A guess (n,) of how well each model would teach ``classes``, higher is better, from its card
    alone.

    ``quality``, plus how near its label names come to the task's: sum_j 1/C max_i cos, one minus
    the relaxed transport cost of ``selection.recall.search``; models without label names count as
    the mean of the others. A guess to try candidates by, not a result. On data sets and models that
    its fit has not seen, ``quality`` reaches a weighted tau of 0.564 (0.482 to 0.641) and loses
    0.0049 of accuracy in the best of its first five (``python -m benchmarks.run external``).
    """
    import pandas as pd

    encoder = encoder or NameEncoder.table()
    table = pd.DataFrame(
        [{name: getattr(card, name) for name in COLUMNS} for card in cards], columns=list(COLUMNS)
    )
    near = np.array(_nearness(cards, classes, encoder))
    known = np.isfinite(near)
    mean = near[known].mean() if known.any() else 0.0
    return np.asarray(quality(table) + _NEAR * np.where(known, near, mean))


def quality(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The part of ``prior`` that no task changes: (n,), for rows with the columns ``COLUMNS``."""
    found = features(table)
    return np.asarray(
        found[list(COEFFICIENTS)].to_numpy(np.float64) @ np.array(list(COEFFICIENTS.values()))
    )


def copies_last(table: pd.DataFrame, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The order (n,) to try models in: by ``values``, higher first, but a near copy (of the same
    family, resolution and about the same size) of k models before it only after all models with
    fewer such.
    """
    found = features(table)
    kinds = found[[*FAMILIES, "resolution"]].round(1).assign(size=(found["size"] * 5).round())
    order = np.argsort(-np.asarray(values, float), kind="stable")
    before = kinds.iloc[order].groupby(list(kinds.columns), sort=False).cumcount().to_numpy()
    return np.asarray(order[np.argsort(before, kind="stable")])


def features(table: pd.DataFrame) -> pd.DataFrame:
    """(n, F): what is known of each model, in numbers; unknown is the middle of what is known."""
    import pandas as pd

    text = _text(table)
    size = np.log10(_number(table, "params_total").clip(1e6, 1e9)) - 8
    classes = _number(table, "num_classes")
    found = pd.DataFrame(
        {
            "size": size,
            "tiny": np.minimum(size + 0.5, 0),  # below 30 million
            "resolution": _number(table, "input_size").clip(96, 512) / 224 - 1,
            "wide": text.str.contains(_WIDE).astype(float),
            "wide_head": (classes > 5_000).astype(float),
            "narrow_head": (classes < 500).astype(float),
        },
        index=table.index,
    )
    left = pd.Series(True, index=table.index)
    for family, pattern in FAMILIES.items():
        here = left & text.str.contains(pattern, regex=True)
        found[family] = here.astype(float)
        found[f"{family}_size"] = here * size
        left &= ~here
    return found


def _number(table: pd.DataFrame, column: str) -> pd.Series:
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    return values.fillna(_MEAN[column]) if column in _MEAN else values


def _text(table: pd.DataFrame) -> pd.Series:
    """All that names a model's kind and its pretraining, in lower case."""
    joined = table["id"].fillna("").astype(str).str.rsplit("/", n=1).str[-1]
    for column in ("architecture", "model_type"):
        joined = joined + " " + table[column].fillna("").astype(str)
    for column in ("base_model", "datasets"):
        joined = (
            joined
            + " "
            + table[column].map(lambda value: " ".join(value) if _listed(value) else "")
        )
    return joined.str.lower()


def _listed(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _nearness(
    cards: Sequence[ModelCard], classes: Sequence[str], encoder: NameEncoder
) -> list[float]:
    """How near each card's label space comes to ``classes``, at most 1; each distinct space is
    looked at once.
    """
    mine = encoder.encode(classes)  # (C, E)
    seen: dict[tuple[str, ...], float] = {}
    for card in cards:
        if card.labels and card.labels not in seen:
            theirs = encoder.encode(card.labels)  # (C_t, E)
            seen[card.labels] = float((theirs @ mine.T).max(axis=0).mean())
    return [seen[card.labels] if card.labels else np.nan for card in cards]
