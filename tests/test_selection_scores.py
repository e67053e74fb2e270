"""Laws that every score obeys, and every score against its slow, obvious version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from selection.evidence import Evidence
from selection.scores.leep import expected_log_likelihood
from selection.scores.linear_probe import STRENGTHS
from selection.scores.nleep import _farthest_first, responsibilities
from selection.scores.registry import ALIASES, SCORES, resolve
from selection.scores.score import NotApplicable, Score
from selection.settings import DEFAULT_SCORE
from tests import score_oracles as oracles
from zoo.errors import UserError

LABEL_FREE = {name for name in SCORES if name.startswith("transport_names_aggregate")}
every = pytest.mark.parametrize("score", list(SCORES.values()), ids=list(SCORES))


def teacher(
    seed: int = 0, *, apart: float = 2.0, n: int = 60, d: int = 20, c_t: int = 7, c: int = 4
) -> Evidence:
    """A teacher whose features and answers hold ``apart`` standard deviations of the class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % c).astype(np.int64)
    centres = rng.normal(size=(c, d))
    features = rng.normal(size=(n, d)) + apart * centres[labels]
    weights = rng.normal(size=(c_t, d)) / np.sqrt(d)
    weights[: min(c, c_t)] = centres[:c_t] / np.sqrt(
        d
    )  # it was trained on these classes, among others
    logits = features @ weights.T
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    words = rng.normal(size=(c + c_t, 16))
    words[c : c + min(c, c_t)] += 2 * words[: min(c, c_t)]
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return Evidence(
        features=features.astype(np.float32),
        labels=labels,
        classes=tuple(f"class {i}" for i in range(c)),
        probabilities=probabilities.astype(np.float32),
        teacher_classes=tuple(f"source {i}" for i in range(c_t)),
        class_embeddings=words[:c].astype(np.float32),
        teacher_embeddings=words[c:].astype(np.float32),
        classifier_weights=weights.astype(np.float32),
        classifier_bias=np.zeros(c_t, dtype=np.float32),
    )


def near(value: float, tolerance: float = 1e-4) -> object:
    return pytest.approx(value, rel=tolerance, abs=tolerance)


@every
def test_a_score_is_a_finite_float_and_the_same_twice(score: Score) -> None:
    evidence = teacher()
    value = score.value(evidence)
    assert type(value) is float
    assert np.isfinite(value)
    assert score.value(evidence) == value


@every
def test_a_score_leaves_its_input_alone(score: Score) -> None:
    evidence, copy = teacher(), teacher()
    score.value(evidence)
    for name, held in vars(copy).items():
        if isinstance(held, np.ndarray):
            assert np.array_equal(getattr(evidence, name), held), name


@every
def test_the_order_of_the_samples_does_not_matter(score: Score) -> None:
    evidence = teacher()
    rows = np.random.default_rng(1).permutation(len(evidence.labels))
    assert score.value(evidence.at(rows)) == near(score.value(evidence))
    if score.terms is not None:
        np.testing.assert_allclose(
            score.terms(evidence.at(rows)), score.terms(evidence)[rows], rtol=1e-3, atol=1e-4
        )


@every
def test_equal_samples_do_not_bring_the_order_back(score: Score) -> None:
    evidence = teacher()
    twice = np.concatenate([np.arange(20), np.arange(60)])
    rows = np.random.default_rng(1).permutation(len(twice))
    assert score.value(evidence.at(twice[rows])) == near(score.value(evidence.at(twice)))


@every
def test_the_names_of_the_classes_do_not_matter(score: Score) -> None:
    evidence = teacher()
    assert evidence.class_embeddings is not None
    new = np.array([2, 0, 3, 1])  # class c becomes new[c]
    renamed = replace(
        evidence,
        labels=new[evidence.labels],
        classes=tuple(evidence.classes[i] for i in np.argsort(new)),
        class_embeddings=evidence.class_embeddings[np.argsort(new)],
    )
    assert score.value(renamed) == near(score.value(evidence))


@every
def test_the_order_of_the_teachers_classes_does_not_matter(score: Score) -> None:
    evidence = teacher()
    rows = np.random.default_rng(2).permutation(7)
    assert score.value(_reordered(evidence, rows, names=rows)) == near(score.value(evidence))


def _reordered(evidence: Evidence, rows: np.ndarray, *, names: np.ndarray) -> Evidence:
    """The classifier's rows in another order, and its names in theirs."""
    assert evidence.probabilities is not None
    assert evidence.teacher_embeddings is not None
    assert evidence.classifier_weights is not None
    return replace(
        evidence,
        probabilities=evidence.probabilities[:, rows],
        classifier_weights=evidence.classifier_weights[rows],
        teacher_embeddings=evidence.teacher_embeddings[names],
    )


@every
def test_a_class_that_the_probe_lacks_does_not_matter(score: Score) -> None:
    evidence = teacher()
    assert evidence.class_embeddings is not None
    more = replace(
        evidence,
        labels=evidence.labels + (evidence.labels >= 2),
        classes=tuple("abcde"),
        class_embeddings=np.insert(evidence.class_embeddings, 2, -1, axis=0),
    )
    assert score.value(more) == near(score.value(evidence))


@every
def test_unlabelled_samples_are_ignored(score: Score) -> None:
    evidence = teacher()
    labels = evidence.labels.copy()
    labels[::3] = -1
    features = evidence.features.copy()
    features[::3] = np.nan
    holed = replace(evidence, labels=labels, features=features)
    kept = np.flatnonzero(labels >= 0)
    assert score.value(holed) == score.value(evidence.at(kept))
    if score.terms is not None:
        assert score.terms(holed).shape == kept.shape


@every
def test_single_precision_agrees_with_double(score: Score) -> None:
    evidence = teacher()
    double = replace(evidence, features=evidence.features.astype(np.float64))
    assert score.value(double) == near(score.value(evidence))
    half = replace(evidence, features=evidence.features.astype(np.float16))
    assert score.value(half) == near(score.value(evidence), 0.03)


@every
@pytest.mark.parametrize("factor", [1e4, 1e-4])
def test_the_scale_of_the_features_does_not_matter(score: Score, factor: float) -> None:
    evidence = teacher()
    scaled = replace(evidence, features=evidence.features * np.float32(factor))
    assert score.value(scaled) == near(score.value(evidence), 1e-3)


@every
def test_features_far_from_the_origin_are_no_trouble(score: Score) -> None:
    evidence = teacher()
    moved = replace(evidence, features=evidence.features + np.float32(1e3))
    if score.name == "logme":  # a linear model without intercept sees where the origin is
        assert np.isfinite(score.value(moved))
    else:
        assert score.value(moved) == near(score.value(evidence), 2e-2)


@every
def test_separable_classes_beat_shuffled_labels(score: Score) -> None:
    if score.name in LABEL_FREE:
        pytest.skip("compares the mean answer with the class prior: no label of a sample enters")
    evidence = teacher(apart=3.0)
    for seed in range(3):
        shuffled = replace(
            evidence, labels=np.random.default_rng(seed).permutation(evidence.labels)
        )
        assert score.value(evidence) > score.value(shuffled)


@every
def test_an_unfit_probe_is_refused_with_its_numbers(score: Score) -> None:
    evidence = teacher()
    one = replace(evidence, labels=np.zeros(60, dtype=np.int64))
    with pytest.raises(ValueError, match="1"):
        score.value(one)
    few = evidence.at(np.argsort(evidence.labels, kind="stable")[[0, 1, 15, 16, 30, 31, 45]])
    with pytest.raises(ValueError, match=r"7 .* 4 classes.* 8"):
        score.value(few)
    holed = evidence.features.copy()
    holed[5, 3] = np.nan
    with pytest.raises(ValueError, match=r"1 of 60"):
        score.value(replace(evidence, features=holed))


@every
@pytest.mark.parametrize(
    "shape", ["one feature", "wide", "tall", "one teacher class", "constant", "small", "sure"]
)
def test_extreme_teachers_have_a_finite_score(score: Score, shape: str) -> None:
    evidence = {
        "one feature": teacher(d=1),
        "wide": teacher(d=300),
        "tall": teacher(n=400, d=3),
        "one teacher class": teacher(c_t=1),
        "constant": replace(teacher(), features=np.full((60, 20), 7.3, dtype=np.float32)),
        "small": teacher(n=8),
        "sure": _sure(teacher()),
    }[shape]
    assert np.isfinite(score.value(evidence))


def _sure(evidence: Evidence) -> Evidence:
    """Answers of exactly one and exactly zero, some classes never given."""
    return replace(evidence, probabilities=np.eye(7, dtype=np.float32)[evidence.labels])


@every
def test_terms_are_what_the_value_is_a_mean_of(score: Score) -> None:
    if score.terms is None:
        pytest.skip("no mean over samples")
    evidence = teacher()
    terms = score.terms(evidence)
    assert terms.shape == (60,)
    assert float(terms.mean()) == pytest.approx(score.value(evidence), abs=1e-6)


@every
def test_a_teacher_without_a_head_is_scored_or_refused(score: Score) -> None:
    headless = replace(
        teacher(),
        probabilities=None,
        teacher_classes=None,
        teacher_embeddings=None,
        classifier_weights=None,
        classifier_bias=None,
    )
    if "probabilities" in score.needs and not score.name.startswith(
        ("transport_prototypes", "transport_images")
    ):
        with pytest.raises(NotApplicable, match="head"):
            score.value(headless)
    else:
        assert np.isfinite(score.value(headless))


@every
def test_what_a_score_needs_is_what_it_asks_for(score: Score) -> None:
    evidence = teacher()
    fields = (
        "probabilities",
        "class_embeddings",
        "teacher_embeddings",
        "classifier_weights",
        "classifier_bias",
    )
    for name in fields:
        if name not in score.needs:
            assert score.value(replace(evidence, **{name: None})) == score.value(evidence)  # type: ignore[arg-type]


ORACLES: dict[str, Callable[[Evidence], float]] = {
    "knn": oracles.knn,
    "linear_probe": lambda evidence: oracles.linear_probe(evidence, STRENGTHS),
    "logme": oracles.logme,
    "hscore": oracles.hscore,
    "leep": lambda evidence: oracles.leep(np.asarray(evidence.probabilities), evidence.labels),
    "nce": oracles.nce,
    "parc": oracles.parc,
    "transrate": oracles.transrate,
    "gbc": oracles.gbc,
    "sfda": oracles.sfda,
    "otce": oracles.otce,
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("shape", [(60, 20), (40, 60)], ids=["N > D", "N < D"])
def test_a_score_equals_its_oracle(name: str, shape: tuple[int, int]) -> None:
    for seed in range(3):
        evidence = teacher(seed, apart=0.7, n=shape[0], d=shape[1])
        assert SCORES[name].value(evidence) == near(ORACLES[name](evidence), 2e-3)


def test_every_score_has_an_oracle_or_a_test_of_its_own() -> None:
    elsewhere = {name for name in SCORES if name.startswith("transport_")} | {"nleep"}
    assert set(ORACLES) | elsewhere == set(SCORES)


def test_a_mixture_finds_clusters_that_are_far_apart() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 10)
    points = 50 * rng.normal(size=(4, 6))[truth] + rng.normal(size=(40, 6))
    answers = responsibilities(points, 4)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-9)
    for cluster in range(4):
        assert len(set(answers.argmax(axis=1)[truth == cluster].tolist())) == 1
    assert len(set(answers.argmax(axis=1).tolist())) == 4
    one_hot = np.eye(4)[truth]
    assert expected_log_likelihood(answers, one_hot) == pytest.approx(0, abs=1e-6)


def test_nearest_neighbours_share_the_credit_of_a_tie() -> None:
    features = np.tile(np.array([[1.0, 0.0], [-1.0, 0.0]]), (6, 1)).astype(np.float32)
    labels = np.array(
        [0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1]
    )  # on each side 3 of one class and 3 of the other
    evidence = Evidence(features=features, labels=labels, classes=("a", "b"))
    # Leaving one out, its side holds 2 of its class and 3 of the other: always outvoted.
    assert SCORES["knn"].value(evidence) == 0


def test_no_neighbour_of_a_long_tie_is_left_out() -> None:
    """13 equal neighbours, 6 of the own class: 2.3 of 5 votes, whichever come first."""
    features = np.repeat(np.array([[1.0, 0.0], [-1.0, 0.0]]), 14, axis=0).astype(np.float32)
    labels = np.tile(np.repeat([0, 1], 7), 2)
    evidence = Evidence(features=features, labels=labels, classes=("a", "b"))
    assert SCORES["knn"].value(evidence) == 0


@pytest.mark.parametrize("count", [16, 60])
def test_nleep_keeps_four_fifths_of_the_variance_and_two_samples_a_cluster(count: int) -> None:
    evidence = teacher(n=count, d=12, apart=0.3)
    centred = oracles.centred(evidence)
    _, axes = np.linalg.eigh(centred.T @ centred)
    points = centred @ axes[:, ::-1]  # (N, D) the widest axis first
    shares = np.cumsum(np.square(points).sum(axis=0)) / np.square(points).sum()
    kept = next(i for i, share in enumerate(shares, start=1) if share >= 0.8)
    clusters = {16: 8, 60: 20}[count]
    answers = responsibilities(points[:, :kept].astype(np.float32), clusters)
    wanted = expected_log_likelihood(answers, np.eye(4)[evidence.labels])
    assert SCORES["nleep"].value(evidence) == near(wanted, 1e-3)


def test_clusters_begin_at_points_that_are_far_apart() -> None:
    points = np.array([[0.0], [1.0], [10.0], [4.0]])
    assert _farthest_first(points, 3).ravel().tolist() == [10.0, 0.0, 4.0]
    assert _farthest_first(np.array([[0.0], [0.0], [5.0]]), 3).ravel().tolist() == [5.0, 0.0]


def test_the_default_is_an_alias_and_records_keep_the_full_name() -> None:
    assert resolve().name == resolve(DEFAULT_SCORE).name == ALIASES[DEFAULT_SCORE]
    assert resolve().name.startswith("transport_")
    assert all(name == score.name and resolve(name) is score for name, score in SCORES.items())


def test_an_unknown_score_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'logme'"):
        resolve("logmee")


def test_the_family_is_complete() -> None:
    wanted = {
        f"transport_{space}{whole}{variant}"
        for space in ("names", "prototypes", "classifier")
        for whole in ("", "_aggregate")
        for variant in ("", "_relative", "_debiased")
    }
    assert wanted <= set(SCORES)
