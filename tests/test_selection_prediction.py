from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from selection import prediction
from selection.prediction import Calibration, predict, write

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


@pytest.mark.usefixtures("packaged")
def test_the_prediction_is_the_logistic_of_the_calibration() -> None:
    found = predict(math.log(10) / 2, score="s", classes=10, images=25)
    assert found is not None
    assert found.expected == pytest.approx(1 / (1 + math.exp(-1)))
    assert found.low == pytest.approx(0.5)
    assert found.low < found.expected < found.high < 1
    better = predict(math.log(10), score="s", classes=10, images=25)
    assert better is not None
    assert better.expected > found.expected


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize(
    ("score", "classes", "images", "value"),
    [("other", 10, 25, 1.0), ("s", 100, 25, 1.0), ("s", 10, 9, 1.0), ("s", 10, 25, math.nan)],
)
def test_nothing_is_promised_outside_what_was_measured(
    score: str, classes: int, images: int, value: float
) -> None:
    assert predict(value, score=score, classes=classes, images=images) is None


def test_the_packaged_table_reads_and_covers_what_it_says() -> None:
    for name, found in prediction.calibrations().items():
        assert name == found.score
        assert abs(found.coverage - found.level) < 0.1
        good = found.predict(0.8 * math.log(10), classes=10, images=25)
        assert good.expected > found.predict(0.1 * math.log(10), classes=10, images=25).expected
