"""How sure a score's value is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selection.evidence import Evidence, Floats, Ints
from selection.scores.score import Score

BOOTSTRAPS = 1_000
SUBSAMPLES = 20


@dataclass(frozen=True)
class Interval:
    """``low <= value <= high``, in the unit of the value."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether zero lies outside: of a difference, whether it can be called."""
        return self.low > 0 or self.high < 0


def interval(
    score: Score,
    evidence: Evidence,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int | None = None,
) -> Interval:
    """The score's value on ``evidence`` and the interval that other probes of the same size would
    mostly fall in.

    Scores with terms: percentiles of a bootstrap of the terms within each class (``draws``, default
    1,000). Others: the score on halves of each class drawn without replacement (default 20), never
    on resamples with copies; a half varies about the whole as the whole does about the truth, hence
    no rescaling but for odd counts, and the mean of the halves, which is biased by their size, is
    moved onto the value. Raises what the score raises, and ``ValueError`` where so few samples come
    that none can be left out.
    """
    value, moved = _replicates(score, evidence, rng, draws)
    return _interval(value, moved, level, percentiles=score.terms is not None)


def compare(
    score: Score,
    first: Evidence,
    second: Evidence,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int | None = None,
) -> Interval:
    """The difference ``score(first) - score(second)`` of two teachers on the same probe, resampled
    in pairs.

    ``not compare(...).decided`` means too close to call.
    """
    if not np.array_equal(first.labels, second.labels):
        raise ValueError("the two teachers were not read on the same probe: their labels differ")
    seed = int(rng.integers(2**63))
    one, moved_one = _replicates(score, first, np.random.default_rng(seed), draws)
    two, moved_two = _replicates(score, second, np.random.default_rng(seed), draws)
    return _interval(one - two, moved_one - moved_two, level, percentiles=score.terms is not None)


def difference(
    first_terms: Floats,
    second_terms: Floats,
    labels: Ints,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = BOOTSTRAPS,
) -> Interval:
    """The mean of ``first_terms - second_terms`` (n,), paired by sample, bootstrapped within each
    class.
    """
    terms = np.asarray(first_terms, dtype=np.float64) - np.asarray(second_terms, dtype=np.float64)
    return _interval(
        float(terms.mean()), _bootstrap(terms, labels, rng, draws), level, percentiles=True
    )


def _replicates(
    score: Score, evidence: Evidence, rng: np.random.Generator, draws: int | None
) -> tuple[float, Floats]:
    known = evidence.labelled()
    if score.terms is not None:
        terms = np.asarray(score.terms(known), dtype=np.float64)
        return float(terms.mean()), _bootstrap(terms, known.labels, rng, draws or BOOTSTRAPS)
    value = score.value(known)
    return value, _halves(score, known, rng, draws or SUBSAMPLES)


def _bootstrap(terms: Floats, labels: Ints, rng: np.random.Generator, draws: int) -> Floats:
    """(draws,) means of resampled terms minus the mean, each class keeping its size."""
    total = np.zeros(draws)
    for label in np.unique(labels):
        own = terms[labels == label]
        total += own[rng.integers(0, len(own), (draws, len(own)))].sum(axis=1)
    moved: Floats = total / len(terms) - terms.mean()
    return moved


def _halves(score: Score, evidence: Evidence, rng: np.random.Generator, draws: int) -> Floats:
    """(draws,) values on half of each class, centred, scaled to the spread of the whole probe's
    value.
    """
    groups = [np.flatnonzero(evidence.labels == label) for label in np.unique(evidence.labels)]
    sizes = [max(2, len(group) // 2) for group in groups]
    kept, whole = sum(sizes), len(evidence.labels)
    if kept == whole:
        raise ValueError(
            f"{whole} samples of {len(groups)} classes are too few to leave any out, so no interval"
        )
    values = []
    for _ in range(draws):
        rows = [
            rng.choice(group, size, replace=False)
            for group, size in zip(groups, sizes, strict=True)
        ]
        values.append(score.value(evidence.at(np.sort(np.concatenate(rows)))))
    moved: Floats = (np.array(values) - np.mean(values)) * np.sqrt(kept / (whole - kept))
    return moved


def _interval(value: float, moved: Floats, level: float, *, percentiles: bool) -> Interval:
    if percentiles:
        low, high = np.quantile(moved, [(1 - level) / 2, (1 + level) / 2])
    else:  # too few draws for percentiles
        from scipy.stats import t

        high = float(t.ppf((1 + level) / 2, len(moved) - 1) * moved.std(ddof=1))
        low = -high
    return Interval(value, value + min(float(low), 0.0), value + max(float(high), 0.0))
