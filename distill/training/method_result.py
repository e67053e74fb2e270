"""The result of one method in a comparison, over its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selection.scores.interval import Interval


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method over its finished seeds.

    validation, test  figure -> its mean over the seeds on that split; empty without a finished seed
    by_class   (C,) the share of each class's test samples that is right; None without samples;
               empty where samples have no class
    deciding   on validation, the figure that decides which method is best
    lift       improvement of that figure on test over plain at the same seeds
    recovered  the closed share of the gap between plain and the best teacher, where there is a gap
    error      why the method cannot be run at all
    same_as    the method that is the same run here and stands for it
    """

    method: str
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    validation: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    by_class: tuple[float | None, ...] = ()
    deciding: float | None = None
    lift: Interval | None = None
    recovered: Interval | None = None
    error: str | None = None
    same_as: str | None = None

    @property
    def finished(self) -> bool:
        """Whether a seed is finished."""
        return bool(self.test)

    @property
    def reason(self) -> str | None:
        """Why there are no figures, where that will not change."""
        return f"the same run as {self.same_as} here" if self.same_as else self.error

    @property
    def state(self) -> str:
        """Why there are no figures, in two words."""
        return "same run" if self.same_as else "refused" if self.error else "missing"
