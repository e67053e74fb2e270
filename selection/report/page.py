"""The web page of a report: one file, readable without a network, on a phone and in the dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from selection.ranking import Ranking
from selection.report.document import SHARED_TEMPLATES, render
from selection.report.figures import (
    MOST_ROWS,
    against_size,
    first_synonym,
    intervals,
    plan_heatmap,
)
from selection.report.legend import meanings
from selection.report.report import Report
from selection.report.table import left_unprobed, letter, summary
from selection.report.verdict import steps, verdict
from zoo.files import write_text
from zoo.terminal.table import short_count

if TYPE_CHECKING:
    import plotly.graph_objects as go

_SHORT = 24  # rows up to which a section is unfolded
_FEW = 4  # samples, or explanations, up to which it is
_FEWEST_SIZES = 3  # models whose sizes are worth a picture


def write(report: Report, path: Path) -> None:
    """Write the page to ``path``, whole or not at all; about 5 MB, most of it plotly."""
    write_text(path, page(report))


def page(report: Report) -> str:
    """The page as text; see the template ``ranking.html.jinja``."""
    ranking = report.ranking
    ranked = [row for row in ranking.rows if row.value is not None]
    values = {
        "report": report,
        "ranking": ranking,
        "nouns": ranking.kind.nouns,
        "ranked": ranked,
        "verdict": verdict(ranking),
        "steps": steps(ranking, report.command, saved=report.saved) if report.command else [],
        "legend": meanings(ranking),
        "summary": _summary(ranking),
        "plans": {plan.model: (f"plan{i}", plan) for i, plan in enumerate(report.plans)},
        "further_scores": sorted({name for row in ranking.rows for name in row.scores}),
        "splits": list(ranking.split.get("images", ())),
        "most_drawn": MOST_ROWS,
        "short": _SHORT,
        "few": _FEW,
        "plan_rows": sum(len(plan.teacher_classes) for plan in report.plans),
        "first_synonym": first_synonym,
        "letter": letter,
        "size": short_count,
    }
    return render(SHARED_TEMPLATES / "ranking.html.jinja", values=values, figures=_figures(report))


def _summary(ranking: Ranking) -> str:
    if not ranking.candidates:
        return ""
    return ". ".join(filter(None, (summary(ranking), left_unprobed(ranking)))) + "."


def _figures(report: Report) -> dict[str, go.Figure]:
    rows, score = report.ranking.finalists, report.ranking.score
    figures: dict[str, go.Figure] = {}
    if rows:
        figures["intervals"] = intervals(rows, score=score)
    if sum(bool(row.params_total) for row in rows) >= _FEWEST_SIZES:
        figures["sizes"] = against_size(rows, score=score)
    return figures | {f"plan{i}": plan_heatmap(plan) for i, plan in enumerate(report.plans)}
