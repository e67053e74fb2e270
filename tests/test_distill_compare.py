"""Methods side by side: cells, intervals, the page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distill.compare import main
from distill.comparison import (
    Comparison,
    MethodResult,
    TeacherFigures,
    _commonest,
    compare,
)
from distill.kinds.classes import ACCURACY
from distill.kinds.image import IMAGE
from distill.report.comparison_page import page
from distill.report.comparison_table import text_table
from distill.report.comparison_words import column_meanings, headline
from distill.run import RunFolder
from distill.train import main as train
from selection.scores.interval import (
    Interval,
    accuracy,
    accuracy_difference,
    gap_recovered,
)
from tests.distill_setting import train_options, write_ranking, write_task, write_teacher


def flips(share: float, count: int = 400, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random(count) < share


def test_an_accuracy_has_wilsons_interval() -> None:
    found = accuracy(np.arange(100) < 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.7112, 0.8666), abs=1e-3)
    assert accuracy(np.ones(5, bool)).high == 1.0
    assert accuracy(np.ones(5, bool)).low < 0.6
    with pytest.raises(ValueError, match="one sample"):
        accuracy(np.ones(0, bool))


def test_a_gain_is_paired_and_its_sign_turns_with_the_sides() -> None:
    base = flips(0.6)
    better = base | flips(0.3, seed=1)
    found, turned = accuracy_difference([better], [base]), accuracy_difference([base], [better])
    assert found.value == pytest.approx(float(better.mean() - base.mean()))
    assert 0 < found.low < found.value < found.high
    assert turned.value == pytest.approx(-found.value)
    assert accuracy_difference([base, better], [base, better]).value == 0
    assert (accuracy_difference([base], [base]).low, accuracy_difference([base], [base]).high) == (
        0,
        0,
    )


def test_seeds_that_disagree_widen_the_interval() -> None:
    base = flips(0.5)
    steady = accuracy_difference([base | flips(0.2, seed=1)] * 3, [base] * 3)
    wild = accuracy_difference(
        [base, base | flips(0.2, seed=1), base | flips(0.6, seed=2)], [base] * 3
    )
    assert wild.high - wild.low > 1.5 * (steady.high - steady.low)


def test_the_gap_recovered_needs_a_gap() -> None:
    plain, teacher = flips(0.5), flips(0.5) | flips(0.6, seed=1)
    student = plain | (teacher & flips(0.5, seed=2))
    found = gap_recovered([student], [plain], teacher)
    assert found is not None
    assert 0.3 < found.low < found.value < found.high < 0.7
    whole = gap_recovered([teacher], [plain], teacher)
    assert whole is not None
    assert whole.value == pytest.approx(1)
    assert gap_recovered([student], [plain], plain) is None
    few = np.array([True, True, False, True])
    assert gap_recovered([few], [few], np.ones(4, dtype=bool)) is None  # may be chance
    assert gap_recovered([student], [teacher], plain) is None


def result(hits: Any) -> dict[str, Any]:
    predicted = np.where(hits, 0, 1).tolist()
    one = {
        "accuracy": float(hits.mean()),
        "predicted": predicted,
        "labels": [0] * len(hits),
        "images": len(hits),
    }
    return {"validation": one, "test": one}


HOSTILE = "<img src=x onerror=alert(1)>"


def comparison(folder: Path) -> Comparison:
    runs = {}
    for method, share in (("plain", 0.5), ("probe_kd", 0.7)):
        run = RunFolder.create(folder / method, {}, resume=True)
        for epoch in range(3):
            run.add_metrics({"epoch": epoch, "validation_accuracy": share * epoch / 3})
        run.finish(result(flips(share, 60)), "a card")
        runs[method, 0] = run
    lines = (
        MethodResult(
            method="plain",
            seeds=(0,),
            missing=(1,),
            validation={"accuracy": 0.5},
            test={"accuracy": 0.5, "balanced_accuracy": 0.4},
            by_class=(0.5, None),
            deciding=0.5,
        ),
        MethodResult(
            method="probe_kd",
            seeds=(0,),
            missing=(),
            validation={"accuracy": 0.7},
            test={"accuracy": 0.7, "balanced_accuracy": 0.6},
            by_class=(0.7, None),
            deciding=0.7,
            lift=Interval(0.2, 0.1, 0.3),
            recovered=Interval(0.5, 0.2, 0.8),
        ),
        MethodResult(
            method="kd", seeds=(), missing=(0,), error=f"{HOSTILE} does not know the classes"
        ),
    )
    return Comparison(
        name=HOSTILE,
        classes=("a", HOSTILE),
        runs=runs,
        lines=lines,
        teachers=(
            TeacherFigures(
                model=HOSTILE,
                validation={"accuracy": 0.8},
                test=result(flips(0.8, 60))["test"] | {"balanced_accuracy": 0.75},
            ),
        ),
        figure=ACCURACY,
        commonest=(HOSTILE, 0.9),
        kind=IMAGE,
    )


def test_the_table_says_what_is_missing_and_what_was_refused(tmp_path: Path) -> None:
    lines = text_table(comparison(tmp_path)).splitlines()
    assert lines[0].startswith("The teachers help: ")
    assert "changes the accuracy on test by +20.0 (+10.0 to +30.0) points" in lines[0]
    assert lines[3].split() == ["plain", "1", "of", "2", "50.0", "50.0", "40.0"]
    assert "+20.0 (+10.0 to +30.0)" in lines[4]
    assert "50.0 (20.0 to 80.0)" in lines[4]
    assert "refused" in lines[5]
    legend = "\n".join(lines)
    assert "gets 90.0 %" in legend
    assert "points of accuracy on test above plain" in " ".join(legend.split())
    absent, refused, teacher = lines[-3:]
    assert absent.startswith(f"no test image of {HOSTILE!r}")
    assert refused.startswith("kd: ")
    assert teacher.endswith("on test, balanced 75.0 %")


def test_the_table_fits_80_columns_and_explains_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = text_table(comparison(tmp_path)).splitlines()
    assert all(len(line) <= 80 for line in lines[: lines.index("", lines.index("") + 1)])
    for head, _ in column_meanings(comparison(tmp_path)):
        assert any(line.strip().startswith(head) for line in lines), head


@pytest.mark.parametrize(
    ("lift", "words"),
    [
        (Interval(0.1, 0.02, 0.2), "The teachers help: "),
        (Interval(-0.1, -0.2, -0.02), "The teachers do harm here: "),
        (Interval(0.1, -0.02, 0.2), "Too close to call whether the teachers help: "),
        (None, "Not known yet whether the teachers help: "),
    ],
)
def test_the_first_sentence_says_whether_the_teachers_help(
    tmp_path: Path, lift: Interval | None, words: str
) -> None:
    known = comparison(tmp_path)
    lines = tuple(
        dataclasses.replace(line, lift=lift) if line.method == "probe_kd" else line
        for line in known.lines
    )
    assert headline(dataclasses.replace(known, lines=lines)).startswith(words)


def test_the_page_stands_alone_and_disarms_names(tmp_path: Path) -> None:
    text = page(comparison(tmp_path))
    assert HOSTILE not in text
    assert "&lt;img" in text
    assert "Test accuracy by class" in text
    assert "1 of 2 classes have no test image" in text
    for place in ('src="http', 'href="http', "@import"):
        assert place not in text.split("<script>")[0]
    assert all(f'id="{name}"' in text for name in ("curves", "confusion", "helped"))
    data = json.loads(text.split('id="figures">')[1].split("</script>")[0])
    assert set(data) == {"curves", "confusion", "helped"}
    assert len(data["curves"]["data"]) == 2
    assert sum(data["confusion"]["data"][0]["z"][0]) == pytest.approx(100, abs=0.1)


def test_the_commonest_class_is_counted_without_images_that_cannot_be_read() -> None:
    test = SimpleNamespace(
        labels=np.array([0, 0, 0, 1, 1]), usable=np.array([False, False, True, True, True])
    )
    experiment = SimpleNamespace(
        split=lambda name: {"test": test}[name],
        task=SimpleNamespace(classes=("a", "b")),
        kind=IMAGE,
    )
    assert _commonest(experiment) == ("b", pytest.approx(2 / 3))  # type: ignore[arg-type]


@pytest.fixture
def finished(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    one_thread: None,
) -> Path:
    """A finished run of probe_kd from two teachers, or as many as the test asks for."""
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    write_task(tmp_path / "squares")
    names = ("one", "two")[: getattr(request, "param", 2)]
    teachers = [
        write_teacher(tmp_path / "zoo" / name, seed=seed) for seed, name in enumerate(names)
    ]
    write_ranking(tmp_path / "ranking.json", str(tmp_path / "squares"), teachers)
    more = ("--epochs", "1", "--views", "1", "--no-control")
    assert train(train_options(tmp_path, tmp_path / "run", *more)) == 0
    return tmp_path / "run"


@pytest.mark.journey
def test_cells_are_trained_once_and_the_best_teacher_alone_is_one(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(finished), "--methods", "plain,probe_kd,best_single,kd", "--device", "cpu"]
    assert main([*given, "--budget", "0"]) == 0
    assert "0 of 1" in capsys.readouterr().out  # no time: only the run itself is there
    assert main(given) == 0
    shown = capsys.readouterr()
    assert shown.out.count("1 of 1") == 3
    assert "not know all 3 classes" in shown.out
    assert not (finished / "compare" / "probe_kd-0").exists()  # the run itself is that cell
    assert RunFolder(finished / "compare" / "best_single-0").config()["method"] == "probe_kd"
    assert len(RunFolder(finished / "compare" / "best_single-0").config()["teachers"]) == 1
    done = (finished / "compare" / "plain-0" / "results.json").stat().st_mtime_ns
    assert main(given) == 0
    assert (finished / "compare" / "plain-0" / "results.json").stat().st_mtime_ns == done
    record = json.loads((finished / "compare.json").read_text())
    assert [line["method"] for line in record["lines"]] == [
        "plain",
        "probe_kd",
        "best_single",
        "kd",
    ]
    assert (finished / "compare.html").exists()


def test_unknown_methods_and_folders_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


@pytest.mark.journey
def test_a_method_may_carry_settings(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(finished), "--methods", "probe_kd:weight=3:temperature=2", "--offline"]) == 0
    assert "probe_kd:weight=3" in capsys.readouterr().out
    run = RunFolder(finished / "compare" / "probe_kd+weight=3+temperature=2-0")
    assert run.config()["options"]["settings"] == ["weight=3", "temperature=2"]
    assert main([str(finished), "--methods", "probe_kd:wait=3", "--offline"]) == 2
    assert "weight" in capsys.readouterr().err


@pytest.mark.journey
@pytest.mark.parametrize("finished", [1], indirect=True)
def test_methods_that_are_the_same_with_one_teacher_are_trained_once(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                str(finished),
                "--methods",
                "plain,average,best_single,probe_kd,probe_kd:weight=10,average:weight=3",
            ]
        )
        == 0
    )
    shown = capsys.readouterr()
    assert sorted(one.name for one in (finished / "compare").iterdir()) == [
        "average+weight=3-0",
        "plain-0",
    ]
    for method in ("average", "best_single", "probe_kd:weight=10"):
        assert f"{method}: the same run as probe_kd here" in shown.out
        assert (
            f"{method} is the same run as probe_kd here, with one teacher: trained once"
            in shown.err
        )
    record = {
        line["method"]: line
        for line in json.loads((finished / "compare.json").read_text())["lines"]
    }
    assert record["average"]["same_as"] == "probe_kd"
    assert record["average:weight=3"]["same_as"] is None
    assert "the same run as probe_kd here" in (finished / "compare.html").read_text()


@pytest.mark.journey
def test_two_teachers_make_three_runs_of_probe_kd_average_and_best_single(finished: Path) -> None:
    found = compare(
        RunFolder(finished),
        ["plain", "average", "best_single", "probe_kd"],
        seeds=1,
        offline=True,
        budget=0,
    )
    assert [line.same_as for line in found.lines] == [None] * 4
    assert {method: run.finished for (method, _), run in found.runs.items()} == {
        "plain": False,
        "average": False,
        "best_single": False,
        "probe_kd": True,
    }
