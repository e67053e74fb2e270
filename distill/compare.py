"""``python -m distill.compare``: did the teachers help, and which method helped most?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.comparison import BEST_SINGLE, COLUMNS, Comparison, compare, figures_of
from distill.run import RunFolder
from zoo.errors import Unavailable
from zoo.files import write_json, write_text
from zoo.terminal.command import clean, run, split_list

DEFAULT_METHODS = ("plain", "average", BEST_SINGLE, "probe_kd")


def text_table(comparison: Comparison) -> str:
    """The table as plain text, one line a method."""
    rows = [list(COLUMNS), *([line.method, *figures_of(line)] for line in comparison.lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [
        f"{line.method}: {clean(line.reason, 300)}" for line in comparison.lines if line.reason
    ]
    lines += [
        f"teacher {clean(t.model, 60)}: head {100 * float(t.hits.mean()):.1f} % on test"
        for t in comparison.teachers
    ]
    return "\n".join(lines)


def _record(comparison: Comparison) -> dict[str, Any]:
    lines = [asdict(line) for line in comparison.lines]
    teachers = [
        {"model": t.model, "validation": t.validation, "test": float(t.hits.mean())}
        for t in comparison.teachers
    ]
    return {"task": comparison.name, "lines": lines, "teachers": teachers}


def _command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="a run folder of distill.train, its options are taken over"
        ),
    ],
    methods: Annotated[
        list[str] | None,
        typer.Option(help=f"default {','.join(DEFAULT_METHODS)}; NAME:weight=2 sets"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="so many seeds a method")] = 1,
    out: Annotated[Path | None, typer.Option(help="the page (default RUN/compare.html)")] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0, help="minutes; what does not fit resumes at the next call"),
    ] = None,
    offline: Annotated[bool, typer.Option(help="no network call at all")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto")] = "auto",
) -> int:
    """Train several methods and seeds on the same splits, and set them side by side with
    intervals.
    """
    from distill.training.processes import resolve_device

    chosen = list(dict.fromkeys(split_list(methods))) or list(DEFAULT_METHODS)
    if "plain" not in chosen:
        chosen.insert(0, "plain")  # every lift is over it
    found = compare(
        RunFolder(source),
        chosen,
        seeds=seeds,
        device=resolve_device(device),
        offline=offline,
        budget=None if budget is None else 60 * budget,
    )
    write_json(source / "compare.json", _record(found))
    print(text_table(found))
    try:
        from distill.comparison_page import page

        target = out or source / "compare.html"
        write_text(target, page(found))
        print(f"page: {target}")
    except ImportError as error:
        print(f"note: no page is written, {error}; pip install plotly", file=sys.stderr)
    if all(line.test is None for line in found.lines):
        raise Unavailable("no cell could be trained; the reasons are above")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(_command, argv, name="distill.compare")


if __name__ == "__main__":
    raise SystemExit(main())
