"""What can be guessed of a teacher before it is run: the order in which candidates are tried."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from selection.names import NameEncoder
from zoo.card import ModelCard


def prior(cards: Sequence[ModelCard], classes: Sequence[str], *, encoder: NameEncoder | None = None) -> np.ndarray:
    """A guess (n,) of how well each model would teach ``classes``, higher is better, from its card alone.

    How near its label names come to the task's, sum_j 1/C max_i cos (one minus the relaxed transport cost of methods.md
    section 3), plus a tenth for every tenfold of classes it was trained on, and of parameters up to 100 million. What is
    unknown counts as the mean of what is known. The weights are ours: a guess to try candidates by, not a result.
    """
    encoder = encoder or NameEncoder.table()
    parts = np.array([
        _nearness(cards, classes, encoder),
        [0.1 * math.log10(card.num_classes) if card.num_classes else math.nan for card in cards],
        [0.1 * math.log10(min(card.params_total, 100_000_000)) if card.params_total else math.nan for card in cards],
    ])  # (3, n)
    known = np.isfinite(parts)
    mean = np.where(known, parts, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(known, parts, mean).sum(axis=0))


def _nearness(cards: Sequence[ModelCard], classes: Sequence[str], encoder: NameEncoder) -> list[float]:
    """How near each card's label space comes to ``classes``, at most 1; each distinct space is looked at once."""
    mine = encoder.encode(classes)  # (C, E)
    seen: dict[tuple[str, ...], float] = {}
    for card in cards:
        if card.labels and card.labels not in seen:
            theirs = encoder.encode(card.labels)  # (C_t, E)
            seen[card.labels] = float((theirs @ mine.T).max(axis=0).mean())
    return [seen[card.labels] if card.labels else math.nan for card in cards]
