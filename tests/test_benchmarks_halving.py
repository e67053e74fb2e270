from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.speed.halving import Stored, _first, _probed, _turns
from selection.evidence import Evidence
from selection.probing.rounds import halve, sizes
from zoo.card import ModelCard

CLASSES, SAMPLES = 4, 200
CARDS = [ModelCard(id=f"m{m}", source="small") for m in range(12)]
RATES = {card.id: 1.0 + m % 3 for m, card in enumerate(CARDS)}  # seconds an image


@pytest.fixture(scope="module")
def seen() -> dict[str, Evidence]:
    """The higher its number, the better a model tells the classes apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), SAMPLES // CLASSES)
    middles = rng.normal(size=(CLASSES, 8))
    found = {}
    for m, card in enumerate(CARDS):
        features = (0.15 * m * middles[labels] + rng.normal(size=(SAMPLES, 8))).astype(np.float32)
        found[card.id] = _turns(Evidence(features=features, labels=labels, classes=tuple("abcd")))
    return found


def test_classes_take_turns(seen: dict[str, Evidence]) -> None:
    assert (seen["m0"].labels.reshape(-1, CLASSES) == np.arange(CLASSES)).all()


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_no_more_is_spent_than_there_is(seen: dict[str, Evidence], share: float) -> None:
    evaluator = Stored(seen, "transport", RATES)
    bound = share * sum(RATES.values()) * SAMPLES
    halve(
        CARDS,
        evaluator,
        sizes=sizes(SAMPLES, CLASSES),
        keep=3,
        left=lambda: bound - evaluator.spent,
    )
    assert 0 < evaluator.spent <= bound
    assert evaluator.spent == pytest.approx(
        sum(RATES[name] * images for name, images in evaluator.held.items())
    )


def test_with_all_the_time_every_way_finds_the_best(seen: dict[str, Evidence]) -> None:
    found = _probed(seen, CARDS, RATES, 1.0)
    full = sum(RATES.values()) * SAMPLES
    assert {name: top for name, (top, _, _) in found.items()} == dict.fromkeys(found, "m11")
    assert found["halving"][1] < found["transport, evenly"][1] == pytest.approx(full)


def test_halving_spares_the_hopeless(seen: dict[str, Evidence]) -> None:
    evaluator = Stored(seen, "transport", RATES)
    halved = halve(CARDS, evaluator, sizes=sizes(SAMPLES, CLASSES), keep=3, left=lambda: math.inf)
    assert _first(halved) == "m11"
    assert evaluator.held["m0"] < evaluator.held["m11"] == SAMPLES
