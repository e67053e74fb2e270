"""Recall equals brute force, its index follows the catalogue, and a shortlist is made of the right
models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.recall import label_build
from selection.recall import search as recall
from selection.recall.candidates import candidates
from selection.recall.label_build import label_index
from selection.recall.label_index import LabelIndex, Lists, Texts
from selection.recall.names import NameEncoder
from selection.recall.search import Recall
from zoo.card import ModelCard
from zoo.catalogue import Catalogue

ENCODER = NameEncoder.table()
ANIMALS = ("cat", "dog", "horse", "cow", "sheep", "pig", "goat", "duck", "goose", "hen")
VEHICLES = ("car", "truck", "bus", "train", "ship", "airplane", "bicycle", "tram")


def index_of(
    vectors: np.ndarray, spaces: Sequence[np.ndarray], counts: Sequence[int]
) -> LabelIndex:
    owner = np.repeat(np.arange(len(spaces)), [len(space) for space in spaces])
    name = np.concatenate(list(spaces))
    total = sum(counts)
    keys = np.arange(total, dtype=np.uint64)
    return LabelIndex(
        vectors.astype(np.float32),
        Texts.of(["x"] * len(vectors)),
        Lists.of_pairs(owner, name, len(spaces)),
        Lists.of_pairs(name, owner, len(vectors)),
        np.cumsum([0, *counts, 0]),
        Texts.of([f"m{i}" for i in range(total)]),
        np.zeros(total, np.float32),
        keys.astype(np.int32),
        keys,
        keys.astype(np.int32),
    )


def brute(
    index: LabelIndex, classes: np.ndarray, prior: np.ndarray, k: int
) -> tuple[list[int], np.ndarray]:
    """The slow, obvious version: every name of every space in float64."""
    far = 1 - index.vectors.astype(np.float64) @ classes.astype(np.float64).T
    costs = np.array(
        [
            sum(
                prior[j] / prior.sum() * min(far[i, j] for i in index.spaces.take(np.array([s]))[0])
                for j in range(len(classes))
            )
            for s in range(len(index.spaces))
        ]
    ).round(9)
    counts = index.counts()[:-1]
    order = sorted(range(len(costs)), key=lambda s: (costs[s], s))
    held = np.cumsum(counts[order])
    kth = costs[order[int(np.searchsorted(held, min(k, held[-1])))]]
    chosen = [s for s in order if costs[s] <= kth]
    return chosen, costs[chosen]


def drawn(seed: int, names: int, spaces: int, width: int) -> tuple[LabelIndex, np.random.Generator]:
    rng = np.random.default_rng(seed)
    vectors = (
        rng.normal(size=(names, width))
        + rng.normal(size=(8, width)).repeat(-(-names // 8), axis=0)[:names]
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parts = [np.unique(rng.zipf(1.5, int(rng.integers(1, 9))) % names) for _ in range(spaces)]
    return index_of(vectors, parts, rng.integers(1, 4, spaces).tolist()), rng


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 60), st.sampled_from([2, 8, 512]))
def test_it_finds_exactly_what_brute_force_finds(seed: int, size: int, k: int, depth: int) -> None:
    index, rng = drawn(seed, 90, 120, 6)
    classes = (
        index.vectors[rng.integers(0, 90, size)]
        if seed % 2
        else rng.normal(size=(size, 6)).astype(np.float32)
    )
    classes = (classes / np.linalg.norm(classes, axis=1, keepdims=True)).astype(np.float32)
    prior = rng.random(size) + 0.01
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recall, "_FEW", 0)
        patch.setattr(recall, "_DEPTH", depth)
        patch.setattr(recall, "_SAMPLED", 2)
        patch.setattr(recall, "_PRICED", 3)
        found = Recall(index).nearest(classes, k=k, prior=prior)
    spaces, costs = brute(index, classes, prior, k)
    assert found.spaces.tolist() == spaces
    np.testing.assert_allclose(found.costs, costs, atol=2e-9)
    assert set(spaces) <= set(found.touched.tolist())


def test_it_touches_few_spaces_and_follows_no_name_that_all_have() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4_001, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    spaces = [
        np.array([4_000, *rng.integers(0, 4_000, 5)]) for _ in range(2_000)
    ]  # name 4000 is everywhere
    index = index_of(vectors, [np.unique(space) for space in spaces], [1] * 2_000)
    classes = index.vectors[[4_000, *spaces[7][1:]]]
    found = Recall(index).nearest(classes, k=1)
    assert found.spaces.tolist() == [7]
    assert len(found.touched) < 100


def test_spaces_without_an_allowed_model_are_not_there() -> None:
    index, _ = drawn(3, 90, 400, 6)
    counts = index.counts()[:-1].copy()
    first = Recall(index).nearest(index.vectors[:3], k=5)
    counts[first.spaces] = 0
    second = Recall(index).nearest(index.vectors[:3], k=5, models=counts)
    assert not set(first.spaces.tolist()) & set(second.spaces.tolist())
    assert second.total == np.count_nonzero(counts)


WRONG = [
    {"k": 0},
    {"k": 1, "prior": [1.0]},
    {"k": 1, "prior": [0.0, 0.0]},
    {"k": 1, "models": np.ones(2)},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_is_refused(wrong: dict[str, object]) -> None:
    index, _ = drawn(0, 20, 30, 4)
    with pytest.raises(ValueError, match=r"prior|counts"):
        Recall(index).nearest(index.vectors[:2], **wrong)  # type: ignore[arg-type]


# --- the index of a catalogue


def book(path: Path, cards: Sequence[ModelCard]) -> Path:
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert(cards)
        catalogue.publish()
    return path


def cards() -> list[ModelCard]:
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
    with Catalogue.open(book(tmp_path / "c.duckdb", cards())) as opened:
        yield opened


def folders(catalogue: Catalogue) -> list[str]:
    return sorted(
        path.name for path in catalogue.snapshot.with_suffix(".labels").iterdir() if path.is_dir()
    )


def test_the_index_holds_each_usable_model_once(catalogue: Catalogue) -> None:
    index = label_index(catalogue, ENCODER)
    assert sorted(index.ids.all()) == sorted(
        card.id for card in cards() if card.loadable is not False
    )
    assert sorted(index.names.all()) == sorted({*ANIMALS, *VEHICLES, "puppy", "kitten"})
    spaces = {
        tuple(sorted(index.names[n] for n in index.spaces.take(np.array([s]))[0])): index.members(s)
        for s in range(4)
    }
    assert [index.ids[m] for m in spaces[tuple(sorted(ANIMALS))]] == [
        "zoo/animals-large",
        "zoo/animals-a",
        "zoo/animals-b",
    ]
    assert [index.ids[m] for m in index.members(4)] == ["zoo/plain-large", "zoo/plain"]
    np.testing.assert_array_equal(index.vectors, ENCODER.encode(index.names.all()))
    key = catalogue.sql("SELECT md5_number_lower(id) AS key FROM models WHERE id = 'zoo/dogs'")[
        "key"
    ].to_numpy(np.uint64)
    assert [index.ids[m] for m in index.positions(key)] == ["zoo/dogs"]


def test_after_a_crawl_only_new_names_are_embedded(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_index(catalogue, ENCODER)
    asked: list[str] = []

    def spy(names: Sequence[str]) -> np.ndarray:
        asked.extend(names)
        return ENCODER.encode(names)

    encoder = NameEncoder(ENCODER.name, spy)
    before = folders(catalogue)
    assert label_index(catalogue, encoder).ids.all() and asked == []
    fresh = ModelCard(id="zoo/fruit", source="hub", labels=("apple", "dog"), loadable=True)
    with Catalogue.open(book(catalogue.path, [fresh])) as again:
        index = label_index(again, encoder)
    assert {*asked} - {"a"} == {"apple"}
    assert "zoo/fruit" in index.ids.all()
    after = folders(catalogue)
    assert len(after) == 1 and after != before


def test_a_killed_build_leaves_nothing_that_is_read(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        label_index(catalogue, ENCODER)
    monkeypatch.undo()
    shelf = catalogue.snapshot.with_suffix(".labels")
    (shelf / ".new-torn").mkdir()
    torn = label_build._identity(catalogue.snapshot, ENCODER)
    (shelf / torn).mkdir()
    (shelf / torn / "vectors.npy").write_bytes(b"\x93NUMPY torn")
    assert len(label_index(catalogue, ENCODER).ids) == 8
    assert folders(catalogue) == [torn]


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
    assert found.touched >= 4 and found.spaces == 4


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
    path = book(tmp_path / "c.duckdb", [*near, small, unknown, here])
    found = candidates(("dog", "puppy"), catalogue=path, most=2, largest=5e6)
    assert {card.id for card in found.cards} == {"zoo/small", "here"}
    assert (found.known, found.loadable, found.left_out) == (6, 6, 4)
    assert {
        card.id for card in candidates(("dog",), catalogue=path, most=2, largest=1e9).cards
    } <= {c.id for c in [*near, here]}
