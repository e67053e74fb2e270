"""Does halving find the best teacher in part of the time? ``python -m benchmarks.run halving``."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.record import BenchRecord
from benchmarks.speed.budgets import measure_budgets
from benchmarks.truth.scores import target_evidence
from benchmarks.truth.table import CELLS, read_cells
from benchmarks.truth.targets import TARGETS, Target
from benchmarks.truth.teachers import TableTeacher, TargetOutputs, available_teachers
from selection.evidence import Evidence
from selection.probing.evaluator import empty_row
from selection.probing.rounds import Evaluation, Halving, affordable_sizes, halve
from selection.ranking import in_order
from selection.recall.names import NameEncoder
from selection.scores.interval import mean_interval, score_difference, score_interval
from selection.scores.registry import resolve
from zoo.card import ModelCard
from zoo.home import truth_folder

PROBE = 500
SHARE = 0.25  # of the forwards of full probing
KEEP = 6  # committee of 3 and three to spare, as selection.rank does
SEEDS = (0, 1, 2)
FEWEST = 8  # teachers that a task must have outputs of
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the time that full probing takes


class FullyLabelled(Target):
    """A target of which each teacher sees ``PROBE`` images only, all of them labelled."""

    @property
    def pool(self) -> int:
        """Images a class."""
        return math.ceil(PROBE / len(self.classes))


@dataclass
class SimulatedEvaluator:
    """A ``rounds.Evaluator`` that reads the beginnings of stored ``evidence``.

    A unit of cost is one image forwarded, or a second where the ``rates`` are seconds an image.
    """

    evidence: Mapping[str, Evidence]
    score: str
    rates: Mapping[str, float] = field(default_factory=dict)
    spent: float = 0.0
    stored: dict[str, int] = field(default_factory=dict)  # images, by model

    def cost(self, card: ModelCard, size: int) -> float:
        """What the images cost that are not stored yet."""
        return self.rates.get(card.id, 1.0) * max(0, size - self.stored.get(card.id, 0))

    def evaluate(
        self, cards: Sequence[ModelCard], size: int, allowance: float
    ) -> Iterator[Evaluation]:
        """Evaluate as ``selection.probing.evaluator.ProbeEvaluator`` does."""
        end, score = self.spent + allowance, resolve(self.score)
        for card in cards:
            cost = self.cost(card, size)
            if self.spent + cost > end:
                yield Evaluation(empty_row(card), skipped="budget")
                continue
            self.spent += cost
            self.stored[card.id] = size
            whole = self.evidence[card.id]
            evidence = whole.at(np.arange(min(size, len(whole.labels))))
            bounds = score_interval(score, evidence, rng=np.random.default_rng(0))
            row = replace(
                empty_row(card),
                value=bounds.value,
                low=bounds.low,
                high=bounds.high,
                probe_size=size,
            )
            yield Evaluation(row, evidence)


def run(out: Path) -> list[BenchRecord]:
    """Halving against full probing over the tasks of the truth tables, then budgets of seconds.

    The teachers' outputs come from the truth tables' folder (``truth`` in the tool's home); missing
    ones are computed and kept there. A teacher that was trained on the very classes is left out, as
    in those tables.
    """
    folder, encoder = truth_folder(), NameEncoder.table()
    outputs, teachers = TargetOutputs(folder), available_teachers(folder)
    rows: list[dict[str, float]] = []
    for target in _targets():
        able = [teacher for teacher in teachers if not teacher.trained_on(target)]
        if len(able) < FEWEST:
            continue
        cards = [teacher.card for teacher in able]
        for seed in SEEDS:
            evidence = {
                teacher.card.id: _shuffled(teacher, target, outputs, seed, encoder)
                for teacher in able
            }
            rows.append(compare_with_full_probing(evidence, cards, len(target.classes)))
        _print_target(target.name, len(able), rows[-len(SEEDS) :])
    records = _summary(rows, len(teachers))
    records += regret_curves(out, outputs, teachers, encoder)
    return records + measure_budgets()


def regret_curves(
    out: Path, outputs: TargetOutputs, teachers: Sequence[TableTeacher], encoder: NameEncoder
) -> list[BenchRecord]:
    """Accuracy lost against the seconds of probing, by halving and by spreading them evenly.

    The probe is the labelled images of a truth task; the students' accuracies are those of the
    tables in ``out``.
    """
    rates = {teacher.card.id: _seconds_an_image(teacher, outputs) for teacher in teachers}
    accuracy = {
        (cell.task, cell.seed, cell.teacher): cell.accuracy
        for cell in read_cells(out / CELLS)
        if cell.protocol == "pool"
    }
    points: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for task, seed in sorted({(task, seed) for task, seed, _ in accuracy}):
        able = [teacher for teacher in teachers if (task, seed, teacher.card.id) in accuracy]
        if len(able) < FEWEST:
            continue
        evidence = {
            teacher.card.id: in_turns(
                target_evidence(teacher, TARGETS[task], outputs, seed=seed, encoder=encoder)
            )
            for teacher in able
        }
        cards = [teacher.card for teacher in able]
        best = max(accuracy[task, seed, name] for name in evidence)
        for share in SHARES:
            for way, choice in first_by_each_way(
                evidence,
                cards,
                rates,
                share,
            ).items():
                regret = 100 * (best - accuracy[task, seed, choice.model])
                points.setdefault((way, share), []).append((regret, choice.seconds, choice.images))
    return [
        _regret_record(way, share, np.array(measured), len(teachers))
        for (way, share), measured in points.items()
    ]


def _regret_record(
    way: str,
    share: float,
    points: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    teachers: int,
) -> BenchRecord:
    regret, seconds, images = points.mean(axis=0)
    print(
        f"{way:20} {share:5.0%} of the time: {seconds:6.2f} s, {images:6.0f} images, regret@1"
        f" {regret:.2f} points"
    )
    return BenchRecord(
        name=f"halving.regret.{way}.{share}",
        value=float(regret),
        unit="points",
        seeds=SEEDS,
        setting={
            "score": way,
            "share": share,
            "seconds": round(float(seconds), 3),
            "probes": round(float(images)),
            "tables": len(points),
            "teachers": teachers,
        },
    )


def in_turns(evidence: Evidence) -> Evidence:
    """The same evidence with classes taking turns, as in a probe."""
    turn = np.zeros(len(evidence.labels), dtype=np.int64)
    for label in np.unique(evidence.labels):
        rows = evidence.labels == label
        turn[rows] = np.arange(rows.sum())
    return evidence.at(np.argsort(turn, kind="stable"))


@dataclass(frozen=True)
class FirstPlace:
    """The model that a way of spending time puts first, and what it spent."""

    model: str
    seconds: float
    images: float


def first_by_each_way(
    evidence: Mapping[str, Evidence],
    cards: Sequence[ModelCard],
    rates: Mapping[str, float],
    share: float,
) -> dict[str, FirstPlace]:
    """The first place by each way of spending a ``share`` of the time of full probing."""
    labels = evidence[cards[0].id].labels
    size, classes = len(labels), len(np.unique(labels))
    full = sum(rates[card.id] * size for card in cards)
    order = [cards[i] for i in np.random.default_rng(0).permutation(len(cards))]
    evaluator = SimulatedEvaluator(evidence, "transport", rates)
    halving = halve_within(
        order,
        evaluator,
        probe=size,
        classes=classes,
        bound=share * full,
    )
    result = {}
    if any(row.value is not None for row in halving.rows.values()):
        images = float(sum(evaluator.stored.values()))
        result["halving"] = FirstPlace(first_place(halving), evaluator.spent, images)
    few = max(2 * classes, round(share * size))
    for score in ("transport", "knn"):
        values = {
            card.id: resolve(score).value(evidence[card.id].at(np.arange(few))) for card in order
        }
        best = max(values, key=lambda name: values[name])
        result[f"{score}, evenly"] = FirstPlace(best, full * few / size, float(few * len(cards)))
    return result


def halve_within(
    cards: Sequence[ModelCard],
    evaluator: SimulatedEvaluator,
    *,
    probe: int,
    classes: int,
    bound: float,
) -> Halving:
    """Halve as ``selection.rank`` does, within ``bound`` units of cost."""
    sizes = affordable_sizes(
        cards,
        evaluator,
        probe=probe,
        classes=classes,
        left=bound,
    )
    return halve(
        cards,
        evaluator,
        sizes=sizes,
        keep=KEEP,
        left=lambda: bound - evaluator.spent,
    )


def first_place(halving: Halving) -> str:
    """The model that a ranking made so would put first."""
    return in_order(list(halving.rows.values()))[0].model


def compare_with_full_probing(
    evidence: Mapping[str, Evidence], cards: Sequence[ModelCard], classes: int
) -> dict[str, float]:
    """Halving within a quarter of the forwards, and by bounds alone, against the whole probe."""
    score = resolve("transport")
    full = SimulatedEvaluator(evidence, score.name)
    whole = in_order([evaluation.row for evaluation in full.evaluate(cards, PROBE, math.inf)])
    rows = {row.model: row for row in whole}
    best = whole[0]
    result: dict[str, float] = {}
    for name, bound in (("quarter", SHARE * full.spent), ("bounds", math.inf)):
        evaluator = SimulatedEvaluator(evidence, score.name)
        halving = halve_within(
            cards,
            evaluator,
            probe=PROBE,
            classes=classes,
            bound=bound,
        )
        first = rows[first_place(halving)]
        gap = score_difference(
            score,
            evidence[best.model],
            evidence[first.model],
            rng=np.random.default_rng(0),
        )
        result |= {
            f"{name}.forwards": evaluator.spent / full.spent,
            f"{name}.same": float(first.model == best.model),
            f"{name}.within": float(not gap.decided or first.model == best.model),
            f"{name}.interval": float((first.value or 0) >= (best.low or 0)),
            f"{name}.lost": (best.value or 0) - (first.value or 0),
        }
    return result


def _seconds_an_image(teacher: TableTeacher, outputs: TargetOutputs) -> float:
    """Measured here on 64 images of noise, after a first batch that warms up."""
    pixels = np.random.default_rng(0).integers(
        0,
        255,
        (64, 32, 32, 3),
        dtype=np.uint8,
    )
    outputs.compute(teacher.card, pixels)
    begin = time.perf_counter()
    outputs.compute(teacher.card, pixels)
    return (time.perf_counter() - begin) / len(pixels)


def _targets() -> list[Target]:
    """The targets with different classes."""
    targets: dict[tuple[str, tuple[str, ...]], Target] = {}
    for target in TARGETS.values():
        fully_labelled = FullyLabelled(
            name=target.name.rsplit("_", 1)[0],
            group=target.group,
            dataset=target.dataset,
            classes=target.classes,
            labels=math.ceil(PROBE / len(target.classes)),
        )
        targets.setdefault((target.dataset, target.classes), fully_labelled)
    return list(targets.values())


def _shuffled(
    teacher: TableTeacher, target: Target, outputs: TargetOutputs, seed: int, encoder: NameEncoder
) -> Evidence:
    """Classes taking turns, as in a probe; ``seed`` draws the order of each class's images."""
    evidence = target_evidence(teacher, target, outputs, seed=0, encoder=encoder)
    rng = np.random.default_rng(seed)
    by_class = [
        rng.permutation(np.flatnonzero(evidence.labels == label))
        for label in range(len(target.classes))
    ]
    turns = np.stack(by_class, axis=1)  # (turn, C)
    return evidence.at(turns.reshape(-1)[:PROBE])


def _print_target(name: str, teachers: int, rows: Sequence[Mapping[str, float]]) -> None:
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    print(
        f"{name:16} {teachers} teachers; a quarter: same top {mean['quarter.same']:.2f}, within the"
        f" interval {mean['quarter.within']:.2f}, forwards {mean['quarter.forwards']:.3f}; bounds"
        f" alone: {mean['bounds.same']:.2f}, {mean['bounds.within']:.2f},"
        f" {mean['bounds.forwards']:.3f}",
        flush=True,
    )


def _summary(rows: Sequence[Mapping[str, float]], teachers: int) -> list[BenchRecord]:
    """Means over tasks and seeds; the error bar resamples tasks."""
    setting: dict[str, object] = {
        "tasks": len(rows) // len(SEEDS),
        "teachers": teachers,
        "probe": PROBE,
        "keep": KEEP,
        "share": SHARE,
        "score": resolve("transport").name,
    }
    records = []
    for key in rows[0] if rows else ():
        values = np.array([row[key] for row in rows])
        by_task = values.reshape(-1, len(SEEDS)).mean(axis=1)  # (tasks,)
        mean = mean_interval(by_task)
        unit = "nats" if key.endswith("lost") else "share"
        print(f"halving.{key:20} {mean.value:.4f} [{mean.low:.4f}, {mean.high:.4f}] {unit}")
        records.append(
            BenchRecord(
                name=f"halving.{key}",
                value=mean.value,
                unit=unit,
                low=mean.low,
                high=mean.high,
                spread="95 % bootstrap over tasks",
                setting=setting,
                seeds=SEEDS,
            )
        )
    return records
