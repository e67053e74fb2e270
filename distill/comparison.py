"""Methods and seeds on the same splits, side by side with intervals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.options import Options, from_config, settings_of
from distill.run import RunFolder
from zoo.errors import Unavailable, UserError
from zoo.terminal.command import validate_choice
from zoo.terminal.progress import note, warn

if TYPE_CHECKING:
    from distill.experiment import Experiment
    from selection.scores.interval import Hits, Interval

# probe_kd from the committee's best teacher alone, best by its head on the validation split
BEST_SINGLE = "best_single"
COLUMNS = (
    "method",
    "seeds",
    "validation %",
    "test %",
    "lift over plain, points",
    "gap recovered %",
)


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method over its finished seeds, in shares of the test split. ``lift`` is over plain at
    the same seeds; ``recovered`` the share of the gap between plain and the best teacher that was
    closed, where there is a gap to close. ``error`` says why it cannot be run at all, ``same_as``
    which other method is the same run here and stands for it.
    """

    method: str
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    validation: float | None = None
    test: float | None = None
    lift: Interval | None = None
    recovered: Interval | None = None
    error: str | None = None
    same_as: str | None = None

    @property
    def reason(self) -> str | None:
        """Why there are no figures, where that will not change."""
        return f"the same run as {self.same_as} here" if self.same_as else self.error


@dataclass(frozen=True, kw_only=True)
class TeacherAccuracy:
    """A teacher's head, fitted on the training split, read on the test split: ``hits`` (n,)."""

    model: str
    validation: float
    hits: Hits


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One comparison: ``runs``, finished or not, by method and seed; ``lines`` in the order of the
    methods asked for.
    """

    name: str
    classes: tuple[str, ...]
    runs: Mapping[tuple[str, int], RunFolder]
    lines: tuple[MethodResult, ...]
    teachers: tuple[TeacherAccuracy, ...]

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
    budget: float | None = None,
) -> Comparison:
    """Train ``methods`` with ``seeds`` seeds as the run ``source`` was trained, cell by cell, and
    set them side by side.

    Cells that are finished are read, a stopped one goes on. With ``budget`` (seconds) no cell is
    begun that would, by the longest so far, not end in time; the comparison says which are missing.
    A method that cannot run here has an ``error``. A method may carry settings:
    ``transport:probe=0:weight=1``. Of methods that come to the same run, as probe_kd, average and
    best_single from one teacher do, one is trained.
    """
    from distill.experiment import prepare

    options, cards = from_config(source.config())
    asked = {method: _asked(method, options) for method in methods}
    same = _same_runs(asked, source, teachers=len(cards))
    experiment = prepare(
        options,
        device=device,
        offline=offline,
        cards=cards,
        revision=source.config()["task"].get("revision"),
    )
    runs = {
        (method, options.seed + i): _folder(source, method, options.seed + i)
        for i in range(seeds)
        for method in methods
        if method not in same
    }
    refused: dict[str, str] = {}
    longest, begun = 0.0, time.monotonic()
    for place, ((method, seed), cell) in enumerate(runs.items(), 1):
        start = time.monotonic()
        late = budget is not None and start - begun + longest > budget
        if cell.finished or late or method in refused:
            continue
        note(f"cell {place} of {len(runs)}: {method}, seed {seed}")
        try:
            _train(experiment, replace(asked[method], seed=seed), cell.path)
        except UserError as error:
            refused[method] = str(error)
        except Unavailable as error:
            warn(f"{method}, seed {seed}: {error}")
        longest = max(longest, time.monotonic() - start)
    found = Comparison(
        name=options.task,
        classes=experiment.task.classes,
        runs=runs,
        lines=(),
        teachers=_teachers(experiment),
    )
    return replace(
        found,
        lines=tuple(
            (
                MethodResult(method=method, seeds=(), missing=(), same_as=same[method])
                if method in same
                else _line(method, found, refused.get(method))
            )
            for method in methods
        ),
    )


def _asked(method: str, options: Options) -> Options:
    """The options of ``method``, ``name:a=1:b=2``; ``UserError`` where there is no such method or
    setting.
    """
    from distill.methods.registry import METHODS, configure

    name, *settings = method.split(":")
    validate_choice("method", name, [*METHODS, BEST_SINGLE])
    kept = options.settings if name == options.method and not settings else tuple(settings)
    configure("probe_kd" if name == BEST_SINGLE else name, settings_of(kept))
    return replace(options, method=name, settings=kept)


def _same_runs(asked: Mapping[str, Options], source: RunFolder, *, teachers: int) -> dict[str, str]:
    """Each method that another stands for: the run at hand rather than probe_kd, probe_kd rather
    than the rest.
    """
    from distill.methods.configs import AnswersConfig
    from distill.methods.registry import METHODS, configure

    own = source.config()["method"]
    first: dict[Any, str] = {}
    same: dict[str, str] = {}
    for method in sorted(asked, key=lambda m: (m != own, m != "probe_kd")):
        name = asked[method].method
        alone, name = (
            name == BEST_SINGLE and teachers > 1,
            "probe_kd" if name == BEST_SINGLE else name,
        )
        config = configure(name, settings_of(asked[method].settings))
        if isinstance(config, AnswersConfig) and config.weighting == "equal" and teachers <= 1:
            config = replace(config, weighting="fitted")  # one teacher has the whole weight
        stands = first.setdefault((METHODS[name].needs, config, alone), method)
        if stands != method:
            same[method] = stands
            note(
                f"{method} is the same run as {stands}"
                f" here{', with one teacher' if teachers == 1 else ''}: trained once"
            )
    return same


def _folder(source: RunFolder, method: str, seed: int) -> RunFolder:
    """The run of this cell: ``source`` itself, where it is that."""
    config = source.config()
    own = source.finished and (method, seed) == (config["method"], config["seed"])
    return (
        source if own else RunFolder(source.path / "compare" / f"{method.replace(':', '+')}-{seed}")
    )


def _train(experiment: Experiment, options: Options, folder: Path) -> None:
    from distill.training.trainer import train

    if options.method == BEST_SINGLE:
        options = replace(options, method="probe_kd")
        teachers = experiment.teachers()
        best = sorted(teachers, key=lambda teacher: -_share(teacher, experiment))[:1]
        experiment = experiment.with_teachers(tuple(teacher.info.card for teacher in best))
    train(experiment, options, folder)


def _share(teacher: Any, experiment: Experiment) -> float:
    rows = experiment.validation.usable
    return float(
        (teacher.validation.argmax(1).numpy()[rows] == experiment.validation.labels[rows]).mean()
    )


def _teachers(experiment: Experiment) -> tuple[TeacherAccuracy, ...]:
    test = experiment.split("test")
    found = []
    for teacher in experiment.teachers():
        answer = (
            experiment.committee.predicted(teacher.info.card, teacher.head, test).argmax(1).numpy()
        )
        found.append(
            TeacherAccuracy(
                model=teacher.info.card.id,
                validation=_share(teacher, experiment),
                hits=answer[test.usable] == test.labels[test.usable],
            )
        )
    return tuple(found)


def _line(method: str, found: Comparison, error: str | None) -> MethodResult:
    from distill.run import hits
    from selection.scores.interval import accuracy_difference, gap_recovered

    mine, plain = (
        {seed: cell.results() for seed, cell in found.of(name).items()}
        for name in (method, "plain")
    )
    missing = tuple(seed for name, seed in found.runs if name == method and seed not in mine)
    if not mine:
        return MethodResult(method=method, seeds=(), missing=missing, error=error)
    both = [seed for seed in mine if seed in plain]
    a, b = [hits(mine[s], "test") for s in both], [hits(plain[s], "test") for s in both]
    lift = accuracy_difference(a, b) if both and method != "plain" else None
    best = max(found.teachers, key=lambda t: t.validation, default=None)
    closed = gap_recovered(a, b, best.hits) if lift is not None and best is not None else None
    means = {
        split: sum(r[split]["accuracy"] for r in mine.values()) / len(mine)
        for split in ("validation", "test")
    }
    return MethodResult(
        method=method,
        seeds=tuple(mine),
        missing=missing,
        lift=lift,
        recovered=closed,
        error=error,
        **means,
    )


def figures_of(line: MethodResult) -> list[str]:
    """The cells of a method's row after its name (``COLUMNS``), as text."""
    seeds = f"{len(line.seeds)} of {len(line.seeds) + len(line.missing)}"
    if line.test is None:
        state = "same run" if line.same_as else "refused" if line.error else "missing"
        return ["" if line.same_as else seeds, state, "", "", ""]
    closed = line.recovered.as_points() if line.recovered else "no gap" if line.lift else ""
    return [
        seeds,
        f"{100 * (line.validation or 0):.1f}",
        f"{100 * line.test:.1f}",
        line.lift.as_points(sign=True) if line.lift else "",
        closed,
    ]
