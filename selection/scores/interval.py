"""Intervals: how far a measured value would move on other samples, seeds or tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from selection.evidence import Evidence, Floats, Ints
    from selection.scores.score import Score

Hits = npt.NDArray[np.bool_]  # (n,) which samples were classified correctly

BOOTSTRAPS = 1_000  # draws of a bootstrap of terms
SUBSAMPLES = 20  # draws of half the probe, for scores that are no means
PAIRED_BOOTSTRAPS = 2_000  # draws over seeds and samples
TASK_BOOTSTRAPS = 10_000  # draws over tasks and seeds


@dataclass(frozen=True)
class Interval:
    """A value and the 95 % interval it lies in, ``low <= value <= high``, in the value's unit."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether zero lies outside: of a difference, whether it can be called."""
        return self.low > 0 or self.high < 0

    def times(self, factor: float) -> Interval:
        """The interval in another unit, ``factor`` > 0."""
        return Interval(factor * self.value, factor * self.low, factor * self.high)

    def as_points(self, *, sign: bool = False) -> str:
        """An interval of shares in [0, 1] as text, in per cent (of a difference: in points)."""
        plus = "+" if sign else ""
        value, low, high = 100 * self.value, 100 * self.low, 100 * self.high
        return f"{value:{plus}.1f} ({low:{plus}.1f} to {high:{plus}.1f})"


def around(value: float, draws: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """``value`` with the percentiles of its bootstrap ``draws`` (n,), widened to hold it."""
    shares = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(np.asarray(draws), shares).tolist()
    return Interval(value, min(low, value), max(high, value))


# --- scores of one teacher, and of two on the same probe


def score_interval(
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
    moved onto the value. Raises what the score raises, and ``ValueError`` if the samples are so few
    that none can be left out.
    """
    value, deviations = _replicates(score, evidence, rng, draws)
    return _interval_of(score, value, deviations, level)


def score_difference(
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

    ``not score_difference(...).decided`` means too close to call.
    """
    if not np.array_equal(first.labels, second.labels):
        raise ValueError("the two teachers were not read on the same probe: their labels differ")
    seed = int(rng.integers(2**63))
    values, deviations = [], []
    for evidence in (first, second):
        value, moved = _replicates(
            score,
            evidence,
            np.random.default_rng(seed),
            draws,
        )
        values.append(value)
        deviations.append(moved)
    difference = values[0] - values[1]
    return _interval_of(score, difference, deviations[0] - deviations[1], level)


def _replicates(
    score: Score,
    evidence: Evidence,
    rng: np.random.Generator,
    draws: int | None,
) -> tuple[float, Floats]:
    """The value and (draws,) deviations from it of resampled probes."""
    labelled = evidence.labelled()
    if score.terms is not None:
        terms = np.asarray(score.terms(labelled), dtype=np.float64)
        resampled = _bootstrap_terms(terms, labelled.labels, rng, draws or BOOTSTRAPS)
        return float(terms.mean()), resampled
    value = score.value(labelled)
    return value, _subsample_halves(score, labelled, rng, draws or SUBSAMPLES)


def _bootstrap_terms(
    terms: Floats,
    labels: Ints,
    rng: np.random.Generator,
    draws: int,
) -> Floats:
    """(draws,) means of resampled terms minus the mean, each class keeping its size."""
    totals = np.zeros(draws)
    for label in np.unique(labels):
        of_class = terms[labels == label]
        totals += _drawn_again(of_class, draws, rng).sum(axis=1)
    deviations: Floats = totals / len(terms) - terms.mean()
    return deviations


def _subsample_halves(
    score: Score,
    evidence: Evidence,
    rng: np.random.Generator,
    draws: int,
) -> Floats:
    """(draws,) values on half of each class, centred, scaled to the spread of the whole probe's
    value.
    """
    labels = evidence.labels
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    sizes = [max(2, len(group) // 2) for group in groups]
    kept, whole = sum(sizes), len(labels)
    if kept == whole:
        raise ValueError(
            f"{whole} samples of {len(groups)} classes are too few to leave any out, so no interval"
        )
    values = np.empty(draws)
    for draw in range(draws):
        halves = []
        for group, size in zip(groups, sizes, strict=True):
            halves.append(rng.choice(group, size, replace=False))
        rows = np.sort(np.concatenate(halves))
        values[draw] = score.value(evidence.at(rows))
    scale = np.sqrt(kept / (whole - kept))
    deviations: Floats = scale * (values - values.mean())
    return deviations


def _interval_of(
    score: Score,
    value: float,
    deviations: Floats,
    level: float,
) -> Interval:
    if score.terms is not None:
        return around(value, value + deviations, level=level)
    from scipy.stats import t  # too few draws for percentiles

    spread = float(deviations.std(ddof=1))
    quantile = t.ppf((1 + level) / 2, df=len(deviations) - 1)
    reach = float(quantile) * spread
    return Interval(value, value - reach, value + reach)


# --- accuracies of students, over samples and seeds


def accuracy(hits: Hits) -> Interval:
    """The share of ``hits`` (n,) with Wilson's 95 % interval: how other samples would come out."""
    from scipy.stats import binomtest

    if not len(hits):
        raise ValueError("an accuracy needs at least one sample")
    right, count = int(np.sum(hits)), len(hits)
    share = right / count
    wilson = binomtest(right, count).proportion_ci(method="wilson")
    return around(share, [wilson.low, wilson.high], level=1.0)


def accuracy_difference(first: Sequence[Hits], second: Sequence[Hits]) -> Interval:
    """How much more often ``first`` is right than ``second``, on the same samples.

    One (n,) entry a seed on both sides, paired in order. Samples and seeds are both resampled, so
    the interval holds for other samples and other seeds; with one seed for other samples only.
    """
    minuend = np.asarray(first, dtype=float)  # (S, n)
    subtrahend = np.asarray(second, dtype=float)
    if minuend.shape != subtrahend.shape:
        raise ValueError(f"hits of shapes {minuend.shape} and {subtrahend.shape} are not paired")
    differences = minuend - subtrahend
    return around(float(differences.mean()), resampled_means(differences))


def gap_recovered(student: Sequence[Hits], plain: Sequence[Hits], teacher: Hits) -> Interval | None:
    """(student - plain) / (teacher - plain): the share of the gap that distillation closed.

    None unless the teacher's lead over plain has an interval above zero: the quotient would mean
    nothing.
    """
    if accuracy_difference([teacher] * len(plain), plain).low <= 0:
        return None
    triples = [(*pair, teacher) for pair in zip(student, plain, strict=True)]
    hits = np.asarray(triples, dtype=float)  # (S, 3, n)
    of_student, of_plain, of_teacher = resampled_means(hits).T  # each (draws,)
    gaps = np.maximum(of_teacher - of_plain, 1e-9)
    draws = (of_student - of_plain) / gaps
    of_student, of_plain, of_teacher = hits.mean(axis=(0, 2))
    recovered = (of_student - of_plain) / (of_teacher - of_plain)
    return around(float(recovered), draws)


def resampled_means(
    values: Floats,
    *,
    seed: int = 0,
    draws: int = PAIRED_BOOTSTRAPS,
) -> npt.NDArray[np.float64]:
    """(draws, ...) means of ``values`` (S, ..., n), seeds and samples drawn again (a hierarchical
    bootstrap).
    """
    rng = np.random.default_rng(seed)
    seeds, samples = values.shape[0], values.shape[-1]
    means = np.empty((draws, *values.shape[1:-1]))
    for draw in range(draws):
        drawn_seeds = rng.integers(seeds, size=seeds)
        over_seeds = values[drawn_seeds].mean(axis=0)  # (..., n)
        drawn_samples = rng.integers(samples, size=samples)
        means[draw] = over_seeds[..., drawn_samples].mean(axis=-1)
    return means


# --- means over tasks


def mean_interval(values: Floats, *, draws: int = BOOTSTRAPS, seed: int = 0) -> Interval:
    """The mean of ``values`` (n,), which are drawn again."""
    rng = np.random.default_rng(seed)
    means = _drawn_again(values, draws, rng).mean(axis=1)
    return around(float(values.mean()), means)


def task_draws(
    values: Floats,
    *,
    draws: int = TASK_BOOTSTRAPS,
    seed: int = 0,
) -> tuple[float, Floats]:
    """The mean of ``values`` (T, S) (NaN: not measured) over seeds, then tasks, and (draws,) means
    with tasks drawn again, then seeds within each.
    """
    rng = np.random.default_rng(seed)
    over_seeds = []  # of each task, (draws,)
    task_means = []
    for row in np.atleast_2d(values):
        measured = row[np.isfinite(row)]
        if len(measured):
            over_seeds.append(_drawn_again(measured, draws, rng).mean(axis=1))
            task_means.append(measured.mean())
    table = np.stack(over_seeds)  # (T, draws)
    picks = rng.integers(0, len(table), (draws, len(table)))
    columns = np.arange(draws)[:, None]
    means = table[picks, columns].mean(axis=1)
    return float(np.mean(task_means)), means


def paired_task_draws(
    differences: Sequence[Sequence[Floats]],
    *,
    draws: int = PAIRED_BOOTSTRAPS,
    seed: int = 0,
) -> tuple[float, Floats]:
    """The mean of ``differences`` [task][seed] (n,) between two choices on the same samples, and
    (draws,) means with tasks, seeds and samples drawn again.
    """
    rng = np.random.default_rng(seed)
    over_seeds = []  # of each task, (draws,)
    task_means = []
    for task in differences:
        over_samples = []  # of each seed, (draws,)
        seed_means = []
        for difference in task:
            mean = difference.mean()
            error = difference.std() / np.sqrt(len(difference))
            # The mean of many resampled samples is normal.
            over_samples.append(mean + error * rng.normal(size=draws))
            seed_means.append(mean)
        over_seeds.append(_mean_of_resampled(np.stack(over_samples), rng))
        task_means.append(np.mean(seed_means))
    means = _mean_of_resampled(np.stack(over_seeds), rng)
    return float(np.mean(task_means)), means


def _drawn_again(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, n) samples of ``values`` (n,), each as large as they are, with replacement."""
    picks = rng.integers(0, len(values), (draws, len(values)))
    drawn: Floats = values[picks]
    return drawn


def _mean_of_resampled(table: Floats, rng: np.random.Generator) -> Floats:
    """(draws,) means of the rows of ``table`` (n, draws), drawn again for each draw."""
    count, draws = table.shape
    picks = rng.integers(count, size=(count, draws))
    means: Floats = table[picks, np.arange(draws)].mean(axis=0)
    return means
