"""What is still to be downloaded, in which order, and whether the user agreed to so much."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from selection.probing.budget import Budget, CostModel
from zoo.card import ModelCard
from zoo.errors import UserError
from zoo.terminal.command import in_command
from zoo.terminal.progress import Progress

BOUND = 2e9  # bytes that are downloaded without a question
TRAIN_LIMITS = "--top 1, --offline, or rank again with --where 'params_total < 50e6'"
RANK_LIMITS = "--budget-gb 2, --offline or --where 'params_total < 50e6'"
_TYPICAL_BYTES = 4 * 25_000_000  # of a model whose card does not tell
# of ln(bytes), taken off a model's prior. Chosen among 0.25, 0.5, 1 and 2 on the table of
# ``benchmarks.truth.external`` (175 models, 12 data sets) by the accuracy lost after 0.5 to 10 GB:
# after 1 GB 0.012, where the prior alone has not fetched its first model; after 5 GB 0.005.
_BYTES_WEIGHT = 0.5


@dataclass(frozen=True)
class DownloadPlan:
    """The models whose weights are not on this machine, and what they cost.

    Parameters
    ----------
    models : int
        How many are to be fetched.
    size : float
        Bytes of those whose size is known, as far as a limit admits them.
    unknown : int
        How many of them have no known size.
    bandwidth : float
        Bytes a second.
    is_measured : bool
        Whether the bandwidth was measured at an earlier download rather than assumed.
    limit : str
        The option that limits the download, or nothing.
    """

    models: int
    size: float
    unknown: int
    bandwidth: float
    is_measured: bool
    limit: str = ""

    @classmethod
    def of(
        cls,
        cards: Sequence[ModelCard],
        costs: CostModel,
        *,
        budget: Budget | None = None,
        is_needed: Callable[[ModelCard], bool] = lambda card: True,
    ) -> DownloadPlan:
        """The plan for ``cards`` in the order in which they are fetched.

        A card that is not ``is_needed`` (its outputs are stored) is not fetched.
        """
        budget = budget or Budget()
        left, models, size, unknown = budget.download, 0, 0, 0
        for card in cards:
            need = costs.download_bytes(card)
            if need == 0 or not is_needed(card):
                continue
            if need is None:
                models, unknown = models + math.isinf(left), unknown + math.isinf(left)
            elif need <= left:
                models, size, left = models + 1, size + need, left - need
        limit = "--budget-gb" if math.isfinite(budget.download) else ""
        affordable = costs.bandwidth * max(budget.left(), 0.0)
        if affordable < size:
            size, limit = round(affordable), "--budget"
        elif budget.limited:
            limit = limit or "--budget"
        return cls(models, size, unknown, costs.bandwidth, costs.is_measured, limit)

    def __str__(self) -> str:
        """``49 models, 93.7 GB, about 2 h 36 min at 10 MB/s (assumed ...)``."""
        size = _as_size(self.size)
        if self.unknown:
            size += f" and {self.unknown} of unknown size"
        origin = "as last measured" if self.is_measured else "assumed, none was measured yet"
        limit = f", limited by {self.limit}" if self.limit else ""
        at_most = "at most " if self.limit else ""
        return (
            f"{at_most}{self.models} model{'s' * (self.models != 1)}, {size}, about"
            f" {_as_time(self.size / self.bandwidth)} at {self.bandwidth / 1e6:.3g} MB/s"
            f" ({origin}){limit}"
        )

    def needs_consent(self) -> bool:
        """Whether it is more than a user expects, and nothing limits it."""
        return not self.limit and (self.size > BOUND or self.unknown > 0)


def refuse_unasked(plan: DownloadPlan, *, yes: bool, limits: str) -> None:
    """Raise ``UserError`` for a large download that nobody agreed to and nobody can be asked."""
    if plan.needs_consent() and not yes and not _can_ask():
        raise UserError(
            f"this would download {plan}; more than {BOUND / 1e9:.0f} GB needs --yes, or a limit:"
            f" {limits}; nothing was downloaded"
        )


def announce_download(plan: DownloadPlan, *, yes: bool, limits: str) -> None:
    """Print the plan; where it is large, ask, and raise ``UserError`` unless the answer is yes.

    Call ``refuse_unasked`` before.
    """
    if not plan.models:
        return
    if Progress.default().shown:
        print(f"download: {plan}", file=sys.stderr, flush=True)
    if yes or not plan.needs_consent():
        return
    import typer

    print(f"to download less: {limits}", file=sys.stderr, flush=True)
    if not typer.confirm(f"download {_as_size(plan.size)}?", default=False, err=True):
        raise UserError(f"nothing was downloaded; to download less: {limits}")


def by_value_per_byte(
    cards: Sequence[ModelCard],
    prior: Mapping[str, float],
    costs: CostModel,
) -> list[ModelCard]:
    """``cards`` in the order in which to run them: small and likely ones first.

    Those on this machine come first, by ``prior``; then the others by ``prior`` less half the
    logarithm of their bytes, so that a run that is stopped has got much for what it fetched.
    """

    def key(card: ModelCard) -> tuple[bool, float]:
        need, value = costs.download_bytes(card), prior.get(card.id, 0.0)
        if need == 0:
            return False, -value
        return True, -(value - _BYTES_WEIGHT * math.log(need or _TYPICAL_BYTES))

    return sorted(cards, key=key)  # stable: equal ones stay in their order


def _can_ask() -> bool:
    """Whether a person sits before this command; a program that calls the library is not asked."""
    return in_command() and sys.stdin.isatty() and sys.stderr.isatty()


def _as_size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):,.1f} MB"


def _as_time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
