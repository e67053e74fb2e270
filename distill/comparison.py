"""Methods and seeds on the same splits, side by side with intervals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.kinds.kind import SplitAnswers, TrainingKind
from distill.options import Options, from_config
from distill.run import RunFolder
from distill.training.compared_methods import BEST_SINGLE, method_options, same_runs
from distill.training.figures import Entry, Figure
from distill.training.method_result import MethodResult
from zoo.errors import Unavailable, UserError
from zoo.terminal.progress import note, warn

if TYPE_CHECKING:
    from torch import Tensor

    from distill.data.samples import Samples
    from distill.experiment import Experiment
    from distill.teachers.prepared import PreparedTeacher

__all__ = [
    "BEST_SINGLE",
    "Comparison",
    "MethodResult",
    "TeacherFigures",
    "compare",
]

Results = Mapping[str, Any]  # results.json of a run


@dataclass(frozen=True, kw_only=True)
class TeacherFigures:
    """A teacher's head, fitted on the training split.

    validation  figure -> its value on the validation split
    test        the head's answers on the test split, as an entry of ``results.json``
    """

    model: str
    validation: Mapping[str, float]
    test: Entry


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The ``runs`` by method and seed, finished or not, and a line for each method in order.

    ``figure`` is what decides; ``commonest`` the class that does best where it is always said, and
    the first figure of saying it; None where that means nothing.
    """

    name: str
    classes: tuple[str, ...]
    runs: Mapping[tuple[str, int], RunFolder]
    lines: tuple[MethodResult, ...]
    teachers: tuple[TeacherFigures, ...]
    figure: Figure
    commonest: tuple[str, float] | None
    kind: TrainingKind

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Those of the kind that the finished runs tell; all where none is finished."""
        known = {name for line in self.lines for name in line.test}
        return tuple(f for f in self.kind.figures if f.name in known or not known)

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes without a test sample."""
        by_class = next((line.by_class for line in self.lines if line.by_class), ())
        unknown = zip(self.classes, by_class, strict=False)
        return tuple(name for name, share in unknown if share is None)

    @property
    def predicts_classes(self) -> bool:
        """Whether a finished run predicts a class of each test sample."""
        return any(line.by_class for line in self.lines)

    @property
    def best_teacher(self) -> TeacherFigures | None:
        """The teacher whose head is best on validation."""
        by_model = {teacher.model: teacher.validation for teacher in self.teachers}
        best = best_of(by_model, self.figure, self.kind)
        return next((teacher for teacher in self.teachers if teacher.model == best), None)

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
        kind=experiment.kind,
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
        teachers = {teacher.info.card.id: teacher for teacher in experiment.teachers()}
        on_validation = {name: _on_validation(t, experiment) for name, t in teachers.items()}
        best = best_of(on_validation, experiment.decided_by, experiment.kind)
        if best is not None:
            experiment = experiment.with_teachers((teachers[best].info.card,))
    train(experiment, options, folder, own=own)


def best_of(
    values: Mapping[str, Mapping[str, float]], figure: Figure, kind: TrainingKind
) -> str | None:
    """Whose ``values`` (figure -> value) are best in ``figure``; in the first figure of the kind
    that all have, where some lack that one. None without any.
    """
    for each in (figure, *kind.figures):
        if values and all(each.name in of_one for of_one in values.values()):
            sign = 1 if each.higher_is_better else -1
            return max(values, key=lambda name: sign * values[name][each.name])
    return next(iter(values), None)


def _on_validation(teacher: PreparedTeacher, experiment: Experiment) -> dict[str, float]:
    """The figures of a teacher's head on the validation split."""
    answers = _answers(teacher, experiment, experiment.validation, teacher.validation)
    return experiment.kind.validate(answers)


def _answers(
    teacher: PreparedTeacher, experiment: Experiment, samples: Samples, logits: Tensor
) -> SplitAnswers:
    """What a teacher's head says of all ``samples``: ``logits`` (N, C)."""
    lists = experiment.committee.lists([teacher])
    return SplitAnswers(
        task=experiment.task,
        samples=samples,
        logits=logits[samples.usable],
        lists=None if lists is None else lists.targets,
    )


def _commonest(experiment: Experiment) -> tuple[str, float] | None:
    """The class that does best on the test samples that can be read where it is always said, and
    the first figure of saying it.
    """
    test = experiment.split("test")
    best = experiment.kind.figures[0].always(test.labels[test.usable])
    return None if best is None else (experiment.task.classes[best[0]], best[1])


def _teachers(experiment: Experiment) -> tuple[TeacherFigures, ...]:
    test = experiment.split("test")
    teachers = []
    for teacher in experiment.teachers():
        logits = experiment.committee.predicted(teacher, test)  # (N, C)
        answers = _answers(teacher, experiment, test, logits)
        teachers.append(
            TeacherFigures(
                model=teacher.info.card.id,
                validation=_on_validation(teacher, experiment),
                test=experiment.kind.evaluate(answers),
            )
        )
    return tuple(teachers)


def _result(method: str, comparison: Comparison, error: str | None) -> MethodResult:
    """The figures of ``method`` over its finished seeds."""
    figure, kind = comparison.figure, comparison.kind
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
        students = [results[seed]["test"] for seed in shared]
        controls = [plain[seed]["test"] for seed in shared]
        lift = figure.improvement(students, controls)
        best = comparison.best_teacher
        if best is not None and figure.terms(best.test) is not None:
            closed = figure.recovered(students, controls, best.test)
    runs = list(results.values())
    validation = _means(runs, "validation", kind)
    return MethodResult(
        method=method,
        seeds=tuple(results),
        missing=missing,
        validation=validation,
        test=_means(runs, "test", kind),
        by_class=_mean_by_class(runs, comparison.classes),
        deciding=validation.get(figure.name),
        lift=lift,
        recovered=closed,
        error=error,
    )


def _means(runs: Sequence[Results], split: str, kind: TrainingKind) -> dict[str, float]:
    """Figure -> its mean over the seeds of a method, where all tell it."""
    entries = [results[split] for results in runs]
    return {
        figure.name: sum(map(figure.value, entries)) / len(entries)
        for figure in kind.figures
        if all(map(figure.known, entries))
    }


def _mean_by_class(runs: Sequence[Results], classes: Sequence[str]) -> tuple[float | None, ...]:
    """(C,) the share of each class's test samples that is right, mean over seeds; empty where the
    runs do not predict classes.
    """
    import numpy as np

    from distill.run import hits

    if "predicted" not in runs[0]["test"]:
        return ()
    labels = np.asarray(runs[0]["test"]["labels"])
    right = np.mean([hits(results, "test") for results in runs], axis=0)  # (n,)
    shares: list[float | None] = []
    for label in range(len(classes)):
        of_class = right[labels == label]
        shares.append(float(of_class.mean()) if len(of_class) else None)
    return tuple(shares)
