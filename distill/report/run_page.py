"""The web page of a finished run: one file, readable without a network and on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.kinds.registry import kind_of_run
from distill.report.advice import advice, largest_confusions
from distill.report.figures import (
    MOST_CLASSES,
    calibration,
    confusion_map,
    curves,
    most_confused,
)
from distill.report.mistakes import previews_of, sample_name
from distill.run import RunFolder
from distill.student.cost import cost_heads, cost_notes, cost_rows
from distill.training.figures import Entry, sample_count
from distill.training.results import curve_of, deciding_figure, known_figures, split_metrics
from selection.report.document import render
from selection.scores.classification import ClassificationMetrics
from selection.scores.interval import Interval
from zoo.errors import Unavailable, UserError
from zoo.files import write_text
from zoo.terminal.progress import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    import plotly.graph_objects as go

    from selection.kinds.kind import Preview
    from selection.task import Task

PAGE = "report.html"
_CONFUSIONS = 15  # that are listed
_CONFUSED_CLASSES = 24  # drawn of a task with more than ``MOST_CLASSES``


def write_page(run: RunFolder, open_task: Callable[[], Task]) -> None:
    """Write ``report.html`` of a finished run; a warning instead where plotly is not installed.

    ``open_task`` gives the run's task, which holds the pictures; where it cannot be opened, or is
    not the one of the run, the page has none and says so.
    """
    previews: dict[int, Preview] = {}
    lack = None
    mistakes = run.results()["test"].get("mistakes")
    if mistakes:
        try:
            previews = _previews(run, open_task())
        except (UserError, Unavailable, OSError) as error:
            lack = str(error)
        else:
            if not previews:
                lack = "the task is not in the state that the student was tested on"
    try:
        write_text(run.path / PAGE, page(run, previews, lack=lack))
    except ImportError as error:  # the student is trained all the same
        warn(
            f"no page of the run: {error.name} is missing; install plotly and jinja2, then"
            " --resume writes the page"
        )


def _previews(run: RunFolder, task: Task) -> dict[int, Preview]:
    """Of the worst mistakes; empty where ``task`` is not in the state of the run."""
    if task.digest != run.config()["task"]["digest"]:
        return {}
    return previews_of(task.test, run.results()["test"]["mistakes"])


def page(run: RunFolder, previews: Mapping[int, Preview], *, lack: str | None = None) -> str:
    """The page as text; see the template ``run.html.jinja``.

    ``previews`` show samples of the test split by their places in it; ``lack`` says why there are
    none.
    """
    config, results = run.config(), run.results()
    kind, classes = kind_of_run(config), config["classes"]
    test = split_metrics(results, "test", classes)
    control = results.get("control") or {}
    cost = results.get("cost")
    shown = Path(run.path.name) / run.student.name  # a page that is passed on tells no home folder
    values = {
        "config": config,
        "kind": kind,
        "results": results,
        "classes": classes,
        "test": test,
        "advice": advice(config, results, test, student=shown),
        "figures_shown": known_figures(results["test"], kind),
        "entries": _entries(results),
        "count_of": sample_count,
        "name_of": sample_name,
        "lift": control.get("lift") and Interval(**control["lift"]),
        "deciding": deciding_figure(results, kind),
        "confusions": largest_confusions(test, _CONFUSIONS) if test else (),
        "by_class": sorted(test.classes, key=_recall) if test else (),
        "plain_recalls": _plain_recalls(control),
        "mistakes": results["test"].get("mistakes"),
        "previews": previews,
        "lack": lack,
        "unreadable": results.get("unreadable"),
        "drawn_classes": len(_drawn(test)) if test else 0,
        "cost_heads": cost_heads(cost) if cost else (),
        "cost_rows": cost_rows(cost) if cost else (),
        "cost_notes": cost_notes(cost) if cost else (),
    }
    return render(
        Path(__file__).with_name("run.html.jinja"),
        values=values,
        figures=_figures(run, test, control.get("curve", ())),
    )


def _recall(entry: Any) -> float:
    """For sorting: the classes of lowest recall first, unknown ones before them."""
    return -1.0 if entry.recall is None else float(entry.recall.value)


def _entries(results: Mapping[str, Any]) -> list[tuple[str, str, Entry]]:
    """Rows of the table: split, network, its entry of ``results.json``."""
    rows: list[tuple[str, str, Entry]] = []
    for split in ("validation", "test"):
        rows.append((split, "student", results[split]))
        if results.get("control"):
            rows.append((split, "plain control", results["control"][split]))
        for name, entries in results.get("references", {}).items():
            rows.append((split, name, entries[split]))
    return rows


def _plain_recalls(control: Mapping[str, Any]) -> dict[str, float | None]:
    """The control's share of each class that it recognised, by class."""
    recalls = {}
    for entry in control.get("test", {}).get("classes", ()):
        recalls[entry["name"]] = entry["recall"]["value"] if entry["recall"] else None
    return recalls


def _drawn(test: ClassificationMetrics) -> list[int]:
    """The classes of the confusion matrix that is drawn."""
    if len(test.classes) <= MOST_CLASSES:
        return list(range(len(test.classes)))
    return most_confused(test.confusion, _CONFUSED_CLASSES)


def _figures(
    run: RunFolder, test: ClassificationMetrics | None, control: list[float]
) -> dict[str, go.Figure]:
    results, kind = run.results(), kind_of_run(run.config())
    figures = {}
    if test is not None:
        drawn = _drawn(test)
        names = [test.classes[label].name for label in drawn]
        counts = np.asarray(test.confusion, dtype=np.float64)[np.ix_(drawn, drawn)]
        figures["confusion"] = confusion_map(counts, names)
    if bins := results["test"].get("reliability"):
        figures["calibration"] = calibration(bins, nouns=kind.nouns)
    if epochs := run.metrics():
        deciding = deciding_figure(results, kind)
        figures["curves"] = curves(
            curve_of(epochs, deciding, kind),
            control,
            [epoch.get("train_accuracy") for epoch in epochs] if kind.counts_classes else (),
            figure_shown=deciding,
            method=run.config()["method"],
            nouns=kind.nouns,
        )
    return figures
