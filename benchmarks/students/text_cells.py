"""Which students the benchmark of texts trains, in which order, and who teaches them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.shared import existing_shared, shared
from benchmarks.students.text_tasks import ORACLE, SOURCES, make
from zoo.errors import UserError
from zoo.home import benchmark_folder

if TYPE_CHECKING:
    from distill.options import Options
    from distill.run import RunFolder
    from zoo.card import ModelCard

SCRATCH, PRETRAINED = "bert-2x128", "pretrained"
FIRST = ("plain", "probe_kd", "transport")
ALL = (*FIRST, "feature", "talk", "committee")
SEEDS = 3
ORACLE_SETS = ("trec", "emotion")  # that are also trained with the pool's true labels
MINILM = "paraphrase-MiniLM-L3-v2"
FOUNDATION = "all-MiniLM-L6-v2"  # of the package index: ../shared/data.md
# a student trained on every label of another set: a teacher with a head of its own
SPECIALISTS = {"trec": "clinc", "sst2": "clinc", "subj": "clinc", "emotion": "clinc"}
SPECIALISTS |= {"clinc": "trec"}


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """One task, with or without the pool, one student, and what is compared on it."""

    task: str
    pool: str
    student: str
    methods: tuple[str, ...] = ALL
    seeds: int = SEEDS

    @property
    def name(self) -> str:
        return f"{self.task}_{self.pool}_{self.student}"

    @property
    def folder(self) -> Path:
        """Of its first run; the others lie within."""
        return work() / "runs" / self.name

    @property
    def begun(self) -> bool:
        return (self.folder / "results.json").is_file()


def work() -> Path:
    """Where tasks, teachers and runs are kept between calls."""
    return benchmark_folder("texts")


def blocks() -> list[TextBlock]:
    """The whole table, a block a task, pool and student."""
    pairs = [(pool, student) for student in (SCRATCH, PRETRAINED) for pool in ("pool", "alone")]
    whole = [TextBlock(task=task, pool=pool, student=s) for pool, s in pairs for task in SOURCES]
    oracles = [
        TextBlock(task=task, pool=ORACLE, student=SCRATCH, methods=("plain",))
        for task in ORACLE_SETS
    ]
    return whole + oracles


def cells() -> Iterator[TextBlock]:
    """The same in the order in which cells are worth the time."""
    yield from _of("pool", SCRATCH, FIRST, 1)
    yield from _of("alone", SCRATCH, FIRST[:2], 1)
    yield from (replace(block, seeds=1) for block in blocks() if block.pool == ORACLE)
    for methods in (FIRST[:2], FIRST):
        yield from _of("pool", SCRATCH, methods, SEEDS)
    yield from _of("pool", SCRATCH, ALL, 1)
    yield from _of("alone", SCRATCH, FIRST, SEEDS)
    yield from _of("pool", PRETRAINED, FIRST, 1)
    yield from _of("alone", SCRATCH, ALL, 1)
    yield from blocks()


def _of(pool: str, student: str, methods: tuple[str, ...], seeds: int) -> Iterator[TextBlock]:
    for block in blocks():
        if (block.pool, block.student) == (pool, student):
            yield replace(block, methods=methods, seeds=seeds)


def source_run(block: TextBlock) -> RunFolder:
    """The finished plain run of seed 0, from which the others take options and teachers."""
    from distill.experiment import prepare
    from distill.training.trainer import train

    options = options_of(block)
    return train(prepare(options, offline=True, cards=teachers(block.task)), options, block.folder)


def options_of(block: TextBlock) -> Options:
    """Everything is the default but the student: also the steps."""
    from distill.options import Options

    pretrained = block.student == PRETRAINED
    return Options(
        task=str(make(block.task, block.pool, work() / "tasks")),
        student=str(existing_shared("text_models", MINILM)) if pretrained else block.student,
        pretrained=pretrained,
        method="plain",
        duplicates=False,
    )


def teachers(task: str) -> tuple[ModelCard, ...]:
    """A foundation model without a head, and a specialist of another task."""
    other = SPECIALISTS[task]
    general = foundation()
    return card(general, general.name), card(specialist(other), f"{other}-specialist")


def card(folder: Path, name: str) -> ModelCard:
    """The card of the model in ``folder``."""
    from zoo.sources import folder as source

    return source.card(folder, source="folder", model=name)


def foundation() -> Path:
    """MiniLM-L6 where it was unpacked, else the smaller MiniLM-L3 of ../shared."""
    unpacked = work() / "teachers" / FOUNDATION
    if (unpacked / "config.json").is_file():
        return unpacked
    if not shared("text_models", MINILM).is_dir():
        raise UserError(f"no teacher of texts: unpack {FOUNDATION} as {unpacked}")
    return shared("text_models", MINILM)


def specialist(task: str) -> Path:
    """A student trained plainly on every label of ``task``, as a model in Hub layout."""
    from distill.experiment import prepare
    from distill.options import Options
    from distill.training.trainer import train

    options = Options(
        task=str(make(task, ORACLE, work() / "tasks")),
        student=SCRATCH,
        method="plain",
        duplicates=False,
    )
    run = work() / "specialists" / task
    if not (run / "results.json").is_file():
        train(prepare(options, offline=True, cards=()), options, run)
    return run / "student"
