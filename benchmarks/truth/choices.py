"""What the choice of a teacher by a score is worth: alone, in smaller zoos, against another's."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures import MEASURES, Estimate, choice, over_tasks, paired
from benchmarks.truth.table import Cell, read_hits
from benchmarks.truth.truths import Floats, Truths, known_mean, standardise

PART_SIZE, PART_ZOOS = 8, 100  # teachers of a part zoo, and how many are drawn a task and seed
_LAST = -1e3  # the standardised value of a score that does not apply
Measure = Callable[[Floats, Floats], float]


def by_task(truths: Truths, table: Floats, measure: Measure) -> Floats:
    """(T, S) a measure of one score; NaN where no teacher has been measured."""
    values = np.full(truths.truth.shape[:2], np.nan)
    for t, s in truths.measured():
        values[t, s] = measure(truths.truth[t, s], table[t, s])
    return values


def part_zoos(able: npt.NDArray[np.bool_], *, seed: int) -> npt.NDArray[np.bool_]:
    """(PART_ZOOS, M) which of the ``able`` (M,) teachers are in each of many smaller zoos.

    Other users have other models. In the whole zoo one strong teacher may hide how well the others
    are told apart.
    """
    rng = np.random.default_rng(seed)
    draws = rng.random((PART_ZOOS, len(able)))
    order = np.where(able, draws, 2.0).argsort(axis=1)
    places = order.argsort(axis=1)
    return np.asarray((places < PART_SIZE) & able)


def part_choices(
    truths: Truths, scores: Floats, t: int, s: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """In each part zoo of one task and seed: the best truth (PART_ZOOS,), and the number of the
    teacher that each of ``scores`` (..., M) puts first (..., PART_ZOOS).
    """
    truth = truths.truth[t, s]
    inside = part_zoos(np.isfinite(truth), seed=1000 * t + s)
    standard = standardise(np.where(np.isfinite(truth), scores, np.nan))
    value = np.where(np.isfinite(scores), np.nan_to_num(standard), _LAST)
    jitter = 1e-6 * np.random.default_rng(t).random(inside.shape)  # ties fall at random
    in_zoo = np.where(inside, value[..., None, :] + jitter, -np.inf)
    best = np.where(inside, truth, -np.inf).max(axis=1)
    return best, in_zoo.argmax(axis=-1)


def part_regret(truths: Truths, scores: Floats) -> Floats:
    """(..., T, S) mean regret@1 in points over part zoos of ``scores`` (..., T, S, M); NaN where
    nothing has been measured.
    """
    regret = np.full(scores.shape[:-1], np.nan)
    for t, s in truths.measured():
        best, first = part_choices(
            truths,
            scores[..., t, s, :],
            t,
            s,
        )
        regret[..., t, s] = 100 * (best - truths.truth[t, s][first]).mean(axis=-1)
    return regret


def denoised_regret(truths: Truths, table: Floats) -> Floats:
    """(T, S) regret@1 in points against an oracle that knows the other seeds only, so that luck
    flatters neither side.

    It may be negative. NaN with one seed.
    """
    regret = np.full(truths.truth.shape[:2], np.nan)
    measured = truths.measured()
    for t, s in measured:
        others = [seed for task, seed in measured if task == t and seed != s]
        if others:
            truth = truths.truth[t, s]
            elsewhere = truths.truth[t, others].mean(axis=0)
            oracle = np.where(np.isfinite(truth), elsewhere, np.nan)
            best, chosen = choice(truth, oracle), choice(truth, table[t, s])
            regret[t, s] = 100 * (best - chosen)
    return regret


def measures_of(truths: Truths, table: Floats) -> dict[str, Estimate]:
    """Every measure of one score, with intervals over tasks and seeds."""
    values = {key: by_task(truths, table, measure) for key, measure in MEASURES.items()}
    values["part_regret@1"] = part_regret(truths, table)
    if len(truths.seeds) > 1:
        values["denoised_regret@1"] = denoised_regret(truths, table)
    return {key: over_tasks(value) for key, value in values.items()}


def stakes(truths: Truths) -> list[dict[str, float]]:
    """How much the choice matters, by task: accuracy in points ``without`` a teacher, and of the
    ``worst``, ``median`` and ``best``; means over seeds.
    """
    mean = known_mean(truths.truth, axis=1)
    return [
        {
            "without": 100 * float(np.nanmean(truths.plain[t])),
            "worst": 100 * float(np.nanmin(mean[t])),
            "median": 100 * float(np.nanmedian(mean[t])),
            "best": 100 * float(np.nanmax(mean[t])),
        }
        for t in range(len(truths.tasks))
    ]


# --- the choice of one score against that of another, on the same images


def compare_choices(
    truths: Truths,
    first: Floats,
    second: Floats,
    hits_folder: Path,
    *,
    in_parts: bool = False,
) -> Estimate:
    """By how many points of accuracy the choice of score ``first`` (T, S, M) beats that of
    ``second``: paired, hierarchical.

    ``in_parts``: the mean over part zoos, instead of the choice among all teachers.
    """
    hits = [
        chosen_hits(
            truths,
            table,
            hits_folder,
            in_parts,
        )
        for table in (first, second)
    ]
    difference = paired(*hits)
    return Estimate(
        100 * difference.value,
        100 * difference.low,
        100 * difference.high,
        difference.below,
    )


def chosen_hits(
    truths: Truths, table: Floats, hits_folder: Path, in_parts: bool
) -> list[list[Floats]]:
    """[task][seed] -> (n,) how right the student of the chosen teacher was on each image."""
    hits: list[list[Floats]] = [[] for _ in truths.tasks]
    for t, s in truths.measured():
        share_of = _part_shares if in_parts else _shares
        shares = share_of(truths, table, t, s)
        total: Floats = np.zeros(1)
        for m in np.flatnonzero(shares):
            cell = truths.cells[truths.tasks[t], truths.seeds[s], truths.teachers[m].id]
            total = total + shares[m] * _hits(cell, hits_folder)
        hits[t].append(total)
    return hits


def _shares(
    truths: Truths,
    table: Floats,
    t: int,
    s: int,
) -> Floats:
    """(M,) 1 for the teacher with the highest score; a share each for those that tie."""
    measured = np.isfinite(truths.truth[t, s])
    value = np.where(measured & np.isfinite(table[t, s]), table[t, s], -np.inf)
    first = measured & (value == value.max())
    return np.asarray(first / first.sum())


def _part_shares(
    truths: Truths,
    table: Floats,
    t: int,
    s: int,
) -> Floats:
    """(M,) in which share of the part zoos each teacher is chosen."""
    first = part_choices(
        truths,
        table[t, s],
        t,
        s,
    )[1]
    return np.asarray(np.bincount(first, minlength=len(truths.teachers)) / PART_ZOOS)


@cache
def _hits(cell: Cell, folder: Path) -> npt.NDArray[np.float32]:
    """(n,) which images the student named rightly.

    Where this machine has not made the cell they are drawn: right in number, unpaired.
    """
    stored = read_hits(folder, cell)
    if stored is not None:
        return stored.astype(np.float32)
    rng = np.random.default_rng(zlib.crc32(repr(cell.key).encode()))
    right = round(cell.accuracy * cell.n)
    drawn = rng.permutation(np.arange(cell.n) < right)
    return drawn.astype(np.float32)


def on_few_images(tables: Mapping[str, Floats], name: str, images: int) -> Floats:
    """(T, S, M) a score's values on so many images a class; a task that has no more than that gives
    all of its images.
    """
    few = tables.get(f"{name}@{images}")
    if few is None:
        return tables[name]
    return np.where(np.isfinite(few).any(axis=(1, 2), keepdims=True), few, tables[name])
