"""What every score is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from selection.evidence import Evidence, Floats


class NotApplicable(ValueError):
    """This teacher lacks what the score needs (a head, label names); the message says which."""


@dataclass(frozen=True)
class Score:
    """A named score.

    ``value(evidence)`` is a finite float, higher is better; raises ``NotApplicable`` where the
    teacher lacks what it needs and ``ValueError`` where the probe is unfit (``Evidence.check``).
    ``terms(evidence)`` is (n,) over the labelled samples in order, with ``value == mean(terms)``,
    for scores that are such means (their intervals bootstrap the terms); ``None`` for the others
    (their intervals subsample the probe). ``needs`` names the fields of ``Evidence`` it reads
    beyond features, labels and classes. ``source`` cites paper and equation, and says what is ours.
    """

    name: str
    value: Callable[[Evidence], float]
    terms: Callable[[Evidence], Floats] | None
    needs: tuple[str, ...]
    source: str
