"""The result of one method in a comparison, over its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selection.scores.interval import Interval

COLUMNS = (
    "method",
    "seeds",
    "validation %",
    "test %",
    "balanced %",
    "lift, points",
    "gap recovered %",
)


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method over its finished seeds, in shares of the test split.

    balanced   balanced accuracy on the test split
    by_class   (C,) the share of each class's test images that is right; None without images
    deciding   on validation, the figure that decides which method is best
    lift       over plain at the same seeds
    recovered  the closed share of the gap between plain and the best teacher, where there is a gap
    error      why the method cannot be run at all
    same_as    the method that is the same run here and stands for it
    """

    method: str
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    validation: float | None = None
    test: float | None = None
    balanced: float | None = None
    by_class: tuple[float | None, ...] = ()
    deciding: float | None = None
    lift: Interval | None = None
    recovered: Interval | None = None
    error: str | None = None
    same_as: str | None = None

    @property
    def reason(self) -> str | None:
        """Why there are no figures, where that will not change."""
        return f"the same run as {self.same_as} here" if self.same_as else self.error


def figures_of(line: MethodResult) -> list[str]:
    """The cells of a method's row after its name (``COLUMNS``), as text."""
    seeds = f"{len(line.seeds)} of {len(line.seeds) + len(line.missing)}"
    if line.test is None:
        state = "same run" if line.same_as else "refused" if line.error else "missing"
        return ["" if line.same_as else seeds, state, "", "", "", ""]
    closed = line.recovered.as_points() if line.recovered else "no gap" if line.lift else ""
    return [
        seeds,
        f"{100 * (line.validation or 0):.1f}",
        f"{100 * line.test:.1f}",
        f"{100 * (line.balanced or 0):.1f}",
        line.lift.as_points(sign=True) if line.lift else "",
        closed,
    ]
