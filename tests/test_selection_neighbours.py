"""Nearest neighbours by faiss are those of the full matrix of cosines."""

from __future__ import annotations

import numpy as np
import pytest

from selection.scores.knn import neighbour_votes
from selection.scores.neighbours import neighbours


def test_neighbours_are_those_of_the_full_matrix_without_the_row_itself() -> None:
    features = np.random.default_rng(0).normal(size=(80, 12)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    near = neighbours(features, 7)
    np.testing.assert_array_equal(near.rows, np.argsort(-cosines, axis=1)[:, :7])
    np.testing.assert_allclose(near.similarity, -np.sort(-cosines, axis=1)[:, :7], atol=1e-6)


def test_copies_of_a_row_are_its_neighbours_and_itself_never_is() -> None:
    features = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    near = neighbours(features, 5)
    assert (near.rows // 20 == (np.arange(60) // 20)[:, None]).all()
    assert (near.rows != np.arange(60)[:, None]).all()
    assert all(len(set(row)) == 5 for row in near.rows.tolist())


def test_the_input_is_unchanged_and_a_zero_row_is_near_to_none() -> None:
    features = 3 * np.random.default_rng(1).normal(size=(10, 4)).astype(np.float32)
    features[4] = 0
    before = features.copy()
    near = neighbours(features, 9)
    assert np.array_equal(features, before)
    np.testing.assert_array_equal(near.similarity[4], np.zeros(9))


@pytest.mark.parametrize("k", [0, 10])
def test_more_neighbours_than_there_are_rows_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"{k} neighbours .* 10 rows"):
        neighbours(np.ones((10, 2), dtype=np.float32), k)


def test_all_that_tie_with_the_last_neighbour_share_its_vote() -> None:
    """Forty copies of one sample: each of 39 others has 5/39 of a vote, however many are searched
    at first.
    """
    features = np.vstack([np.tile([1.0, 0.0], (40, 1)), np.tile([0.0, 1.0], (10, 1))])
    one_hot = np.eye(2, dtype=np.float32)[np.arange(50) % 2]
    votes = neighbour_votes(features.astype(np.float32), one_hot)
    np.testing.assert_allclose(votes[0], [19 * 5 / 39, 20 * 5 / 39], rtol=1e-5)
    np.testing.assert_allclose(votes.sum(axis=1), 5, rtol=1e-5)
