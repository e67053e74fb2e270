"""Label spaces: names are believed only where their order can be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.sources.labels import LabelSpace, Training, from_config, inferred, label_space

PETS = LabelSpace(("cat", "dog"), "config")


@pytest.mark.parametrize(
    "config",
    [
        {"label_names": ["cat", "dog"]},
        {"label_names": {"1": "dog", "0": "cat"}},
        {"pretrained_cfg": {"label_names": ["cat", "dog"]}},
        {"id2label": {"1": "dog", "0": "cat"}},
        {"id2label": {1: "dog", 0: "cat"}},
        {"label_names": [], "id2label": {"0": "cat", "1": "dog"}},
        {
            "label_names": ["n02121808", "n02084071"],
            "label_descriptions": {"n02121808": "cat", "n02084071": "dog"},
        },
        {"label_names": ["n02121808", "n02084071"], "label_descriptions": ["cat", "dog"]},
    ],
)
def test_every_form_of_names_is_read_in_the_order_of_the_logits(config: dict[str, Any]) -> None:
    assert from_config(config) == PETS


@given(st.permutations(range(12)))
def test_order_is_that_of_the_numbers_not_of_the_file(order: list[int]) -> None:
    space = from_config({"id2label": {str(i): f"name {i}" for i in order}})
    assert space.labels == tuple(f"name {i}" for i in range(12))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"id2label": None},
        {"id2label": {}},
        {"label_names": []},
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}},
        {"id2label": {"0": "label 0", "1": "Class-1"}},
        {"id2label": {"0": "0", "1": "1"}},
        {"label_names": ["0", "1", "2"]},
    ],
)
def test_placeholders_are_no_names(config: dict[str, Any]) -> None:
    assert from_config(config) == LabelSpace()


def test_ten_digits_are_names() -> None:
    assert from_config({"id2label": {str(i): i for i in range(10)}}).labels == tuple("0123456789")


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ({"0": "cat", "2": "dog"}, "there is no 1"),
        ({"0": "cat", "1": ["dog"]}, "not a text"),
        ("cat,dog", "neither"),
        ([None, "dog"], "not a text"),
        (7, "neither"),
        ({"cat": 0, "dog": 1}, "there is no 0"),
        (["x"] * 200_001, "200,001 labels, more than"),
        ({str(i): "x" for i in range(200_001)}, "200,001 labels"),
    ],
)
def test_what_cannot_be_read_is_a_fault_with_its_reason(names: object, fault: str) -> None:
    space = from_config({"label_names": names})
    assert space.labels is None
    assert space.fault is not None
    assert fault in space.fault


def test_hostile_labels_are_short_printable_lines() -> None:
    space = from_config({"label_names": ["x" * 10_000_000, "\x1b[31mred\nline\u202e"]})
    assert space.labels is not None
    assert len(space.labels[0]) == 500
    assert space.labels[1] == "[31mred line"


def test_names_of_another_number_than_the_classes_are_not_used() -> None:
    space = label_space({"label_names": ["cat", "dog"]}, 3)
    assert (space.labels, space.fault) == (None, "the config names 2 labels for 3 classes")
    assert (
        label_space({"label_names": ["cat", "dog"]}, 2)
        == label_space({"label_names": ["cat", "dog"]}, None)
        == PETS
    )


IMAGENET = Training(tag="a1_in1k")


def test_imagenet_is_inferred_by_count_and_evidence_and_says_so() -> None:
    space = label_space({}, 1000, training=IMAGENET)
    assert space.source == "inferred:imagenet-1k"
    assert space.labels is not None
    assert len(space.labels) == 1000
    assert (space.labels[0], space.labels[207]) == ("tench, Tinca tinca", "golden retriever")
    assert inferred(21843).source == "inferred:imagenet-21k-goog"
    assert len(inferred(11821).labels or ()) == 11821


@pytest.mark.parametrize(
    ("count", "training"),
    [
        (1000, Training(tag="r160_in1k")),
        (1000, Training(tag="augreg_in21k_ft_in1k")),
        (21841, Training(tag="fb_in22k")),
        (21843, Training(tag="augreg_in21k")),
        (11821, Training(tag="sw_in12k")),
        (1000, Training(datasets=("imagenet-1k",))),
        (1000, Training(datasets=("ILSVRC/imagenet-1k", "imagenet-21k"), base_model=True)),
        (1000, Training(datasets=("imagenet-1k",), words=("food-features",))),
        (1000, Training(words=("resnet50-imagenet",))),
        (1000, Training(words=("me/net", "imagenet-1k"))),
    ],
)
def test_evidence_for_an_imagenet(count: int, training: Training) -> None:
    assert (label_space({}, count, training=training).source or "").startswith("inferred:imagenet")


@pytest.mark.parametrize(
    "training",
    [
        None,
        Training(),
        Training(words=("my-model", "vision")),
        Training(tag="dishes"),
        Training(tag="fb_in22k"),  # 1,000 classes are not that head's any more
        Training(tag="a1_in1k", datasets=("dishes",)),
        Training(tag="a1_in1k", words=("dishes-1000",)),
        Training(tag="a1_in1k", words=("model", "food")),
        Training(tag="a1_in1k", base_model=True),
        Training(datasets=("imagenet-1k", "dishes"), words=("dishes",)),
    ],
)
def test_a_thousand_classes_without_evidence_are_not_imagenets(training: Training | None) -> None:
    assert label_space({}, 1000, training=training) == LabelSpace()


def test_names_of_another_number_are_evidence_against_imagenet() -> None:
    space = label_space({"label_names": ["soup", "salad"]}, 1000, training=IMAGENET)
    assert space == LabelSpace(fault="the config names 2 labels for 1,000 classes")


def test_label2id_serves_where_there_is_no_id2label() -> None:
    assert from_config({"label2id": {"dog": 1, "cat": "0"}}) == PETS
    assert from_config({"id2label": {"0": "cat", "1": "dog"}, "label2id": {"x": 0}}) == PETS
    assert from_config({"label2id": {"LABEL_0": 0, "LABEL_1": 1}}) == LabelSpace()
    assert "there is no 1" in (from_config({"label2id": {"a": 0, "b": 2}}).fault or "")
    assert from_config({"label2id": {"a": []}}).fault is not None


def test_one_name_for_all_classes_is_no_name() -> None:
    assert from_config({"label_names": ["cat"] * 3}) == LabelSpace(fault="all 3 labels are 'cat'")
    assert from_config({"label_names": ["crane", "crane", "dog"]}).source == "config"


@pytest.mark.parametrize("count", [None, 0, 10, 999, 1001])
def test_other_counts_infer_nothing(count: int | None) -> None:
    assert inferred(count) == LabelSpace()


def test_names_beat_inference() -> None:
    own = [f"part {i}" for i in range(1000)]
    assert label_space({"label_names": own}, 1000, training=IMAGENET).source == "config"
