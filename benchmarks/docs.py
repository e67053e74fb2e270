"""Write the figures of the records into README, docs and the packaged calibration: ``python -m
benchmarks.docs``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.record import BenchRecord, read
from selection.scores import prediction
from selection.scores.registry import ALIASES
from selection.settings import DEFAULT_SCORE
from zoo.errors import UserError
from zoo.files import write_text
from zoo.terminal.command import run

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/truth.md")
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", flags=re.S)
SCORE = ALIASES[DEFAULT_SCORE]
Records = Mapping[str, BenchRecord]
LIFTS = {
    "flowers": "flowers, 25 a class, and 2,300 unlabelled",
    "cifar100": "20 classes of CIFAR-100, 25 a class, and 8,500 unlabelled",
    "fashion": "Fashion-MNIST, 10 a class, and 8,900 unlabelled",
}
NAMES = {
    SCORE: "transport (the default)",
    "model_size": "model size",
    "static_prior": "static prior",
    "metadata_ridge": "metadata ridge",
    "linear_probe": "linear probe",
}


def rewrite(text: str, records: Records) -> str:
    """``text`` with every block between ``<!-- figures: NAME -->`` and ``<!-- end -->`` made
    anew.
    """
    return BLOCK.sub(lambda match: match[1] + TABLES[match[2]](records) + match[3], text)


def committed() -> Records:
    """The records that the documents quote, by name."""
    records: dict[str, BenchRecord] = {}
    for name in ("truth", "distillation"):
        path = ROOT / "benchmarks" / "records" / f"{name}.jsonl"
        if not path.exists():
            raise UserError(
                f"no records in {path}; make them first: python -m benchmarks.run {name}"
            )
        records |= {record.name: record for record in read(path)}
    return records


def calibrated() -> prediction.Calibration:
    """The default score's calibration on the committed tables."""
    from benchmarks.truth.calibration import calibrate
    from benchmarks.truth.truths import Truths

    return calibrate(Truths.read(ROOT / "benchmarks" / "records", "pool"), SCORE)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _with_interval(record: BenchRecord | None, digits: int = 2, *, sign: bool = False) -> str:
    """``0.19 (0.03 to 0.43)``."""
    if record is None or record.low is None or record.high is None:
        return "-"
    form = f"{'+' if sign else ''}.{digits}f"
    value, low, high = (format(part, form) for part in (record.value, record.low, record.high))
    return f"{value} ({low} to {high})"


def _title(score: str) -> str:
    plain, comma, rest = score.partition(",")
    return f"{NAMES.get(plain, f'`{plain}`')}{comma}{rest}"


def _setting(records: Records) -> str:
    record = records["truth.setting"]
    facts = record.setting
    return (
        f"{facts['teachers']} teachers, {facts['tasks']} tasks in {facts['groups']} groups (tasks"
        f" by seed: {facts['tasks with seed']}); in brackets 95 % intervals over tasks and seeds;"
        f" {_machine(record)}.\n\n"
    )


def _machine(record: BenchRecord) -> str:
    return f"on {record.machine['cores']} cores of an {record.machine['processor']}"


def _lift(records: Records) -> str:
    def accuracy(task: str, method: str) -> str:
        record = records[f"distillation.{task}_pool_efficientnet.{method}"]
        reached = f"{100 * float(str(record.setting['test'])):.1f} %"
        return (
            reached if method == "plain" else f"{reached} ({record.low:+.1f} to {record.high:+.1f})"
        )

    first = records["distillation.flowers_pool_efficientnet.probe_kd"]
    methods = ("plain", "probe_kd", "transport")
    table = _table(
        ["labelled images", *(f"`{method}`" for method in methods)],
        [[words, *(accuracy(task, method) for method in methods)] for task, words in LIFTS.items()],
    )
    return (
        f"{table}\nMeans over seeds {', '.join(map(str, first.seeds))}; in brackets the lift over"
        f" plain in points, {first.spread}; {_machine(first)}.\n"
    )


def _short(records: Records) -> str:
    names = (SCORE, "linear_probe", "knn", "logme", "static_prior", "random")
    keys = (
        "truth.score.{}.regret@1",
        "truth.specialists.{}.regret@1",
        "truth.regret_by_images.{}.3",
    )
    rows = [
        [_title(name), *(_with_interval(records.get(key.format(name))) for key in keys)]
        for name in names
    ]
    table = _table(
        [
            "points of accuracy lost by trusting the first choice of",
            "all teachers",
            "teachers not of ImageNet",
            "all, 3 labelled images a class",
        ],
        rows,
    )
    other = _with_interval(records.get(f"truth.score.{SCORE}.denoised_regret@1"))
    return (
        f"{_setting(records)}{table}\nAgainst the teacher that was best when all students were"
        f" trained under other seeds, the default's choice loses {other} points.\n"
    )


def _scored(records: Records, kind: str) -> list[str]:
    """The scores of one kind of record, the least regret first."""
    pattern = re.compile(rf"truth\.{kind}\.(.*)\.regret@1")
    regrets = {
        match[1]: record.value
        for name, record in records.items()
        if (match := pattern.fullmatch(name))
    }
    return sorted(regrets, key=lambda name: regrets[name])


def _scores(records: Records) -> str:
    measures = (
        "regret@1",
        "part_regret@1",
        "denoised_regret@1",
        "regret@3",
        "weighted_tau",
        "ndcg@5",
    )
    rows = [
        [
            _title(name),
            *(_with_interval(records.get(f"truth.score.{name}.{measure}")) for measure in measures),
        ]
        for name in _scored(records, "score")
    ]
    heads = [
        "score",
        "regret@1",
        "regret@1 in zoos of 8",
        "regret@1 against other seeds",
        "regret@3",
        "weighted tau",
        "NDCG@5",
    ]
    return _setting(records) + _table(heads, rows)


def _of_kind(records: Records, kind: str) -> list[BenchRecord]:
    """The records whose name begins with ``truth.KIND.``."""
    return [record for name, record in records.items() if name.startswith(f"truth.{kind}.")]


def _against(records: Records) -> str:
    pairs: dict[tuple[str, str], dict[str, BenchRecord]] = {}
    for record in _of_kind(records, "against"):
        first, second, zoo = (str(record.setting[key]) for key in ("first", "second", "zoo"))
        pairs.setdefault((first, second), {})[zoo] = record
    zoos = list(dict.fromkeys(zoo for by_zoo in pairs.values() for zoo in by_zoo))
    rows = []
    for (first, second), by_zoo in pairs.items():
        differences = [_with_interval(by_zoo.get(zoo), sign=True) for zoo in zoos]
        rows.append([_title(first), _title(second), *differences])
    return _table(["the choice of", "over that of", *zoos], rows)


def _specialists(records: Records) -> str:
    measures = ("regret@1", "part_regret@1", "weighted_tau")
    rows = [
        [
            _title(name),
            *(
                _with_interval(records.get(f"truth.specialists.{name}.{measure}"))
                for measure in measures
            ),
        ]
        for name in _scored(records, "specialists")
    ]
    return _table(["score", "regret@1", "regret@1 in zoos of 8", "weighted tau"], rows)


def _tasks(records: Records) -> str:
    keys = ("without", "worst", "median", "best", "chosen", "knn", "static_prior", "transport_adds")
    heads = [
        "task",
        "no teacher",
        "worst",
        "median",
        "best",
        "transport chooses",
        "knn chooses",
        "static prior chooses",
        "transport adds to the other candidates",
    ]
    rows = []
    for record in _of_kind(records, "stakes"):
        values = [f"{float(str(record.setting[key])):.1f}" for key in keys]
        rows.append([f"`{record.setting['task']}`", *values])
    return _table(heads, rows)


def _few(records: Records) -> str:
    measured = _of_kind(records, "regret_by_images")
    images = sorted({int(str(record.setting["images"])) for record in measured})
    rows = []
    for score in dict.fromkeys(str(record.setting["score"]) for record in measured):
        regrets = [records.get(f"truth.regret_by_images.{score}.{n}") for n in images]
        rows.append([_title(score), *map(_with_interval, regrets)])
    return _table(["regret@1 with", *(f"{n} images a class" for n in images)], rows)


def _committees(records: Records) -> str:
    heads = [
        "teachers",
        "student's accuracy over that of the best single by score, points",
        "tasks",
    ]
    rows = [
        [
            str(record.setting["rule"]),
            _with_interval(record, sign=True),
            str(record.setting["tasks"]),
        ]
        for record in _of_kind(records, "committee")
    ]
    return _table(heads, rows)


def _labels(records: Records) -> str:
    measured = {
        record.name.removeprefix("truth.labels."): record for record in _of_kind(records, "labels")
    }
    if not measured:
        return "Not measured yet.\n"
    facts = measured["best_over_median"].setting
    scores = [name.removesuffix(".regret@1") for name in measured if name.endswith(".regret@1")]
    rows = [
        [
            _title(name),
            _with_interval(measured[f"{name}.regret@1"]),
            _with_interval(measured[f"{name}.weighted_tau"]),
        ]
        for name in scores
    ]
    words = (
        f"{facts['teachers']} teachers, {facts['tasks']} tasks: the best teacher is"
        f" {_with_interval(measured['best_over_median'])} points over the median one, and"
        f" {_with_interval(measured['best_over_none'])} over none.\n\n"
    )
    return words + _table(["score", "regret@1", "weighted tau"], rows)


TABLES: dict[str, Callable[[Records], str]] = {
    "short": _short,
    "scores": _scores,
    "against": _against,
    "specialists": _specialists,
    "tasks": _tasks,
    "few": _few,
    "committees": _committees,
    "labels": _labels,
    "lift": _lift,
}


def main(argv: Sequence[str] | None = None) -> int:
    def command() -> None:
        """Write the figures of README.md and docs/truth.md, and the packaged prediction.json, anew
        from benchmarks/records.
        """
        records = committed()
        for name in DOCUMENTS:
            before = (ROOT / name).read_text(encoding="utf-8")
            after = rewrite(before, records)
            write_text(ROOT / name, after)
            print(f"{name}: {'written' if after != before else 'as it was'}")
        calibration = calibrated()
        prediction.write([calibration])
        print(
            f"{prediction.TABLE.name}: the {calibration.level:.0%} interval held"
            f" {calibration.coverage:.1%} on outer folds"
        )

    return run(command, argv, name="benchmarks.docs")


if __name__ == "__main__":
    raise SystemExit(main())
