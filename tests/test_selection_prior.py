"""The metadata prior: what it prefers, and that it can live with not knowing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from selection.recall.prior import (
    COEFFICIENTS,
    COLUMNS,
    copies_last,
    features,
    prior,
    quality,
    size_penalty,
)
from zoo.card import ModelCard


def table(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(
        [dict.fromkeys(COLUMNS) | {"id": f"m{i}"} | row for i, row in enumerate(rows)]
    )


def test_larger_finer_and_wider_pretrained_is_better() -> None:
    base: dict[str, object] = {
        "architecture": "convnext_base",
        "params_total": 88_000_000,
        "input_size": 224,
        "num_classes": 1000,
    }
    better = (
        {"params_total": 200_000_000},
        {"input_size": 384},
        {"id": "convnext_base.fb_in22k"},
        {"num_classes": 21_841},
    )
    values = quality(table(base, *(base | change for change in better)))
    assert (values[1:] > values[0]).all()


def test_the_family_is_read_from_either_library() -> None:
    found = features(
        table(
            {"architecture": "convnext_tiny"},
            {"architecture": "ConvNextForImageClassification"},
            {
                "id": "facebook/deit-base",
                "architecture": "ViTForImageClassification",
                "model_type": "vit",
            },
        )
    )
    assert found["convnext"].tolist() == [1, 1, 0]
    assert found["deit"].tolist() == [0, 0, 1] and found["vit"].tolist() == [0, 0, 0]


def test_unknown_fields_are_a_middling_model_not_a_fault() -> None:
    middle, small, large = quality(
        table({}, {"params_total": 1_000_000}, {"params_total": 200_000_000})
    )
    assert small < middle < large
    assert set(COEFFICIENTS) <= set(features(table({})))


def test_near_label_names_lead_and_no_names_count_as_the_mean() -> None:
    cards = [
        ModelCard(id=name, source="hub", labels=labels, num_classes=5)
        for name, labels in (("near", ("rose", "tulip")), ("none", None), ("far", ("truck", "bus")))
    ]
    near, none, far = prior(cards, ("roses", "tulips"))
    assert near > none > far
    assert none == pytest.approx((near + far) / 2)


def test_near_copies_wait_until_each_kind_had_its_turn() -> None:
    kind = {"architecture": "convnext_base", "params_total": 88_000_000}
    rows = table(kind, kind, kind, {"architecture": "swin_tiny", "params_total": 28_000_000})
    assert copies_last(rows, np.array([3.0, 4.0, 2.0, 1.0])).tolist() == [1, 3, 0, 2]


def test_beyond_a_hundred_times_a_small_student_size_costs_more_than_it_promises() -> None:
    sizes = [{"params_total": millions * 10**6} for millions in (100, 250, 1_000, 2_500)]
    assert size_penalty(table(*sizes)) == pytest.approx([0, 0, 2 * np.log10(4), 2.0])
    values = quality(table(*sizes))
    assert values[1] == max(values)


def test_of_text_models_size_downloads_and_training_on_sentences_count() -> None:
    base: dict[str, object] = {
        "id": "a/bert-base",
        "modality": "text",
        "params_total": 110_000_000,
        "downloads": 100,
    }
    changes: list[dict[str, object]] = [
        {"params_total": 220_000_000},
        {"downloads": 99_999},
        {"id": "sentence-transformers/all-MiniLM-L6-v2"},
        {"pipeline_tag": "sentence-similarity"},
    ]
    values = quality(table(base, *(base | change for change in changes)))
    gains = values[1:] - values[0]
    assert gains == pytest.approx([0.7 * np.log10(2), 0.2 * np.log10(100_000 / 101), 0.5, 0.5])


def test_a_text_model_of_which_nothing_is_known_is_a_middling_one() -> None:
    unknown, known = quality(
        table({"modality": "text"}, {"modality": "text", "params_total": 110e6, "downloads": 100})
    )
    assert unknown == known


def test_an_image_model_is_guessed_the_same_beside_text_models() -> None:
    image: dict[str, object] = {"architecture": "convnext_base", "params_total": 88_000_000}
    alone = quality(table(image | {"id": "m1"}))
    among = quality(table({"modality": "text"}, image, image | {"modality": "image"}))
    assert among[1] == alone[0] == among[2]
    assert among[1] == features(table(image))[list(COEFFICIENTS)].to_numpy()[0] @ list(
        COEFFICIENTS.values()
    )
