"""The network of the student of ratings: a vector for each user and each item, and their product.

Shapes: L listed items, D the width of a vector, B pairs of a batch, C classes.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

DEFAULT = "towers-32"
_NAME = re.compile(r"towers-([1-9]\d{0,3})")


def width_of(student: str) -> int | None:
    """D of a name ``towers-D``; None of another text."""
    matched = _NAME.fullmatch(student)
    return int(matched[1]) if matched else None


class Towers(nn.Module):
    """Two tables of vectors u and v, and what the product of two rows says.

    The relevance of an item for a user is s = u . v + b_item: to be ranked by. The rating is drawn
    from ordered classes with logits r y_c + a_c, where r = sum_k w_k u_k v_k + c_user + c_item and
    y_c is the standardised value of class c: the higher r, the higher the classes. That one pair of
    vectors serves both is ours.
    """

    values: Tensor

    def __init__(self, users: int, items: int, width: int, values: tuple[float, ...]) -> None:
        super().__init__()
        self.raw_values = values
        scale = 0.5 / width**0.5
        self.user_vectors = nn.Parameter(scale * torch.randn(users, width))
        self.item_vectors = nn.Parameter(scale * torch.randn(items, width))
        self.item_bias = nn.Parameter(torch.zeros(items))
        self.rating_weights = nn.Parameter(torch.zeros(width))
        self.rating_user_bias = nn.Parameter(torch.zeros(users))
        self.rating_item_bias = nn.Parameter(torch.zeros(items))
        self.class_bias = nn.Parameter(torch.zeros(len(values)))
        self.register_buffer("values", standardised_values(values))

    def forward(self, pairs: Tensor) -> Tensor:
        """(B, 2) int64 users and items -> (B, C) logits of the ratings."""
        users, items = pairs.unbind(1)
        return self.rating_logits(users, items, self.user_vectors[users] * self.item_vectors[items])

    def rating_logits(self, users: Tensor, items: Tensor, product: Tensor) -> Tensor:
        """(B, C) of ``users`` (B,) and ``items`` (B,) with the ``product`` (B, D) of vectors."""
        rating = product @ self.rating_weights
        rating = rating + self.rating_user_bias[users] + self.rating_item_bias[items]  # (B,)
        return rating[:, None] * self.values + self.class_bias

    def relevance(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """(B, L) of ``users`` (B,) for ``items`` (L,), all by default."""
        vectors: Tensor = self.item_vectors
        bias: Tensor = self.item_bias
        if items is not None:
            vectors, bias = vectors[items], bias[items]
        return self.user_vectors[users] @ vectors.T + bias


def standardised_values(values: tuple[float, ...]) -> Tensor:
    """(C,) float32 of mean 0 and standard deviation 1."""
    y = torch.tensor(values, dtype=torch.float32)
    return (y - y.mean()) / y.std(correction=0).clamp(min=1e-6)
