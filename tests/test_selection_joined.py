"""Probes of samples that teachers are asked about in parts: joins, equal parts, own teachers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selection.evidence import Evidence, StoredOutputs
from selection.kinds.image import IMAGE
from selection.kinds.kind import Completion
from selection.probe import Probe
from selection.probing import store as store_module
from selection.probing.inputs import _own_teachers
from selection.probing.store import NewRows, StoreKey, TeacherStore, outputs_of
from zoo.card import ModelCard

N = 6


class MadeJoin:
    """Sums of features; every second sample is labelled."""

    def __call__(self, features):
        rows = np.arange(0, len(features), 2)
        return features[rows].sum(axis=1, keepdims=True).astype(np.float32), rows

    def own(self, name, size):
        rows = np.arange(0, size, 2)
        return np.full((len(rows), 3), float(len(name)), np.float32), rows


def made_probe() -> Probe:
    return Probe(
        samples=list("abc"),
        labels=np.array([0, 1, 0]),
        classes=("x", "y"),
        seed=0,
        digest="d",
        size=3,
        skipped=0,
        names=["a", "b", "c"],
        digests=[bytes([i]) * 16 for i in range(3)],
        kind=IMAGE,
    )


def completed() -> Probe:
    further = Completion(
        samples=list("def"),
        names=["d", "e", "f"],
        digests=[bytes([i]) * 16 for i in range(3, 6)],
        order=np.array([0, 3, 1, 4, 2, 5]),
        join=MadeJoin(),
    )
    return made_probe().completed(further)


def test_a_completed_probe_mixes_the_further_samples_without_labels() -> None:
    probe = completed()
    assert probe.samples == list("adbecf") and probe.names == list("adbecf")
    assert probe.labels.tolist() == [0, -1, 1, -1, 0, -1]
    assert probe.size == N and [digest[0] for digest in probe.digests] == [0, 3, 1, 4, 2, 5]
    assert probe.class_counts == [2, 1]


def test_joined_evidence_holds_the_labels_and_answers_of_its_places() -> None:
    probe = completed()
    features = np.arange(2.0 * N, dtype=np.float32).reshape(N, 2)
    joined, rows = probe.join(features)
    logits = np.log(np.linspace(0.1, 0.9, N))[:, None] * [1, 0]
    stored = StoredOutputs(joined, logits=logits.astype(np.float32), rows=rows)
    embed = lambda names: np.eye(len(names), dtype=np.float32)  # noqa: E731
    evidence = Evidence.of(stored, probe, names=("p", "q"), embed=embed)
    assert evidence.labels.tolist() == [0, 1, 0]
    assert evidence.features[:, 0].tolist() == [1.0, 9.0, 17.0]
    share = np.linspace(0.1, 0.9, N)[rows]
    np.testing.assert_allclose(evidence.probabilities[:, 0], share / (share + 1), rtol=1e-5)
    first = evidence.beginning(3)
    assert first.labels.tolist() == [0, 1] and first.places.tolist() == [0, 2]
    assert evidence.at(np.array([2])).beginning(4).labels.size == 0


def test_evidence_without_a_join_lies_at_the_first_places() -> None:
    evidence = Evidence(
        features=np.zeros((4, 1), np.float32), labels=np.array([0, 1, 0, 1]), classes=("x", "y")
    )
    assert evidence.beginning(3).labels.tolist() == [0, 1, 0]
    assert evidence.beginning(9) is evidence


@pytest.mark.parametrize("block", [2, 100])
def test_equal_samples_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Within a block of rows, over blocks, and beside rows that are stored already."""
    monkeypatch.setattr(store_module, "SHARD_ROWS", block)
    store = TeacherStore(tmp_path)
    key = _key()
    content = [0, 1, 0, 2, 2, 1, 3, 2]
    digests = [bytes([value]) * 16 for value in content]
    asked: list[int] = []

    def compute(rows):
        asked.extend(content[row] for row in rows)
        values = np.array([[content[row]] for row in rows], np.float32)
        return NewRows({"features": values}, {})

    stored = outputs_of(store, key, digests[:2], compute)
    stored = outputs_of(store, key, digests, compute)
    assert asked == [0, 1, 2, 3]
    assert stored.complete and stored.arrays["features"][:, 0].tolist() == content


def _key() -> StoreKey:
    card = ModelCard(id="m", source="hub", sha="r")
    return replace(StoreKey.of(card, device="cpu"), content=("features",))


def test_own_teachers_are_asked_for_by_name_or_not_at_all() -> None:
    own = (ModelCard(id="ease", source="built-in"),)
    kind = replace(IMAGE, own_teachers=own)
    assert _own_teachers(kind, ()) == (list(own), ())
    assert _own_teachers(kind, ("ea*",)) == (list(own), ())
    assert _own_teachers(kind, ("ease", "org/model")) == (list(own), ("org/model",))
    assert _own_teachers(kind, ("org/*",)) == ([], ("org/*",))
    assert _own_teachers(IMAGE, ("org/*",)) == ([], ("org/*",))
