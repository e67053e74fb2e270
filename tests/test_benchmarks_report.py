from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.record import BenchRecord, append, append_rows, read
from benchmarks.report import latest, main, page
from benchmarks.truth.table import CELLS, Cell
from tests.browser import CHROMIUM, Browser

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def records(tmp_path: Path) -> Path:
    score = {"score": "knn", "default": True}
    regrets = [
        BenchRecord(
            name=f"truth.regret_by_images.knn.{n}",
            value=1 / n,
            unit="points",
            setting={"score": "knn", "images": n},
        )
        for n in (5, 10)
    ]
    append(
        tmp_path / "truth.jsonl",
        [
            BenchRecord(
                name="truth.setting", value=3, unit="students", setting={"tasks": 1, "teachers": 2}
            ),
            BenchRecord(
                name="truth.score.knn.regret@1",
                value=0.25,
                low=0.125,
                high=0.5,
                unit="points",
                setting=score,
            ),
            BenchRecord(
                name="truth.against.knn.logme.whole",
                value=0.5,
                low=-0.5,
                high=1.5,
                unit="points",
                setting={"first": "knn", "second": "logme", "zoo": "whole zoo", "below": 0.2},
            ),
            BenchRecord(
                name="truth.stakes.t",
                value=2.0,
                unit="points",
                setting={
                    "task": "t",
                    "without": 40.0,
                    "worst": 38.0,
                    "median": 42.0,
                    "best": 44.0,
                    "chosen": 43.0,
                },
            ),
            *regrets,
        ],
    )
    append(
        tmp_path / "speed.jsonl",
        [
            BenchRecord(name="speed.one", value=busy, unit="ms", setting={"n": 1, "load": busy})
            for busy in (9, 7)
        ],
    )
    cell = Cell(
        task="t",
        teacher="none",
        protocol="pool",
        seed=0,
        recipe="r",
        accuracy=0.4,
        n=100,
        test_accuracy=0.4,
        n_test=50,
        answers=None,
        seconds=1.0,
    )
    rows = [
        cell,
        Cell(**{**asdict(cell), "teacher": HOSTILE, "accuracy": 0.45}),
        Cell(**{**asdict(cell), "task": "u", "teacher": "other", "accuracy": 0.5}),
    ]
    append_rows(tmp_path / CELLS, [asdict(row) for row in rows])
    return tmp_path


def test_the_page_says_what_the_records_say_and_disarms_names(records: Path) -> None:
    text = page(records)
    assert HOSTILE not in text
    assert "\\u0026lt;img" in text  # in a figure's data
    assert "0.25 <small>(0.12 to 0.50)</small>" in text
    assert "0.50 <small>(-0.50 to 1.50)</small>" in text
    assert "2 of 4 pairs are blank" in text
    assert "python -m benchmarks.run speed" in text
    figures = json.loads(text.split('id="figures">')[1].split("</script>")[0])
    assert set(figures) == {"regret", "stakes", "table", "curve-truth-images"}
    assert figures["table"]["data"][0]["z"] == [[5.0, None], [None, None]]
    assert figures["curve-truth-images"]["data"][0]["y"] == [0.2, 0.1]


def test_a_record_of_a_newer_version_is_read(tmp_path: Path) -> None:
    record = BenchRecord(name="one", value=1.0, unit="s", seeds=(0,), setting={})
    append(tmp_path / "r.jsonl", [record])
    raw = json.loads((tmp_path / "r.jsonl").read_text())
    (tmp_path / "r.jsonl").write_text(json.dumps(raw | {"added": 1}) + "\n")
    assert read(tmp_path / "r.jsonl") == [record]


def test_a_later_record_takes_the_place_of_an_earlier_one() -> None:
    records = latest(
        [
            BenchRecord(name="a", value=1.0, unit="ms", setting={"n": 1, "load": 2.0}),
            BenchRecord(name="a", value=2.0, unit="ms", setting={"n": 2}),
            BenchRecord(name="a", value=3.0, unit="ms", setting={"n": 1, "load": 5.0}),
        ]
    )
    assert [record.value for record in records] == [3.0, 2.0]


def test_the_command_writes_the_page_of_the_committed_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    assert "benchmarks.html" in capsys.readouterr().out
    assert "<h2>scoring</h2>" in (tmp_path / "benchmarks.html").read_text(encoding="utf-8")


@pytest.mark.journey
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_draws_it_without_complaint(records: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(records), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "page.html", width=400)
        assert browser.console == []
        assert [
            request for request in browser.requests if not request.startswith(("data:", "file:///"))
        ] == []
        assert browser.evaluate("document.querySelectorAll('.js-plotly-plot').length") == 4
        assert browser.evaluate("document.documentElement.scrollWidth") <= 400


def test_no_records_is_the_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--records", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no records (*.jsonl)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
