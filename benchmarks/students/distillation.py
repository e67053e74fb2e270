"""Do the teachers help? Every method on real tasks with few labels, with and without a pool of
unlabelled images.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.record import BenchRecord, append
from benchmarks.shared import shared
from benchmarks.students.distillation_tasks import POOLS, SOURCES, make
from zoo.files import write_text
from zoo.home import benchmark_folder
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    from distill.comparison import Comparison
    from distill.options import Options

FEW = ("plain", "probe_kd", "best_single", "average")
BEST = (*FEW, "transport", "feature", "committee")
ALL = (
    *BEST,
    "ca_mkd",
    "probe_kd_ls",
    "probe_kd_dkd",
    "probe_kd_dist",
    "talk",
    "one_way",
    "committee_random",
    "transport:probe=0",
    "feature:probe=0",
    "committee:probe=0",
    "talk:probe=0",
)
STUDENTS = {
    "efficientnet": "test_efficientnet",
    "resnet": "test_resnet",
    "pretrained": "mobilenetv2_035",
}
PRETRAINED = "google-teachablemachine__mobilenetv2_035.in1k_features"
SIZES = {"flowers": 48, "cifar100": 32, "fashion": 32}
STEPS = {"flowers": 400, "cifar100": 600, "fashion": 400}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One task, with or without the pool, one student, and the methods that are compared on it.

    ``teachers`` are folders of ../shared/models; without them selection.rank chooses its committee.
    """

    task: str
    pool: str
    student: str
    methods: tuple[str, ...]
    seeds: int = 3
    teachers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        short = [name.split("__")[1].split(".")[0] for name in self.teachers]
        by = f"_by_{'_'.join(short)}" if short else ""
        return f"{self.task}_{self.pool}_{self.student}{by}"


FOUNDATION = "google-coral__mobilenetv1_100.qat_in1k"  # broad
NEAR = "akamaster__resnet56_cifar10"  # small, trained on similar images
BLOCKS = (  # in the order in which they are worth the time
    Block(task="cifar100", pool="pool", student="efficientnet", methods=ALL),
    Block(task="flowers", pool="pool", student="efficientnet", methods=BEST),
    Block(task="fashion", pool="pool", student="efficientnet", methods=BEST),
    Block(task="cifar100", pool="alone", student="efficientnet", methods=BEST),
    Block(task="fashion", pool="alone", student="efficientnet", methods=BEST),
    Block(task="flowers", pool="alone", student="efficientnet", methods=BEST),
    *(
        Block(
            task="cifar100",
            pool="pool",
            student="efficientnet",
            methods=("plain", "probe_kd", "committee", *more),
            teachers=teachers,
        )
        for teachers, more in (
            ((FOUNDATION, NEAR), ("average", "committee:threshold=0")),
            ((FOUNDATION,), ()),
            ((NEAR,), ()),
        )
    ),
    *(
        Block(task=task, pool=pool, student=student, methods=FEW)
        for student in ("resnet", "pretrained")
        for pool in reversed(POOLS)
        for task in SOURCES
    ),
)


def work() -> Path:
    """Where tasks, rankings and runs are kept between calls."""
    return benchmark_folder("distillation")


def run(out: Path) -> list[BenchRecord]:
    """Every block to its end; hours on two cores."""
    return [record for block in BLOCKS for record in measure(block)]


def measure(
    block: Block, *, budget: float | None = None, only: Sequence[str] = ()
) -> list[BenchRecord]:
    """Train what is missing of ``block``, print its table, write its page beside its runs, return
    its records.

    Settings were chosen on validation images; each student reads the test split once, when it is
    finished.
    """
    from distill.comparison import compare
    from distill.report.comparison_page import page
    from distill.report.comparison_table import text_table
    from distill.run import RunFolder

    source = _source(block)
    methods = [method for method in block.methods if not only or method in ("plain", *only)]
    comparison = compare(
        RunFolder(source),
        methods,
        seeds=block.seeds,
        offline=True,
        budget=budget,
    )
    print(f"\n== {block.name}\n{text_table(comparison)}", flush=True)
    write_text(source / "compare.html", page(comparison))
    return _records(block, comparison)


def _source(block: Block) -> Path:
    """The finished plain run of seed 0, from which the others take their options."""
    from distill.experiment import prepare
    from distill.training.trainer import train

    folder, options = work() / "runs" / block.name, _options(block)
    train(prepare(options, offline=True), options, folder)
    return folder


def _options(block: Block) -> Options:
    from distill.data.batches import batch_sizes
    from distill.options import Options
    from selection.task import Task

    folder = make(block.task, block.pool, work() / "tasks")
    task = Task.open(folder)
    unlabelled = 0 if task.unlabelled is None else len(task.unlabelled)
    sizes = batch_sizes(len(task.train), unlabelled, 64, None)
    size, pretrained = SIZES[block.task], block.student == "pretrained"
    stride = 8 if size <= 32 else 16
    return Options(
        task=str(folder),
        student=str(shared() / "models" / PRETRAINED) if pretrained else STUDENTS[block.student],
        pretrained=pretrained,
        ranking=str(_ranking(block, folder)),
        method="plain",
        size=64 if pretrained else size,
        epochs=max(1, round(STEPS[block.task] / sizes.steps)),
        teacher_size=160 if block.task == "flowers" else 128,
        views=1,
        student_args=None if pretrained else f'{{"output_stride": {stride}}}',
    )


def _ranking(block: Block, task: Path) -> Path:
    """The ranking of the real teachers for ``task``, made where it is not there yet."""
    from selection.rank import Settings, rank
    from selection.ranking import Ranking
    from zoo.catalogue import Catalogue
    from zoo.sources import folder

    path, catalogue = work() / f"{block.task}_{block.pool}.json", work() / "models.duckdb"
    if not catalogue.exists():
        catalogue.parent.mkdir(parents=True, exist_ok=True)
        with Catalogue.open(catalogue, write=True) as known:
            known.upsert(folder.cards(shared() / "models"))
            known.publish()
    if not path.exists():
        rank(str(task), Settings(catalogue=catalogue, offline=True)).save(path)
    if block.teachers:
        ranking = replace(Ranking.load(path), committee=block.teachers)
        path = work() / f"{block.name}.json"
        ranking.save(path)
    return path


def _records(block: Block, comparison: Comparison) -> list[BenchRecord]:
    """A record a method: its lift over plain, with the accuracies and the missing seeds in the
    setting.
    """
    teachers = {teacher.model: teacher.test["accuracy"] for teacher in comparison.teachers}
    records = []
    for line in comparison.lines:
        if not line.finished:
            continue
        gap, lift = line.recovered, line.lift
        value, low, high = (lift.value, lift.low, lift.high) if lift else (0.0, 0.0, 0.0)
        setting = {
            "task": block.task,
            "pool": block.pool,
            "student": block.student,
            "steps": STEPS[block.task],
            "method": line.method,
            "test": line.test["accuracy"],
            "validation": line.validation["accuracy"],
            "missing_seeds": list(line.missing),
            "teachers": teachers,
            "error": line.error,
            "skipped": _skipped(comparison, line.method),
            "recovered": [gap.value, gap.low, gap.high] if gap else None,
        }
        records.append(
            BenchRecord(
                name=f"distillation.{block.name}.{line.method}",
                value=100 * value,
                low=100 * low,
                high=100 * high,
                unit="points of test accuracy over plain",
                spread="95 % bootstrap over seeds and test images",
                setting=setting,
                seeds=line.seeds,
            )
        )
    return records


def _skipped(comparison: Comparison, method: str) -> float | None:
    """The share of teacher forwards that ``committee`` left out over training, mean over seeds."""
    lines = [
        line.get("method", {}) for run in comparison.of(method).values() for line in run.metrics()
    ]
    shares = [line["skipped"] for line in lines if "skipped" in line]
    return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True, kw_only=True)
class DistillationOptions:
    """The options of ``benchmarks.students.distillation``."""

    minutes: Annotated[float, typer.Option(min=0, help="begin no cell that would end later")]
    blocks: Annotated[str, typer.Option(help="only blocks whose name holds this text")] = ""
    only: Annotated[tuple[str, ...], typer.Option(help="only these methods")] = ()
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None


def measure_within_time(options: DistillationOptions) -> None:
    """Train as many runs as fit into the time; the next call goes on."""
    import torch

    torch.set_num_threads(options.threads)
    end = time.monotonic() + 60 * options.minutes
    for block in BLOCKS:
        if options.blocks not in block.name:
            continue
        left = max(0.0, end - time.monotonic())
        if not left and not (work() / "runs" / block.name / "results.json").exists():
            cells = block.seeds * len(block.methods)
            print(f"\n== {block.name}\nmissing: none of its {cells} cells was begun")
            continue
        records = measure(block, budget=left, only=options.only)
        if options.out is not None:
            append(options.out, records)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(DistillationOptions, measure_within_time)
    return run_command(command, argv, name="benchmarks.students.distillation")


if __name__ == "__main__":
    raise SystemExit(main())
