"""The mathematics of ratings: histories, item models, lists, figures of lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from selection.kinds.ratings import item_models
from selection.kinds.ratings.affinities import Affinities
from selection.kinds.ratings.history import SHRINKAGE, History, Pairs
from selection.kinds.ratings.join import OWN_TEACHERS, ItemJoin, ProbeJoin, interleaved
from selection.kinds.ratings.lists import list_targets
from selection.kinds.ratings.references import references
from selection.kinds.ratings.table import PairSource, RatingsTable, pair_of, text_of
from selection.kinds.ratings.top_items import list_terms

USERS, ITEMS, GENRES = 60, 40, 4


def made_history(
    *, seed: int = 0, implicit: bool = False
) -> tuple[History, np.ndarray, np.ndarray]:
    """Users who like one genre: a history, each user's genre and each item's."""
    rng = np.random.default_rng(seed)
    liked, genre = rng.integers(0, GENRES, USERS), np.arange(ITEMS) % GENRES
    chosen = rng.random((USERS, ITEMS)) < np.where(liked[:, None] == genre, 0.6, 0.1)
    chosen[:, 0] |= ~chosen.any(axis=1)
    users, items = np.nonzero(chosen)
    ratings = 3 + (liked[users] == genre[items]) + rng.normal(0, 0.3, len(users))
    pairs = Pairs(users, items)
    return (
        History.of(pairs, None if implicit else ratings, users=USERS, items=ITEMS),
        liked,
        genre,
    )


def pairs_of(history: History) -> Pairs:
    entries = history.observed.tocoo()
    return Pairs(entries.row.astype(np.int64), entries.col.astype(np.int64))


def without(history: History, user: int, item: int) -> History:
    """The history as if the pair had never been, with the same mean."""
    parts = []
    for matrix in (history.observed, history.centred):
        entries = matrix.tocoo()
        kept = (entries.row != user) | (entries.col != item)
        place = (entries.row[kept], entries.col[kept])
        parts.append(sparse.csr_array((entries.data[kept], place), shape=matrix.shape))
    return History(parts[0], parts[1], history.mean)


def test_facts_of_a_training_pair_leave_its_item_bias_and_counts_out() -> None:
    history, _, _ = made_history()
    pairs = pairs_of(history)
    facts = history.facts(pairs)
    for row in (0, 7, 100):
        user, item = int(pairs.users[row]), int(pairs.items[row])
        rest = without(history, user, item)
        assert facts.item_bias[row] == pytest.approx(rest.item_bias[item], abs=1e-5)
        assert facts.item_count[row] == rest.item_counts[item] == history.item_counts[item] - 1
        assert facts.user_count[row] == rest.user_counts[user] == history.user_counts[user] - 1
        # the user's bias is over the other items, whose own biases stay
        others = history.centred[[user]].toarray()[0] - history.observed[[user]].toarray()[0] * (
            history.item_bias
        )
        others[item] = 0
        expected = others.sum() / (rest.user_counts[user] + SHRINKAGE)
        assert facts.user_bias[row] == pytest.approx(expected, abs=1e-5)


def test_facts_of_other_pairs_are_the_whole_history() -> None:
    history, _, _ = made_history()
    unseen = np.argwhere(history.observed.toarray() == 0)[:9]
    pairs = Pairs(unseen[:, 0], unseen[:, 1])
    facts = history.facts(pairs)
    np.testing.assert_allclose(facts.item_bias, history.item_bias[pairs.items], atol=1e-6)
    np.testing.assert_allclose(facts.user_bias, history.user_bias[pairs.users], atol=1e-6)
    np.testing.assert_array_equal(facts.item_count, history.item_counts[pairs.items])


def test_residuals_are_ratings_without_mean_and_biases() -> None:
    history, _, _ = made_history()
    entries = history.residuals.tocoo()
    expected = (
        history.centred.toarray()[entries.row, entries.col]
        - history.item_bias[entries.col]
        - history.user_bias[entries.row]
    )
    np.testing.assert_allclose(entries.data, expected, atol=1e-5)
    implicit, _, _ = made_history(implicit=True)
    assert not implicit.residuals.data.any() and implicit.mean == 0


def test_many_users_keep_scores_of_the_most_popular_items_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("selection.kinds.ratings.history.MOST_SCORES", USERS * 10)
    history, _, _ = made_history()
    listed = history.listed
    assert len(listed) == 10 and (np.diff(listed) > 0).all()
    left_out = np.setdiff1d(np.arange(ITEMS), listed)
    assert history.item_counts[listed].min() >= history.item_counts[left_out].max()
    ease = Affinities.of_ease(history)
    assert ease.relevance.shape == (USERS, 10)
    far = Pairs(np.zeros(len(left_out), int), left_out)
    assert not ease.at(ease.relevance, far).any()


def test_near_items_are_the_most_alike_by_cosine_and_never_the_item_itself() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 5)).astype(np.float32)
    known = np.array([3, 5, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17])
    near = item_models.near_items(x, known, 20, most=4).toarray()
    z = (x - x.mean(0)) / x.std(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    cosines = z @ z.T
    np.fill_diagonal(cosines, -1)
    for row, item in enumerate(known):
        best = np.argsort(-cosines[row])[:4]
        expected = np.zeros(20)
        expected[known[best]] = np.maximum(cosines[row, best], 0)
        np.testing.assert_allclose(near[item], expected, atol=1e-5)
    unknown = np.setdiff1d(np.arange(20), known)
    assert not near[unknown].any() and not near[:, unknown].any()


def test_ease_solves_its_own_problem() -> None:
    """The gradient of |X - XB|^2 + ridge |B|^2 is 0 off the diagonal, which is 0 itself."""
    history, _, _ = made_history()
    x, ridge = history.observed.toarray().astype(np.float64), 30.0
    weights = item_models.ease(history.observed, ridge).astype(np.float64)
    assert not np.diag(weights).any()
    gradient = -2 * x.T @ (x - x @ weights) + 2 * ridge * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3


def test_cross_fitted_ease_never_sees_the_user_it_scores() -> None:
    history, _, _ = made_history()
    before = Affinities.of_ease(history).relevance
    rng = np.random.default_rng(item_models.FOLD_SEED)
    fold = rng.permutation(USERS) % item_models.FOLDS
    user = int(np.flatnonzero(fold == 1)[0])
    other = int(np.flatnonzero(fold == 1)[1])
    changed = history.observed.tolil()
    changed[user, :] = 0
    changed[user, 5] = 1
    entries = changed.tocoo()
    again = Affinities.of_ease(
        History.of(Pairs(entries.row, entries.col), None, users=USERS, items=ITEMS)
    ).relevance
    np.testing.assert_array_equal(again[other], before[other])  # of the same fold
    assert not np.array_equal(again[np.flatnonzero(fold == 2)], before[np.flatnonzero(fold == 2)])


@pytest.mark.parametrize("kind", ["ease", "items"])
def test_features_of_a_training_pair_do_not_tell_its_rating(kind: str) -> None:
    """Another rating of the same pair changes none of its features but by others' biases."""
    history, _, genre = made_history()
    pairs = pairs_of(history)
    row = 11
    user, item = int(pairs.users[row]), int(pairs.items[row])
    moved = history.centred.copy()
    moved[user, item] = -2.0
    other = History(history.observed, moved, history.mean)
    shown = np.eye(GENRES, dtype=np.float32)[genre] + 0.01 * np.arange(ITEMS)[:, None]
    values = []
    for each in (history, other):
        if kind == "ease":
            affinities = Affinities.of_ease(each)
        else:
            affinities = Affinities.of_items(shown, np.arange(ITEMS), each)
        values.append(affinities.features(Pairs(pairs.users[[row]], pairs.items[[row]]))[0])
    names = ("item_bias", "user_bias", "item_count", "user_count")
    for place, name in enumerate(names):
        if name != "user_bias":  # of other items, whose biases the rating moves
            assert values[0][place] == pytest.approx(values[1][place], abs=1e-5), name
    assert abs(values[0][1] - values[1][1]) < 0.05
    assert abs(values[0][4] - values[1][4]) < 0.15  # a rating of -2 moved others' biases
    assert values[0][5] == pytest.approx(values[1][5], abs=1e-5)  # who chose what is the same


def test_a_teacher_that_knows_the_genres_knows_the_ratings() -> None:
    history, liked, genre = made_history()
    told = Affinities.of_items(np.eye(GENRES, dtype=np.float32)[genre], np.arange(ITEMS), history)
    noise = np.random.default_rng(1).normal(size=(ITEMS, GENRES)).astype(np.float32)
    guessed = Affinities.of_items(noise, np.arange(ITEMS), history)
    unseen = np.argwhere(history.observed.toarray() == 0)
    pairs = Pairs(unseen[:, 0], unseen[:, 1])
    truth = (liked[pairs.users] == genre[pairs.items]).astype(float)
    found = [np.corrcoef(a.features(pairs)[:, 4], truth)[0, 1] for a in (told, guessed)]
    assert found[0] > 0.4 and found[0] > found[1] + 0.3


def test_a_cold_item_has_a_bias_by_its_features() -> None:
    rng = np.random.default_rng(0)
    quality = rng.normal(size=ITEMS)
    users, items = np.nonzero(rng.random((300, ITEMS - 1)) < 0.5)  # the last item is cold
    ratings = 3 + quality[items] + rng.normal(0, 0.2, len(users))
    history = History.of(Pairs(users, items), ratings, users=300, items=ITEMS)
    shown = np.stack([quality, rng.normal(size=ITEMS)], axis=1).astype(np.float32)
    bias = Affinities.of_items(shown, np.arange(ITEMS), history).item_bias
    assert bias is not None
    assert bias[-1] == pytest.approx(quality[-1] - quality[:-1].mean(), abs=0.25)


def test_lists_give_a_useless_teacher_no_weight_and_a_good_one_much() -> None:
    history, _, genre = made_history(implicit=True)
    told = Affinities.of_items(np.eye(GENRES, dtype=np.float32)[genre], np.arange(ITEMS), history)
    rng = np.random.default_rng(5)
    noise = Affinities(
        history,
        rng.normal(size=(USERS, ITEMS)).astype(np.float32),
        np.zeros((USERS, ITEMS), np.float32),
    )
    alone, both = list_targets([noise], history), list_targets([told, noise], history)
    assert both.weights[0] > 0.4 and both.weights[1] < 0.1
    assert both.likelihood > alone.likelihood + 0.1
    assert both.gain > 0.1 and 0 <= alone.gain < 0.02
    popularity = list_targets([], history)
    assert popularity.gain == 0
    assert both.gain == pytest.approx(both.likelihood - popularity.likelihood, abs=1e-4)
    assert both.logits.shape == (USERS, ITEMS) and both.logits.dtype == torch.float16
    assert list_targets([], history).weights == ()


def test_figures_of_lists_by_hand() -> None:
    scores = np.array([[5.0, 4, 3, 2, 1], [1, 2, 3, 4, 5], [1, 1, 1, 1, 1]])
    relevant = sparse.csr_array(np.array([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]))
    left_out = sparse.csr_array(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]))
    terms = list_terms(lambda users: scores[users], relevant, left_out, top=2)
    assert terms.users.tolist() == [0, 1]  # the third has nothing relevant
    # user 0: items 1 and 2 are shown, 1 is relevant; ideal: both places
    assert terms.ndcg[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))
    assert terms.recall.tolist() == [0.5, 0.0]
    assert terms.ndcg[1] == 0.0


def test_an_item_left_out_is_never_a_hit() -> None:
    relevant = sparse.csr_array(np.array([[1, 0, 1]]))
    left_out = sparse.csr_array(np.array([[1, 0, 0]]))
    terms = list_terms(lambda users: np.zeros((len(users), 3)), relevant, left_out, top=3)
    assert terms.recall.tolist() == [0.5]


def test_references_rank_as_they_should() -> None:
    history, liked, genre = made_history()
    made = {entry.name: entry for entry in references(history, Affinities.of_ease(history))}
    assert list(made) == ["popularity", "item mean", "item-kNN", "EASE"]
    relevant = sparse.csr_array(
        ((liked[:, None] == genre) & (history.observed.toarray() == 0)).astype(float)
    )
    found = {
        name: list_terms(entry.scores, relevant, history.observed).ndcg.mean()
        for name, entry in made.items()
        if entry.scores is not None
    }
    assert found["EASE"] > found["popularity"] + 0.2
    assert found["item-kNN"] > found["popularity"] + 0.2
    pairs = pairs_of(history)
    mean = made["item mean"].ratings
    assert mean is not None
    np.testing.assert_allclose(
        mean(pairs), history.mean + history.item_bias[pairs.items], atol=1e-6
    )
    implicit, _, _ = made_history(implicit=True)
    names = [entry.name for entry in references(implicit, Affinities.of_ease(implicit))]
    assert names == ["popularity", "item-kNN", "EASE"]


def made_table() -> RatingsTable:
    return RatingsTable(
        tuple(map(str, range(USERS))),
        tuple(f"i{item}" for item in range(ITEMS)),
        tuple("" if item == 3 else f"text of {item}, ä" for item in range(ITEMS)),
        tuple("" if item == 3 else f"title {item}" for item in range(ITEMS)),
        (1.0, 2.0, 3.0, 4.0, 5.0),
    )


def test_an_encoded_pair_holds_user_item_and_text() -> None:
    source = PairSource(made_table(), np.array([7, 8], np.int32), np.array([3, 4], np.int32))
    assert pair_of(source.raw(1)) == (8, 4)
    assert text_of(source.raw(1)) == "text of 4, ä"
    assert text_of(source.raw(0)) == "i3"  # an item without text and title
    assert source.name(0) == "user 7, item i3"


def test_a_probe_joins_the_pairs_it_has_with_the_items_it_has_asked() -> None:
    history, _, genre = made_history()
    join = ItemJoin(history, made_table(), np.arange(ITEMS))
    pairs = pairs_of(history)
    rows = np.arange(0, 60, 3)
    alone = np.setdiff1d(np.arange(ITEMS), pairs.items[rows])
    order = interleaved(len(rows), len(alone))
    users = np.concatenate([pairs.users[rows], np.full(len(alone), -1)])[order]
    items = np.concatenate([pairs.items[rows], alone])[order]
    shown = np.eye(GENRES, dtype=np.float32)[genre]
    probe = ProbeJoin(join, users, items)
    joined, places = probe(shown[items])
    assert (users[places] >= 0).all() and len(places) == len(rows)
    whole = join.affinities(shown)
    expected = whole.features(Pairs(users[places], items[places]))
    np.testing.assert_allclose(joined, expected, atol=1e-5)
    few, first = probe(shown[items][:15])
    assert first.tolist() == [place for place in places if place < 15]
    assert few.shape == (len(first), joined.shape[1])
    own, same = probe.own(OWN_TEACHERS[0], 15)
    assert same.tolist() == first.tolist() and own.shape[0] == len(first)


def test_interleaved_mixes_evenly() -> None:
    order = interleaved(4, 8)
    assert sorted(order.tolist()) == list(range(12))
    assert [int((order[:end] < 4).sum()) for end in (3, 6, 9, 12)] == [1, 2, 3, 4]


def test_a_teacher_that_is_always_wrong_gets_no_weight_rather_than_a_negative_one() -> None:
    history, _, genre = made_history(implicit=True)
    told = Affinities.of_items(np.eye(GENRES, dtype=np.float32)[genre], np.arange(ITEMS), history)
    wrong = Affinities(history, -told.relevance, told.residual)
    assert list_targets([wrong], history).weights == (0.0,)


def test_the_weights_of_lists_are_fitted_without_the_pair_itself() -> None:
    """Items of one user each: with the pair itself their count would tell the truth."""
    rng = np.random.default_rng(0)
    items = rng.permutation(ITEMS)
    history = History.of(Pairs(np.arange(ITEMS), items), None, users=ITEMS, items=ITEMS * 10)
    assert list_targets([], history).popularity < -1.0


def test_a_rated_item_is_not_told_its_own_bias() -> None:
    """Features that say nothing, and more of them than items: memory would be perfect."""
    rng = np.random.default_rng(2)
    quality = rng.normal(size=ITEMS)
    users, items = np.nonzero(rng.random((300, ITEMS)) < 0.5)
    history = History.of(Pairs(users, items), 3 + quality[items], users=300, items=ITEMS)
    shown = rng.normal(size=(ITEMS, 200)).astype(np.float32)
    bias = Affinities.of_items(shown, np.arange(ITEMS), history).item_bias
    assert bias is not None
    assert abs(np.corrcoef(bias, quality)[0, 1]) < 0.5
