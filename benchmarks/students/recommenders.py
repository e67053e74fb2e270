"""Do a language model and a specialised recommender teach a small one? MovieLens-100k, by method.

Ratings are split by user and time, lists are over all films. Settings were chosen on the validation
split; each student reads the test split once, when it is finished.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.record import BenchRecord, append
from benchmarks.shared import existing_shared
from benchmarks.students.genre_tasks import genre_tasks, train_teacher
from zoo.files import write_text
from zoo.home import benchmark_folder
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    from distill.comparison import Comparison

TEXT = "paraphrase-MiniLM-L3-v2"
EASE = "ease"
ALL = ("plain", "probe_kd", "average", "transport", "feature", "talk", "committee")
CONTROLS = ("committee_random", "one_way", "committee:threshold=0")
ALL_GENRES = "all_genres"  # the recommender of `genre_tasks`
SEED = 0  # of the shuffled texts


@dataclass(frozen=True, kw_only=True)
class RecommenderBlock:
    """One student, its teachers and the methods that are compared.

    ``shuffled`` gives every film the text of another one: side information stays, knowledge goes.
    ``genre``: the student sees one genre, and a recommender that saw all is a teacher of it.
    """

    student: str
    teachers: tuple[str, ...]
    methods: tuple[str, ...]
    shuffled: bool = False
    genre: bool = False

    @property
    def name(self) -> str:
        teachers = "_".join("text" if name == TEXT else name for name in self.teachers)
        of_genre = "genre_" if self.genre else ""
        return f"{of_genre}{self.student}_by_{teachers}{'_shuffled' if self.shuffled else ''}"


BLOCKS = (  # in the order in which they are worth the time
    RecommenderBlock(student="towers-32", teachers=(EASE, TEXT), methods=ALL),
    RecommenderBlock(
        student="towers-32", teachers=(EASE,), methods=("plain", "probe_kd", "committee")
    ),
    RecommenderBlock(student="towers-32", teachers=(TEXT,), methods=("plain", "probe_kd", "talk")),
    RecommenderBlock(
        student="towers-32", teachers=(EASE, TEXT), methods=("plain", "probe_kd"), shuffled=True
    ),
    RecommenderBlock(
        student="towers-16",
        teachers=(ALL_GENRES,),
        methods=("plain", "probe_kd", "one_way", "talk"),
        genre=True,
    ),
    RecommenderBlock(
        student="towers-16", teachers=(EASE, TEXT), methods=("plain", "probe_kd", "committee")
    ),
    RecommenderBlock(
        student="towers-762", teachers=(EASE, TEXT), methods=("plain", "probe_kd", "committee")
    ),
    RecommenderBlock(student="towers-32", teachers=(EASE, TEXT), methods=("plain", *CONTROLS)),
)


def work() -> Path:
    """Where tasks, rankings and runs are kept between calls."""
    return benchmark_folder("recommenders")


def run(out: Path) -> list[BenchRecord]:
    """Every block to its end; hours on two cores."""
    return [record for block in BLOCKS for record in measure(block, seeds=3)]


def measure(
    block: RecommenderBlock, *, seeds: int, budget: float | None = None, data: Path | None = None
) -> list[BenchRecord]:
    """Train what is missing of ``block``, print its table, return its records.

    ``data`` is a folder of ratings, MovieLens-100k of ../shared by default.
    """
    from distill.comparison import compare
    from distill.report.comparison_page import page
    from distill.report.comparison_table import text_table
    from distill.run import RunFolder

    source = _source(block, data or existing_shared("ratings", "movielens100k"))
    comparison = compare(RunFolder(source), block.methods, seeds=seeds, offline=True, budget=budget)
    print(f"\n== {block.name}\n{text_table(comparison)}", flush=True)
    write_text(source / "compare.html", page(comparison))
    return _records(block, comparison, RunFolder(source).results()["references"])


def _source(block: RecommenderBlock, data: Path) -> Path:
    """The finished plain run of seed 0, from which the others take their options."""
    from distill.experiment import prepare
    from distill.options import Options
    from distill.training.trainer import train

    task = data
    if block.shuffled:
        task = shuffled(data, work() / "shuffled")
    if block.genre:
        task = genre_tasks(data, work())[1]
    options = Options(
        task=str(task), student=block.student, method="plain", ranking=str(_ranking(block, task))
    )
    folder = work() / "runs" / block.name
    train(prepare(options, offline=True), options, folder)
    return folder


def shuffled(data: Path, folder: Path) -> Path:
    """A copy of the folder of ratings ``data`` whose items have each other's texts."""
    import numpy as np
    import pandas as pd

    if (folder / "items.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    pd.read_parquet(data / "ratings.parquet").to_parquet(folder / "ratings.parquet", index=False)
    items = pd.read_parquet(data / "items.parquet")
    order = np.random.default_rng(SEED).permutation(len(items))
    mixed = items.iloc[order].reset_index(drop=True).assign(item=items["item"].to_numpy())
    mixed.to_parquet(folder / "items.parquet", index=False)
    return folder


def _ranking(block: RecommenderBlock, task: Path) -> Path:
    """The ranking of both teachers with the committee of ``block``."""
    from selection.rank import Settings, rank
    from selection.ranking import Ranking
    from zoo.catalogue import Catalogue
    from zoo.sources import folder

    path, catalogue = work() / f"ranking_{task.name}.json", work() / f"{task.name}.duckdb"
    if not catalogue.exists():
        catalogue.parent.mkdir(parents=True, exist_ok=True)
        cards = list(folder.cards(existing_shared("text_models")))
        if block.genre:
            student = train_teacher(task.with_name("all_genres"), work())
            cards.append(folder.card(student, model=ALL_GENRES))
        with Catalogue.open(catalogue, write=True) as known:
            known.upsert(cards)
            known.publish()
    if not path.exists():
        rank(str(task), Settings(catalogue=catalogue, offline=True)).save(path)
    of_block = work() / f"{block.name}.json"
    replace(Ranking.load(path), committee=block.teachers).save(of_block)
    return of_block


def _records(
    block: RecommenderBlock, comparison: Comparison, references: dict[str, dict[str, Any]]
) -> list[BenchRecord]:
    """A record a method: its lift over plain, with all figures in the setting."""
    figures = comparison.figures
    teachers = {
        teacher.model: {f.name: f.value(teacher.test) for f in figures if f.known(teacher.test)}
        for teacher in comparison.teachers
    }
    records = []
    for line in comparison.lines:
        if not line.finished:
            continue
        gap, lift = line.recovered, line.lift
        value, low, high = (lift.value, lift.low, lift.high) if lift else (0.0, 0.0, 0.0)
        setting = {
            "student": block.student,
            "committee": ", ".join(block.teachers),
            "shuffled": block.shuffled,
            "method": line.method,
            "test": dict(line.test),
            "validation": dict(line.validation),
            "missing_seeds": list(line.missing),
            "teachers": teachers,
            "references": {name: _figures(entry["test"]) for name, entry in references.items()},
            "skipped": _skipped(comparison, line.method),
            "recovered": [gap.value, gap.low, gap.high] if gap else None,
        }
        records.append(
            BenchRecord(
                name=f"recommenders.{block.name}.{line.method}",
                value=value,
                low=low,
                high=high,
                unit="NDCG@10 on test over plain",
                spread="95 % bootstrap over seeds and users",
                setting=setting,
                seeds=line.seeds,
            )
        )
    return records


def _figures(entry: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in entry.items() if isinstance(value, float)}


def _skipped(comparison: Comparison, method: str) -> float | None:
    """The share of teacher forwards that a committee left out over training, mean over seeds."""
    lines = [
        line.get("method", {}) for run in comparison.of(method).values() for line in run.metrics()
    ]
    shares = [line["skipped"] for line in lines if "skipped" in line]
    return sum(shares) / len(shares) if shares else None


@dataclass(frozen=True, kw_only=True)
class RecommenderOptions:
    """The options of ``benchmarks.students.recommenders``."""

    minutes: Annotated[float, typer.Option(min=0, help="begin no cell that would end later")]
    blocks: Annotated[str, typer.Option(help="only blocks whose name holds this text")] = ""
    seeds: Annotated[int, typer.Option(min=1, help="of each method")] = 3
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None


def measure_within_time(options: RecommenderOptions) -> None:
    """Train as many runs as fit into the time; the next call goes on."""
    import torch

    torch.set_num_threads(1)
    end = time.monotonic() + 60 * options.minutes
    for block in BLOCKS:
        left = max(0.0, end - time.monotonic())
        if options.blocks in block.name and left:
            records = measure(block, seeds=options.seeds, budget=left)
            if options.out is not None:
                append(options.out, records)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(RecommenderOptions, measure_within_time)
    return run_command(command, argv, name="benchmarks.students.recommenders")


if __name__ == "__main__":
    raise SystemExit(main())
