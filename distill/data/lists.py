"""Lists of items that users choose from: targets of a batch, and the terms of the loss.

Shapes: B pairs of a batch, U users, I items, L listed items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

TAUGHT = 30.0  # weight of the divergence from the teachers' lists; probe_kd's term has 10
OBSERVED = 5.0  # weight of the cross-entropy of observed items beside it
MASKED = -1e4  # the logit of an item that is left out


class ListBatch(NamedTuple):
    """The lists of a batch.

    target  (B, L) float32 logits of the teachers; None without teachers
    others  (B, L) bool, the user's further observed items, which are no wrong answers
    truth   (B,) int64, the place of the item among the listed ones; -1 where it is not observed
    trust   see ``Lists``
    """

    target: Tensor | None
    others: Tensor
    truth: Tensor
    trust: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lists:
    """The lists of all users.

    targets   (U, L) float16 logits of the teachers; None without teachers
    observed  (U, L) bool, what each user has in the training split
    place     (I,) int64, the place of each item among the listed ones, -1 for the others
    weights   of the teachers, for the metrics
    trust     in [0, 1], of the targets: a share of ``TAUGHT``
    """

    targets: Tensor | None
    observed: Tensor
    place: Tensor
    weights: tuple[float, ...] = ()
    trust: float = 1.0

    def to(self, device: torch.device) -> Lists:
        """The same on a device."""
        return Lists(
            targets=None if self.targets is None else self.targets.to(device),
            observed=self.observed.to(device),
            place=self.place.to(device),
            weights=self.weights,
            trust=self.trust,
        )

    def at(self, pairs: Tensor) -> ListBatch:
        """The lists of the users of ``pairs`` (B, 2)."""
        users, items = pairs.long().unbind(1)
        place = self.place[items]  # (B,)
        others = self.observed[users]  # (B, L), a copy
        row = torch.arange(len(users), device=users.device)
        is_observed = others[row, place.clamp(min=0)] & (place >= 0)
        others[row, place.clamp(min=0)] &= place < 0
        target = None if self.targets is None else self.targets[users].float()
        return ListBatch(target, others, torch.where(is_observed, place, -1), self.trust)


def list_terms(scores: Tensor, lists: ListBatch) -> dict[str, Tensor]:
    """The term of users' lists, by name: a scalar with gradient.

    ``scores`` (B, L) are the student's. ``chosen`` is the cross-entropy of the observed items, each
    against all listed items but the user's others; with teachers it is weighted by ``OBSERVED`` and
    ``lists``, KL(target || student), by ``TAUGHT`` and the trust in the targets.
    """
    scores = scores.float()
    total = cross_entropy(
        scores.masked_fill(lists.others, MASKED), lists.truth, ignore_index=-1, reduction="sum"
    )
    chosen = total / (lists.truth >= 0).sum().clamp(min=1)
    if lists.target is None:
        return {"chosen": chosen}
    log_q, log_p = log_softmax(scores, dim=1), log_softmax(lists.target, dim=1)
    divergence = kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    return {"chosen": OBSERVED * chosen, "lists": lists.trust * TAUGHT * divergence}
