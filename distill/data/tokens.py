"""Texts as a student reads them: rows of tokens, and views with some of them hidden.

Shapes: N texts of at most L tokens, B views of a batch. A row holds the number of each token plus
one, and zeros behind the text.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.data.batch import View
from distill.data.samples import Packing
from distill.data.views import uniforms
from distill.data.vocabulary import readable

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A tokenizer looks into words of 100 characters at most, so a text is cut after as many for each
# token: a text of millions then takes no longer.
_CHARACTERS_A_TOKEN = 100
_DRAWS = 12  # of one call of ``uniforms``


def token_packing(tokenizer: Tokenizer, size: int, digest: str) -> Packing:
    """Texts as (size,) int32; ``digest`` is that of the tokenizer."""
    return Packing(
        file="tokens.i32",
        dtype="int32",
        shape=(size,),
        key=(size, digest, "tokens-1"),
        pack=partial(token_row, tokenizer, size),
        nouns="texts",
    )


def token_row(tokenizer: Tokenizer, size: int, text: str) -> npt.NDArray[np.int32]:
    """(size,) the tokens of ``text`` plus one, then zeros."""
    ids = token_ids(tokenizer, size, text)
    row = np.zeros(size, np.int32)
    row[: len(ids)] = np.asarray(ids, np.int32) + 1
    return row


def token_ids(tokenizer: Tokenizer, size: int, text: str) -> list[int]:
    """The numbers of the tokens of ``text``, special ones among them, at most ``size``."""
    ids: list[int] = tokenizer.encode(readable(text[: _CHARACTERS_A_TOKEN * size])).ids
    return ids[:size]


def without_padding(rows: Tensor) -> Tensor:
    """``rows`` (B, L) cut to the longest text among them."""
    longest = int((rows > 0).sum(dim=1).max()) if len(rows) else 1
    return rows[:, : max(longest, 1)]


@dataclass(frozen=True, kw_only=True)
class TokenAugmentation:
    """What a view may do to a text.

    mask      the share of tokens that are replaced by the mask
    drop      the share of tokens that are left out
    mask_id   the number of the mask in the vocabulary; None: nothing is masked
    special   the numbers of the tokens that are always kept
    """

    mask: float = 0.1
    drop: float = 0.0
    mask_id: int | None = None
    special: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Stable text for the key of stored outputs."""
        return ",".join(f"{name}={value}" for name, value in sorted(asdict(self).items())) + ";1"

    def without_blends(self) -> TokenAugmentation:
        """Texts are never blended."""
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
        """``inputs`` (N, L) int32 -> views (B, l) int64, l that of the longest."""
        rows = inputs[index.to(inputs.device)].to(index.device).long()  # (B, L)
        rows = without_padding(rows)
        kept = rows == 0
        for number in self.special:
            kept |= rows == number + 1
        draws = self._draws(seed, view, index, rows.shape[1])  # (B, l)
        if self.mask_id is not None:
            masked = (draws < self.mask) & ~kept
            rows = rows.masked_fill(masked, self.mask_id + 1)
        if self.drop:
            rows = _compact(rows.masked_fill((draws >= 1 - self.drop) & ~kept, 0))
        return View(rows, torch.zeros_like(index, dtype=torch.bool))

    def _draws(self, seed: int, view: Tensor, index: Tensor, length: int) -> Tensor:
        """(B, length) in [0, 1), each a function of seed, view, index and position."""
        blocks = math.ceil(length / _DRAWS)
        parts = [uniforms(seed + 7_919 * (block + 1), view, index) for block in range(blocks)]
        return torch.cat(parts, dim=1)[:, :length]


def _compact(rows: Tensor) -> Tensor:
    """``rows`` (B, L) with their zeros moved behind the tokens."""
    order = (rows == 0).to(torch.int8).argsort(dim=1, stable=True)
    return without_padding(rows.gather(1, order))
