"""Recall equals brute force, its index follows the catalogue, and the shortlist is exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from selection.recall.candidates import candidates
from selection.recall.label_build import label_index
from selection.recall.label_index import LabelIndex
from selection.recall.names import NameEncoder
from selection.recall.prior import COLUMNS, quality
from selection.recall.search import nearest_spaces
from zoo.card import ModelCard
from zoo.catalogue import Catalogue

pytestmark = pytest.mark.journey

ENCODER = NameEncoder.table()

ANIMALS = ("cat", "dog", "horse", "cow", "sheep", "pig", "goat", "duck", "goose", "hen")
VEHICLES = ("car", "truck", "bus", "train", "ship", "airplane", "bicycle", "tram")


def index_of(
    vectors: np.ndarray, spaces: Sequence[np.ndarray], counts: Sequence[int]
) -> LabelIndex:
    """An index of unit ``vectors``, of ``spaces`` made of them, and ``counts`` models a space."""
    space = np.repeat(np.arange(len(spaces)), [len(names) for names in spaces])
    has_name = (np.ones(len(space), np.bool_), (space, np.concatenate(list(spaces))))
    return LabelIndex(
        source="a test",
        names=[f"name {i}" for i in range(len(vectors))],
        vectors=vectors.astype(np.float32),
        spaces=sparse.coo_array(has_name, shape=(len(spaces), len(vectors))).tocsr(),
        ids=[f"m{i}" for i in range(sum(counts))],
        space_of_model=np.repeat(np.arange(len(spaces)), counts),
        quality=np.zeros(sum(counts), np.float32),
    )


def brute_force(
    index: LabelIndex, classes: np.ndarray, prior: np.ndarray, models: np.ndarray, k: int
) -> tuple[list[int], list[float]]:
    """The slow, obvious version: every name of every space in float64."""
    distances = 1 - index.vectors.astype(np.float64) @ classes.astype(np.float64).T  # (n, C)
    costs = {}
    for space in np.flatnonzero(models).tolist():
        names = index.spaces[[space]].indices
        costs[space] = round(float(prior / prior.sum() @ distances[names].min(axis=0)), 9)
    order = sorted(costs, key=lambda space: (costs[space], space))
    so_far = np.cumsum(models[order])
    kth_cost = costs[order[int(np.searchsorted(so_far, min(k, so_far[-1])))]]
    nearest = [space for space in order if costs[space] <= kth_cost]
    return nearest, [costs[space] for space in nearest]


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw_index(rng: np.random.Generator, spread: float) -> LabelIndex:
    """440 spaces of 3,000 names around 300 topics: more names than one search lists."""
    topics = np.repeat(rng.normal(size=(300, 16)), 10, axis=0)
    vectors = unit(topics + spread * rng.normal(size=topics.shape))
    spaces = []
    for _ in range(400):
        topic = int(rng.integers(300))
        names = 10 * topic + rng.integers(10, size=int(rng.integers(1, 9)))
        common = rng.zipf(1.5, int(rng.integers(0, 3))) % 3_000
        spaces.append(np.unique(np.concatenate([names, common])))
    spaces += spaces[:40]  # equal costs
    return index_of(vectors, spaces, rng.integers(1, 4, len(spaces)).tolist())


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 12),
    k=st.integers(1, 200),
    spread=st.sampled_from([0.05, 0.3, 1.0]),
    known=st.booleans(),
)
def test_it_equals_brute_force(seed: int, size: int, k: int, spread: float, known: bool) -> None:
    rng = np.random.default_rng(seed)
    index = draw_index(rng, spread)
    classes = (
        index.vectors[rng.integers(0, 40, size)] if known else unit(rng.normal(size=(size, 16)))
    )
    prior = rng.random(size) + 0.01
    models = index.models_per_space(rng.random(len(index.ids)) < 0.8)
    nearest = nearest_spaces(index, classes, k=k, prior=prior, models=models)
    spaces, costs = brute_force(index, classes, prior, models, k)
    assert nearest.spaces.tolist() == spaces
    np.testing.assert_allclose(nearest.costs, costs, atol=2e-9)
    assert set(spaces) <= set(nearest.touched.tolist())
    assert nearest.total == np.count_nonzero(models)


def test_few_spaces_are_touched_for_tasks_that_the_zoo_knows() -> None:
    index = draw_index(np.random.default_rng(0), 0.05)
    tasks = [index.vectors[first : first + 5] for first in range(0, 3_000, 30)]
    nearest = [nearest_spaces(index, classes, k=2) for classes in tasks]
    assert np.median([len(result.touched) / result.total for result in nearest]) < 0.08


def test_names_that_all_spaces_have_are_not_followed() -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(4_001, 64)))
    spaces = [np.unique([4_000, *rng.integers(0, 4_000, 5)]) for _ in range(2_000)]
    index = index_of(vectors, spaces, [1] * 2_000)
    nearest = nearest_spaces(index, index.vectors[[4_000, *spaces[7][:-1]]], k=1)
    assert nearest.spaces.tolist() == [7]
    assert len(nearest.touched) < 100


def test_equal_spaces_are_all_returned() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(2_000, 16)))
    index = index_of(vectors, [np.array([3, 4])] * 100 + [np.arange(5, 2_000)], [1] * 101)
    nearest = nearest_spaces(index, vectors[[3, 4]], k=1)
    assert nearest.spaces.tolist() == list(range(100))
    assert nearest.total == 101


def test_spaces_without_a_permitted_model_are_left_out() -> None:
    index = draw_index(np.random.default_rng(3), 0.3)
    models = index.models_per_space(np.ones(len(index.ids), np.bool_))
    first = nearest_spaces(index, index.vectors[:3], k=5)
    models[first.spaces] = 0
    second = nearest_spaces(index, index.vectors[:3], k=5, models=models)
    assert not set(first.spaces.tolist()) & set(second.spaces.tolist())
    assert second.total == np.count_nonzero(models)


WRONG = [
    {"k": 0},
    {"k": 1, "prior": [1.0]},
    {"k": 1, "prior": [0.0, 0.0]},
    {"k": 1, "prior": [2.0, -1.0]},
    {"k": 1, "models": np.ones(2)},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_is_refused(wrong: dict[str, object]) -> None:
    index = draw_index(np.random.default_rng(0), 0.3)
    with pytest.raises(ValueError, match=r"prior|models|k = 0"):
        nearest_spaces(index, index.vectors[:2], **wrong)  # type: ignore[arg-type]


# --- the index of a catalogue


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def published(path: Path, cards: Sequence[ModelCard]) -> Path:
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert(cards)
        catalogue.publish()
    return path


def card(
    name: str,
    labels: tuple[str, ...] | None,
    size: int = 20_000_000,
    loadable: bool | None = True,
) -> ModelCard:
    return ModelCard(
        id=name,
        source="hub",
        labels=labels,
        num_classes=labels and len(labels),
        params_total=size,
        architecture="vit_base",
        loadable=loadable,
    )


def cards() -> list[ModelCard]:
    return [
        card("zoo/animals-b", ANIMALS),
        card("zoo/animals-a", ANIMALS),
        card("zoo/animals-large", ANIMALS, 90_000_000),
        card("zoo/vehicles", VEHICLES),
        card("zoo/dogs", ("puppy", "kitten")),
        card("zoo/broken", ANIMALS, loadable=False),
        card("zoo/plain-large", None, 90_000_000),
        card("zoo/plain", None),
        card("zoo/unknown", VEHICLES[:3], loadable=None),
    ]


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(published(tmp_path / "c.duckdb", cards())) as opened:
        yield opened


def names_of(index: LabelIndex, space: int) -> tuple[str, ...]:
    return tuple(sorted(index.names[place] for place in index.spaces[[space]].indices))


def test_the_index_holds_each_usable_model_once(catalogue: Catalogue) -> None:
    index = label_index(catalogue, ENCODER)
    labels = {card.id: card.labels for card in cards() if card.loadable is not False}
    assert index.ids == sorted(labels)
    assert sorted(index.names) == sorted({*ANIMALS, *VEHICLES, "puppy", "kitten"})
    for model, space in zip(index.ids, index.space_of_model.tolist(), strict=True):
        assert (names_of(index, space) if space >= 0 else None) == (
            tuple(sorted(labels[model])) if labels[model] else None
        )
    assert len(set(index.space_of_model.tolist())) == 5  # four spaces, and -1
    assert index.models_per_space(np.ones(8, np.bool_)).sum() == 6
    np.testing.assert_array_equal(index.vectors, ENCODER.encode(index.names))


def test_what_is_stored_is_what_was_built(catalogue: Catalogue, home: Path) -> None:
    built = label_index(catalogue, ENCODER)
    stored = label_index(catalogue, ENCODER)
    assert stored is not built
    assert (stored.source, stored.names, stored.ids) == (built.source, built.names, built.ids)
    for part in ("vectors", "space_of_model", "quality"):
        np.testing.assert_array_equal(getattr(stored, part), getattr(built, part))
    np.testing.assert_array_equal(stored.spaces.toarray(), built.spaces.toarray())
    assert len(list((home / "labels").iterdir())) == 1


class CountingEncoder:
    """The packaged table, and which names it was asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.encoder = NameEncoder(ENCODER.name, self._embed)

    def _embed(self, names: Sequence[str]) -> np.ndarray:
        self.names.extend(names)
        return ENCODER.encode(names)


def test_after_a_crawl_only_new_names_are_embedded(catalogue: Catalogue, home: Path) -> None:
    label_index(catalogue, ENCODER)
    counting = CountingEncoder()
    assert len(label_index(catalogue, counting.encoder).ids) == 8
    assert counting.names == []
    fresh = ModelCard(id="zoo/fruit", source="hub", labels=("apple", "dog"), loadable=True)
    with Catalogue.open(published(catalogue.path, [fresh])) as again:
        index = label_index(again, counting.encoder)
    assert counting.names == ["apple"]
    assert "zoo/fruit" in index.ids
    np.testing.assert_allclose(index.vectors, ENCODER.encode(index.names), atol=1e-6)
    assert len(list((home / "labels").iterdir())) == 1


def test_another_encoder_embeds_all_names_anew(catalogue: Catalogue) -> None:
    label_index(catalogue, ENCODER)
    other = NameEncoder("another", lambda names: -ENCODER.encode(names))
    index = label_index(catalogue, other)
    np.testing.assert_allclose(index.vectors, -ENCODER.encode(index.names), atol=1e-6)


@pytest.mark.parametrize("damaged", [b"", b"PK\x03\x04 torn", b"\x93NUMPY torn"])
def test_a_damaged_store_is_built_anew(catalogue: Catalogue, home: Path, damaged: bytes) -> None:
    label_index(catalogue, ENCODER)
    (store,) = (home / "labels").iterdir()
    whole = store.read_bytes()
    store.write_bytes(damaged or whole[: len(whole) // 2])
    assert len(label_index(catalogue, ENCODER).ids) == 8
    assert len(label_index(catalogue, CountingEncoder().encoder).ids) == 8


# --- the shortlist


def test_candidates_come_by_label_names_with_a_share_for_those_without(
    catalogue: Catalogue,
) -> None:
    found = candidates(("puppy", "kitten"), catalogue=catalogue.path, most=4)
    assert {card.id for card in found.cards} == {
        "zoo/dogs",
        "zoo/animals-large",
        "zoo/animals-a",
        "zoo/plain-large",
    }
    assert (found.known, found.loadable, found.left_out) == (9, 8, 4)
    assert found.touched >= 4


@pytest.mark.parametrize("most", [1, 3, 10, 25])
def test_the_shortlist_is_the_top_k_of_brute_force(tmp_path: Path, most: int) -> None:
    rng = np.random.default_rng(most)
    words = (*ANIMALS, *VEHICLES, "apple", "pear", "rose", "tulip", "oak")
    zoo = []
    for number in rng.permutation(40).tolist():
        labels = tuple(rng.choice(words, int(rng.integers(1, 4)), replace=False).tolist())
        size = int(rng.choice([20_000_000, 90_000_000]))
        zoo.append(card(f"zoo/{number}", labels, size))
        zoo.append(card(f"zoo/{number}-copy", labels[::-1], size))
    with Catalogue.open(published(tmp_path / "c.duckdb", zoo)) as catalogue:
        values = quality(catalogue.models(columns=list(COLUMNS), sort="id"))
    task = ENCODER.encode(("puppy", "lorry", "orange")).astype(np.float64)
    rows = pd.DataFrame({"id": sorted(model.id for model in zoo), "quality": values.round(6)})
    labels_of = {model.id: model.labels or () for model in zoo}
    rows["cost"] = [
        round(float((1 - ENCODER.encode(labels_of[model]) @ task.T).min(axis=0).mean()), 9)
        for model in rows["id"]
    ]
    rows = rows.sort_values(["cost", "quality", "id"], ascending=[True, False, True])
    shortlist = candidates(("puppy", "lorry", "orange"), catalogue=tmp_path / "c.duckdb", most=most)
    assert {model.id for model in shortlist.cards} == set(rows["id"][:most])


def test_filters_hold_before_recall(catalogue: Catalogue) -> None:
    where = "id <> 'zoo/dogs' -- not this one"
    found = candidates(
        ("puppy",), catalogue=catalogue.path, where=where, models=("zoo/*s", "zoo/a*")
    )
    assert {card.id for card in found.cards} == {
        "zoo/animals-a",
        "zoo/animals-b",
        "zoo/animals-large",
        "zoo/vehicles",
    }
    assert (found.known, found.loadable, found.left_out) == (4, 4, 0)


def test_only_the_shortlist_becomes_cards(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    real = ModelCard.from_row.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(
        ModelCard, "from_row", classmethod(lambda cls, row: made.append(row) or real(cls, row))
    )
    candidates(("puppy",), catalogue=catalogue.path, most=2)
    assert len(made) == 2


def test_models_that_the_budget_cannot_fetch_make_room_for_those_it_can(tmp_path: Path) -> None:
    near = [
        ModelCard(
            id=f"zoo/huge-{i}", source="hub", labels=("dog",), weight_bytes=9 * 10**8, loadable=True
        )
        for i in range(3)
    ]
    small = ModelCard(
        id="zoo/small", source="hub", labels=("fruit",), params_total=1_000_000, loadable=True
    )
    unknown = ModelCard(id="zoo/unknown", source="hub", labels=("dog",), loadable=True)
    here = ModelCard(
        id="here", source="folder", labels=("cat",), weight_bytes=900_000_000, loadable=True
    )
    path = published(tmp_path / "c.duckdb", [*near, small, unknown, here])
    found = candidates(("dog", "puppy"), catalogue=path, most=2, largest=5e6)
    assert {card.id for card in found.cards} == {"zoo/small", "here"}
    assert (found.known, found.loadable, found.left_out) == (6, 6, 4)
    assert {
        card.id for card in candidates(("dog",), catalogue=path, most=2, largest=1e9).cards
    } <= {c.id for c in [*near, here]}


def mixed(tmp_path: Path) -> Path:
    """200 models with label names near the task's, and one backbone without a head."""
    named = [
        ModelCard(
            id=f"zoo/named-{number:03}",
            source="hub",
            labels=("dog", "cat", f"class {number}"),
            num_classes=3,
            params_total=20_000_000,
            weight_bytes=80_000_000,
            architecture="vit_base",
            loadable=True,
        )
        for number in range(200)
    ]
    backbone = ModelCard(
        id="zoo/dinov2",
        source="hub",
        num_classes=0,
        params_total=22_000_000,
        weight_bytes=88_000_000,
        architecture="Dinov2Model",
        model_type="dinov2",
        loadable=True,
    )
    return published(tmp_path / "c.duckdb", [*named, backbone])


@pytest.mark.parametrize("largest", [None, 1e9])
@pytest.mark.parametrize("most", [2, 8, 50])
def test_a_backbone_is_among_the_candidates_of_200_named_models(
    tmp_path: Path, most: int, largest: float | None
) -> None:
    path = mixed(tmp_path)
    found = candidates(("dog", "cat"), catalogue=path, most=most, largest=largest)
    assert len(found.cards) == most
    assert [card.id for card in found.cards if card.labels is None] == ["zoo/dinov2"]
