"""Sums over the steps of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.errors import Unavailable

if TYPE_CHECKING:
    from accelerate import Accelerator


class Diverged(Unavailable):
    """The loss became NaN or infinite; what was kept before it is sound."""


class Tally:
    """Sums over the steps of an epoch, kept on the device so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor], hits: Tensor) -> None:
        """One batch: its named terms, and how many labelled samples were right, of how many."""
        values = {f"term:{name}": value.detach().float() for name, value in terms.items()}
        values["right"], values["labelled"] = hits.float()
        values["batches"] = torch.ones((), device=self.device)
        zero = torch.zeros((), device=self.device)
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, zero) + value

    def check(self, step: int, *, every: int = 1) -> None:
        """Every ``every`` steps, raise ``Diverged`` where a term is NaN or infinite."""
        if step % every or not self.sums:
            return
        finite = torch.isfinite(self._stacked()).tolist()
        broken = [name for name, good in zip(sorted(self.sums), finite, strict=True) if not good]
        if broken:
            terms = ", ".join(name.removeprefix("term:") for name in broken)
            raise Diverged(
                f"the loss became NaN or infinite at step {step} ({terms}): a checkpoint before it"
                " is kept; train anew in another --out with a smaller --rate"
            )

    def means(self, accelerator: Accelerator) -> dict[str, Any]:
        """Over the epoch and all processes: ``loss``, its ``terms`` and ``train_accuracy``.

        The accuracy is the share of labelled training samples that were right, None without labels.
        """
        sums = accelerator.reduce(self._stacked(), reduction="mean")
        values = dict(zip(sorted(self.sums), sums.tolist(), strict=True))
        terms = {}
        for name, value in values.items():
            if name.startswith("term:"):
                terms[name.removeprefix("term:")] = value / values["batches"]
        accuracy = values["right"] / values["labelled"] if values["labelled"] else None
        return {"loss": sum(terms.values()), "terms": terms, "train_accuracy": accuracy}

    def _stacked(self) -> Tensor:
        """The sums in the order of their sorted names."""
        return torch.stack([self.sums[name] for name in sorted(self.sums)])
