"""Scores held to the truth: every score and baseline on tasks it was not chosen on, and the choice
of the default among them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measures import MEASURES, Estimate, choice, over_tasks, paired
from benchmarks.truth.scores import Values
from benchmarks.truth.table import NONE, Cell, hits_of
from benchmarks.truth.targets import TARGETS
from benchmarks.truth.teachers import Described

Floats = npt.NDArray[np.floating]
LEARNED = ("static_prior", "metadata_ridge")  # know the truth of other groups of tasks
BASELINES = ("random", "model_size", *LEARNED, "knn", "logme")
FUSED = (
    "transport_images_relative",
    "linear_probe",
    "knn",
    "logme",
    *LEARNED,
)  # what fusions are made of, up to three at once
RIDGE = 3.0
ZOO, ZOOS = 8, 100  # teachers of a part zoo, and how many of these are drawn a task and seed


@dataclass(frozen=True, eq=False)
class Truths:
    """A complete part of the truth table: tasks (T), their groups, seeds (S), teachers (M).

    truth   (T, S, M) accuracy, NaN where the teacher was trained on the task's images or the cell is missing
    plain   (T, S) accuracy of the student without a teacher
    scores  name -> (T, S, M), NaN where a score does not apply
    """  # noqa: E501

    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    seeds: tuple[int, ...]
    teachers: tuple[Described, ...]
    truth: Floats
    plain: Floats
    scores: Mapping[str, Floats]
    cells: Mapping[tuple[str, int, str], Cell]

    @classmethod
    def of(
        cls, cells: Sequence[Cell], values: Values, teachers: Sequence[Described], *, protocol: str
    ) -> Truths:
        """A task counts where all teachers that may teach it have been measured and scored; a
        teacher counts that has a cell.
        """
        mine = {
            (c.task, c.seed, c.teacher): c for c in cells if c.protocol == protocol and not c.rule
        }
        tasks = tuple(
            t for t in TARGETS if any(task == t and teacher != NONE for task, _, teacher in mine)
        )
        seeds = tuple(sorted({seed for _, seed, _ in mine}))
        kept = tuple(one for one in teachers if any(teacher == one.id for _, _, teacher in mine))
        shape = (len(tasks), len(seeds), len(kept))
        truth, plain = np.full(shape, np.nan), np.full(shape[:2], np.nan)
        names = sorted({name for found in values.values() for name in found})
        scores = {name: np.full(shape, np.nan) for name in names}
        for t, task in enumerate(tasks):
            for s, seed in enumerate(seeds):
                if (task, seed, NONE) in mine:
                    plain[t, s] = mine[task, seed, NONE].accuracy
                for m, one in enumerate(kept):
                    if (task, seed, one.id) in mine:
                        truth[t, s, m] = mine[task, seed, one.id].accuracy
                    for name, value in values.get((task, seed, one.id), {}).items():
                        scores[name][t, s, m] = value
                if any(
                    ((task, seed, one.id) in mine) != ((task, seed, one.id) in values)
                    for one in kept
                ):
                    truth[t, s], plain[t, s] = (
                        np.nan,
                        np.nan,
                    )  # not complete yet: the best teacher may be missing
        complete = [t for t in range(len(tasks)) if np.isfinite(truth[t]).any()]
        tasks, truth, plain = tuple(tasks[t] for t in complete), truth[complete], plain[complete]
        scores = {
            name: table[complete]
            for name, table in scores.items()
            if np.isfinite(table[complete]).any()
        }
        return cls(
            tasks, tuple(TARGETS[t].group for t in tasks), seeds, kept, truth, plain, scores, mine
        )

    def only(self, tasks: Sequence[int]) -> Truths:
        """The tasks of these numbers."""
        rows = list(tasks)
        return replace(
            self,
            tasks=tuple(self.tasks[t] for t in rows),
            groups=tuple(self.groups[t] for t in rows),
            truth=self.truth[rows],
            plain=self.plain[rows],
            scores={n: v[rows] for n, v in self.scores.items()},
        )

    def taught_by(self, teachers: Sequence[int]) -> Truths:
        """The teachers of these numbers."""
        rows = list(teachers)
        return replace(
            self,
            teachers=tuple(self.teachers[m] for m in rows),
            truth=self.truth[..., rows],
            scores={name: table[..., rows] for name, table in self.scores.items()},
        )

    def without(self, group: str) -> Truths:
        """The tasks of the other groups."""
        return self.only([t for t, one in enumerate(self.groups) if one != group])


def standard(values: Floats) -> Floats:
    """(..., M) with mean 0 and deviation 1 over the teachers that have a value; 0 for those
    without.
    """
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
    centred = np.where(
        known, values - np.where(known, values, 0).sum(axis=-1, keepdims=True) / count, 0
    )
    return np.asarray(
        centred / np.maximum(np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count), 1e-12)
    )


def known_mean(values: Floats, *, axis: int) -> Floats:
    """The mean of what is known along an axis, NaN where nothing is."""
    seen = np.isfinite(values)
    count = seen.sum(axis=axis)
    return np.asarray(
        np.where(count > 0, np.where(seen, values, 0).sum(axis=axis) / np.maximum(count, 1), np.nan)
    )


def static_prior(known: Truths) -> Floats:
    """(M,) mean standardised accuracy of each teacher on the tasks of ``known``; 0 for one that
    none of them has.
    """
    mean = known_mean(known.truth, axis=1)  # (T, M)
    seen = np.isfinite(mean)
    return np.asarray(
        np.where(seen, standard(mean), 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    )


def metadata(teachers: Sequence[Described]) -> Floats:
    """(M, F) what a card says: size, classes, width, input, and which family and training data."""
    numbers = np.log10(
        [[one.parameters, one.classes + 1, one.width, one.pixels] for one in teachers]
    )
    known = sorted({word for one in teachers for word in one.words})
    hot = [[float(word in one.words) for word in known] for one in teachers]
    table = np.concatenate([standard(numbers.T).T, np.array(hot)], axis=1)
    return np.asarray(table - table.mean(axis=0))


def metadata_ridge(known: Truths) -> Floats:
    """(M,) what a ridge from the cards' metadata to standardised accuracy predicts, fitted on the
    tasks of ``known``.
    """
    table = metadata(known.teachers)
    seen = np.isfinite(known.truth)
    target = standard(known.truth)
    weight = seen.sum(axis=(0, 1))  # cells a teacher
    mean = np.where(seen, target, 0).sum(axis=(0, 1)) / np.maximum(weight, 1)
    scatter = (table * weight[:, None]).T @ table + RIDGE * len(known.tasks) * np.eye(
        table.shape[1]
    )
    return np.asarray(table @ np.linalg.solve(scatter, (table * weight[:, None]).T @ mean))


def candidates(known: Truths, asked: Truths) -> dict[str, Floats]:
    """Every score, baseline and fusion on the tasks of ``asked``, (T, S, M); what is learned is
    learned on ``known``.
    """
    shape = asked.truth.shape
    size = np.log10([one.parameters for one in asked.teachers])
    singles = dict(asked.scores) | {
        "random": np.zeros(shape),
        "model_size": np.broadcast_to(size, shape),
        "static_prior": np.broadcast_to(static_prior(known), shape),
        "metadata_ridge": np.broadcast_to(metadata_ridge(known), shape),
    }
    masked = {
        name: np.where(np.isfinite(asked.truth), table, np.nan) for name, table in singles.items()
    }
    parts = [name for name in FUSED if name in masked]
    for count in (2, 3):
        for names in combinations(parts, count):
            masked[" + ".join(names)] = np.sum([standard(masked[name]) for name in names], axis=0)
    return masked


def measured(asked: Truths, table: Floats, measure: Callable[[Floats, Floats], float]) -> Floats:
    """(T, S) a measure of one score; NaN where no teacher of that task and seed has been
    measured.
    """
    return np.array(
        [
            [
                (
                    measure(asked.truth[t, s], table[t, s])
                    if np.isfinite(asked.truth[t, s]).any()
                    else np.nan
                )
                for s in range(len(asked.seeds))
            ]
            for t in range(len(asked.tasks))
        ]
    )


def part_zoos(able: npt.NDArray[np.bool_], *, seed: int) -> npt.NDArray[np.bool_]:
    """(ZOOS, M) which of the ``able`` (M,) teachers are in each of many smaller zoos of ``ZOO``,
    drawn by ``seed``.

    Other users have other models. In the whole zoo one strong teacher may hide how well the others
    are told apart.
    """
    rng = np.random.default_rng(seed)
    places = np.where(able, rng.random((ZOOS, len(able))), 2.0).argsort(axis=1).argsort(axis=1)
    return np.asarray((places < ZOO) & able)


def part_choices(truths: Truths, table: Floats, t: int, s: int) -> tuple[Floats, Floats]:
    """In each part zoo of one task and seed: the best truth (ZOOS,), and which teacher the score
    puts first, as an index.
    """
    truth = truths.truth[t, s]
    inside = part_zoos(np.isfinite(truth), seed=1000 * t + s)
    score = standard(np.where(np.isfinite(truth), table[t, s], np.nan))
    score = np.where(np.isfinite(table[t, s]), score, -1e3)
    jitter = 1e-6 * np.random.default_rng(t).random(inside.shape)  # ties fall at random
    return np.where(inside, truth, -np.inf).max(axis=1), np.where(
        inside, score + jitter, -np.inf
    ).argmax(axis=1)


def part_regret(truths: Truths, table: Floats) -> Floats:
    """(T, S) mean regret@1 in points over part zoos; NaN where nothing has been measured."""
    found = np.full(truths.truth.shape[:2], np.nan)
    for t, s in np.argwhere(np.isfinite(truths.truth).any(axis=2)):
        best, first = part_choices(truths, table, int(t), int(s))
        found[t, s] = 100 * float((best - truths.truth[t, s][first]).mean())
    return found


def criterion(asked: Truths, table: Floats) -> float:
    """What a score is chosen by, lower is better: mean regret@1 over tasks, seeds and part zoos, in
    points.
    """
    return float(np.nanmean(part_regret(asked, table)))


def outer(
    truths: Truths, rules: Mapping[str, Callable[[str], bool]]
) -> tuple[dict[str, Floats], dict[str, dict[str, str]]]:
    """Every candidate on every task, learned without the task's group, and for each of ``rules``
    the best that it allows.

    Values on fewer images (NAME@IMAGES) are never chosen. Returns the scores (T, S, M), and by rule
    and group which candidate was chosen on the other groups; there, too, each group was judged by
    what was learned on the rest, so a task has no part in how it is judged.
    """
    tables: dict[str, Floats] = {}
    chosen: dict[str, dict[str, str]] = {rule: {} for rule in rules}
    for group in dict.fromkeys(truths.groups):
        rows = [t for t, one in enumerate(truths.groups) if one == group]
        inside = truths.without(group)
        for name, table in candidates(inside, truths.only(rows)).items():
            tables.setdefault(name, np.full(truths.truth.shape, np.nan))[rows] = table
        judged: dict[str, list[tuple[int, float]]] = {}
        for other in dict.fromkeys(inside.groups):
            asked = inside.only([t for t, one in enumerate(inside.groups) if one == other])
            for name, table in candidates(inside.without(other), asked).items():
                judged.setdefault(name, []).append((len(asked.tasks), criterion(asked, table)))
        mean = {
            name: sum(n * value for n, value in found) / sum(n for n, _ in found)
            for name, found in judged.items()
            if "@" not in name
        }
        for rule, allowed in rules.items():
            chosen[rule][group] = min(filter(allowed, mean), key=lambda name: mean[name])
            tables.setdefault(rule, np.full(truths.truth.shape, np.nan))[rows] = tables[
                chosen[rule][group]
            ][rows]
    return tables, chosen


def denoised_regret(truths: Truths, table: Floats) -> Floats:
    """(T, S) regret@1 in points against an oracle that knows the other seeds only, so that luck
    flatters neither side.

    It may be negative. NaN with one seed.
    """
    found = np.full(truths.truth.shape[:2], np.nan)
    for t in range(len(truths.tasks)):
        for s in range(len(truths.seeds)):
            others = [
                o
                for o in range(len(truths.seeds))
                if o != s and np.isfinite(truths.truth[t, o]).any()
            ]
            own = truths.truth[t, s]
            if others and np.isfinite(own).any():
                oracle = np.where(np.isfinite(own), truths.truth[t, others].mean(axis=0), np.nan)
                found[t, s] = 100 * (choice(own, oracle) - choice(own, table[t, s]))
    return found


def chosen_hits(
    truths: Truths, table: Floats, home: Path, *, parts: bool = False
) -> list[list[Floats]]:
    """[task][seed] -> (n,) how right the student of the first choice was on each image, of all
    teachers or over part zoos.

    Where this machine has not made a cell, which images it got right is drawn: right in number,
    unpaired.
    """
    found = []
    for t, task in enumerate(truths.tasks):
        seeds = []
        for s, seed in enumerate(truths.seeds):
            own = truths.truth[t, s]
            if not np.isfinite(own).any():
                continue
            if parts:
                shares = (
                    np.bincount(part_choices(truths, table, t, s)[1], minlength=len(own)) / ZOOS
                )
            else:
                value = np.where(np.isfinite(own) & np.isfinite(table[t, s]), table[t, s], -np.inf)
                shares = np.isfinite(own) & (value == value.max())
                shares = shares / shares.sum()
            seeds.append(
                np.sum(
                    [
                        shares[m] * _hits(truths.cells[task, seed, truths.teachers[m].id], home)
                        for m in np.flatnonzero(shares)
                    ],
                    axis=0,
                )
            )
        found.append(seeds)
    return found


@cache
def _hits(cell: Cell, home: Path) -> Floats:
    stored = hits_of(home, cell)
    if stored is not None:
        return stored.astype(np.float32)
    rng = np.random.default_rng(zlib.crc32(repr(cell.key).encode()))
    return rng.permutation(np.arange(cell.n) < round(cell.accuracy * cell.n)).astype(np.float32)


def against(
    truths: Truths,
    tables: Mapping[str, Floats],
    first: str,
    second: str,
    home: Path,
    *,
    parts: bool = False,
) -> Estimate:
    """By how many points of accuracy the choice of ``first`` beats that of ``second``: paired,
    hierarchical.
    """
    found = paired(
        *(chosen_hits(truths, tables[name], home, parts=parts) for name in (first, second))
    )
    return Estimate(100 * found.value, 100 * found.low, 100 * found.high, found.below)


def stakes(truths: Truths) -> list[tuple[str, float, float, float, float]]:
    """How much the choice matters: (task, plain, best, median, worst) accuracy in points, means
    over seeds.
    """
    mean = known_mean(truths.truth, axis=1)
    return [
        (
            task,
            100 * float(np.nanmean(truths.plain[t])),
            100 * float(np.nanmax(mean[t])),
            100 * float(np.nanmedian(mean[t])),
            100 * float(np.nanmin(mean[t])),
        )
        for t, task in enumerate(truths.tasks)
    ]


def summary(
    truths: Truths, tables: Mapping[str, Floats], names: Sequence[str]
) -> dict[str, dict[str, Estimate]]:
    """Every measure of every score of ``names``, with intervals over tasks and seeds."""
    found = {
        name: {
            key: over_tasks(measured(truths, tables[name], measure))
            for key, measure in MEASURES.items()
        }
        for name in names
    }
    for name in names:
        found[name]["part_regret@1"] = over_tasks(part_regret(truths, tables[name]))
        if len(truths.seeds) > 1:
            found[name]["denoised_regret@1"] = over_tasks(denoised_regret(truths, tables[name]))
    return found
