"""Which teacher of texts to choose: students of each teacher on five sets, and how good a choice by
each score is.

``python -m benchmarks.students.text_teachers --minutes 60`` trains what fits into the time;
``python -m benchmarks.run text_teachers`` trains all. TransformerRanker is asked beside the scores
where it is installed (the project does not depend on it).
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.measures import over_tasks, regret
from benchmarks.record import BenchRecord, append, append_rows, read_rows
from benchmarks.shared import existing_shared
from benchmarks.students.text_cells import (
    FOUNDATION,
    MINILM,
    SCRATCH,
    TextBlock,
    card,
    foundation,
    options_of,
    specialist,
    work,
)
from benchmarks.students.text_tasks import SOURCES, make
from benchmarks.truth.truths import known_mean, standardise
from selection.settings import DEFAULT_SCORE
from zoo.terminal.command import run as run_command
from zoo.terminal.options import command_of
from zoo.terminal.progress import note

Floats = npt.NDArray[np.floating]
PEER = "transformer_ranker"
PEER_SCORES = ("hscore", "logme", "knn")  # its three estimators
STEPS = 100  # of a student, at least a pass over the pool: a sixth of the default, to have them all
PACKAGED_SET = "clinc"  # that the packaged teachers of texts were trained on
KEPT_SCORES = "text_teachers_scores.jsonl"


def teachers() -> dict[str, Callable[[], Path]]:
    """Folder of each teacher by name: general ones, specialists of a task, the packaged tiny ones,
    and a decoy without knowledge.
    """
    from zoo.sources.folder import small_zoo

    found: dict[str, Callable[[], Path]] = {
        MINILM: lambda: existing_shared("text_models", MINILM),
        FOUNDATION: foundation,
        "clinc-specialist": lambda: specialist("clinc"),
        "trec-specialist": lambda: specialist("trec"),
        "shuffled-MiniLM": shuffled,
    }
    for folder in sorted(small_zoo().iterdir()):
        if (folder / "tokenizer.json").is_file():
            found[folder.name] = partial(Path, folder)
    return found


def knows(teacher: str, task: str) -> bool:
    """Whether ``teacher`` was trained on labels of ``task``: it is left out there."""
    from zoo.sources.folder import small_zoo

    packaged = task == PACKAGED_SET and (small_zoo() / teacher).is_dir()
    return packaged or teacher == f"{task}-specialist"


def shuffled() -> Path:
    """MiniLM-L3 with the entries of every weight in a random order."""
    from safetensors.numpy import load_file, save_file

    source = existing_shared("text_models", MINILM)
    folder = work() / "decoys" / "shuffled-MiniLM"
    if not (folder / "model.safetensors").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        weights = load_file(source / "model.safetensors")
        mixed = {n: rng.permutation(w.reshape(-1)).reshape(w.shape) for n, w in weights.items()}
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((source / name).read_bytes())
        save_file(mixed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def student(task: str, teacher: str, seed: int, *, only_kept: bool = False) -> float | None:
    """Test accuracy of a student that ``teacher`` alone taught with the pool; trained where it is
    missing, unless ``only_kept``.
    """
    from distill.experiment import prepare
    from distill.run import RunFolder
    from distill.training.trainer import train

    folder = work() / "by_teacher" / f"{task}-{teacher}-{seed}"
    run = RunFolder(folder)
    if not run.finished:
        if only_kept:
            return None
        block = TextBlock(task=task, pool="pool", student=SCRATCH)
        options = replace(options_of(block), method="probe_kd", seed=seed, epochs=_epochs(task))
        cards = (card(teachers()[teacher](), teacher),)
        train(prepare(options, offline=True, cards=cards), options, folder)
    return float(run.results()["test"]["accuracy"])


def _epochs(task: str) -> int:
    """As many as take about ``STEPS``."""
    from distill.data.batches import batch_sizes
    from selection.task import Task

    texts = Task.open(str(make(task, "pool", work() / "tasks")), duplicates=False)
    pool = 0 if texts.unlabelled is None else len(texts.unlabelled)
    return max(1, round(STEPS / batch_sizes(len(texts.train), pool, 64, None).steps))


def ranked(task: str, names: Sequence[str]) -> dict[str, Any]:
    """``scores`` of each teacher by score and ``seconds`` in all, by this project and by the peer,
    on the labelled texts alone.
    """
    from selection.rank import rank
    from selection.settings import Settings
    from zoo.catalogue import Catalogue

    catalogue = work() / "text_teachers.duckdb"
    folders = {name: teachers()[name]() for name in names}
    with Catalogue.open(catalogue, write=True) as known:
        known.upsert(card(folder, name) for name, folder in folders.items())
        known.publish()
    settings = Settings(
        catalogue=catalogue, offline=True, also=("all",), duplicates=False, models=tuple(names)
    )
    began = time.perf_counter()
    ranking = rank(str(make(task, "alone", work() / "tasks")), settings)
    seconds = time.perf_counter() - began
    table: dict[str, dict[str, float | None]] = {}
    for row in ranking.rows:
        size = math.log10(row.params_total or 1)
        for name, value in {DEFAULT_SCORE: row.value, **row.scores, "size": size}.items():
            table.setdefault(name, {})[row.model] = value
    peer = of_peer(task, folders)
    return {
        "task": task,
        "scores": table | peer["scores"],
        "seconds": {"teacher-zoo, outputs stored": seconds, **peer["seconds"]},
    }


def of_peer(task: str, folders: Mapping[str, Path]) -> dict[str, Any]:
    """TransformerRanker's three scores of the same teachers on the same texts; nothing where it is
    not installed.
    """
    try:
        package = importlib.import_module(PEER)
    except ImportError:
        note(f"{PEER} is not installed: its scores are left out")
        return {"scores": {}, "seconds": {}}
    import datasets

    files = {"train": str(make(task, "alone", work() / "tasks") / "train.parquet")}
    texts = datasets.load_dataset("parquet", data_files=files)["train"]
    names = {str(folder): name for name, folder in folders.items()}
    scores: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for estimator in PEER_SCORES:
        ranker = package.TransformerRanker(texts, text_column="text", label_column="label")
        began = time.perf_counter()
        result = ranker.run(list(names), estimator=estimator, device="cpu")
        seconds[f"{PEER} {estimator}"] = time.perf_counter() - began
        scores[f"{PEER}_{estimator}"] = {
            names[model]: float(score) for model, score in result.scores.items() if model in names
        }
    return {"scores": scores, "seconds": seconds}


def run(out: Path) -> list[BenchRecord]:
    """Every student, and every score; hours on two cores."""
    measure(seconds=math.inf)
    return records()


def measure(*, seconds: float, seeds: int = 1) -> None:
    """Train the missing students and ask for the missing scores within ``seconds``."""
    end, longest = time.monotonic() + seconds, 0.0
    for seed in range(seeds):
        for teacher in teachers():
            for task in SOURCES:
                began = time.monotonic()
                if knows(teacher, task) or began + longest > end:
                    continue
                student(task, teacher, seed)
                longest = max(longest, time.monotonic() - began)
    kept = work() / KEPT_SCORES
    done = {row["task"] for row in read_rows(kept)}
    for task in SOURCES:
        if task not in done and time.monotonic() < end:
            names = [name for name in teachers() if not knows(name, task)]
            append_rows(kept, [ranked(task, names)])


def records(*, seeds: int = 1) -> list[BenchRecord]:
    """The students that are there, and regret@1 of each score over the tasks whose students are all
    there.
    """
    names, tasks = list(teachers()), list(SOURCES)
    truth = np.full((len(tasks), len(names)), np.nan)  # (T, M)
    found = []
    for t, task in enumerate(tasks):
        for m, teacher in enumerate(names):
            values = [
                value for seed in range(seeds) if (value := _kept(task, teacher, seed)) is not None
            ]
            if values:
                truth[t, m] = 100 * float(np.mean(values))
                setting = {"task": task, "teacher": teacher, "student": SCRATCH}
                found.append(
                    BenchRecord(
                        name=f"text_teachers.student.{task}.{teacher}",
                        value=truth[t, m],
                        unit="% of test texts",
                        setting=setting,
                        seeds=tuple(range(len(values))),
                    )
                )
    return found + regrets(tasks, names, truth)


def _kept(task: str, teacher: str, seed: int) -> float | None:
    return None if knows(teacher, task) else student(task, teacher, seed, only_kept=True)


def regrets(tasks: Sequence[str], names: Sequence[str], truth: Floats) -> list[BenchRecord]:
    """regret@1 of each score, points of test accuracy, mean over the tasks (T,) that are complete;
    ``truth`` (T, M) is NaN where a teacher knows the task.
    """
    rows = {row["task"]: row for row in read_rows(work() / KEPT_SCORES)}
    wanted = np.array([[not knows(name, task) for name in names] for task in tasks])
    complete = [
        t for t in range(len(tasks)) if tasks[t] in rows and np.isfinite(truth[t])[wanted[t]].all()
    ]
    tables = {
        score: np.array([_values(rows[tasks[t]], score, names) for t in complete])
        for score in dict.fromkeys(s for t in complete for s in rows[tasks[t]]["scores"])
    }
    if len(complete) > 1:  # it is learned on the other tasks
        tables["static_prior"] = np.array(
            [_static_prior(truth[complete], t) for t in range(len(complete))]
        )
    found = []
    for score, table in tables.items():
        lost = [regret(truth[t], table[place]) for place, t in enumerate(complete)]
        if not lost or not np.isfinite(table).any():  # a score of label names, without any
            continue
        estimate = over_tasks(np.array(lost)[:, None])
        found.append(
            BenchRecord(
                name=f"text_teachers.regret@1.{score}",
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                unit="points of test accuracy",
                spread="95 % bootstrap over tasks",
                setting={tasks[t]: round(lost[place], 2) for place, t in enumerate(complete)},
            )
        )
    return found + _seconds([rows[tasks[t]] for t in complete])


def _values(row: Mapping[str, Any], score: str, names: Sequence[str]) -> list[float]:
    """(M,) of one task, NaN where the score does not apply."""
    values = row["scores"].get(score, {})
    return [math.nan if values.get(name) is None else values[name] for name in names]


def _static_prior(truth: Floats, task: int) -> Floats:
    """(M,) mean standardised accuracy on the tasks of ``truth`` (T, M) but ``task``; 0 where there
    is none.
    """
    others = np.delete(truth, task, axis=0)
    return np.nan_to_num(known_mean(standardise(others), axis=0))


def _seconds(rows: Sequence[Mapping[str, Any]]) -> list[BenchRecord]:
    """Seconds of ranking all teachers, mean over the tasks."""
    tools = dict.fromkeys(tool for row in rows for tool in row["seconds"])
    return [
        BenchRecord(
            name=f"text_teachers.seconds.{tool.replace(', ', '_').replace(' ', '_')}",
            value=float(np.mean([row["seconds"][tool] for row in rows if tool in row["seconds"]])),
            unit="s a task",
            setting={row["task"]: round(row["seconds"].get(tool, math.nan), 2) for row in rows},
        )
        for tool in tools
    ]


@dataclass(frozen=True, kw_only=True)
class TextTeachersOptions:
    """The options of ``benchmarks.students.text_teachers``."""

    minutes: Annotated[float, typer.Option(min=0, help="begin no student that would end later")]
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1
    out: Annotated[Path | None, typer.Option(help="add the records to this file")] = None


def measure_within_time(options: TextTeachersOptions) -> None:
    """Train as many students as fit into the time; the next call goes on."""
    import torch

    torch.set_num_threads(options.threads)
    measure(seconds=60 * options.minutes)
    found = records()
    for record in found:
        print(f"{record.name:<70}{record.value:8.2f} {record.unit}")
    if options.out is not None:
        append(options.out, found)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    command = command_of(TextTeachersOptions, measure_within_time)
    return run_command(command, argv, name="benchmarks.students.text_teachers")


if __name__ == "__main__":
    raise SystemExit(main())
