"""The card: a row of the catalogue and back."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields

from zoo.card import ModelCard

FULL = ModelCard(
    id="a/b",
    source="hub",
    sha="f" * 40,
    indexed_at=dt.datetime(2026, 1, 2, 3, 4, 5, 6),
    downloads=7,
    labels=("cat", "dog"),
    mean=(0.5, 0.25, 0.125),
    crop_pct=0.9,
    loadable=True,
    custom_code=False,
)


def test_a_row_of_plain_values_gives_the_same_card() -> None:
    row = {field.name: getattr(FULL, field.name) for field in fields(ModelCard)}
    assert ModelCard.from_row(row) == FULL
    assert ModelCard.from_row({**row, "labels": list(FULL.labels or ())}) == FULL


def test_columns_that_are_none_of_the_cards_are_left_out() -> None:
    assert ModelCard.from_row({"id": "x", "source": "hub", "no such column": 1}) == ModelCard(
        id="x", source="hub"
    )


def test_the_revision_of_an_unknown_one_says_so() -> None:
    assert FULL.revision == "f" * 40
    assert ModelCard(id="c", source="timm").revision == "unknown"
