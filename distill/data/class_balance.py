"""What a run does where some classes have far more samples than others.

Shapes: n labelled samples, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.data.samples import Labels, Stream

EFFECTIVE_BETA = 0.999  # of the effective number of samples


class ClassTerms(NamedTuple):
    """What the cross-entropy of labelled samples takes into account, each (C,) or None.

    weights    of the samples of each class, of mean 1 over the training samples
    log_prior  added to the logits in training, so that they need not learn how common a class is
    """

    weights: Tensor | None = None
    log_prior: Tensor | None = None

    def to(self, device: torch.device) -> ClassTerms:
        return ClassTerms(*(None if values is None else values.to(device) for values in self))


def class_terms(kind: str | None, labels: Labels, classes: int) -> ClassTerms:
    """The terms of ``kind`` for the labelled training samples ``labels`` (n,).

    ``weights``: inverse to a class's samples; ``effective``: to their effective number (Cui et al.
    2019, arXiv 1901.05555); ``logits``: logit adjustment (Menon et al. 2021, arXiv 2007.07314).
    Other kinds leave the cross-entropy as it is.
    """
    counts = np.bincount(labels[labels >= 0], minlength=classes).astype(float)  # (C,)
    if kind == "logits":
        prior = (counts + 0.5) / (counts + 0.5).sum()
        return ClassTerms(log_prior=torch.from_numpy(np.log(prior)).float())
    if kind not in ("weights", "effective"):
        return ClassTerms()
    shown = np.maximum(counts, 1)
    number = shown if kind == "weights" else 1 - EFFECTIVE_BETA**shown
    weights = (counts > 0) / number
    weights *= counts.sum() / (weights * counts).sum()
    return ClassTerms(weights=torch.from_numpy(weights).float())


class BalancedStream:
    """An endless, seeded order of ``rows`` in which every class comes equally often.

    Classes take turns in rounds, each in a new order; each class goes through its own samples pass
    after pass (`Stream`). A function of the position alone, as `Stream` is.
    """

    def __init__(
        self,
        rows: Labels,
        labels: Labels,
        *,
        seed: int,
    ) -> None:
        present = np.unique(labels)
        self.seed = seed
        self.streams = [
            Stream(rows[labels == label], seed=seed + 1_000_003 * (int(label) + 1))
            for label in present
        ]

    def take(self, start: int, count: int) -> Iterator[tuple[int, Labels]]:
        """Positions ``start`` to ``start + count`` as (pass of its class, one row) pieces."""
        classes = len(self.streams)
        for turn in range(start // classes, -(-(start + count) // classes)):
            order = np.random.default_rng([self.seed, turn]).permutation(classes)
            first = max(start - turn * classes, 0)
            last = start + count - turn * classes
            for place in order[first:last]:
                yield from self.streams[int(place)].take(turn, 1)
