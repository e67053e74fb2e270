"""The terminal's table keeps rounds apart and says in one line how the choice came about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selection.ranking import Ranking, Row
from selection.report.table import left_unprobed, show, summary
from tests.ranking_setting import row as ranking_row


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
    return ranking_row(model, value, probe_size=size, group=group)


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


@pytest.mark.parametrize("width", [80, 100])
def test_a_name_is_broken_only_at_its_separators(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    name = "timm/mobilenetv3_small_050.lamb_in1k"
    made = replace(row(name, 0.5, 500, 1), params_total=1_590_000, seconds=12.3, license="mit")
    show(ranking(made))
    lines = capsys.readouterr().out.split("committee:")[0].splitlines()
    assert max(map(len, lines)) <= width
    pieces = [line[3:].split()[0] for line in lines[1:]]
    assert "".join(pieces) == name
    assert all(piece[-1] in "/._-" for piece in pieces[:-1])
    for figure in ("0.500", "1.59M", "12.3"):
        assert figure in lines[1]


def test_a_pipe_has_a_line_for_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    name = "timm/" + "long_name." * 5
    show(ranking(*(replace(row(name + str(i), 1.0, 500, 1), license="mit") for i in range(3))))
    lines = capsys.readouterr().out.splitlines()
    assert [name + str(i) in lines[1 + i] and "mit" in lines[1 + i] for i in range(3)] == [True] * 3
