"""Texts as a network takes them: tokenised on the CPU, padded and masked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.errors import TeacherError
from zoo.loading.inputs.tokenization import Tokenization
from zoo.loading.inputs.tokenizer_files import guarded, open_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# The longest words that tokenizers look into have 100 characters, so a text is cut after as many
# for each token that the model takes: a text of millions then takes no longer.
_CHARACTERS_A_TOKEN = 100
_EXAMPLE_LENGTHS = (12, 7)


class TextPreparation:
    """How the samples of a text model become its inputs; see the methods of ``Teacher``."""

    modality = "text"
    example_name = "tokens of its own vocabulary"

    def __init__(
        self,
        tokenization: Tokenization,
        network: nn.Module,
        device: torch.device,
    ) -> None:
        self.tokenization, self.device = tokenization, device
        self.tokenizer = open_tokenizer(tokenization)
        self.rows = _embedding_rows(network)
        ids = self.tokenizer.get_vocab(with_added_tokens=True).values()
        largest = max(ids, default=0)
        if largest >= self.rows:
            raise TeacherError(
                f"the tokenizer has tokens up to number {largest:,}, the network knows"
                f" {self.rows:,}: one of the two is another model's"
            )
        self.padding = tokenization.padding if tokenization.padding < self.rows else 0

    def prepare(self, text: str) -> Tensor:
        """(n,) int64 token ids on the CPU, at most ``max_length``, special tokens among them."""
        import torch

        text = text[: _CHARACTERS_A_TOKEN * self.tokenization.max_length]
        text = text.encode("utf-8", "replace").decode()  # lone surrogates are no text
        ids = guarded("the tokenizer fails on a text", self.tokenizer.encode, text).ids
        return torch.tensor(ids or [self.padding], dtype=torch.int64)

    def collate(self, prepared: Sequence[Tensor]) -> Tensor:
        """(B, 2, L) int64: tokens and mask, padded to the longest of the batch."""
        import torch

        longest = max(len(ids) for ids in prepared)
        batch = torch.zeros(len(prepared), 2, longest, dtype=torch.int64)
        batch[:, 0] = self.padding
        for row, ids in zip(batch, prepared, strict=True):
            row[0, : len(ids)] = ids
            row[1, : len(ids)] = 1
        return batch

    def normalise(self, batch: Tensor) -> Tensor:
        """The batch on the device."""
        return batch.to(self.device, non_blocking=True)

    def view(self, batch: Tensor) -> Tensor:
        """As ``normalise``: texts have no size."""
        return self.normalise(batch)

    def example(self, count: int = 2) -> Tensor:
        """``count`` rows (count, 2, L) of random tokens, always the same, on the CPU."""
        import torch

        generator = torch.Generator().manual_seed(0)
        longest = self.tokenization.max_length
        return self.collate(
            [
                torch.randint(
                    self.rows,
                    (min(longest, _EXAMPLE_LENGTHS[place % 2]),),
                    generator=generator,
                )
                for place in range(count)
            ]
        )


def _embedding_rows(network: nn.Module) -> int:
    """How many tokens the network has an embedding for."""
    embedding = network.get_input_embeddings()  # type: ignore[operator]
    rows = getattr(embedding, "num_embeddings", 0)
    if not isinstance(rows, int) or not rows:
        raise TeacherError("the network has no table of embeddings for tokens")
    return rows
