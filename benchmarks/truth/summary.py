"""The truth in figures: what ``benchmarks.run truth`` prints and keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measures import MEASURES, Estimate, choice, over_tasks
from benchmarks.record import BenchRecord
from benchmarks.truth.candidates import BASELINES, LEARNED, NestedChoice, Rules, nested_choice
from benchmarks.truth.choices import (
    PART_SIZE,
    by_task,
    compare_choices,
    measures_of,
    on_few_images,
    part_regret,
    stakes,
)
from benchmarks.truth.committees import RULES
from benchmarks.truth.scores import CURVE, FEWER
from benchmarks.truth.table import PROTOCOLS, SEEDS, Cell
from benchmarks.truth.targets import TARGETS
from benchmarks.truth.teachers import TeacherFacts
from benchmarks.truth.truths import Floats, Truths
from selection.scores.registry import SCORES, resolve

DEFAULT_SCORE = resolve().name
GENERAL = "imagenet-1k"
OVER_TASKS = "95 % bootstrap over tasks and seeds"
PAIRED = "95 % bootstrap over tasks, seeds and images, paired"
WHOLE_ZOO, PART_ZOO = "whole zoo", f"zoos of {PART_SIZE}"
MANY_IMAGES = 25  # labelled images a class: the tasks on which fewer images are compared
CHOSEN: Rules = {
    "chosen": lambda name: True,
    "chosen single score": lambda name: name in SCORES,
    "chosen without transport": lambda name: "transport" not in name,
    "chosen from the probe alone": lambda name: (
        not any(learned in name for learned in (*LEARNED, "model_size"))
    ),
}
COMPARED = [(DEFAULT_SCORE, other) for other in (*BASELINES, "linear_probe")]
COMPARED.append(("chosen", "chosen without transport"))


@dataclass(frozen=True, eq=False)
class ScoredTruths:
    """Truths, with every candidate on tasks that it has not seen."""

    truths: Truths
    nested: NestedChoice

    @classmethod
    def of(cls, truths: Truths) -> ScoredTruths:
        return cls(truths, nested_choice(truths, CHOSEN))

    @property
    def tables(self) -> Mapping[str, Floats]:
        return self.nested.tables

    def record(
        self,
        name: str,
        estimate: Estimate,
        setting: Mapping[str, object],
        *,
        spread: str = OVER_TASKS,
    ) -> BenchRecord:
        """One figure; its unit is points, but for those of order."""
        unitless = name.endswith(("weighted_tau", "ndcg@5"))
        return BenchRecord(
            name=f"truth.{name}",
            value=round(estimate.value, 4),
            low=round(estimate.low, 4),
            high=round(estimate.high, 4),
            unit="" if unitless else "points",
            spread=spread,
            setting=dict(setting),
            seeds=self.truths.seeds,
        )


def records(truths: Truths, cells: Sequence[Cell], hits_folder: Path) -> list[BenchRecord]:
    """Every measure of every score on the outer folds, the paired tests, the stakes, the
    committees; prints a table of them.
    """
    scored = ScoredTruths.of(truths)
    return [
        _setting(truths),
        *_scores(scored),
        *_against(scored, hits_folder),
        *_specialists(truths, hits_folder),
        *_stakes(scored),
        *_fewer_images(scored),
        *_committees(scored, cells),
    ]


def without_pool(truths: Truths) -> list[BenchRecord]:
    """The second protocol, labelled images alone, in few figures: how much the choice matters
    there, and what is lost by it.
    """
    scored = ScoredTruths.of(truths)
    common: dict[str, object] = {
        "protocol": "labels",
        "tasks": len(truths.tasks),
        "teachers": len(truths.teachers),
    }
    rows = []
    for name, key in (("median", "median"), ("none", "without")):
        leads = np.array([[task["best"] - task[key]] for task in stakes(truths)])
        rows.append(scored.record(f"labels.best_over_{name}", over_tasks(leads), common))
    for name in (DEFAULT_SCORE, *BASELINES, "linear_probe"):
        for key in ("regret@1", "weighted_tau"):
            estimate = over_tasks(by_task(truths, scored.tables[name], MEASURES[key]))
            rows.append(scored.record(f"labels.{name}.{key}", estimate, common | {"score": name}))
    for row in rows:
        print(f"{row.name:60s}{row.value:7.2f} ({row.low:.2f} to {row.high:.2f})")
    return rows


def missing(cells: Iterable[Cell], teachers: Sequence[TeacherFacts]) -> str:
    """How many students of single teachers the tables lack; a teacher trained on a task's classes
    is not lacking.
    """
    wanted = {(task, t.id) for task in TARGETS for t in teachers if task not in t.barred}
    made = {(cell.protocol, cell.seed, cell.task, cell.teacher) for cell in cells}
    parts = []
    for protocol in PROTOCOLS:
        for seed in SEEDS:
            lacking = [pair for pair in wanted if (protocol, seed, *pair) not in made]
            if lacking:
                parts.append(
                    f"{protocol}, seed {seed}: {len(lacking)} of {len(wanted)} students, in"
                    f" {len({task for task, _ in lacking})} tasks"
                )
    return "; ".join(parts)


def _size(truths: Truths) -> dict[str, object]:
    return {
        "tasks": len(truths.tasks),
        "teachers": len(truths.teachers),
        "groups": len(set(truths.groups)),
    }


def _setting(truths: Truths) -> BenchRecord:
    measured = truths.measured()
    seeds = [
        f"{seed}: {sum(number == s for _, number in measured)}"
        for s, seed in enumerate(truths.seeds)
    ]
    return BenchRecord(
        name="truth.setting",
        value=int(np.isfinite(truths.truth).sum()),
        unit="students",
        setting=_size(truths) | {"tasks with seed": ", ".join(seeds)},
        seeds=truths.seeds,
    )


def _scores(scored: ScoredTruths) -> list[BenchRecord]:
    singles = [name for name in SCORES if name in scored.tables]
    shown = ("part_regret@1", "regret@3", "weighted_tau", "ndcg@5")
    rows = []
    print(f"{'':40s}{'regret@1':>22s}{'in parts':>9s}{'regret@3':>9s}{'tau':>9s}{'ndcg@5':>9s}")
    for name in dict.fromkeys([DEFAULT_SCORE, *singles, *BASELINES, *CHOSEN]):
        measures = measures_of(scored.truths, scored.tables[name])
        regret = measures["regret@1"]
        others = "".join(f"{measures[key].value:9.3f}" for key in shown)
        print(f"{name:40s}{regret.value:6.2f} ({regret.low:5.2f} to {regret.high:5.2f}){others}")
        setting = _size(scored.truths) | {"score": name, "default": name == DEFAULT_SCORE}
        setting |= scored.nested.picked(name)
        rows += [
            scored.record(f"score.{name}.{key}", estimate, setting)
            for key, estimate in measures.items()
        ]
    return rows


def _against(scored: ScoredTruths, hits_folder: Path) -> list[BenchRecord]:
    """The choice of one score against that of another, also on fewer labelled images a class."""
    tables = dict(scored.tables)
    pairs = [*COMPARED, ("chosen", DEFAULT_SCORE)]
    for images in FEWER:
        on_few = {
            name: f"{name}, {images} images a class" for name in CURVE if name in scored.tables
        }
        for name, title in on_few.items():
            tables[title] = on_few_images(scored.tables, name, images)
        pairs += [(on_few[DEFAULT_SCORE], on_few[other]) for other in CURVE[1:]]
    rows = []
    for first, second in pairs:
        for zoo in (WHOLE_ZOO, PART_ZOO):
            difference = compare_choices(
                scored.truths,
                tables[first],
                tables[second],
                hits_folder,
                in_parts=zoo == PART_ZOO,
            )
            rows.append(_comparison(scored, first, second, difference, zoo))
    return rows


def _comparison(
    scored: ScoredTruths, first: str, second: str, difference: Estimate, zoo: str
) -> BenchRecord:
    print(
        f"{zoo}: {first} over {second}: {difference.value:+.2f} points ({difference.low:+.2f} to"
        f" {difference.high:+.2f})",
        flush=True,
    )
    return scored.record(
        f"against.{first}.{second}.{zoo.replace(' ', '_')}",
        difference,
        {"first": first, "second": second, "zoo": zoo, "below": round(difference.below, 4)},
        spread=PAIRED,
    )


def _specialists(truths: Truths, hits_folder: Path) -> list[BenchRecord]:
    """The same in the zoo without the teachers of ImageNet, which are the best for nearly every
    task of the whole zoo.
    """
    columns = [m for m, teacher in enumerate(truths.teachers) if GENERAL not in teacher.words]
    if len(columns) < PART_SIZE:
        return []
    scored, zoo = ScoredTruths.of(truths.with_teachers(columns)), f"without {GENERAL}"
    common = {"teachers": len(columns), "tasks": len(scored.truths.tasks), "zoo": zoo}
    rows = []
    for name in (DEFAULT_SCORE, *BASELINES, "linear_probe", "chosen"):
        table = scored.tables[name]
        values = {
            "regret@1": by_task(scored.truths, table, MEASURES["regret@1"]),
            "part_regret@1": part_regret(scored.truths, table),
            "weighted_tau": by_task(scored.truths, table, MEASURES["weighted_tau"]),
        }
        setting = common | {"score": name} | scored.nested.picked(name)
        measured = [
            scored.record(f"specialists.{name}.{key}", over_tasks(value), setting)
            for key, value in values.items()
        ]
        print(f"{zoo}: {name:40s}{measured[0].value:6.2f}{measured[1].value:6.2f}")
        rows += measured
    for first, second in COMPARED:
        difference = compare_choices(
            scored.truths, scored.tables[first], scored.tables[second], hits_folder
        )
        rows.append(_comparison(scored, first, second, difference, zoo))
    return rows


def _stakes(scored: ScoredTruths) -> list[BenchRecord]:
    """By task: the best minus the median teacher; what the default's choice reaches; what transport
    adds to the rest.
    """
    names = (DEFAULT_SCORE, "knn", "static_prior", "chosen", "chosen without transport")
    reached = {
        name: 100 * np.nanmean(by_task(scored.truths, scored.tables[name], choice), axis=1)
        for name in names
    }
    added = reached["chosen"] - reached["chosen without transport"]
    rows = []
    for t, accuracy in enumerate(stakes(scored.truths)):
        figures = accuracy | {
            "chosen": float(reached[DEFAULT_SCORE][t]),
            "knn": float(reached["knn"][t]),
            "static_prior": float(reached["static_prior"][t]),
            "transport_adds": float(added[t]),
        }
        task, group = scored.truths.tasks[t], scored.truths.groups[t]
        rows.append(
            BenchRecord(
                name=f"truth.stakes.{task}",
                value=round(accuracy["best"] - accuracy["median"], 2),
                unit="points",
                setting={"task": task, "group": group}
                | {key: round(value, 2) for key, value in figures.items()},
                seeds=scored.truths.seeds,
            )
        )
    return rows


def _fewer_images(scored: ScoredTruths) -> list[BenchRecord]:
    """Regret against the labelled images a class that the score may see, on the tasks that have
    ``MANY_IMAGES`` and more.
    """
    kept = [
        t
        for t, task in enumerate(scored.truths.tasks)
        if int(task.rsplit("_", 1)[1]) >= MANY_IMAGES
    ]
    some = scored.truths.at_tasks(kept)
    rows = []
    for name in dict.fromkeys([DEFAULT_SCORE, *CURVE]):
        for images in (*FEWER, MANY_IMAGES):
            table = scored.tables.get(name if images == MANY_IMAGES else f"{name}@{images}")
            if table is None or not np.isfinite(table[kept]).any():
                continue
            regret = over_tasks(by_task(some, table[kept], MEASURES["regret@1"]))
            setting = {"score": name, "images": images, "tasks": len(kept)}
            rows.append(scored.record(f"regret_by_images.{name}.{images}", regret, setting))
    return rows


def _committees(scored: ScoredTruths, cells: Sequence[Cell]) -> list[BenchRecord]:
    """Each rule's student against the student of the best single teacher by the default score, in
    points.
    """
    truths = scored.truths
    if DEFAULT_SCORE not in truths.scores:
        return []
    alone = by_task(truths, truths.scores[DEFAULT_SCORE], choice)  # (T, S)
    rows = []
    for rule in RULES:
        gains = np.full(alone.shape, np.nan)
        for cell in cells:
            if cell.rule == rule and cell.protocol == "pool" and cell.task in truths.tasks:
                place = truths.tasks.index(cell.task), truths.seeds.index(cell.seed)
                gains[place] = 100 * (cell.accuracy - alone[place])
        tasks = int(np.isfinite(gains).any(axis=1).sum())
        if not tasks:
            continue
        gain = over_tasks(gains)
        print(
            f"{rule} over the best single by score: {gain.value:+.2f} points ({gain.low:+.2f} to"
            f" {gain.high:+.2f})"
        )
        setting = {"rule": rule, "tasks": tasks, "over": "best single by the default score"}
        rows.append(scored.record(f"committee.{rule}", gain, setting))
    return rows
