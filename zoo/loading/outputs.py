"""The outputs of a network: features before its head, logits after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float32]

T = TypeVar("T")


class Outputs(NamedTuple, Generic[T]):
    """What a teacher answers; ``T`` is a torch tensor or a numpy array.

    ``features`` (B, D) float32 are pooled, before the head; ``logits`` (B, C_t) float32, or None
    without a head.
    """

    features: T
    logits: T | None


def pooled(features: Tensor) -> Tensor:
    """(B, D) from (B, D), tokens (B, n, D) or a map (B, D, h, w), by their mean."""
    if features.ndim == 3:
        return features.mean(1)
    return features.flatten(2).mean(2) if features.ndim == 4 else features


def as_array(batches: Sequence[Tensor]) -> Array:
    import torch

    array: Array = torch.cat([batch.cpu() for batch in batches]).numpy()
    return array
