"""The simulation spends what it may, and every way finds the best teacher given all the time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.speed.halving import (
    SimulatedEvaluator,
    first_by_each_way,
    first_place,
    halve_within,
    in_turns,
)
from selection.evidence import Evidence
from zoo.card import ModelCard

CLASSES, SAMPLES = 4, 200
CARDS = [ModelCard(id=f"m{m}", source="small") for m in range(12)]
RATES = {card.id: 1.0 + m % 3 for m, card in enumerate(CARDS)}  # seconds an image


@pytest.fixture(scope="module")
def evidence() -> dict[str, Evidence]:
    """The higher its number, the better a model tells the classes apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), SAMPLES // CLASSES)
    middles = rng.normal(size=(CLASSES, 8))
    made = {}
    for m, card in enumerate(CARDS):
        features = (0.15 * m * middles[labels] + rng.normal(size=(SAMPLES, 8))).astype(np.float32)
        made[card.id] = in_turns(Evidence(features=features, labels=labels, classes=tuple("abcd")))
    return made


def test_classes_take_turns(evidence: dict[str, Evidence]) -> None:
    assert (evidence["m0"].labels.reshape(-1, CLASSES) == np.arange(CLASSES)).all()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_no_more_is_spent_than_there_is(evidence: dict[str, Evidence], share: float) -> None:
    evaluator = SimulatedEvaluator(evidence, "transport", RATES)
    bound = share * sum(RATES.values()) * SAMPLES
    halve_within(CARDS, evaluator, probe=SAMPLES, classes=CLASSES, bound=bound)
    assert 0 < evaluator.spent <= bound
    assert evaluator.spent == pytest.approx(
        sum(RATES[name] * images for name, images in evaluator.stored.items())
    )


def test_with_all_the_time_every_way_finds_the_best(evidence: dict[str, Evidence]) -> None:
    choices = first_by_each_way(evidence, CARDS, RATES, 1.0)
    full = sum(RATES.values()) * SAMPLES
    assert {way: choice.model for way, choice in choices.items()} == dict.fromkeys(choices, "m11")
    assert choices["halving"].seconds < choices["transport, evenly"].seconds == pytest.approx(full)


def test_halving_spares_the_hopeless(evidence: dict[str, Evidence]) -> None:
    evaluator = SimulatedEvaluator(evidence, "transport", RATES)
    halving = halve_within(CARDS, evaluator, probe=SAMPLES, classes=CLASSES, bound=math.inf)
    assert first_place(halving) == "m11"
    assert evaluator.stored["m0"] < evaluator.stored["m11"] == SAMPLES
