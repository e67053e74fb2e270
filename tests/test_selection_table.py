"""The terminal's table keeps rounds apart and says in one line how the choice came about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selection.ranking import Ranking, Row
from selection.report.table import left_unprobed, show, summary


def ranking(*rows: Row, committee: tuple[str, ...] = ("a",), **candidates: object) -> Ranking:
    return Ranking(
        task="t",
        classes=("x", "y"),
        split={},
        probe={"size": 500},
        score="knn",
        catalogue="c",
        versions={},
        rows=rows,
        committee=committee,
        candidates=candidates,
    )


def row(model: str, value: float, size: int, group: int | None) -> Row:
    return Row(
        model=model,
        revision="r",
        source="folder",
        location=None,
        value=value,
        low=value - 1,
        high=value + 1,
        probe_size=size,
        group=group,
    )


ROUNDS = [{"images": 64, "models": 64}, {"images": 500, "models": 2}]


def test_the_line_of_the_contract() -> None:
    made = ranking(
        row("A", 2.0, 500, 1),
        row("B", 1.9, 500, 1),
        row("C", 9.0, 64, None),
        committee=("A", "B", "C", "D"),
        known=3_012_377,
        loadable=212_000,
        touched=1_900,
        probed=64,
        rounds=[ROUNDS[0]] * 3 + [ROUNDS[1]],
        left_out={"budget": 0, "budget_gb": 0, "limit": 0},
    )
    assert summary(made) == (
        "3,012,377 in the catalogue; 212,000 can be loaded; 1,900 touched by label names; "
        "64 probed in 4 rounds; committee of 4; A and B too close to call"
    )
    assert left_unprobed(made) is None


def test_what_is_not_known_is_not_said() -> None:
    one = ranking(
        row("A", 2.0, 500, 1),
        committee=(),
        known=3,
        loadable=2,
        touched=None,
        probed=1,
        rounds=[ROUNDS[1]],
    )
    assert summary(one) == "3 in the catalogue; 2 can be loaded; 1 probed; no committee"
    assert summary(ranking(row("A", 2.0, 500, 1))) == "committee of 1"


def test_why_models_were_left_unprobed() -> None:
    left = {"budget": 1_234, "budget_gb": 0, "limit": 5}
    assert (
        left_unprobed(ranking(left_out=left))
        == "left unprobed: 5 beyond the shortlist, 1,234 for want of time"
    )


def test_rows_on_fewer_images_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    rows = (row("best", 2.0, 500, 1), row("early", 9.0, 64, None))
    show(ranking(*rows))
    shown = capsys.readouterr().out
    above, below = shown.split("fell behind in an earlier round")
    assert "best" in above
    assert "early" not in above
    assert "early" in below
    assert "64" in below
    show(ranking(*(replace(one, probe_size=500) for one in rows)))
    assert "fell behind" not in capsys.readouterr().out
