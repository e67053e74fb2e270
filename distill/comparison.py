"""Methods and seeds on the same splits, side by side with intervals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distill.options import Options, from_config
from distill.run import RunFolder
from distill.training.compared_methods import BEST_SINGLE, method_options, same_runs
from distill.training.method_result import COLUMNS, MethodResult, figures_of
from selection.kinds.image import IMAGE
from selection.kinds.kind import Kind
from zoo.errors import Unavailable, UserError
from zoo.terminal.progress import note, warn

if TYPE_CHECKING:
    from distill.experiment import Experiment
    from distill.teachers.prepared import PreparedTeacher
    from selection.scores.interval import Hits, Interval

__all__ = [
    "BEST_SINGLE",
    "COLUMNS",
    "Comparison",
    "MethodResult",
    "TeacherAccuracy",
    "compare",
    "figures_of",
]

Results = Mapping[str, Any]  # results.json of a run


@dataclass(frozen=True, kw_only=True)
class TeacherAccuracy:
    """A teacher's head, fitted on the training split, read on the test split: ``hits`` (n,).

    ``validation`` and ``deciding`` are its accuracy and the deciding figure on validation,
    ``balanced`` its balanced accuracy on test.
    """

    model: str
    validation: float
    deciding: float
    hits: Hits
    balanced: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The ``runs`` by method and seed, finished or not, and a line for each method in order.

    ``figure``, ``accuracy`` or ``balanced_accuracy``, is what decides; ``commonest`` the class with
    the most test images and its share of them.
    """

    name: str
    classes: tuple[str, ...]
    runs: Mapping[tuple[str, int], RunFolder]
    lines: tuple[MethodResult, ...]
    teachers: tuple[TeacherAccuracy, ...]
    figure: str
    commonest: tuple[str, float]
    kind: Kind = IMAGE

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes without a test image."""
        by_class = next((line.by_class for line in self.lines if line.by_class), ())
        unknown = zip(self.classes, by_class, strict=False)
        return tuple(name for name, share in unknown if share is None)

    @property
    def best_teacher(self) -> TeacherAccuracy | None:
        """The teacher whose head is best on validation."""
        return max(self.teachers, key=lambda teacher: teacher.deciding, default=None)

    def of(self, method: str) -> dict[int, RunFolder]:
        """The finished runs of ``method`` by seed."""
        return {
            seed: cell
            for (name, seed), cell in self.runs.items()
            if name == method and cell.finished
        }


def compare(
    source: RunFolder,
    methods: Sequence[str],
    *,
    seeds: int,
    device: str = "cpu",
    offline: bool = False,
    yes: bool = False,
    budget: float | None = None,
) -> Comparison:
    """Train ``methods`` with ``seeds`` seeds as the run ``source`` was trained, and compare them.

    Teachers of more than 2 GB are downloaded only with ``yes``, or where the user of a command
    agrees. Finished cells are read, a stopped cell goes on. With ``budget`` (seconds) no cell is
    begun that would, by the longest so far, not end in time; the comparison says which are missing.
    A method that cannot run here has an ``error``. A method may carry settings:
    ``transport:probe=0:weight=1``. Methods that are identical for this committee are trained once:
    with a single teacher, probe_kd, average and best_single are the same run.
    """
    from distill.experiment import prepare

    config = source.config()
    options, cards = from_config(config, source=str(source.path / "config.json"))
    options_of = {method: method_options(method, options) for method in methods}
    same = same_runs(options_of, config["method"], teachers=len(cards))
    experiment = prepare(
        options,
        device=device,
        offline=offline,
        yes=yes,
        cards=cards,
        revision=config["task"].get("revision"),
    )
    runs = {
        (method, options.seed + i): _folder(source, method, options.seed + i)
        for i in range(seeds)
        for method in methods
        if method not in same
    }
    refused = _train_missing(experiment, source, runs, options_of, budget=budget)
    comparison = Comparison(
        name=options.task,
        classes=experiment.task.classes,
        runs=runs,
        lines=(),
        teachers=_teachers(experiment),
        figure=experiment.decided_by,
        commonest=_commonest(experiment),
        kind=experiment.task.kind,
    )
    lines = tuple(
        _of_same_run(method, same[method])
        if method in same
        else _result(method, comparison, refused.get(method))
        for method in methods
    )
    return replace(comparison, lines=lines)


def _of_same_run(method: str, other: str) -> MethodResult:
    return MethodResult(method=method, seeds=(), missing=(), same_as=other)


def _folder(source: RunFolder, method: str, seed: int) -> RunFolder:
    """The run of a method and seed: ``source`` itself, where it is that."""
    config = source.config()
    if source.finished and (method, seed) == (config["method"], config["seed"]):
        return source
    return RunFolder(source.path / "compare" / f"{method.replace(':', '+')}-{seed}")


def _train_missing(
    experiment: Experiment,
    source: RunFolder,
    runs: Mapping[tuple[str, int], RunFolder],
    options_of: Mapping[str, Options],
    *,
    budget: float | None,
) -> dict[str, str]:
    """Train what is not finished within ``budget`` seconds; returns why methods were refused."""
    refused: dict[str, str] = {}
    longest, began = 0.0, time.monotonic()
    for place, ((method, seed), run) in enumerate(runs.items(), 1):
        start, own = time.monotonic(), run.path != source.path
        run.remove_damaged(config=own)
        late = budget is not None and start - began + longest > budget
        if run.finished or late or method in refused:
            continue
        note(f"cell {place} of {len(runs)}: {method}, seed {seed}")
        try:
            _train(
                experiment,
                replace(options_of[method], seed=seed),
                run.path,
                own=own,
            )
        except UserError as error:
            refused[method] = str(error)
        except Unavailable as error:
            warn(f"{method}, seed {seed}: {error}")
        longest = max(longest, time.monotonic() - start)
    return refused


def _train(
    experiment: Experiment,
    options: Options,
    folder: Path,
    *,
    own: bool,
) -> None:
    from distill.training.trainer import train

    if options.method == BEST_SINGLE:
        options = replace(options, method="probe_kd")
        best = max(experiment.teachers(), key=lambda t: _on_validation(t, experiment).deciding)
        experiment = experiment.with_teachers((best.info.card,))
    train(experiment, options, folder, own=own)


class _ValidationFigures(NamedTuple):
    accuracy: float
    deciding: float


def _on_validation(teacher: PreparedTeacher, experiment: Experiment) -> _ValidationFigures:
    """The figures of a teacher's head on the validation split."""
    from distill.training.results import ACCURACY, class_mean

    rows = experiment.validation.usable
    labels = experiment.validation.labels[rows]
    right = teacher.validation.argmax(1).numpy()[rows] == labels
    accuracy = float(right.mean())
    if experiment.decided_by == ACCURACY:
        return _ValidationFigures(accuracy, accuracy)
    return _ValidationFigures(accuracy, class_mean(right, labels))


def _commonest(experiment: Experiment) -> tuple[str, float]:
    """The class with the most test images that can be read, and its share of them in [0, 1]."""
    import numpy as np

    test = experiment.split("test")
    labels = test.labels[test.usable]
    counts = np.bincount(labels, minlength=len(experiment.task.classes))
    most = int(counts.argmax())
    return experiment.task.classes[most], float(counts[most] / len(labels))


def _teachers(experiment: Experiment) -> tuple[TeacherAccuracy, ...]:
    from distill.training.results import class_mean

    test = experiment.split("test")
    labels = test.labels[test.usable]
    teachers = []
    for teacher in experiment.teachers():
        logits = experiment.committee.predicted(teacher.info.card, teacher.head, test)  # (n, C)
        right = logits.argmax(1).numpy()[test.usable] == labels
        on_validation = _on_validation(teacher, experiment)
        teachers.append(
            TeacherAccuracy(
                model=teacher.info.card.id,
                validation=on_validation.accuracy,
                deciding=on_validation.deciding,
                hits=right,
                balanced=class_mean(right, labels),
            )
        )
    return tuple(teachers)


def _result(method: str, comparison: Comparison, error: str | None) -> MethodResult:
    """The figures of ``method`` over its finished seeds."""
    from distill.training.results import ACCURACY, BALANCED, lift_of

    results = {seed: run.results() for seed, run in comparison.of(method).items()}
    plain = {seed: run.results() for seed, run in comparison.of("plain").items()}
    missing = tuple(s for name, s in comparison.runs if name == method and s not in results)
    if not results:
        return MethodResult(
            method=method,
            seeds=(),
            missing=missing,
            error=error,
        )
    shared = [seed for seed in results if seed in plain]
    lift = closed = None
    if shared and method != "plain":
        students = [results[seed] for seed in shared]
        controls = [plain[seed] for seed in shared]
        lift = lift_of(students, controls, "test", comparison.figure)
        closed = _gap_recovered(students, controls, comparison)
    runs = list(results.values())
    return MethodResult(
        method=method,
        seeds=tuple(results),
        missing=missing,
        validation=_mean_of(runs, "validation", ACCURACY),
        test=_mean_of(runs, "test", ACCURACY),
        balanced=_mean_of(runs, "test", BALANCED),
        by_class=_mean_by_class(runs, comparison.classes),
        deciding=_mean_of(runs, "validation", comparison.figure),
        lift=lift,
        recovered=closed,
        error=error,
    )


def _gap_recovered(
    students: Sequence[Results], controls: Sequence[Results], comparison: Comparison
) -> Interval | None:
    """The share of the gap between plain and the best teacher that ``students`` closed."""
    import numpy as np

    from distill.run import hits
    from distill.training.results import ACCURACY
    from selection.scores.balanced import balanced_gap_recovered
    from selection.scores.interval import gap_recovered

    best = comparison.best_teacher
    if best is None:
        return None
    of_students = [hits(results, "test") for results in students]
    of_plain = [hits(results, "test") for results in controls]
    if comparison.figure == ACCURACY:
        return gap_recovered(of_students, of_plain, best.hits)
    labels = np.asarray(students[0]["test"]["labels"])
    return balanced_gap_recovered(of_students, of_plain, best.hits, labels)


def _mean_of(runs: Sequence[Results], split: str, figure: str) -> float:
    """The mean of a figure over the seeds of a method."""
    from distill.training.results import figure_of

    return sum(figure_of(results, split, figure) for results in runs) / len(runs)


def _mean_by_class(runs: Sequence[Results], classes: Sequence[str]) -> tuple[float | None, ...]:
    """(C,) the share of each class's test images that is right, mean over seeds."""
    import numpy as np

    from distill.run import hits

    labels = np.asarray(runs[0]["test"]["labels"])
    right = np.mean([hits(results, "test") for results in runs], axis=0)  # (n,)
    shares: list[float | None] = []
    for label in range(len(classes)):
        of_class = right[labels == label]
        shares.append(float(of_class.mean()) if len(of_class) else None)
    return tuple(shares)
