"""The recall benchmark at a thousandth of its size, and that it would notice a wrong answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import recall, synthetic_zoo
from selection.recall.search import NearestSpaces


def test_names_are_unique_each_has_a_space_and_the_zoo_is_kept(tmp_path: Path) -> None:
    zoo = synthetic_zoo.SyntheticZoo.draw(
        names=4_000, spaces=900, topics=10, rng=np.random.default_rng(0)
    )
    assert len(set(zoo.names)) == 4_000 and len(zoo.spaces) == 900
    assert set(np.concatenate(zoo.spaces).tolist()) == set(range(4_000))
    zoo.save(tmp_path / "zoo.npz")
    again = synthetic_zoo.SyntheticZoo.load(tmp_path / "zoo.npz")
    assert again.names == zoo.names
    assert all(np.array_equal(a, b) for a, b in zip(again.spaces, zoo.spaces, strict=True))


def test_a_wrong_answer_is_noticed() -> None:
    costs, counts = np.array([0.3, 0.1, 0.2, 0.2]), np.array([1, 1, 1, 1])

    def nearest(spaces: list[int]) -> NearestSpaces:
        return NearestSpaces(np.array(spaces), costs[spaces], np.arange(4), 4)

    assert recall.equals_brute_force(nearest([1, 2, 3]), costs, counts, k=2)
    for spaces in ([1, 2], [2, 1, 3], [1, 0, 3]):
        assert not recall.equals_brute_force(nearest(spaces), costs, counts, k=2)


@pytest.mark.slow
def test_the_whole_benchmark_runs_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_BENCH_MODELS", "60000")
    records = {record.name: record for record in recall.run(tmp_path)}
    assert records["recall.touched_models"].value < 0.5
    assert records["recall.candidates_all"].setting["known"] == 60_000
