"""``python -m distill.compare``: did the teachers help, and which method helped most?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.options import Device, Offline
from distill.run import RunFolder
from distill.training.compared_methods import BEST_SINGLE
from selection.settings import Yes
from zoo.errors import Unavailable
from zoo.files import check_can_write_text, write_json, write_text
from zoo.terminal.command import resumable, run
from zoo.terminal.options import command_of

if TYPE_CHECKING:
    from distill.comparison import Comparison
    from distill.training.figures import Figure

DEFAULT_METHODS = ("plain", "average", BEST_SINGLE, "probe_kd")


def _record(comparison: Comparison) -> dict[str, Any]:
    figures = comparison.figures
    lines = [
        asdict(line)
        | {"figures": {"validation": dict(line.validation), "test": dict(line.test)}}
        | _short(line.validation, line.test, figures)
        for line in comparison.lines
    ]
    teachers = []
    for teacher in comparison.teachers:
        test = {f.name: f.value(teacher.test) for f in figures if f.known(teacher.test)}
        validation = {f.name: teacher.validation.get(f.name) for f in figures}
        teachers.append(
            {"model": teacher.model, "figures": {"test": test}} | _short(validation, test, figures)
        )
    return {
        "task": comparison.name,
        "classes": list(comparison.classes),
        "figure": comparison.figure.name,
        "commonest": list(comparison.commonest or ()),
        "lines": lines,
        "teachers": teachers,
    }


def _short(
    validation: Mapping[str, float | None], test: Mapping[str, float], figures: Sequence[Figure]
) -> dict[str, float | None]:
    """The first figure on both splits and the others on test: ``balanced``."""
    first, *others = figures
    return {
        "validation": validation.get(first.name),
        "test": test.get(first.name),
        **{figure.short or figure.name: test.get(figure.name) for figure in others},
    }


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The options of ``distill.compare``."""

    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="a run folder of distill.train, its options are taken over"
        ),
    ]
    methods: Annotated[
        tuple[str, ...], typer.Option(help="names of methods; NAME:weight=2 sets")
    ] = DEFAULT_METHODS
    seeds: Annotated[int, typer.Option(min=1, help="so many seeds a method")] = 1
    out: Annotated[Path | None, typer.Option(help="the page (default RUN/compare.html)")] = None
    budget: Annotated[
        float | None,
        typer.Option(min=0, help="minutes; what does not fit resumes at the next call"),
    ] = None
    offline: Offline = False
    yes: Yes = False
    device: Device = "auto"


def compare_methods(options: CompareOptions) -> int:
    """Train several methods and seeds on the same splits, and set them side by side with
    intervals.
    """
    from distill.comparison import compare
    from distill.report.comparison_page import page
    from distill.report.comparison_table import text_table
    from distill.training.processes import resolve_device

    target = options.out or options.source / "compare.html"
    check_can_write_text(target)
    methods = list(dict.fromkeys(options.methods))
    if "plain" not in methods:
        methods.insert(0, "plain")  # every lift is over it
    kept = (
        f"the cells that ended are kept in {options.source}, one at work goes on at its last epoch"
    )
    with resumable(kept):
        comparison = compare(
            RunFolder(options.source),
            methods,
            seeds=options.seeds,
            device=resolve_device(options.device),
            offline=options.offline,
            yes=options.yes,
            budget=None if options.budget is None else 60 * options.budget,
        )
    write_json(options.source / "compare.json", _record(comparison))
    print(text_table(comparison))
    write_text(target, page(comparison))
    print(f"page: {target}")
    if not any(result.finished for result in comparison.lines):
        raise Unavailable("no cell could be trained; the reasons are above")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(command_of(CompareOptions, compare_methods), argv, name="distill.compare")


if __name__ == "__main__":
    raise SystemExit(main())
