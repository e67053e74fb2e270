"""A ranking keeps its order, its failures and its file's contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from selection.ranking import Ranking, Row, finite, in_order
from selection.scores.ties import grouped
from tests.ranking_setting import row
from zoo.errors import UserError


def ranking(*rows: Row) -> Ranking:
    return Ranking(
        task="t",
        classes=("a", "b"),
        split={"digest": "d", "seed": 1},
        probe={"size": 4, "seed": 0, "digest": "p"},
        score="knn",
        catalogue="small zoo",
        versions={"python": "3"},
        rows=rows,
        committee=("best",),
        warnings=("look",),
    )


def test_best_first_failed_last_ties_by_name() -> None:
    rows = [
        row("z", 1.0),
        row("failed", None, error="no weights"),
        row("best", 2.0),
        row("a", 1.0),
        row("negative", -3.0),
    ]
    assert [r.model for r in in_order(rows)] == ["best", "a", "z", "negative", "failed"]


def test_more_images_come_before_a_greater_value_and_only_the_first_have_groups() -> None:
    rows = [
        row("early", 9.0, probe_size=64),
        row("last", 1.0, probe_size=500),
        row("late", 2.0, probe_size=500),
        row("failed", None, error="no weights"),
    ]
    ordered = grouped(in_order(rows), {})
    assert [r.model for r in ordered] == ["late", "last", "early", "failed"]
    assert [r.group is None for r in ordered] == [False, False, True, True]
    assert [r.model for r in ranking(*ordered).finalists] == ["late", "last"]


def test_groups_follow_intervals_from_their_leader() -> None:
    rows = grouped(
        [row("a", 1.0), row("b", 0.9), row("c", 0.75), row("d", 0.6), row("x", None)], {}
    )
    assert [r.group for r in rows] == [1, 1, 2, 2, None]  # c overlaps b but not the leader a


def test_a_paired_comparison_beats_overlapping_intervals() -> None:
    rows = grouped([row("a", 1.0), row("b", 0.9)], {("a", "b"): False})
    assert [r.group for r in rows] == [1, 2]


def test_json_round_trip_and_contract(tmp_path: Path) -> None:
    made = ranking(
        row("best", 2.0, scores={"logme": None}, warnings=("w",)),
        row("bad", None, error="why"),
    )
    path = tmp_path / "deep" / "ranking.json"
    made.save(path)
    assert Ranking.load(path) == made
    made.save(str(path))
    assert Ranking.load(str(path)) == made
    with pytest.raises(UserError, match="no ranking at"):
        Ranking.load(str(tmp_path / "gone.json"))
    raw = json.loads(path.read_text())
    assert {"task", "split", "probe", "score", "catalogue", "versions", "rows", "committee"} <= set(
        raw
    )
    assert set(raw["split"]) == {"digest", "seed"}
    assert set(raw["probe"]) == {"size", "seed", "digest"}
    assert {
        "model",
        "revision",
        "source",
        "location",
        "value",
        "low",
        "high",
        "seconds",
        "error",
    } <= set(raw["rows"][0])
    assert raw["rows"][1]["value"] is None
    assert raw["rows"][1]["error"] == "why"
    assert list(tmp_path.rglob(".*")) == []  # no temporary file is left


def test_fields_that_a_newer_version_added_are_left_out(tmp_path: Path) -> None:
    made = ranking(row("best", 2.0), row("bad", None, error="why"))
    raw = json.loads(made.to_json())
    raw["added"] = {"by": "a newer version"}
    raw["rows"] = [values | {"added": 1} for values in raw["rows"]]
    (tmp_path / "ranking.json").write_text(json.dumps(raw))
    assert Ranking.load(tmp_path / "ranking.json") == made


def test_to_frame_has_a_line_a_model() -> None:
    frame = ranking(
        row("best", 2.0, scores={"logme": 0.5}), row("bad", None, error="why")
    ).to_frame()
    assert list(frame["model"]) == ["best", "bad"]
    assert frame["score:logme"][0] == 0.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 3}', '{"rows": [{"x": 1}]}', "\x00"])
def test_a_file_that_is_no_ranking_is_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"is not a ranking.*python -m selection\.rank") as raised:
        Ranking.load(path)
    assert "object has no attribute" not in str(raised.value)


def test_no_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no ranking at .*make one"):
        Ranking.load(tmp_path / "absent.json")


def test_a_nan_score_is_never_a_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        finite(float("nan"))
