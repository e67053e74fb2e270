"""Recall from 3,000,000 models with 200,000 label spaces: exact, how much it looks at, how long.

    python -m benchmarks.run recall

``$TEACHER_ZOO_BENCH_MODELS`` makes it smaller (the other sizes follow),
``$TEACHER_ZOO_BENCH_FOLDER`` keeps its catalogue and goes on with it. Brute force compares every
name of every space with every class, in float64.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from benchmarks.build.label_sets import LABEL_SETS
from benchmarks.record import BenchRecord
from benchmarks.speed.synthetic_zoo import SyntheticZoo, word_list, write
from selection.recall.candidates import candidates
from selection.recall.label_build import label_index
from selection.recall.label_index import Costs, Ints, LabelIndex, Vectors
from selection.recall.names import NameEncoder
from selection.recall.search import NearestSpaces, nearest_spaces
from zoo.catalogue import Catalogue
from zoo.errors import Unavailable

MODELS = 3_000_000
TASKS, CLASSES, K = 20, 20, 100
HARD = 4  # and the worst: tasks that also search the nearest hundred label spaces, not models
SEED = 0
_TRIALS = 3  # of each query
# what was aimed at when recall was designed
_LIMITS = {"ms": 50, "CPU ms": 50, "share of label spaces": 0.02}

Result = TypeVar("Result")


@dataclass
class _Records:
    """The records of a run, printed as they come."""

    models: int
    records: list[BenchRecord] = field(default_factory=list)

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        **setting: object,
    ) -> None:
        self._append(
            BenchRecord(
                name=name,
                value=round(value, 5),
                unit=unit,
                setting=setting,
            )
        )

    def add_spread(
        self,
        name: str,
        values: Sequence[float],
        unit: str,
        **setting: object,
    ) -> None:
        """The median of ``values``, with the least and the most of them."""
        self._append(
            BenchRecord(
                name=name,
                value=round(statistics.median(values), 5),
                unit=unit,
                low=round(min(values), 5),
                high=round(max(values), 5),
                spread="least and most",
                setting=setting,
            )
        )

    def _append(self, record: BenchRecord) -> None:
        print(f"{record.name:20} {record.value:12,.4f} {record.unit}", end="")
        print(f"  ({record.low} to {record.high})" if record.spread else "", flush=True)
        shared = {"models": self.models, "load": round(os.getloadavg()[0], 1)}
        settings = shared | dict(record.setting)
        self.records.append(
            replace(record, name=f"recall.{record.name}", setting=settings, seeds=(SEED,))
        )


def run(out: Path) -> list[BenchRecord]:
    """Measure, and return the records. Raises ``Unavailable`` where recall is not exact."""
    models = int(os.environ.get("TEACHER_ZOO_BENCH_MODELS", MODELS))
    records = _Records(models)
    with _folder() as folder, _tool_home(folder / "home"):
        zoo = _zoo(models, folder / "zoo.npz")
        path = folder / "catalogue.duckdb"
        if not path.with_suffix(".parquet").exists():
            write(
                zoo,
                path,
                rows=models,
                labelled=models // 6,
                rng=np.random.default_rng(SEED + 1),
            )
        _measure_build(path, folder / "home" / "labels", records)
        tasks = _tasks(zoo, np.random.default_rng(SEED + 2))
        _measure_queries(path, tasks, records)
        _measure_candidates(path, tasks, records)
    return records.records


@contextmanager
def _folder() -> Iterator[Path]:
    kept = os.environ.get("TEACHER_ZOO_BENCH_FOLDER")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="recall-") as scratch:
        yield Path(scratch)


@contextmanager
def _tool_home(folder: Path) -> Iterator[None]:
    """The tool keeps its files in ``folder``, here and in processes that are started here."""
    before = os.environ.get("TEACHER_ZOO_HOME")
    os.environ["TEACHER_ZOO_HOME"] = str(folder)
    try:
        yield
    finally:
        del os.environ["TEACHER_ZOO_HOME"]
        if before is not None:
            os.environ["TEACHER_ZOO_HOME"] = before


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
    """Ten well-known tasks, ten of topics of the zoo with half of their names reworded, the worst.

    Each has 20 classes. The worst are names in a script that the encoder cannot read, which are
    related to nothing.
    """
    distinct = {name: list(dict.fromkeys(text.split(", "))) for name, text in LABEL_SETS.items()}
    known = [name for name, labels in distinct.items() if len(labels) >= CLASSES]
    tasks = {
        name: rng.choice(distinct[name], CLASSES, replace=False).tolist()
        for name in known[: TASKS // 2]
    }
    words = word_list()[:2_000]
    for topic in rng.choice(len(zoo.topics), TASKS - len(tasks), replace=False).tolist():
        title = f"topic {topic}: {zoo.names[zoo.topics[topic, 0]]}"
        tasks[title] = zoo.task(topic, words, rng, size=CLASSES)
    tasks["unreadable"] = [chr(0x4E00 + number) for number in range(CLASSES)]
    return tasks


def _measure_build(path: Path, store: Path, records: _Records) -> None:
    """The index from nothing, in a process of its own, which prints its peak memory."""
    shutil.rmtree(store, ignore_errors=True)
    code = f"from benchmarks.speed.recall import build; build({str(path)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    wall, cpu, peak = (float(word) for word in done.stdout.split()[-3:])
    records.add("build_wall", wall, "s")
    records.add("build_cpu", cpu, "CPU s")
    records.add("build_peak", peak, "MB")
    records.add("index_size", sum(file.stat().st_size for file in store.iterdir()) / 1e6, "MB")


def build(path: str) -> None:
    """Build the label index of a catalogue; prints wall and CPU seconds and the peak MB."""
    begin = time.perf_counter()
    with Catalogue.open(Path(path)) as catalogue:
        label_index(catalogue, NameEncoder.table())
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


def _measure_queries(path: Path, tasks: Mapping[str, list[str]], records: _Records) -> None:
    encoder = NameEncoder.table()
    begin = time.perf_counter()
    with Catalogue.open(path) as catalogue:
        index = label_index(catalogue, encoder)
    spaces = index.spaces.shape[0]
    records.add(
        "load",
        time.perf_counter() - begin,
        "s",
        names=len(index.names),
        spaces=spaces,
        usable=len(index.ids),
    )
    encoded = {name: encoder.encode(classes) for name, classes in tasks.items()}
    exact = {name: Timed.of(partial(brute_force, index, rows)) for name, rows in encoded.items()}
    hard = dict(list(encoded.items())[:: TASKS // HARD])
    models = index.models_per_space(np.ones(len(index.ids), np.bool_))
    for counted, counts, queries in (
        ("models", models, encoded),
        ("spaces", np.ones(spaces, np.int64), hard),
    ):
        results = {
            name: _query(index, classes, counts, exact[name].result, f"{counted} {name}")
            for name, classes in queries.items()
        }
        brute_force_cpu = {name: exact[name].cpu for name in queries}
        _add_queries(counted, results, brute_force_cpu, records)


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """What a call returned, and the wall and CPU seconds that it took."""

    result: Result
    wall: float
    cpu: float

    @classmethod
    def of(cls, call: Callable[[], Result]) -> Timed[Result]:
        begin, cpu = time.perf_counter(), time.process_time()
        result = call()
        return cls(result, time.perf_counter() - begin, time.process_time() - cpu)


def _query(
    index: LabelIndex, classes: Vectors, counts: Ints, costs: Costs, name: str
) -> Timed[NearestSpaces]:
    """The query of median CPU time after a first one; ``Unavailable`` where it is not exact."""
    query = partial(nearest_spaces, index, classes, k=K, models=counts)
    query()
    trials = [Timed.of(query) for _ in range(_TRIALS)]
    median = sorted(trials, key=lambda trial: trial.cpu)[_TRIALS // 2]
    nearest = median.result
    if not equals_brute_force(nearest, costs, counts):
        raise Unavailable(f"recall of the top {K} {name} is not that of brute force")
    print(
        f"  {name[:48]:48} {1_000 * median.wall:7.1f} ms {1_000 * median.cpu:7.1f} CPU ms"
        f" {len(nearest.touched) / nearest.total:8.4%} {len(nearest.spaces):6,} spaces, costs to"
        f" {nearest.costs[-1]:.3f}",
        flush=True,
    )
    return median


def _add_queries(
    counted: str,
    queries: Mapping[str, Timed[NearestSpaces]],
    brute_force_cpu: Mapping[str, float],
    records: _Records,
) -> None:
    shares = [len(query.result.touched) / query.result.total for query in queries.values()]
    ratios = [query.cpu / brute_force_cpu[name] for name, query in queries.items()]
    figures = (
        ("query", [1_000 * query.wall for query in queries.values()], "ms"),
        ("query_cpu", [1_000 * query.cpu for query in queries.values()], "CPU ms"),
        ("brute_force_cpu", [1_000 * seconds for seconds in brute_force_cpu.values()], "CPU ms"),
        ("query_over_brute_force", ratios, "ratio of CPU time"),
        ("touched", shares, "share of label spaces"),
    )
    for name, values, unit in figures:
        records.add_spread(
            f"{name}_{counted}",
            values,
            unit,
            tasks=list(queries),
            classes=CLASSES,
            k=f"{K} {counted}",
            each=f"median of {_TRIALS}",
            exact="all of them",
            limit=_LIMITS.get(unit),
        )


def brute_force(index: LabelIndex, classes: Vectors) -> Costs:
    """The costs (S,) of all spaces from all their names, in float64."""
    distances = 1 - classes.astype(np.float64) @ index.vectors.astype(np.float64).T  # (C, n)
    costs = np.zeros(index.spaces.shape[0])
    for row in distances:
        costs += np.minimum.reduceat(row[index.spaces.indices], index.spaces.indptr[:-1])
    return (costs / len(classes)).round(9)


def equals_brute_force(
    nearest: NearestSpaces,
    costs: Costs,
    counts: Ints,
    k: int = K,
) -> bool:
    """Whether ``nearest`` are the spaces up to the ``k``-th model by ``costs`` (S,), in order."""
    order = np.argsort(costs, kind="stable")
    kth_cost = costs[order[np.searchsorted(np.cumsum(counts[order]), k)]]
    expected = order[costs[order] <= kth_cost]
    return np.array_equal(nearest.spaces, expected) and np.allclose(
        nearest.costs, costs[expected], rtol=0, atol=2e-9
    )


def _measure_candidates(path: Path, tasks: Mapping[str, Sequence[str]], records: _Records) -> None:
    """The whole way from a catalogue to a shortlist of 64, with and without a filter."""
    name, classes = next(iter(tasks.items()))
    for filtering, where in (("all", None), ("filtered", "params_total < 30000000")):
        shortlist = Timed.of(
            partial(
                candidates,
                classes,
                catalogue=path,
                where=where,
                most=64,
            )
        )
        records.add(
            f"candidates_{filtering}",
            shortlist.wall,
            "s",
            cpu=round(shortlist.cpu, 2),
            task=name,
            where=where,
            known=shortlist.result.known,
            loadable=shortlist.result.loadable,
            touched=shortlist.result.touched,
            shortlisted=len(shortlist.result.cards),
        )
