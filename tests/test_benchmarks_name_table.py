"""The pieces that fit the name table do what they say."""

from __future__ import annotations

import numpy as np

from benchmarks.build.label_sets import LABEL_SETS
from benchmarks.build.make_name_table import (
    agreement_measures,
    is_held_out,
    ridge,
    spans_of,
    sparse_rows,
)


def test_ridge_solves_its_normal_equations() -> None:
    rng = np.random.default_rng(0)
    design = sparse_rows(
        [list(rng.choice(6, size=rng.integers(1, 4), replace=False)) for _ in range(30)],
        6,
        power=0.5,
    )
    goal, start = rng.normal(size=(30, 3)), rng.normal(size=(6, 3))
    dense = design.toarray().astype(float)
    exact = np.linalg.solve(dense.T @ dense + 0.5 * np.eye(6), dense.T @ goal + 0.5 * start)
    np.testing.assert_allclose(ridge(design, goal, 0.5, start), exact, atol=1e-5)


def test_sparse_rows_weigh_by_their_length() -> None:
    half = 0.5**0.5
    np.testing.assert_allclose(
        sparse_rows([[0], [1, 2], []], 3, power=0.5).toarray(),
        [[1, 0, 0], [0, half, half], [0, 0, 0]],
    )


def test_agreement_is_one_with_oneself_and_falls_with_noise() -> None:
    rng = np.random.default_rng(0)
    cosines, rows = rng.normal(size=(20, 50)), np.arange(20)
    assert all(
        np.isclose(measure(rows), 1) for measure in agreement_measures(cosines, cosines).values()
    )
    noisy = agreement_measures(cosines + rng.normal(size=(20, 50)), cosines)
    assert all(0.2 < measure(rows) < 0.95 for measure in noisy.values())


def test_what_is_held_out_is_one_in_forty_and_always_the_same() -> None:
    held = [word for word in map(str, range(40_000)) if is_held_out(word)]
    assert 800 < len(held) < 1_200
    assert held == [word for word in held if is_held_out(word)]
    assert spans_of(["a small striped fish; of lakes"]) == spans_of(
        ["a small striped fish; of lakes"]
    )


def test_label_sets_are_whole() -> None:
    assert len(LABEL_SETS["cifar100"].split(",")) == 100
    assert len(LABEL_SETS["cifar10"].split(",")) == 10
    assert all(name.strip() for names in LABEL_SETS.values() for name in names.split(","))
