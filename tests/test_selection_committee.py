"""Laws of the committee: gains fall, copies add nothing, nobody is a valid answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from selection.committee import choose


def benefits(seed: int = 0, teachers: int = 6, n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"t{i}": rng.gamma(1.0, 0.5, n) * rng.integers(0, 2, n) for i in range(teachers)}


def joint(chosen: tuple[str, ...], values: dict[str, np.ndarray]) -> float:
    return float(np.max([values[name] for name in chosen], axis=0).mean())


def test_gains_fall_and_sum_to_what_is_covered() -> None:
    found = choose(benefits(), size=5)
    gains = [member.gain for member in found.members]
    assert gains == sorted(gains, reverse=True)
    assert sum(gains) == pytest.approx(found.covered)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_within_its_guarantee_of_the_best_set(seed: int) -> None:
    values = benefits(seed)
    best = max(joint(chosen, values) for chosen in itertools.combinations(values, 3))
    found = choose(values, size=3)
    assert (1 - 1 / np.e) * best <= found.covered <= best + 1e-12


def test_a_copy_of_a_member_is_never_chosen() -> None:
    values = benefits()
    first = choose(values, size=1).models[0]
    values["a-copy"] = values[first].copy()
    chosen = choose(values, size=7).models
    assert len({first, "a-copy"} & set(chosen)) == 1


def test_teachers_that_know_nothing_make_an_empty_committee() -> None:
    assert choose({"a": np.zeros(10), "b": np.full(10, 1e-4)}, size=3).models == ()
    assert choose({}, size=3).models == ()


def test_complements_beat_two_good_twins() -> None:
    left, right = np.r_[np.ones(50), np.zeros(50)], np.r_[np.zeros(50), np.full(50, 0.8)]
    values = {"left": left, "left-twin": left * 0.99, "right": right}
    assert choose(values, size=2).models == ("left", "right")


def test_order_of_the_mapping_does_not_matter() -> None:
    values = benefits()
    assert choose(values, size=3) == choose(dict(reversed(list(values.items()))), size=3)


@pytest.mark.parametrize("seed", range(5))
def test_a_teacher_that_knows_nothing_never_joins_one_that_knows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    good, lucky = rng.gamma(4.0, 0.4, 60), np.zeros(60)
    good[:3], lucky[:3] = 0.0, 1.0  # facility location alone would take it: it is best on three samples
    assert choose({"good": good, "lucky": lucky}, size=3).models == ("good",)
