"""A figure of a run: one number of ``results.json``, how sure it is, and how it is shown.

Shapes: n units (samples, or users), k terms of each unit, S seeds, m sides that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from selection.scores.interval import Interval, around
from selection.scores.resampled import Statistic, Terms, mean, resampled, statistic_interval

if TYPE_CHECKING:
    from selection.evidence import Ints
    from selection.task import Task

Entry = Mapping[str, Any]  # a split in results.json
TERMS = "terms"  # of an entry: figure -> one number a unit, None where there is none


def sample_count(entry: Entry) -> int:
    """How many samples an entry of ``results.json`` is of, which earlier versions called images."""
    for name in ("samples", "images"):
        if name in entry:
            return int(entry[name])
    return len(entry["labels"])


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a number says of the students of a kind of samples.

    Attributes
    ----------
    name : str
        In ``results.json``: ``ndcg``. Its interval is ``ndcg_low`` and ``ndcg_high``, its terms are
        ``terms.ndcg``.
    words : str
        In a sentence: ``NDCG@10``.
    head : str
        Above a column: ``NDCG@10``, ``balanced %``.
    meaning : str
        What it counts, of the samples of a split: ``right answers``.
    statistic : callable
        Terms (k, n) and weights of the units (n,), at least 0 -> the value.
    read : callable, optional
        The entry of a split -> its terms (k, n), NaN where a unit has none; None where the entry
        does not hold them. Default: its ``terms``.
    bounds : pair of str, optional
        What the ends of the interval are called in ``results.json``.
    higher_is_better : bool
        False of an error.
    percent : bool
        Whether a value is a share, shown in per cent and its changes in points.
    digits : int
        Behind the point, as it is shown.
    by_class : bool
        Whether every class counts alike, so that a class without samples leaves it unknown.
    chance : callable, optional
        The number of classes -> the value of guessing.
    units : str
        What the terms belong to where these are not the samples: ``users``.
    """

    name: str
    words: str
    head: str
    meaning: str
    statistic: Statistic = mean
    read: Callable[[Entry], Terms | None] | None = None
    bounds: tuple[str, str] | None = None
    higher_is_better: bool = True
    percent: bool = False
    digits: int = 3
    by_class: bool = False
    chance: Callable[[int], float] | None = None
    units: str = ""

    # --- what an entry says

    def terms(self, entry: Entry) -> Terms | None:
        """(k, n) of the split; None where the entry does not hold them."""
        if self.read is not None:
            return self.read(entry)
        kept = entry.get(TERMS, {}).get(self.name)
        return None if kept is None else np.asarray(kept, dtype=np.float64).reshape(1, -1)

    def known(self, entry: Entry) -> bool:
        """Whether the entry tells the figure."""
        if entry.get(self.name) is not None:
            return True
        terms = self.terms(entry)
        return terms is not None and _any_known(terms)

    def value(self, entry: Entry) -> float:
        """The figure of a split, as it was kept, or from its terms. ``ValueError`` without any."""
        kept = entry.get(self.name)
        return self.value_of(self._needed(entry)) if kept is None else float(kept)

    def interval(self, entry: Entry) -> Interval:
        """The figure with its 95 % interval over other units. ``ValueError`` without any."""
        kept = [entry.get(name) for name in (self.name, *self._bounds)]
        if None in kept:
            return self.interval_of(self._needed(entry))
        return Interval(*map(float, kept))  # type: ignore[arg-type]

    def count(self, entry: Entry) -> int:
        """How many units it is counted from."""
        terms = self.terms(entry) if self.units else None
        if terms is None:
            return sample_count(entry)
        return int(np.isfinite(terms).all(axis=0).sum())

    def kept(self, entry: Entry) -> dict[str, float]:
        """Value and interval as ``results.json`` names them; empty where the entry has no terms."""
        terms = self.terms(entry)
        if terms is None or not _any_known(terms):
            return {}
        return self.named(self.interval_of(terms))

    def named(self, interval: Interval) -> dict[str, float]:
        """An interval as ``results.json`` names its value and its ends."""
        ends = (interval.value, interval.low, interval.high)
        return dict(zip((self.name, *self._bounds), ends, strict=True))

    def improvement(self, students: Sequence[Entry], plain: Sequence[Entry]) -> Interval:
        """How much better ``students`` are, positive is better; one entry a seed, in pairs.

        Units and seeds are both resampled, so the interval holds for other units and other seeds;
        with one seed for other units only. ``ValueError`` where the two are not paired.
        """
        return self.improvement_of(self._all(students), self._all(plain))

    def recovered(
        self, students: Sequence[Entry], plain: Sequence[Entry], teacher: Entry
    ) -> Interval | None:
        """(student - plain) / (teacher - plain): the share of the gap that distillation closed.

        None unless the teacher's lead over plain has an interval above zero: the quotient would
        mean nothing.
        """
        return self.recovered_of(self._all(students), self._all(plain), self._needed(teacher))

    # --- what terms come to; a figure may have its own way

    def value_of(self, terms: Terms) -> float:
        """The figure of one run."""
        return float(resampled(self.statistic, [[terms]], draws=0).values[0])

    def interval_of(self, terms: Terms) -> Interval:
        """The figure of one run, the units reweighed."""
        return statistic_interval(self.statistic, terms)

    def improvement_of(self, first: Sequence[Terms], second: Sequence[Terms]) -> Interval:
        """One entry a seed on both sides, in pairs."""
        values, draws = resampled(self.statistic, [first, second])
        sign = 1.0 if self.higher_is_better else -1.0
        difference = sign * (values[0] - values[1])
        return around(float(difference), sign * (draws[:, 0] - draws[:, 1]))

    def recovered_of(
        self, students: Sequence[Terms], plain: Sequence[Terms], teacher: Terms
    ) -> Interval | None:
        """See ``recovered``."""
        teachers = [teacher] * len(plain)
        if self.improvement_of(teachers, plain).low <= 0:
            return None
        values, draws = resampled(self.statistic, [students, plain, teachers])
        sign = 1.0 if self.higher_is_better else -1.0
        of_student, of_plain, of_teacher = sign * draws.T  # each (draws,)
        shares = (of_student - of_plain) / np.maximum(of_teacher - of_plain, 1e-9)
        of_student, of_plain, of_teacher = sign * values
        return around(float((of_student - of_plain) / (of_teacher - of_plain)), shares)

    def margin(self, value: float, task: Task) -> float | None:
        """Two standard errors of a validation ``value`` by the size of the split alone; None where
        that does not tell them.
        """
        return None

    def always(self, labels: Ints) -> tuple[int, float] | None:
        """The class that does best where it is always said, and the figure of saying it, for true
        classes (n,); None where that means nothing.
        """
        return None

    # --- how it is shown

    def number(self, value: float) -> str:
        """``88.0``, a share in per cent; ``0.934``."""
        return f"{100 * value if self.percent else value:.{self.digits}f}"

    def rounded(self, value: float) -> float:
        """As it is drawn: in per cent where it is a share, one digit more than a number has."""
        return round(100 * value if self.percent else value, self.digits + 1)

    def shown(self, value: float) -> str:
        """``88.0 %``; ``0.934``."""
        return f"{self.number(value)}{self.unit}"

    def text(self, interval: Interval, *, sign: bool = False) -> str:
        """``88.0 (84.1 to 91.2)``, in per cent or points where it is a share."""
        plus = "+" if sign else ""
        value, low, high = (
            f"{100 * end if self.percent else end:{plus}.{self.digits}f}"
            for end in (interval.value, interval.low, interval.high)
        )
        return f"{value} ({low} to {high})"

    def ends(self, interval: Interval) -> str:
        """``84.1 to 91.2``."""
        return f"{self.number(interval.low)} to {self.number(interval.high)}"

    def sentence(self, interval: Interval) -> str:
        """``88.0 % (84.1 to 91.2)``."""
        value, ends = self.text(interval).split(" ", 1)
        return f"{value}{self.unit} {ends}"

    @property
    def title(self) -> str:
        """``words`` at the beginning of a heading."""
        return self.words[:1].upper() + self.words[1:]

    @property
    def short(self) -> str:
        """``head`` without its unit: ``balanced``, ``NDCG@10``."""
        return self.head.removesuffix("%").rstrip()

    @property
    def column(self) -> str:
        """Above a column beside that of another figure: ``balanced %``, ``accuracy %``."""
        return self.head if self.short else self.with_unit

    @property
    def with_unit(self) -> str:
        """What a column or an axis is called that stands alone: ``accuracy %``."""
        return f"{self.words}{self.unit}"

    @property
    def unit(self) -> str:
        """What stands behind a value, `` %`` or nothing."""
        return " %" if self.percent else ""

    def of_units(self, interval: Interval, count: int, units: str) -> str:
        """``NDCG@10 0.934 (0.921 to 0.947) of 943 users``."""
        return f"{self.words} {self.sentence(interval)} of {count} {units}"

    def on_test(self, interval: Interval, count: int, units: str) -> str:
        """How good a student is on the test split, as a sentence."""
        return (
            f"The {self.words} of the student is {self.shown(interval.value)} on the {count} test"
            f" {units}; on other {units} of this kind expect {self.number(interval.low)} to"
            f" {self.number(interval.high)}."
        )

    @property
    def change(self) -> str:
        """What a difference is called: ``points of balanced accuracy``."""
        return f"points of {self.words}" if self.percent else f"of {self.words}"

    # --- within

    @property
    def _bounds(self) -> tuple[str, str]:
        return self.bounds or (f"{self.name}_low", f"{self.name}_high")

    def _needed(self, entry: Entry) -> Terms:
        terms = self.terms(entry)
        if terms is None:
            raise ValueError(f"the run does not hold what its {self.words} is counted from")
        return terms

    def _all(self, entries: Sequence[Entry]) -> list[Terms]:
        return [self._needed(entry) for entry in entries]


def _any_known(terms: Terms) -> bool:
    """Whether a unit has all its terms (k, n)."""
    return bool(np.isfinite(terms).all(axis=0).any())
