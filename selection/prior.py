"""What can be guessed of a teacher before it is run: the order in which candidates are tried."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from selection.names import NameEncoder
from zoo.card import ModelCard


def prior(cards: Sequence[ModelCard], classes: Sequence[str], *, encoder: NameEncoder | None = None) -> np.ndarray:
    """A guess (n,) of how well each model would teach ``classes``, higher is better, from its card alone.

    The mean of three standardised parts; an unknown part counts as average: minus the relaxed transport cost
    sum_j 1/C min_i (1 - cos) between the teacher's label names and the task's (methods.md section 3), the logarithm of
    the number of classes it was trained on, and the logarithm of its size up to 100 million parameters. Weights are ours.
    """
    encoder = encoder or NameEncoder.table()
    parts = np.array(
        [
            _label_costs(cards, classes, encoder),
            [math.log(card.num_classes) if card.num_classes and card.num_classes > 1 else math.nan for card in cards],
            [math.log(min(card.params_total, 100_000_000)) if card.params_total else math.nan for card in cards],
        ]
    )  # (3, n)
    known = np.isfinite(parts)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, parts, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.where(known, parts - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    standard = np.where(known, (parts - mean) / np.maximum(spread, 1e-9), 0.0)
    return np.asarray(standard.mean(axis=0))


def _label_costs(cards: Sequence[ModelCard], classes: Sequence[str], encoder: NameEncoder) -> list[float]:
    """Minus the relaxed transport cost of each card's label space; each distinct space is looked at once."""
    mine = encoder.encode(classes)  # (C, E)
    seen: dict[tuple[str, ...], float] = {}
    for card in cards:
        if card.labels and card.labels not in seen:
            theirs = encoder.encode(card.labels)  # (C_t, E)
            seen[card.labels] = -float((1.0 - (theirs @ mine.T).max(axis=0)).mean())
    return [seen[card.labels] if card.labels else math.nan for card in cards]
