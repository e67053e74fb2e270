"""Recall from 3,000,000 models with 200,000 label spaces: exact, how much is looked at, how long,
how large.

    python -m benchmarks.run recall

``$TEACHER_ZOO_BENCH_MODELS`` makes it smaller (the other sizes follow),
``$TEACHER_ZOO_BENCH_FOLDER`` keeps its catalogue and goes on with it. The brute force looks at
every name of every space in float64.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.build.label_sets import LABEL_SETS
from benchmarks.record import BenchRecord
from benchmarks.speed.synthetic_zoo import SyntheticZoo, word_list, write
from selection.recall.candidates import candidates
from selection.recall.label_build import label_index
from selection.recall.label_index import Ints, LabelIndex
from selection.recall.names import NameEncoder
from selection.recall.search import Recall, Recalled
from zoo.catalogue import Catalogue
from zoo.errors import Unavailable

MODELS = 3_000_000
TASKS, CLASSES, K = 20, 20, 100
HARD = 4  # of the tasks, also asked for the nearest hundred label spaces instead of models
SEED = 0
Note = Callable[..., None]


def run(out: Path) -> list[BenchRecord]:
    """Measure, and return the records; prints them as they come. ``Unavailable`` where recall is
    not exact.
    """
    models = int(os.environ.get("TEACHER_ZOO_BENCH_MODELS", MODELS))
    kept = os.environ.get("TEACHER_ZOO_BENCH_FOLDER")
    folder = Path(kept) if kept else Path(tempfile.mkdtemp(prefix="recall-"))
    folder.mkdir(parents=True, exist_ok=True)
    records: list[BenchRecord] = []

    def note(
        name: str,
        value: float,
        unit: str,
        low: float | None = None,
        high: float | None = None,
        spread: str = "",
        **setting: object,
    ) -> None:
        records.append(
            BenchRecord(
                name=f"recall.{name}",
                value=round(value, 5),
                unit=unit,
                low=low,
                high=high,
                spread=spread,
                seeds=(SEED,),
                setting={"models": models, "load": round(os.getloadavg()[0], 1), **setting},
            )
        )
        print(
            f"{name:28} {value:12,.4f} {unit}"
            + (f"  ({spread}: {low} to {high})" if spread else ""),
            flush=True,
        )

    try:
        zoo = _zoo(models, folder / "zoo.npz")
        path = folder / "catalogue.duckdb"
        if not path.with_suffix(".parquet").exists():
            write(zoo, path, rows=models, labelled=models // 6, rng=np.random.default_rng(SEED + 1))
        _measure_build(path, note)
        tasks = _tasks(zoo, np.random.default_rng(SEED + 2))
        _measure_queries(path, tasks, note)
        _measure_candidates(path, tasks, note)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return records


def _zoo(models: int, kept: Path) -> SyntheticZoo:
    if not kept.exists():
        SyntheticZoo.draw(
            names=max(models // 15, 2_000),
            spaces=max(models // 15, 500),
            topics=max(models // 1_000, 10),
            rng=np.random.default_rng(SEED),
        ).save(kept)
    return SyntheticZoo.load(kept)


def _tasks(zoo: SyntheticZoo, rng: np.random.Generator) -> dict[str, list[str]]:
    """Ten well-known tasks, 20 of their names each, and ten of topics of the zoo, half of their
    names reworded.
    """
    known = [name for name, text in LABEL_SETS.items() if len(set(text.split(", "))) >= CLASSES]
    found = {
        name: [
            str(label)
            for label in rng.choice(
                list(dict.fromkeys(LABEL_SETS[name].split(", "))), CLASSES, replace=False
            )
        ]
        for name in known[: TASKS // 2]
    }
    words = word_list()
    for topic in rng.choice(len(zoo.topics), TASKS - len(found), replace=False).tolist():
        found[f"topic {topic}: {zoo.names[zoo.topics[topic, 0]]}"] = zoo.task(
            topic, words[:2_000], rng, size=CLASSES
        )
    return found


def _measure_build(path: Path, note: Note) -> None:
    """The index from nothing, in a process of its own, which tells its peak memory."""
    shutil.rmtree(path.with_suffix(".labels"), ignore_errors=True)
    code = f"from benchmarks.recall import build; build({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    wall, cpu, peak = (float(word) for word in done.stdout.split()[-3:])
    size = sum(file.stat().st_size for file in path.with_suffix(".labels").rglob("*.npy"))
    note("build_wall", wall, "s")
    note("build_cpu", cpu, "CPU s")
    note("build_peak", peak, "MB")
    note("index_size", size / 1e6, "MB")


def build(path: str) -> None:
    """Build the label index of a catalogue; prints wall and CPU seconds and the peak memory in
    MB.
    """
    begin = time.perf_counter()
    with Catalogue.open(Path(path)) as catalogue:
        label_index(catalogue, NameEncoder.table())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


def _measure_queries(path: Path, tasks: dict[str, list[str]], note: Note) -> None:
    encoder = NameEncoder.table()
    begin = time.perf_counter()
    with Catalogue.open(path) as catalogue:
        index = label_index(catalogue, encoder)
    recall = Recall(index)
    note(
        "load",
        time.perf_counter() - begin,
        "s",
        names=len(index.names),
        spaces=len(index.spaces),
        usable=len(index.ids),
    )
    encoded = {name: encoder.encode(classes) for name, classes in tasks.items()}
    exact = {name: brute_force(index, classes) for name, classes in encoded.items()}
    note(
        "brute_force",
        statistics.median(cost[1] for cost in exact.values()),
        "CPU s",
        names=len(index.names),
    )
    some = list(encoded)[:: TASKS // HARD]
    once = np.ones(len(index.spaces), np.int64)
    for what, counts, which in (
        ("models", index.counts()[:-1], list(encoded)),
        ("spaces", once, some),
    ):
        times, cpus, shares, priced = [], [], [], []
        for name in which:
            recall.nearest(encoded[name], k=K, models=counts)
            trials = [
                _timed(partial(recall.nearest, encoded[name], k=K, models=counts)) for _ in range(3)
            ]
            found = trials[0][2]
            times.append(1_000 * statistics.median(trial[0] for trial in trials))
            cpus.append(1_000 * statistics.median(trial[1] for trial in trials))
            shares.append(len(found.touched) / found.total)
            priced.append(found.priced / found.total)
            if not same(found, exact[name][0], counts):
                raise Unavailable(
                    f"recall of the top {K} {what} is not that of brute force for {name}"
                )
            print(
                f"  {what} {name[:40]:40} {times[-1]:7.1f} ms {cpus[-1]:7.1f} CPU ms"
                f" {shares[-1]:8.4%} {priced[-1]:8.4%} {len(found.spaces):6,} spaces, costs to"
                f" {found.costs[-1]:.3f}",
                flush=True,
            )
        setting = {
            "tasks": which,
            "classes": CLASSES,
            "k": f"{K} {what}",
            "each": "median of 3",
            "exact": "all of them",
        }
        for figure, values, unit, limit in (
            ("query", times, "ms", 50),
            ("query_cpu", cpus, "CPU ms", 50),
            ("touched", shares, "share of label spaces", 0.02),
            ("priced", priced, "share of label spaces", 0.02),
        ):
            note(
                f"{figure}_{what}",
                statistics.median(values),
                unit,
                round(min(values), 5),
                round(max(values), 5),
                "least and most",
                **setting,
                limit=limit,
            )


def _timed(call: Callable[[], Recalled]) -> tuple[float, float, Recalled]:
    begin, cpu = time.perf_counter(), time.process_time()
    found = call()
    return time.perf_counter() - begin, time.process_time() - cpu, found


def brute_force(
    index: LabelIndex, classes: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], float]:
    """The costs (S,) of all spaces from all their names in float64, and the CPU seconds that
    took.
    """
    begin = time.process_time()
    far = 1 - index.vectors.astype(np.float64) @ classes.astype(np.float64).T  # (n, C)
    cost = np.zeros(len(index.spaces))
    for of in range(far.shape[1]):
        cost += (
            np.minimum.reduceat(far[index.spaces.flat, of], index.spaces.starts[:-1]) / far.shape[1]
        )
    return cost.round(9), time.process_time() - begin


def same(found: Recalled, cost: npt.NDArray[np.float64], counts: Ints, k: int = K) -> bool:
    """Whether recall found exactly the spaces up to the ``k``-th model by ``cost`` (S,), in their
    order.
    """
    order = np.argsort(cost, kind="stable")
    kth = cost[order[np.searchsorted(np.cumsum(counts[order]), k)]]
    wanted = order[cost[order] <= kth]
    return np.array_equal(found.spaces, wanted) and np.allclose(
        found.costs, cost[wanted], rtol=0, atol=2e-9
    )


def _measure_candidates(path: Path, tasks: Mapping[str, Sequence[str]], note: Note) -> None:
    """The whole way from a catalogue to a shortlist of 64, as ``selection.rank`` goes it, with and
    without a filter.
    """
    name, classes = next(iter(tasks.items()))
    for what, where in (("all", None), ("filtered", "params_total < 30000000")):
        begin = time.perf_counter()
        found = candidates(classes, catalogue=path, where=where, most=64)
        note(
            f"candidates_{what}",
            time.perf_counter() - begin,
            "s",
            task=name,
            where=where,
            known=found.known,
            loadable=found.loadable,
            touched=found.touched,
            shortlisted=len(found.cards),
        )
