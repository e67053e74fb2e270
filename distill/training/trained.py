"""What ``distill.train.train`` gives back: the figures and files of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from distill.kinds.registry import kind_of_run
from distill.report.run_page import PAGE
from distill.training.results import percent, split_metrics
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
    validation, test : ClassificationMetrics
        The figures of both splits, with those of every class.
    verdict : str or None
        Whether the teachers helped; None without a control.
    nouns : str
        What the samples are: ``images``, ``texts``.
    """

    folder: Path
    student: Path
    page: Path
    validation: ClassificationMetrics
    test: ClassificationMetrics
    verdict: str | None
    nouns: str = "images"

    @classmethod
    def of(cls, run: RunFolder) -> TrainedStudent:
        """Of a finished run."""
        results, classes = run.results(), run.config()["classes"]
        return cls(
            folder=run.path,
            student=run.student,
            page=run.path / PAGE,
            validation=split_metrics(results, "validation", classes),
            test=split_metrics(results, "test", classes),
            verdict=results.get("verdict"),
            nouns=kind_of_run(run.config()).nouns,
        )

    @property
    def accuracy(self) -> Interval:
        """The share of test images that is right, in [0, 1], with its 95 % interval."""
        return self.test.accuracy

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        facts = {
            "test accuracy": f"{percent(self.accuracy)} of {self.test.images} {self.nouns}",
            "balanced accuracy": percent(self.test.balanced),
            "calibration error": _points(self.test.calibration_error),
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
