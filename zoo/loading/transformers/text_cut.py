"""A text encoder cut in two: tokens to a hidden state, and a hidden state to answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.loading.transformers.answers import upper_answers
from zoo.loading.transformers.halves import CannotSplit, Halves, Interrupted, gives_tuples

if TYPE_CHECKING:
    from torch import Tensor, nn

    Answer = tuple[Tensor, Tensor | None]

GRID = (16, 1)  # a stored state is averaged onto so many positions


class TextCut:
    """The halves of ``network``; states are maps (B, c, n, 1), one position a token.

    The upper half's features are the mean over its own layers: it knows nothing of those below.
    """

    def __init__(
        self,
        network: nn.Module,
        example: Tensor,
        *,
        padding: int,
        share: float,
    ) -> None:
        import torch

        def run() -> object:
            with torch.no_grad():
                return upper_answers(network, example, None)

        in_tuples = gives_tuples(network, run)
        self.network, self.padding = network, padding
        self.halves = Halves.of(network, share, in_tuples=in_tuples)

    def lower(self, batch: Tensor) -> Tensor:
        """Tokens and mask (B, 2, L) -> the state (B, c, L, 1)."""
        try:
            upper_answers(self.halves.lower, batch, None)
        except Interrupted as reached:
            return reached.hidden.mT.unsqueeze(3)
        raise CannotSplit(f"{type(self.network).__name__} passes over its layers")

    def upper(self, state: Tensor, mask: Tensor | None = None) -> Answer:
        """Features and logits of a state (B, c, n, 1); without a ``mask`` (B, n) all positions
        count, as where a student made the state.
        """
        import torch

        count, _, length, _ = state.shape
        # no padding token: some families count their positions by it
        word = 0 if self.padding else 1
        batch = torch.full((count, 2, length), word, device=state.device)
        batch[:, 1] = 1 if mask is None else mask
        self.halves.entry[:] = [state.squeeze(3).mT]
        try:
            return upper_answers(self.halves.upper, batch, self.halves.layers)
        finally:
            self.halves.entry.clear()

    def whole(self, batch: Tensor) -> Answer:
        """What ``upper`` answers to the state of ``batch``, by the network as it is."""
        return upper_answers(self.network, batch, self.halves.layers)


def pooled(state: Tensor, mask: Tensor | None = None) -> Tensor:
    """A state (B, c, n, 1) averaged onto ``GRID``, each text over the tokens that it has."""
    import torch
    import torch.nn.functional as F

    if mask is None:
        return F.adaptive_avg_pool2d(state, GRID)
    lengths = mask.sum(1)
    result = state.new_zeros(*state.shape[:2], *GRID)
    for length in lengths.unique().tolist():
        rows = torch.nonzero(lengths == length).flatten()
        result[rows] = F.adaptive_avg_pool2d(state[rows, :, :length], GRID)
    return result
