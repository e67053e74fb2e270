"""What ``distill.train.train`` gives back: the figures and files of a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from distill.kinds.registry import kind_of_run
from distill.report.run_page import PAGE
from distill.training.results import known_figures, split_metrics
from selection.scores.classification import ClassificationMetrics
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from distill.run import RunFolder
    from selection.scores.interval import Interval


@dataclass(frozen=True, kw_only=True)
class TrainedStudent:
    """A trained student, its figures and its files. A notebook shows it as a table.

    Attributes
    ----------
    folder, student, page : Path
        The run folder, the exported student in it, and the web page of the run.
    validation, test : ClassificationMetrics or None
        The figures of both splits, with those of every class; None where samples have no class.
    verdict : str or None
        Whether the teachers helped; None without a control.
    figures : mapping
        Name -> the figure of the test split with its 95 % interval: ``accuracy``, ``macro_f1``.
    facts : mapping
        The figures of the test split in words.
    """

    folder: Path
    student: Path
    page: Path
    validation: ClassificationMetrics | None
    test: ClassificationMetrics | None
    verdict: str | None
    figures: Mapping[str, Interval]
    facts: Mapping[str, str]

    @classmethod
    def of(cls, run: RunFolder) -> TrainedStudent:
        """Of a finished run."""
        results, classes, kind = run.results(), run.config()["classes"], kind_of_run(run.config())
        entry = results["test"]
        first, *others = known_figures(entry, kind)
        of_test = f"{first.count(entry)} {first.units or kind.nouns}"
        facts = {f"test {first.words}": f"{first.sentence(first.interval(entry))} of {of_test}"}
        return cls(
            folder=run.path,
            student=run.student,
            page=run.path / PAGE,
            validation=split_metrics(results, "validation", classes),
            test=split_metrics(results, "test", classes),
            verdict=results.get("verdict"),
            figures={figure.name: figure.interval(entry) for figure in (first, *others)},
            facts=facts | {f.words: f.sentence(f.interval(entry)) for f in others},
        )

    @property
    def accuracy(self) -> Interval:
        """The share of test samples that is right, in [0, 1], with its 95 % interval."""
        return self.figures["accuracy"]

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        facts = dict(self.facts)
        if self.test is not None:
            facts["calibration error"] = _points(self.test.calibration_error)
        facts |= {
            "teachers": self.verdict or "no control was trained beside it",
            "student": str(self.student),
            "page": str(self.page),
        }
        rows = [
            f'<tr><th style="text-align:left">{name}</th>'
            f'<td style="text-align:left">{escape(printable(text, 500))}</td></tr>'
            for name, text in facts.items()
        ]
        return f"<table>{''.join(rows)}</table>"


def _points(error: float | None) -> str:
    return "unknown" if error is None else f"{100 * error:.1f} points"
