"""Does halving find the best teacher at a quarter of the forwards, and is a budget kept? ``python
-m benchmarks.run halving``.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.record import BenchRecord
from benchmarks.truth.scores import evidence as read
from benchmarks.truth.table import CELLS, read_cells
from benchmarks.truth.targets import TARGETS, Target
from benchmarks.truth.teachers import Answers, Entry, entries
from selection.evidence import Evidence
from selection.probing.evaluator import empty_row
from selection.probing.rounds import Evaluation, Halving, halve, sizes
from selection.ranking import in_order
from selection.recall.names import NameEncoder
from selection.scores.interval import compare, interval
from selection.scores.registry import resolve
from zoo.card import ModelCard
from zoo.home import home

PROBE = 500
SHARE = 0.25  # of the forwards of full probing
KEEP = 6  # committee of 3 and three to spare, as selection.rank does
SEEDS = (0, 1, 2)
FEWEST = 8  # teachers that a task must have answers of
BUDGETS = (6, 10, 15, 20, 25, 30, 35, 40, 50, 60)  # seconds
TOLERANCE = 1.1
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the time that full probing takes


class Sample(Target):
    """A target of which each teacher is asked about ``PROBE`` images only, all of them labelled."""

    @property
    def pool(self) -> int:
        """Images a class."""
        return math.ceil(PROBE / len(self.classes))


@dataclass
class Stored:
    """The ``Evaluator`` of a simulation: rounds read the beginnings of stored ``evidence``.

    A unit of cost is one image forwarded, or a second where the ``rates`` are seconds an image.
    """

    evidence: Mapping[str, Evidence]
    score: str
    rates: Mapping[str, float] = field(default_factory=dict)
    spent: float = 0.0
    held: dict[str, int] = field(default_factory=dict)

    def cost(self, card: ModelCard, size: int) -> float:
        """What the images take that ``card`` has not answered yet."""
        return self.rates.get(card.id, 1.0) * max(0, size - self.held.get(card.id, 0))

    def evaluate(
        self, cards: Sequence[ModelCard], size: int, allowance: float
    ) -> Iterator[Evaluation]:
        """As ``selection.probing.evaluator.ProbeEvaluator`` does, from what is stored."""
        end, score = self.spent + allowance, resolve(self.score)
        for card in cards:
            need = self.cost(card, size)
            if self.spent + need > end:
                yield Evaluation(empty_row(card), skipped="budget")
                continue
            self.spent += need
            self.held[card.id] = size
            seen = self.evidence[card.id].at(
                np.arange(min(size, len(self.evidence[card.id].labels)))
            )
            found = interval(score, seen, rng=np.random.default_rng(0))
            row = replace(
                empty_row(card), value=found.value, low=found.low, high=found.high, probe_size=size
            )
            yield Evaluation(row, seen)


def run(out: Path) -> list[BenchRecord]:
    """Halving against full probing over the tasks of the truth tables, then ten budgets on real
    models.

    The teachers' answers come from the truth tables' folder (``truth`` in the tool's home), those
    that are missing are asked for and kept there; a teacher that was trained on the very classes is
    left out, as in those tables.
    """
    folder, encoder = home() / "truth", NameEncoder.table()
    answers, found = Answers(folder), entries(folder)
    rows: list[dict[str, float]] = []
    for target in _tasks():
        able = [entry for entry in found if not entry.knows(target)]
        if len(able) < FEWEST:
            continue
        for seed in SEEDS:
            rows.append(
                _compared(
                    {
                        entry.card.id: _shuffled(entry, target, answers, seed, encoder)
                        for entry in able
                    },
                    [entry.card for entry in able],
                    len(target.classes),
                )
            )
        _print(target.name, len(able), rows[-len(SEEDS) :])
    return [*_summary(rows, len(found)), *curves(out, answers, found, encoder), *budgets()]


def curves(
    out: Path, answers: Answers, found: Sequence[Entry], encoder: NameEncoder
) -> list[BenchRecord]:
    """Accuracy lost against the seconds that probing takes, on the truth tasks: by halving, and by
    the same time spread evenly.

    The probe is the labelled images of the task; the students' accuracies are those of the tables
    in ``out``.
    """
    rates = {entry.card.id: _seconds_an_image(entry, answers) for entry in found}
    truth = {
        (cell.task, cell.seed, cell.teacher): cell.accuracy
        for cell in read_cells(out / CELLS)
        if cell.protocol == "pool"
    }
    lost: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for task, seed in sorted({(task, seed) for task, seed, _ in truth}):
        able = [entry for entry in found if (task, seed, entry.card.id) in truth]
        if len(able) < FEWEST:
            continue
        seen = {
            entry.card.id: _turns(read(entry, TARGETS[task], answers, seed=seed, encoder=encoder))
            for entry in able
        }
        best = max(truth[task, seed, name] for name in seen)
        for share in SHARES:
            for name, (top, seconds, images) in _probed(
                seen, [entry.card for entry in able], rates, share
            ).items():
                lost.setdefault((name, share), []).append(
                    (100 * (best - truth[task, seed, top]), seconds, images)
                )
    records = []
    for (name, share), points in lost.items():
        regret, seconds, images = np.mean(points, axis=0)
        print(
            f"{name:20} {share:5.0%} of the time: {seconds:6.2f} s, {images:6.0f} images, regret@1"
            f" {regret:.2f} points"
        )
        records.append(
            BenchRecord(
                name=f"halving.regret.{name}.{share}",
                value=float(regret),
                unit="points",
                seeds=SEEDS,
                setting={
                    "score": name,
                    "share": share,
                    "seconds": round(float(seconds), 3),
                    "probes": round(float(images)),
                    "tables": len(points),
                    "teachers": len(found),
                },
            )
        )
    return records


def _turns(seen: Evidence) -> Evidence:
    """Classes taking turns, as in a probe."""
    place = np.zeros(len(seen.labels), dtype=np.int64)
    for label in np.unique(seen.labels):
        place[seen.labels == label] = np.arange((seen.labels == label).sum())
    return seen.at(np.argsort(place, kind="stable"))


def _probed(
    seen: Mapping[str, Evidence],
    cards: Sequence[ModelCard],
    rates: Mapping[str, float],
    share: float,
) -> dict[str, tuple[str, float, float]]:
    """Who is put first, in what seconds and after how many forwards, by each way of spending a
    ``share`` of the full time.
    """
    size, classes = len(seen[cards[0].id].labels), len(np.unique(seen[cards[0].id].labels))
    full = sum(rates[card.id] * size for card in cards)
    order = [cards[i] for i in np.random.default_rng(0).permutation(len(cards))]
    evaluator = Stored(seen, "transport", rates)
    halved = halve(
        order,
        evaluator,
        sizes=sizes(size, classes),
        keep=KEEP,
        left=lambda: share * full - evaluator.spent,
    )
    result = {}
    if any(row.value is not None for row in halved.rows.values()):
        result["halving"] = (_first(halved), evaluator.spent, float(sum(evaluator.held.values())))
    few = max(2 * classes, round(share * size))
    for score in ("transport", "knn"):
        values = {card.id: resolve(score).value(seen[card.id].at(np.arange(few))) for card in order}
        result[f"{score}, evenly"] = (
            max(values, key=lambda name: values[name]),
            full * few / size,
            float(few * len(cards)),
        )
    return result


def _seconds_an_image(entry: Entry, answers: Answers) -> float:
    """Measured here on 64 images of noise, after a first batch that warms up."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 32, 32, 3), dtype=np.uint8)
    answers.compute(entry.card, pixels)
    begin = time.perf_counter()
    answers.compute(entry.card, pixels)
    return (time.perf_counter() - begin) / len(pixels)


def _tasks() -> list[Target]:
    """The targets with different classes."""
    seen: dict[tuple[str, tuple[str, ...]], Target] = {}
    for one in TARGETS.values():
        labels = math.ceil(PROBE / len(one.classes))
        seen.setdefault(
            (one.dataset, one.classes),
            Sample(
                name=one.name.rsplit("_", 1)[0],
                group=one.group,
                dataset=one.dataset,
                classes=one.classes,
                labels=labels,
            ),
        )
    return list(seen.values())


def _shuffled(
    entry: Entry, target: Target, answers: Answers, seed: int, encoder: NameEncoder
) -> Evidence:
    """Classes taking turns, as in a probe; ``seed`` draws the order of each class's images."""
    seen = read(entry, target, answers, seed=0, encoder=encoder)
    rng = np.random.default_rng(seed)
    turns = np.stack(
        [rng.permutation(np.flatnonzero(seen.labels == c)) for c in range(len(target.classes))],
        axis=1,
    )  # (turn, C)
    return seen.at(turns.reshape(-1)[:PROBE])


def _compared(
    seen: Mapping[str, Evidence], cards: Sequence[ModelCard], classes: int
) -> dict[str, float]:
    """Halving within a quarter of the forwards, and by the bounds alone, against the ranking of the
    whole probe.
    """
    rounds, score = sizes(PROBE, classes), "transport"
    full = Stored(seen, score)
    whole = in_order([evaluation.row for evaluation in full.evaluate(cards, PROBE, math.inf)])
    values = {row.model: row for row in whole}
    result: dict[str, float] = {}
    for name, bound in (("quarter", SHARE * full.spent), ("bounds", math.inf)):
        evaluator = Stored(seen, score)
        halved = halve(
            cards,
            evaluator,
            sizes=rounds,
            keep=KEEP,
            left=lambda evaluator=evaluator, bound=bound: bound - evaluator.spent,  # type: ignore[misc]
        )
        top = _first(halved)
        gap = compare(resolve(score), seen[whole[0].model], seen[top], rng=np.random.default_rng(0))
        best, mine = values[whole[0].model], values[top]
        result |= {
            f"{name}.forwards": evaluator.spent / full.spent,
            f"{name}.same": float(top == whole[0].model),
            f"{name}.within": float(not gap.decided or top == whole[0].model),
            f"{name}.interval": float((mine.value or 0) >= (best.low or 0)),
            f"{name}.lost": (best.value or 0) - (mine.value or 0),
        }
    return result


def _first(halved: Halving) -> str:
    """The model that a ranking made so would put first."""
    return in_order(list(halved.rows.values()))[0].model


def _print(name: str, teachers: int, rows: Sequence[Mapping[str, float]]) -> None:
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
    rng, records = np.random.default_rng(0), []
    for key in rows[0] if rows else ():
        table = (
            np.array([row[key] for row in rows]).reshape(-1, len(SEEDS)).mean(axis=1)
        )  # (tasks,)
        draws = table[rng.integers(0, len(table), (1000, len(table)))].mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        unit = "nats" if key.endswith("lost") else "share"
        records.append(
            BenchRecord(
                name=f"halving.{key}",
                value=float(table.mean()),
                unit=unit,
                low=float(low),
                high=float(high),
                spread="95 % bootstrap over tasks",
                setting=setting,
                seeds=SEEDS,
            )
        )
        print(f"halving.{key:20} {table.mean():.4f} [{low:.4f}, {high:.4f}] {unit}")
    return records


def budgets(seconds: Sequence[int] = BUDGETS) -> list[BenchRecord]:
    """Wall clock over budget of the command, each from an empty cache, on the real models of
    ../shared and the small zoo.
    """
    from benchmarks.truth.targets import shared
    from zoo.catalogue import Catalogue
    from zoo.sources import folder

    if not (shared() / "models").is_dir():
        print(f"no models in {shared()}: budgets are not measured")
        return []
    records = []
    with TemporaryDirectory() as place:
        book = Path(place) / "catalogue.duckdb"
        with Catalogue.open(book, write=True) as catalogue:
            catalogue.upsert(
                [
                    *folder.cards(shared() / "models"),
                    *folder.cards(folder.small_zoo(), source="small"),
                ]
            )
            catalogue.publish()
        for bound in seconds:
            records.append(
                _kept(
                    bound, book, shared() / "datasets" / "tf_flowers", Path(place) / f"home{bound}"
                )
            )
    ratios = [record.value for record in records]
    print(
        f"{sum(ratio <= TOLERANCE for ratio in ratios)} of {len(ratios)} budgets kept within 10 %"
    )
    return records


def _kept(bound: int, book: Path, task: Path, place: Path) -> BenchRecord:
    command = [
        sys.executable,
        "-m",
        "selection.rank",
        "--task",
        str(task),
        "--catalogue",
        str(book),
        "--budget",
        f"{bound}s",
    ]
    begin = time.monotonic()
    done = subprocess.run(
        command,
        env=os.environ | {"TEACHER_ZOO_HOME": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - begin
    probed = re.search(r"(\d+) probed(?: in (\d+) rounds)?", done.stdout)
    said = (
        done.stdout.strip().splitlines()[-1:] if probed else done.stderr.strip().splitlines()[-1:]
    )
    print(
        f"budget {bound:3} s: {took:6.2f} s, {took / bound:.3f}; status {done.returncode}; {said}",
        flush=True,
    )
    setting: dict[str, object] = {
        "budget_s": bound,
        "seconds": took,
        "status": done.returncode,
        "task": task.name,
        "probed": int(probed[1]) if probed else 0,
        "load_average": os.getloadavg()[0],
    }
    return BenchRecord(
        name="halving.budget",
        value=took / bound,
        unit="seconds over budget",
        setting=setting,
        seeds=(0,),
    )
