"""The truth in figures: what ``benchmarks.run truth`` prints and keeps, from the tables that are
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measures import MEASURES, Estimate, choice, over_tasks
from benchmarks.record import BenchRecord
from benchmarks.truth.analysis import (
    BASELINES,
    LEARNED,
    ZOO,
    Floats,
    Truths,
    against,
    measured,
    outer,
    stakes,
    summary,
)
from benchmarks.truth.committees import RULES
from benchmarks.truth.scores import CURVE, FEWER
from benchmarks.truth.table import PROTOCOLS, SEEDS, Cell
from benchmarks.truth.targets import TARGETS
from benchmarks.truth.teachers import Described
from selection.scores.registry import ALIASES, DEFAULT, SCORES

GENERAL = "imagenet-1k"
SPREAD = "95 % bootstrap over tasks and seeds"
CHOSEN: dict[str, Callable[[str], bool]] = {  # which candidates a nested choice may take
    "chosen": lambda name: True,
    "chosen single score": lambda name: name in SCORES,
    "chosen without transport": lambda name: "transport" not in name,
    "chosen from the probe alone": lambda name: (
        not any(learned in name for learned in (*LEARNED, "model_size"))
    ),
}


def records(truths: Truths, cells: Sequence[Cell], home: Path) -> list[BenchRecord]:
    """Every measure of every score on the outer folds, the paired tests, the stakes, the
    committees; prints a table of them.
    """
    default = ALIASES[DEFAULT]
    tables, picks = outer(truths, CHOSEN)
    singles = [name for name in SCORES if name in tables]
    names = [*dict.fromkeys([default, *singles, *BASELINES, *CHOSEN])]
    common = {
        "tasks": len(truths.tasks),
        "teachers": len(truths.teachers),
        "groups": len(set(truths.groups)),
    }
    found = [_setting(truths, common)]
    print(f"{'':40s}{'regret@1':>22s}{'in parts':>9s}{'regret@3':>9s}{'tau':>9s}{'ndcg@5':>9s}")
    for name, measures in summary(truths, tables, names).items():
        regret = measures["regret@1"]
        print(
            f"{name:40s}{regret.value:6.2f} ({regret.low:5.2f} to {regret.high:5.2f})"
            + "".join(
                f"{measures[key].value:9.3f}"
                for key in ("part_regret@1", "regret@3", "weighted_tau", "ndcg@5")
            )
        )
        extra = {"picked": sorted(set(picks[name].values()))} if name in picks else {}
        found += [
            _record(
                f"score.{name}.{key}",
                one,
                "points" if "regret" in key else "",
                SPREAD,
                truths,
                common | {"score": name, "default": name == default} | extra,
            )
            for key, one in measures.items()
        ]
    found += _against(truths, tables, default, home)
    found += _specialists(truths, default, home)
    found += _stakes(truths, tables, default)
    found += _curve(truths, tables, default)
    return found + _committees(truths, cells)


def without_pool(truths: Truths) -> list[BenchRecord]:
    """The second protocol, labelled images alone, in few figures: how much the choice matters
    there, and what is lost by it.
    """
    tables, _ = outer(truths, CHOSEN)
    common: dict[str, object] = {
        "protocol": "labels",
        "tasks": len(truths.tasks),
        "teachers": len(truths.teachers),
    }
    spans = np.array(
        [[best - median, best - plain] for _, plain, best, median, _ in stakes(truths)]
    )
    found = [
        _record(
            f"labels.best_over_{name}",
            over_tasks(spans[:, [column]]),
            "points",
            SPREAD,
            truths,
            common,
        )
        for column, name in enumerate(("median", "none"))
    ]
    names = [ALIASES[DEFAULT], *BASELINES, "linear_probe"]
    for name, measures in summary(truths, tables, names).items():
        found += [
            _record(
                f"labels.{name}.{key}",
                measures[key],
                "points" if "regret" in key else "",
                SPREAD,
                truths,
                common | {"score": name},
            )
            for key in ("regret@1", "weighted_tau")
        ]
    for record in found:
        print(f"{record.name:60s}{record.value:7.2f} ({record.low:.2f} to {record.high:.2f})")
    return found


def missing(cells: Sequence[Cell], teachers: Sequence[Described]) -> str:
    """How many students of single teachers the tables lack; a teacher trained on a task's classes
    is not lacking.
    """
    wanted = {(task, one.id) for task in TARGETS for one in teachers if task not in one.barred}
    parts = []
    for protocol in PROTOCOLS:
        for seed in SEEDS:
            lacking = wanted - {
                (cell.task, cell.teacher)
                for cell in cells
                if (cell.protocol, cell.seed) == (protocol, seed)
            }
            if lacking:
                tasks = len({task for task, _ in lacking})
                parts.append(
                    f"{protocol}, seed {seed}: {len(lacking)} of {len(wanted)} students, in {tasks}"
                    " tasks"
                )
    return "; ".join(parts)


def _record(
    name: str, one: Estimate, unit: str, spread: str, truths: Truths, setting: Mapping[str, object]
) -> BenchRecord:
    return BenchRecord(
        name=f"truth.{name}",
        value=round(one.value, 4),
        low=round(one.low, 4),
        high=round(one.high, 4),
        unit=unit,
        spread=spread,
        setting=dict(setting),
        seeds=truths.seeds,
    )


def _setting(truths: Truths, common: Mapping[str, object]) -> BenchRecord:
    students = int(np.isfinite(truths.truth).sum())
    seeds = {
        str(seed): int(np.isfinite(truths.truth[:, s]).any(axis=1).sum())
        for s, seed in enumerate(truths.seeds)
    }
    setting = dict(common) | {
        "tasks with seed": ", ".join(f"{seed}: {count}" for seed, count in seeds.items())
    }
    return BenchRecord(
        name="truth.setting", value=students, unit="students", setting=setting, seeds=truths.seeds
    )


def _against(
    truths: Truths, tables: Mapping[str, Floats], default: str, home: Path
) -> list[BenchRecord]:
    pairs = [(default, other) for other in (*BASELINES, "linear_probe")]
    pairs += [("chosen", "chosen without transport"), ("chosen", default)]
    on_few: dict[str, Floats] = {}
    for images in FEWER:
        on_few |= {
            f"{name}, {images} images a class": _on_few(tables, name, images)
            for name in CURVE
            if name in tables
        }
        suffix = f", {images} images a class"
        pairs += [(default + suffix, other + suffix) for other in CURVE if other != default]
    spread, found = "95 % bootstrap over tasks, seeds and images, paired", []
    for first, second in pairs:
        for parts, where in ((False, "whole zoo"), (True, f"zoos of {ZOO}")):
            one = against(truths, {**tables, **on_few}, first, second, home, parts=parts)
            print(
                f"{where}: {first} over {second}: {one.value:+.2f} points ({one.low:+.2f} to"
                f" {one.high:+.2f})",
                flush=True,
            )
            found.append(
                _record(
                    f"against.{first}.{second}.{where.replace(' ', '_')}",
                    one,
                    "points",
                    spread,
                    truths,
                    {"first": first, "second": second, "zoo": where, "below": round(one.below, 4)},
                )
            )
    return found


def _specialists(truths: Truths, default: str, home: Path) -> list[BenchRecord]:
    """The same in the zoo without the teachers of ImageNet, which are the best for nearly every
    task of the whole zoo.
    """
    kept = [m for m, one in enumerate(truths.teachers) if GENERAL not in one.words]
    if len(kept) < ZOO:
        return []
    some, where = truths.taught_by(kept), f"without {GENERAL}"
    tables, picks = outer(some, CHOSEN)
    spread, found = "95 % bootstrap over tasks, seeds and images, paired", []
    common: dict[str, object] = {"teachers": len(kept), "tasks": len(some.tasks), "zoo": where}
    for name, measures in summary(
        some, tables, [default, *BASELINES, "linear_probe", "chosen"]
    ).items():
        extra = {"picked": sorted(set(picks[name].values()))} if name in picks else {}
        print(
            f"{where}:"
            f" {name:40s}{measures['regret@1'].value:6.2f}{measures['part_regret@1'].value:6.2f}"
        )
        found += [
            _record(
                f"specialists.{name}.{key}",
                measures[key],
                "points" if "regret" in key else "",
                SPREAD,
                some,
                common | {"score": name} | extra,
            )
            for key in ("regret@1", "part_regret@1", "weighted_tau")
        ]
    pairs = [(default, other) for other in (*BASELINES, "linear_probe")] + [
        ("chosen", "chosen without transport")
    ]
    for first, second in pairs:
        one = against(some, tables, first, second, home)
        print(
            f"{where}: {first} over {second}: {one.value:+.2f} points ({one.low:+.2f} to"
            f" {one.high:+.2f})",
            flush=True,
        )
        found.append(
            _record(
                f"against.{first}.{second}.{where.replace(' ', '_')}",
                one,
                "points",
                spread,
                some,
                {"first": first, "second": second, "zoo": where, "below": round(one.below, 4)},
            )
        )
    return found


def _on_few(tables: Mapping[str, Floats], name: str, images: int) -> Floats:
    """(T, S, M) a score's values on so many images a class; a task that has no more than that gives
    all of its images.
    """
    few = tables.get(f"{name}@{images}")
    return (
        tables[name]
        if few is None
        else np.where(np.isfinite(few).any(axis=(1, 2), keepdims=True), few, tables[name])
    )


def _stakes(truths: Truths, tables: Mapping[str, Floats], default: str) -> list[BenchRecord]:
    """By task: the best minus the median teacher; what the default's choice reaches; what transport
    adds to the rest.
    """

    def reached(t: int, name: str) -> float:
        return round(
            100 * float(np.nanmean(measured(truths.only([t]), tables[name][[t]], choice))), 2
        )

    found = []
    for t, (task, plain, best, median, worst) in enumerate(stakes(truths)):
        setting = {
            "task": task,
            "group": truths.groups[t],
            "without": plain,
            "worst": worst,
            "median": median,
            "best": best,
            "chosen": reached(t, default),
            "knn": reached(t, "knn"),
            "static_prior": reached(t, "static_prior"),
            "transport_adds": round(
                reached(t, "chosen") - reached(t, "chosen without transport"), 2
            ),
        }
        rounded = {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in setting.items()
        }
        found.append(
            BenchRecord(
                name=f"truth.stakes.{task}",
                value=round(best - median, 2),
                unit="points",
                setting=rounded,
                seeds=truths.seeds,
            )
        )
    return found


def _curve(truths: Truths, tables: Mapping[str, Floats], default: str) -> list[BenchRecord]:
    """Regret against the labelled images a class that the score may see, on the tasks that have 25
    and more.
    """
    kept = [t for t, task in enumerate(truths.tasks) if int(task.rsplit("_", 1)[1]) >= 25]
    found = []
    for name in dict.fromkeys([default, *CURVE]):
        for images in (*FEWER, 25):
            table = tables.get(f"{name}@{images}" if images < 25 else name)
            if table is not None and kept and np.isfinite(table[kept]).any():
                one = over_tasks(measured(truths.only(kept), table[kept], MEASURES["regret@1"]))
                found.append(
                    _record(
                        f"regret_by_images.{name}.{images}",
                        one,
                        "points",
                        SPREAD,
                        truths,
                        {"score": name, "images": images, "tasks": len(kept)},
                    )
                )
    return found


def _committees(truths: Truths, cells: Sequence[Cell]) -> list[BenchRecord]:
    """Each rule's student against the student of the best single teacher by the default score, and
    against none, in points.
    """
    default = truths.scores.get(ALIASES[DEFAULT])
    if default is None:
        return []
    found = []
    for rule in RULES:
        mine = [
            cell
            for cell in cells
            if cell.rule == rule and cell.protocol == "pool" and cell.task in truths.tasks
        ]
        gains = np.full(truths.truth.shape[:2], np.nan)
        for cell in mine:
            t, s = truths.tasks.index(cell.task), truths.seeds.index(cell.seed)
            if np.isfinite(truths.truth[t, s]).any():
                gains[t, s] = 100 * (cell.accuracy - choice(truths.truth[t, s], default[t, s]))
        if np.isfinite(gains).any():
            one = over_tasks(gains)
            print(
                f"{rule} over the best single by score: {one.value:+.2f} points ({one.low:+.2f} to"
                f" {one.high:+.2f})"
            )
            found.append(
                _record(
                    f"committee.{rule}",
                    one,
                    "points",
                    SPREAD,
                    truths,
                    {
                        "rule": rule,
                        "tasks": int(np.isfinite(gains).any(axis=1).sum()),
                        "over": "best single by the default score",
                    },
                )
            )
    return found
