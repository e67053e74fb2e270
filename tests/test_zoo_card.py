"""The card: a row of the catalogue and back."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

from zoo.card import ModelCard

FULL = ModelCard(
    id="a/b", source="hub", sha="f" * 40, indexed_at=dt.datetime(2026, 1, 2, 3, 4, 5, 6), downloads=7,
    labels=("cat", "dog"), mean=(0.5, 0.25, 0.125), crop_pct=0.9, loadable=True, custom_code=False,
)


def test_a_row_of_plain_values_gives_the_same_card() -> None:
    row = {field.name: getattr(FULL, field.name) for field in fields(ModelCard)}
    assert ModelCard.from_row(row) == FULL
    assert ModelCard.from_row({**row, "labels": list(FULL.labels or ())}) == FULL


@pytest.mark.parametrize("unknown", [None, pd.NA, pd.NaT, float("nan"), np.float64("nan"), np.datetime64("NaT")])
def test_every_kind_of_unknown_is_none(unknown: object) -> None:
    card = ModelCard.from_row({"id": "x", "source": "hub", "downloads": unknown, "crop_pct": unknown, "created_at": unknown})
    assert (card.downloads, card.crop_pct, card.created_at) == (None, None, None)


def test_numpy_and_pandas_values_become_plain() -> None:
    card = ModelCard.from_row({
        "id": "x", "source": "hub", "downloads": np.int64(3), "loadable": np.bool_(True), "mean": np.array([0.5, 0.5]),
        "labels": np.array(["a", "b"], dtype=object), "created_at": pd.Timestamp("2026-01-02"), "no such column": 1,
    })
    assert (card.downloads, card.loadable, card.mean, card.labels) == (3, True, (0.5, 0.5), ("a", "b"))
    assert type(card.downloads) is int
    assert type(card.loadable) is bool
    assert card.created_at == dt.datetime(2026, 1, 2)
    assert type(card.created_at) is dt.datetime


def test_a_card_survives_a_table_of_pandas() -> None:
    empty = ModelCard(id="c", source="timm")
    table = pd.DataFrame([{f.name: getattr(card, f.name) for f in fields(ModelCard)} for card in (FULL, empty)])
    table = table.astype({"downloads": "Int64", "loadable": "boolean"})
    assert [ModelCard.from_row(dict(row)) for _, row in table.iterrows()] == [FULL, empty]


def test_the_revision_of_an_unknown_one_says_so() -> None:
    assert FULL.revision == "f" * 40
    assert ModelCard(id="c", source="timm").revision == "unknown"
