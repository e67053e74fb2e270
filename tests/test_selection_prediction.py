from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from selection.scores import prediction
from selection.scores.prediction import Calibration, ExpectedAccuracy, expected_accuracy, write

HALF = Calibration(
    score="s",
    weights=(0.0, 2.0, 0.0, 0.0),
    half_width=1.0,
    level=0.9,
    coverage=0.9,
    least=(2, 10),
    most=(20, 50),
    tasks=12,
    student="small",
)


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(prediction, "TABLE", tmp_path / "table.json")
    prediction.calibrations.cache_clear()
    write([HALF], tmp_path / "table.json")
    yield
    prediction.calibrations.cache_clear()


def expect(
    value: float, *, score: str = "s", classes: int = 10, images: float = 25, probe_size: int = 250
) -> ExpectedAccuracy | None:
    return expected_accuracy(
        value, score=score, classes=classes, samples=images, probe_size=probe_size
    )


@pytest.mark.usefixtures("packaged")
def test_the_expected_accuracy_is_the_logistic_of_the_calibration() -> None:
    middling, best = expect(math.log(10) / 2), expect(math.log(10))
    assert middling is not None
    assert best is not None
    assert middling.accuracy == pytest.approx(1 / (1 + math.exp(-1)))
    assert middling.low == pytest.approx(0.5)
    assert middling.low < middling.accuracy < middling.high < 1
    assert best.accuracy > middling.accuracy


@pytest.mark.usefixtures("packaged")
def test_nothing_is_expected_outside_what_was_measured() -> None:
    assert expect(1.0) is not None
    assert expect(1.0, score="other") is None
    assert expect(1.0, classes=100, probe_size=2500) is None
    assert expect(1.0, images=9) is None
    assert expect(math.nan) is None


@pytest.mark.usefixtures("packaged")
def test_nothing_is_expected_of_a_value_read_on_far_fewer_images_than_the_calibrations() -> None:
    assert expect(1.0, probe_size=64) is None
    assert expect(1.0, probe_size=124) is None
    assert expect(1.0, probe_size=125) == expect(1.0, probe_size=250)


@pytest.mark.usefixtures("packaged")
def test_a_table_of_a_newer_version_is_read(tmp_path: Path) -> None:
    before = prediction.calibrations()
    rows = json.loads((tmp_path / "table.json").read_text())
    (tmp_path / "table.json").write_text(json.dumps([row | {"added": 1} for row in rows]))
    prediction.calibrations.cache_clear()
    assert prediction.calibrations() == before


def test_the_packaged_table_reads_and_covers_what_it_says() -> None:
    for name, calibration in prediction.calibrations().items():
        assert name == calibration.score
        assert abs(calibration.coverage - calibration.level) < 0.1
        good = calibration.expect(0.8 * math.log(10), classes=10, samples=25)
        bad = calibration.expect(0.1 * math.log(10), classes=10, samples=25)
        assert good.accuracy > bad.accuracy
