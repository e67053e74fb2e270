"""Every score, baseline and fusion on tasks that it has not learned from, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from benchmarks.truth.choices import part_regret
from benchmarks.truth.teachers import TeacherFacts
from benchmarks.truth.truths import Floats, Truths, known_mean, standardise

LEARNED = ("static_prior", "metadata_ridge")  # know the truth of other groups of tasks
BASELINES = ("random", "model_size", *LEARNED, "knn", "logme")
# The parts of fusions, up to three at once
FUSED = ("transport_images_relative", "linear_probe", "knn", "logme", *LEARNED)
RIDGE = 3.0

Rules = Mapping[str, Callable[[str], bool]]  # name -> whether it may choose a candidate


def static_prior(known: Truths) -> Floats:
    """(M,) mean standardised accuracy of each teacher on the tasks of ``known``; 0 for a teacher
    that has none.
    """
    over_seeds = known_mean(known.truth, axis=1)  # (T, M)
    return np.nan_to_num(known_mean(standardise(over_seeds), axis=0))


def metadata(teachers: Sequence[TeacherFacts]) -> Floats:
    """(M, F) the card in numbers: size, classes, width, input, and which family and training
    data.
    """
    from sklearn.preprocessing import MultiLabelBinarizer

    sizes = [[t.parameters, t.classes + 1, t.width, t.pixels] for t in teachers]
    numbers = standardise(np.log10(sizes).T).T
    words = MultiLabelBinarizer().fit_transform([teacher.words for teacher in teachers])
    table = np.hstack([numbers, words])
    return np.asarray(table - table.mean(axis=0))


def metadata_ridge(known: Truths) -> Floats:
    """(M,) standardised accuracy that a ridge predicts from the cards' metadata, fitted on the
    tasks of ``known``.
    """
    from sklearn.linear_model import Ridge

    table = metadata(known.teachers)
    cells = np.isfinite(known.truth).sum(axis=(0, 1))  # (M,)
    standard = np.nan_to_num(standardise(known.truth))  # (T, S, M)
    target = standard.sum(axis=(0, 1)) / np.maximum(cells, 1)
    ridge = Ridge(alpha=RIDGE * len(known.tasks), fit_intercept=False)
    ridge.fit(table, target, sample_weight=cells)
    return np.asarray(ridge.predict(table))


def candidates(known: Truths, held_out: Truths) -> dict[str, Floats]:
    """Every score, baseline and fusion on the tasks of ``held_out``, (T, S, M), NaN where there is
    no truth; learned on ``known``.
    """
    shape = held_out.truth.shape
    size = np.log10([teacher.parameters for teacher in held_out.teachers])
    singles = dict(held_out.scores) | {
        "random": np.zeros(shape),
        "model_size": np.broadcast_to(size, shape),
        "static_prior": np.broadcast_to(static_prior(known), shape),
        "metadata_ridge": np.broadcast_to(metadata_ridge(known), shape),
    }
    measured = np.isfinite(held_out.truth)
    tables = {name: np.where(measured, table, np.nan) for name, table in singles.items()}
    parts = {n: np.nan_to_num(standardise(tables[n])) for n in FUSED if n in tables}
    for count in (2, 3):
        for names in combinations(parts, count):
            tables[" + ".join(names)] = np.sum([parts[name] for name in names], axis=0)
    return tables


@dataclass(frozen=True, eq=False)
class NestedChoice:
    """What each candidate and each rule gives on tasks that it has not seen.

    tables   candidate or rule -> (T, S, M)
    choices  rule -> group -> the candidate that was chosen on the other groups
    """

    tables: Mapping[str, Floats]
    choices: Mapping[str, Mapping[str, str]]

    def picked(self, name: str) -> dict[str, object]:
        """The candidates that a rule chose, as a setting of its records."""
        return {"picked": sorted(set(self.choices[name].values()))} if name in self.choices else {}


def nested_choice(truths: Truths, rules: Rules) -> NestedChoice:
    """Every candidate on every task, learned without the task's group, and for each of ``rules``
    the best that it allows.

    The best is chosen on the other groups; there, too, each group is judged by what was learned on
    the rest, so a task has no part in how it is judged. Values on fewer images (NAME@IMAGES) are
    never chosen.
    """
    tables: dict[str, Floats] = {}
    choices: dict[str, dict[str, str]] = {rule: {} for rule in rules}
    for group in dict.fromkeys(truths.groups):
        rows, others = truths.of_group(group), truths.without_group(group)
        here = candidates(others, truths.at_tasks(rows))
        regret = held_out_regret(others)
        for rule, allows in rules.items():
            allowed = [name for name in regret if "@" not in name and allows(name)]
            choices[rule][group] = min(allowed, key=lambda name: regret[name])
            here[rule] = here[choices[rule][group]]
        for name, table in here.items():
            tables.setdefault(name, np.full(truths.truth.shape, np.nan))[rows] = table
    return NestedChoice(tables, choices)


def held_out_regret(truths: Truths) -> dict[str, float]:
    """Mean regret@1 in points of each candidate, in part zoos, each group left out of the learning
    in turn.
    """
    total: dict[str, float] = {}
    for group in dict.fromkeys(truths.groups):
        held_out = truths.at_tasks(truths.of_group(group))
        tables = candidates(truths.without_group(group), held_out)
        regret = part_regret(held_out, np.stack(list(tables.values())))  # (candidates, T, S)
        for name, values in zip(tables, regret, strict=True):
            mean = float(np.nanmean(values))
            total[name] = total.get(name, 0.0) + len(held_out.tasks) * mean / len(truths.tasks)
    return total
