"""Pairs of a user and an item as a student reads them: two numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.data.batch import View
from distill.data.samples import Packing


def pair_packing() -> Packing:
    """Pairs as (2,) int32, user and item."""
    return Packing(
        file="pairs.i32", dtype="int32", shape=(2,), key=("pairs-1",), pack=_row, nouns="pairs"
    )


def _row(pair: tuple[int, int]) -> npt.NDArray[np.int32]:
    return np.array(pair, np.int32)


@dataclass(frozen=True)
class PairAugmentation:
    """Nothing: a pair has one view."""

    @property
    def key(self) -> str:
        """See `distill.data.batch.Augmentation`."""
        return "pairs"

    def without_blends(self) -> PairAugmentation:
        """The same."""
        return self

    def render(
        self,
        inputs: Tensor,
        index: Tensor,
        view: Tensor,
        *,
        seed: int,
        size: int,
        partners: Tensor | None = None,
    ) -> View:
        """The pairs at ``index`` (B,) as they are, (B, 2) int64."""
        place = index.to(inputs.device)
        shown = inputs[place].long().to(index.device)
        return View(shown, torch.zeros_like(index, dtype=torch.bool))
