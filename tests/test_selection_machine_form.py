"""A ranking for programs and notebooks: CSV, JSON, HTML."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from selection.rank import RankOptions, main
from selection.ranking import Ranking
from selection.report.machine_form import print_machine_form
from tests.ranking_setting import ranking as ranking_of
from tests.ranking_setting import row
from zoo.errors import UserError

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def ranking() -> Ranking:
    return ranking_of(
        row("=first()", 0.5, group=1, knn=0.25, scores={"leep": -0.5}, warnings=("=w",)),
        row(HOSTILE, None, error="@broken"),
        committee=("=first()",),
    )


def test_csv_has_a_row_a_model_and_no_formula(
    ranking: Ranking, capsys: pytest.CaptureFixture[str]
) -> None:
    print_machine_form(ranking, "csv")
    first, failed = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(first)[:6] == ["model", "value", "low", "high", "group", "knn"]
    assert first["model"] == "'=first()"
    assert (first["value"], first["knn"], first["score:leep"]) == ("0.5", "0.25", "-0.5")
    assert json.loads(first["warnings"]) == ["=w"]
    assert (failed["model"], failed["value"], failed["error"]) == (HOSTILE, "", "'@broken")


def test_json_is_the_file(ranking: Ranking, capsys: pytest.CaptureFixture[str]) -> None:
    print_machine_form(ranking, "json")
    assert capsys.readouterr().out == ranking.to_json()


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match=r"no format 'cvs'; did you mean 'csv'"):
        RankOptions(task="digits", format="cvs")


def test_a_notebook_shows_the_committee_and_a_table_without_markup_of_strangers(
    ranking: Ranking,
) -> None:
    html = ranking._repr_html_()
    assert "Train from: <b>=first()</b>" in html
    assert "<td>0.500</td>" in html
    assert "@broken" in html
    assert HOSTILE not in html
    assert "&lt;img src=x" in html
    hostile = replace(ranking, rows=(row(HOSTILE, 1.0, group=1),), committee=(HOSTILE,))
    assert "<img" not in hostile._repr_html_()


@pytest.mark.journey
def test_stdout_carries_the_machine_form_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    out = tmp_path / "r.json"
    words = ["--task", "digits", "--probe-size", "40", "--models", "resnet_mnist"]
    assert main([*words, "--out", str(out), "--format", "json"]) == 0
    shown, messages = capsys.readouterr()
    assert shown == out.read_text(encoding="utf-8")
    assert f"ranking: {out}" in messages
    assert main([*words, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("resnet_mnist,")
