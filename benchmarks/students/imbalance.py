"""What helps small classes: class balance in the loss, in sampling, in the logits, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from benchmarks.record import BenchRecord, append
from benchmarks.shared import existing_shared, shared
from benchmarks.students.distillation_tasks import Rows, rows_of_classes, write_split
from zoo.home import home
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    from distill.experiment import Experiment
    from distill.options import Options
    from distill.run import RunFolder
    from selection.scores.interval import Interval

METHODS = ("plain", "probe_kd")
BALANCES = ("none", "logits", "weights", "sampling")  # the first is what others are compared with
SEEDS = 3
STEPS = 300
BATCH = 32
TEACHER = "google-teachablemachine__mobilenetv2_035.in1k_features"
STUDENT = "test_efficientnet"
DRAW_SEED = 0


@dataclass(frozen=True, kw_only=True)
class LongTail:
    """A real dataset whose classes have ``most`` images down to ``most / ratio``, falling by a
    constant factor; ``validation`` further training images of each class choose.
    """

    dataset: str
    ratio: float
    most: int
    validation: int
    classes: tuple[str, ...] = ()
    size: int = 32

    @property
    def name(self) -> str:
        return f"{self.dataset}{'_pair' if self.classes else ''}_{self.ratio:g}"

    def counts(self, classes: int) -> list[int]:
        """Training images of each class."""
        shares = self.ratio ** (-np.arange(classes) / (classes - 1))
        return [max(round(float(count)), 2) for count in self.most * shares]


TASKS = (
    LongTail(dataset="cifar10", ratio=100, most=250, validation=50),
    LongTail(
        dataset="cifar100",
        ratio=16,
        most=320,
        validation=150,
        classes=("rose", "tulip"),
    ),
    LongTail(dataset="cifar10", ratio=10, most=250, validation=50),
    LongTail(dataset="cifar10", ratio=3, most=250, validation=50),
    LongTail(dataset="tf_flowers", ratio=20, most=400, validation=80),
    LongTail(dataset="cifar10", ratio=50, most=250, validation=50),
)
FEW, MORE = ("none", "logits"), ("weights", "sampling")
STAGES = (  # in the order in which they are worth the time
    *((task, FEW) for task in TASKS[:2]),
    *((task, MORE) for task in TASKS[:2]),
    *((task, FEW) for task in TASKS[2:]),
    *((task, MORE) for task in TASKS[2:]),
)


@dataclass(frozen=True, kw_only=True)
class StudentCell:
    """One student of the benchmark."""

    task: LongTail
    method: str
    balance: str
    seed: int

    @property
    def run(self) -> RunFolder:
        """Its folder, finished or not."""
        from distill.run import RunFolder

        name = f"{self.method}-{self.balance}-{self.seed}"
        return RunFolder(work() / "runs" / self.task.name / name)


def cells() -> Iterator[StudentCell]:
    """All cells, in the order in which they are worth the time."""
    for task, balances in STAGES:
        for method in METHODS:
            for seed in range(SEEDS):
                for balance in balances:
                    yield StudentCell(task=task, method=method, balance=balance, seed=seed)


def work() -> Path:
    """Where tasks and runs are kept between calls."""
    return home() / "benchmarks" / "imbalance"


def run(out: Path) -> list[BenchRecord]:
    """Every cell to its end; half an hour on two free cores."""
    for cell in cells():
        train_cell(cell)
    return records()


def make(task: LongTail, folder: Path) -> Path:
    """The folder of Parquet files of ``task``, written where it is not there yet."""
    target = folder / task.name
    if (target / "test.parquet").is_file():
        return target
    import pyarrow.parquet as pq

    origin = existing_shared("datasets", task.dataset)
    names = (origin / "labels.txt").read_text(encoding="utf-8").splitlines()
    kept = [names.index(name) for name in task.classes] or list(range(len(names)))
    train, test = (
        rows_of_classes(pq.read_table(origin / f"{split}.parquet"), np.array(kept))
        for split in ("train", "test")
    )
    chosen = [names[i] for i in kept]
    taught, held = _cut(train.column("label").to_numpy(), task, len(kept))
    target.mkdir(parents=True, exist_ok=True)
    write_split(target / "train.parquet", train.take(taught), chosen)
    write_split(target / "validation.parquet", train.take(held), chosen)
    write_split(target / "test.parquet", test, chosen)
    return target


def _cut(labels: Rows, task: LongTail, classes: int) -> tuple[Rows, Rows]:
    """Rows of the long-tailed training split and of the balanced validation split."""
    rng = np.random.default_rng(DRAW_SEED)
    taught, held = [], []
    for label, count in enumerate(task.counts(classes)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held.append(rows[: task.validation])
        taught.append(rows[task.validation :][:count])
    return np.concatenate(taught), np.concatenate(held)


def train_cell(cell: StudentCell) -> None:
    """Train the student of ``cell``, where it is not finished."""
    from distill.training.trainer import train

    if not cell.run.finished:
        options = _options(cell)
        train(_experiment(options), options, cell.run.path)


def _options(cell: StudentCell) -> Options:
    from distill.options import Options
    from selection.task import Task

    folder = make(cell.task, work() / "tasks")
    steps = max(1, round(len(Task.open(folder).train) / BATCH))  # of an epoch
    return Options(
        task=str(folder),
        student=STUDENT,
        method=cell.method,
        size=cell.task.size,
        epochs=max(1, round(STEPS / steps)),
        batch_size=BATCH,
        teacher_size=96,
        seed=cell.seed,
        class_balance=cell.balance,
    )


def _experiment(options: Options) -> Experiment:
    from distill.experiment import prepare
    from zoo.sources import folder

    cards = () if options.method == "plain" else (folder.card(shared("models", TEACHER)),)
    return prepare(options, offline=True, cards=cards)


def records() -> list[BenchRecord]:
    """A record of each task, method and balance: what it adds to ``none`` at the same seeds."""
    results: dict[tuple[LongTail, str, str], dict[int, dict[str, Any]]] = {}
    for cell in cells():
        if cell.run.finished:
            of_seed = results.setdefault((cell.task, cell.method, cell.balance), {})
            of_seed[cell.seed] = cell.run.results()
    made = []
    for (task, method, balance), with_it in results.items():
        without = results.get((task, method, BALANCES[0]), {})
        seeds = sorted(set(with_it) & set(without))
        if balance != BALANCES[0] and seeds:
            pair = {
                "without": [without[seed] for seed in seeds],
                "with": [with_it[seed] for seed in seeds],
            }
            made.append(_record(task, method, balance, pair, seeds))
    return made


def _record(
    task: LongTail,
    method: str,
    balance: str,
    results: dict[str, list[dict[str, Any]]],
    seeds: Sequence[int],
) -> BenchRecord:
    """``results`` holds those ``with`` the balance and those ``without``, one entry a seed."""
    counts = np.array(task.counts(1 + max(results["with"][0]["test"]["labels"])))
    setting: dict[str, Any] = {"task": task.name, "counts": counts.tolist(), "method": method}
    for key, of_seeds in results.items():
        for split in ("validation", "test"):
            setting[f"{split}_balanced_{key}"] = _mean_recall(of_seeds, split, None)
            setting[f"{split}_accuracy_{key}"] = _mean_recall(of_seeds, split, counts)
            setting[f"{split}_rarest_{key}"] = _mean_recall(of_seeds, split, counts == counts.min())
    on_validation = _lift(results["with"], results["without"], "validation")
    setting["validation_lift"] = [
        100 * value for value in (on_validation.value, on_validation.low, on_validation.high)
    ]
    lift = _lift(results["with"], results["without"], "test")
    return BenchRecord(
        name=f"imbalance.{task.name}.{method}.{balance}",
        value=100 * lift.value,
        low=100 * lift.low,
        high=100 * lift.high,
        unit="points of balanced test accuracy over --class-balance none",
        spread="95 % bootstrap over seeds and test images of each class",
        setting=setting | {"student": STUDENT, "teacher": TEACHER, "steps": STEPS, "batch": BATCH},
        seeds=tuple(seeds),
    )


def _mean_recall(results: Sequence[dict[str, Any]], split: str, weights: Any) -> float:
    """Mean over seeds of the classes' recalls, weighed by ``weights`` (C,); None: equally.

    With the training counts as weights it is the accuracy on images as unbalanced as those.
    """
    values = []
    for result in results:
        labels = np.array(result[split]["labels"])
        right = np.array(result[split]["predicted"]) == labels
        recalls = np.bincount(labels, right) / np.bincount(labels)
        values.append(np.average(recalls, weights=weights))
    return float(np.mean(values))


def _lift(
    first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]], split: str
) -> Interval:
    from distill.run import hits
    from selection.scores.balanced import balanced_difference

    return balanced_difference(
        [hits(result, split) for result in first],
        [hits(result, split) for result in second],
        np.array(first[0][split]["labels"]),
    )


@dataclass(frozen=True, kw_only=True)
class ImbalanceOptions:
    """The options of ``benchmarks.students.imbalance``."""

    minutes: Annotated[float, typer.Option(min=0, help="begin no cell after so many minutes")]
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None


def measure_within_time(options: ImbalanceOptions) -> None:
    """Train as many cells as fit into the time; the next call goes on."""
    end = time.monotonic() + 60 * options.minutes
    for cell in cells():
        if time.monotonic() > end:
            break
        train_cell(cell)
    made = records()
    for record in made:
        lift = f"{record.value:+.1f} ({record.low:+.1f} to {record.high:+.1f})"
        print(f"{record.name}: {lift}, seeds {list(record.seeds)}")
    if options.out is not None:
        append(options.out, made)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(ImbalanceOptions, measure_within_time)
    return run_command(command, argv, name="benchmarks.students.imbalance")


if __name__ == "__main__":
    raise SystemExit(main())
