"""What every score is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from selection.evidence import Evidence, Floats


class NotApplicable(ValueError):
    """This teacher lacks what the score needs (a head, label names); the message says which."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A named score: how much one teacher's outputs on a probe say about the task's labels.

    Parameters
    ----------
    name : str
        The name in the registry, in the option ``--score`` and in records.
    meaning : str
        What a value says, in one sentence for the reader of a ranking.
    source : str
        Paper and equation, and what of it is ours.
    value : callable
        ``Evidence -> float``, finite, higher is better. Raises `NotApplicable` if the teacher lacks
        what the score needs, and ``ValueError`` if the probe is unfit (see `Evidence.check`).
    terms : callable, optional
        ``Evidence -> (n,)`` over the labelled samples in order, with ``value == mean(terms)``.
        Given for scores that are such means: their intervals bootstrap the terms. The intervals of
        the others subsample the probe.
    needs : tuple of str
        The fields of `Evidence` it reads beyond features, labels and classes.
    """

    name: str
    meaning: str
    source: str
    value: Callable[[Evidence], float]
    terms: Callable[[Evidence], Floats] | None = None
    needs: tuple[str, ...] = ()

    @classmethod
    def mean_of(
        cls,
        terms: Callable[[Evidence], Floats],
        *,
        name: str,
        meaning: str,
        source: str,
        needs: tuple[str, ...] = (),
    ) -> Score:
        """The score that is the mean of ``terms`` over the labelled samples."""
        return cls(
            name=name,
            meaning=meaning,
            source=source,
            value=lambda evidence: float(terms(evidence).mean()),
            terms=terms,
            needs=needs,
        )
