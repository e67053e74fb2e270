"""What a model's files say of it: every known form is read, and nothing hostile raises."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.card import ModelCard
from zoo.loading.checkpoint.architecture import timm_architectures
from zoo.loading.weights import Header
from zoo.sources.describe import describe, not_loadable
from zoo.sources.front_matter import card_data, front_matter, license_name
from zoo.sources.values import as_fraction, as_lines

PIPELINE = {
    "input_size": [3, 160, 192],
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.2, 0.1],
    "interpolation": "bilinear",
    "crop_pct": 0.95,
    "crop_mode": "squash",
}
TIMM = {
    "architecture": "resnet18",
    "num_classes": 2,
    "num_features": 512,
    "label_names": ["cat", "dog"],
    "pretrained_cfg": {**PIPELINE, "classifier": "fc", "license": "Apache-2.0"},
}
TRANSFORMERS = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "hidden_size": 768,
    "image_size": 224,
    "id2label": {"0": "cat", "1": "dog"},
}
PROCESSOR = {
    "size": {"height": 384, "width": 384},
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "resample": 3,
}
KNOWN = {field.name for field in fields(ModelCard)}


def header(**shapes: tuple[int, ...]) -> Header:
    return Header(
        tensors={name.replace("__", "."): ("F32", shape) for name, shape in shapes.items()},
        params_total=99,
        bytes=400,
    )


def test_timm_in_its_new_form() -> None:
    assert describe(TIMM) == {
        "library_name": "timm",
        "modality": "image",
        "architecture": "resnet18",
        "num_classes": 2,
        "labels": ("cat", "dog"),
        "label_source": "config",
        "feature_dim": 512,
        "input_size": 160,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.1),
        "interpolation": "bilinear",
        "crop_pct": 0.95,
        "crop_mode": "squash",
        "license": "apache-2.0",
        "custom_code": False,
        "loadable": True,
        "detail_state": "done",
    }


def test_timms_old_flat_form_says_the_same() -> None:
    nested: dict[str, Any] = TIMM["pretrained_cfg"]  # type: ignore[assignment]
    assert describe({**TIMM, **nested, "pretrained_cfg": None}) == describe(TIMM)


def test_transformers() -> None:
    found = describe(TRANSFORMERS, processor=PROCESSOR)
    assert (
        found
        | {
            "library_name": "transformers",
            "architecture": "ViTForImageClassification",
            "model_type": "vit",
            "num_classes": 2,
            "labels": ("cat", "dog"),
            "feature_dim": 768,
            "input_size": 384,
            "mean": (0.5, 0.5, 0.5),
            "interpolation": "bicubic",
            "crop_mode": "squash",
            "loadable": True,
        }
        == found
    )


def test_what_is_not_given_is_timms_own_setting_or_not_invented() -> None:
    assert describe({"architecture": "resnet18"}) == {
        "modality": "image",
        "library_name": "timm",
        "architecture": "resnet18",
        "input_size": 224,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "crop_mode": "center",
        "custom_code": False,
        "loadable": True,
        "detail_state": "done",
    }
    assert "labels" not in describe({**TRANSFORMERS, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    assert (
        describe({**TRANSFORMERS, "id2label": {"0": "LABEL_0", "1": "LABEL_1"}})["num_classes"] == 2
    )


def test_without_a_processors_file_the_familys_values_are_given_and_it_is_said() -> None:
    found = describe(TRANSFORMERS)
    assert (found["input_size"], found["interpolation"]) == (224, "bilinear")
    assert (found["mean"], found["std"]) == ((0.5,) * 3, (0.5,) * 3)
    assert found["detail_error"] == (
        "no preprocessor_config.json: images are prepared as models of vit usually are"
    )
    assert found["loadable"]
    clip = {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "vision_config": {"image_size": 336, "hidden_size": 1024},
    }
    found = describe(clip)
    assert found["input_size"] == 336
    assert found["mean"] == (0.48145466, 0.4578275, 0.40821073)
    assert "models of clip usually are" in found["detail_error"]


@pytest.mark.parametrize("config", [TIMM, {"architectures": ["BertModel"], "model_type": "bert"}])
def test_other_models_lack_no_processors_file(config: dict[str, Any]) -> None:
    assert "detail_error" not in describe(config)


@pytest.mark.parametrize("processor", [{}, {"size": 160}])
def test_a_processors_file_of_any_content_is_one(processor: dict[str, Any]) -> None:
    assert "detail_error" not in describe(TRANSFORMERS, processor=processor)


def test_weights_have_the_last_word() -> None:
    found = describe({**TIMM, "num_features": 7}, weights=header(fc__weight=(2, 640)))
    assert (found["feature_dim"], found["params_total"], found["weight_bytes"]) == (640, 99, 400)
    assert found["weight_format"] == "safetensors"
    config = {"architecture": "resnet18", "pretrained_cfg": {"classifier": "head"}}
    found = describe(config, weights=header(head__weight=(5, 8, 1, 1)))
    assert (found["num_classes"], found["feature_dim"]) == (5, 8)
    found = describe(
        {"architectures": ["ViTForImageClassification"]},
        weights=header(classifier__weight=(3, 192)),
    )
    assert (found["num_classes"], found["feature_dim"]) == (3, 192)


def test_a_model_without_head_has_no_labels() -> None:
    found = describe({**TIMM, "num_classes": 0, "label_names": []})
    assert found["num_classes"] == 0
    assert "labels" not in found
    assert found["loadable"]


def test_imagenet_is_inferred_where_the_training_data_is_one() -> None:
    plain = {"architecture": "resnet18", "num_classes": 1000}
    assert "labels" not in describe(plain)
    tagged = {**plain, "architecture": "resnet18.a1_in1k"}
    assert describe(tagged)["label_source"] == "inferred:imagenet-1k"
    assert "labels" not in describe(tagged, datasets=("my/products",))
    assert (
        describe(plain, datasets=("timm/imagenet-12k", "x"))["label_source"]
        == "inferred:imagenet-1k"
    )
    text = {"architectures": ["BertForSequenceClassification"], "num_labels": 1000}
    assert "labels" not in describe(text, datasets=("imagenet-1k",))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architecture": "resnet18000"}, "the installed timm knows no architecture 'resnet18000'"),
        ({"architecture": "../../x"}, "knows no architecture '../../x'"),
        (
            {"architectures": ["LlamaForSequenceClassification"]},
            "LlamaForSequenceClassification is a text model",
        ),
        (
            {"architectures": ["ViTForImageClassification"], "auto_map": {"AutoModel": "x.Y"}},
            "code of its own",
        ),
        ({"architecture": "resnet18", "auto_map": {"AutoModel": "x.Y"}}, "code of its own"),
        ({}, "names no architecture"),
        ({"architectures": []}, "names no architecture"),
        ({"architecture": "resnet18", "input_size": [1, 28, 28]}, "only colour images"),
        ({"architecture": "resnet18", "mean": [0.5, 0.5]}, "2 values for 3 colour channels"),
        ({"architecture": "resnet18", "input_size": [3, 10**9, 10**9]}, "not between"),
        ([], "config.json holds a list"),
        (None, "config.json holds a NoneType"),
        ("x", "config.json holds a str"),
    ],
)
def test_what_cannot_be_loaded_says_why(config: object, reason: str) -> None:
    found = describe(config)
    assert found["loadable"] is False
    assert reason in found["not_loadable_reason"]


def test_custom_code_is_known_for_itself() -> None:
    assert describe({**TRANSFORMERS, "auto_map": {"AutoModel": "x.Y"}})["custom_code"] is True
    assert describe(TRANSFORMERS)["custom_code"] is False


def test_a_fault_in_a_part_leaves_the_rest() -> None:
    found = describe(
        {**TIMM, "label_names": ["cat"], "pretrained_cfg": {**PIPELINE, "std": [0, 0, 0]}}
    )
    assert (found["architecture"], found["num_classes"], found["loadable"]) == (
        "resnet18",
        2,
        False,
    )
    assert "1 labels for 2 classes" in found["detail_error"]
    assert "std" in found["detail_error"]
    assert found["detail_error"].endswith(found["not_loadable_reason"])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["resnet18", "0", [0.5] * 3]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["0", "1", "2"]), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = [
    "architecture",
    "architectures",
    "num_classes",
    "num_features",
    "pretrained_cfg",
    "label_names",
    "id2label",
    "auto_map",
    "label_descriptions",
    "image_size",
    "hidden_size",
    "num_labels",
    "model_type",
    "accuracy",
    "license",
    "classifier",
    *PIPELINE,
]
PROCESSOR_KEYS = [
    *PROCESSOR,
    "crop_size",
    "do_center_crop",
    "do_rescale",
    "rescale_factor",
    "rescale_offset",
    "crop_pct",
    "do_normalize",
]


def mostly(keys: list[str], base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """``base`` with some of its values, and others of ``keys``, replaced by anything."""
    return st.dictionaries(st.sampled_from(keys), json_values, max_size=4).map(
        lambda odd: {**base, **odd}
    )


@pytest.mark.journey
@settings(max_examples=300, deadline=None)
@given(
    json_values | mostly(KEYS, TIMM) | mostly(KEYS, TRANSFORMERS) | mostly(KEYS, {}),
    json_values | mostly(PROCESSOR_KEYS, PROCESSOR),
    st.none() | st.just(header(fc__weight=(2, 3), classifier__weight=())),
)
def test_any_json_gives_fields_or_a_recorded_error(
    config: object, processor: object, weights: Header | None
) -> None:
    found = describe(config, processor=processor, weights=weights)
    assert set(found) <= KNOWN
    assert found["detail_state"] in ("done", "failed")
    assert found["loadable"] or found["not_loadable_reason"]
    card = ModelCard(id="x", source="folder", **found)
    for name in ("num_classes", "feature_dim", "input_size"):
        assert getattr(card, name) is None or type(getattr(card, name)) is int
    assert card.labels is None or (card.label_source and len(card.labels) == card.num_classes)
    assert card.mean is None or (
        len(card.mean) == 3 and all(isinstance(value, float) for value in card.mean)
    )
    json.dumps(found)


def test_deep_nesting_is_no_exception() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    for key in ("input_size", "label_names", "license", "mean", "architectures"):
        assert describe({**TIMM, key: deep, "pretrained_cfg": {}})["detail_state"] == "done"
    assert card_data({"tags": deep, "model-index": deep, "license": deep}) == {}


def test_the_first_reason_stays() -> None:
    assert (
        not_loadable({"loadable": False, "not_loadable_reason": "a"}, "b")["not_loadable_reason"]
        == "a"
    )
    assert not_loadable({"loadable": True, "id": 1}, "b\n\x1b[0m") == {
        "loadable": False,
        "not_loadable_reason": "b [0m",
        "id": 1,
    }


def test_timms_architectures_without_importing_it_are_those_of_timm() -> None:
    import timm

    own = {
        name
        for name in timm.list_models()
        if timm.model_entrypoint(name).__module__.startswith("timm.")
    }
    assert timm_architectures() == own  # other tests may have registered networks of their own


# --- front matter

CARD = """---
license: Apache 2.0
datasets: imagenet-1k
base_model: [a/b, c/d]
language: no
tags:
- timm
- 3
pipeline_tag: image-classification
model-index:
- name: x
  results:
  - metrics:
    - type: loss
      value: 0.5
    - type: accuracy
      value: 91.5
---
# A model
license: not this
"""


@pytest.mark.parametrize("line", ["licence: mit", "License: MIT", "LICENSE: mit license"])
def test_the_key_of_a_licence_in_other_spelling(line: str) -> None:
    assert front_matter(f"---\n{line}\n---\n") == {"license": "mit"}


def test_front_matter() -> None:
    assert front_matter(CARD) == {
        "license": "apache-2.0",
        "datasets": ("imagenet-1k",),
        "base_model": ("a/b", "c/d"),
        "languages": ("no",),
        "tags": ("timm",),
        "pipeline_tag": "image-classification",
        "accuracy": 0.915,
    }
    assert front_matter("\ufeff" + CARD.replace("\n", "\r\n")) == front_matter(CARD)


@pytest.mark.parametrize(
    "readme",
    ["", "# A model", "---\nno end", "---\n---\n", "---\n- a\n- b\n---\n", "--- x\na: b\n---"],
)
def test_a_readme_without_front_matter_says_nothing(readme: str) -> None:
    assert front_matter(readme) == {}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.journey
@pytest.mark.parametrize(
    "yaml",
    [
        "a: [",
        "license: !!python/object/apply:os.system ['true']",
        BOMB,
        "a: &a {x: 1}\nb: {<<: [*a, *a]}",
        "a: 2026-99-99",
        "[" * 5000,
        "? [a]\n: b\n? {c: d}\n: e",
        "a: \x00",
        "a: !!float x",
        "a: !!int '9" + "9" * 5000 + "'",
        "? !!set {x}\n: 1",
    ],
)
def test_hostile_yaml_is_an_error_of_the_card(yaml: str) -> None:
    assert set(front_matter(f"---\n{yaml}\n---\n")) == {"detail_error"}


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("ab:-[]{}&*!#|>%@'\"\n ,?0123.\t~"), max_size=40) | st.text(max_size=40)
)
def test_any_text_is_front_matter_or_an_error(yaml: str) -> None:
    assert set(front_matter(f"---\n{yaml}\n---\n")) <= KNOWN


@pytest.mark.journey
@given(
    json_values
    | st.dictionaries(
        st.sampled_from(
            [
                "license",
                "license_name",
                "datasets",
                "tags",
                "language",
                "model-index",
                "accuracy",
                "library_name",
            ]
        ),
        json_values,
    )
)
def test_any_card_data_is_read(data: object) -> None:
    ModelCard(id="x", source="hub", **card_data(data))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("apache 2.0", "apache-2.0"),
        ("Apache2", "apache-2.0"),
        ("MIT", "mit"),
        (["mit"], "mit"),
        (["mit", "CC-BY-4.0"], "mit,cc-by-4.0"),
        ("BSD_3_Clause", "bsd-3-clause"),
        ("", None),
        (None, None),
        (7, None),
        ([], None),
    ],
)
def test_licences_in_one_spelling(value: object, name: str | None) -> None:
    assert license_name(value) == name


def test_another_licence_is_named() -> None:
    assert license_name("other", other="Apple ASCL") == "apple-ascl"
    assert license_name("other") == "other"
    assert license_name("mit", other="x") == "mit"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (0.5, 0.5),
        (1, 1.0),
        (91.5, 0.915),
        (100, 1.0),
        (0, 0.0),
        (101, None),
        (-1, None),
        (True, None),
        ("0.5", None),
        (float("nan"), None),
        (float("inf"), None),
        (None, None),
        (10**400, None),
    ],
)
def test_accuracy_is_a_fraction(value: object, part: float | None) -> None:
    assert as_fraction(value) == part


def test_texts_are_capped() -> None:
    found = as_lines(["x" * 10_000] * 10_000)
    assert found is not None
    assert (len(found), len(found[0])) == (200, 200)


# --- sizes that no network is built with


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architecture": "resnet18", "num_classes": 10**9}, "num_classes is 1000000000,"),
        ({"architecture": "resnet18", "num_classes": 10**400}, "num_classes is 1000000000"),
        ({"architecture": "resnet18", "num_classes": -3}, "num_classes is -3, expected 0"),
        (
            {"architecture": "resnet18", "num_classes": 3, "model_args": {"base_width": 10**8}},
            "base_width is 100000000",
        ),
        (
            {
                "architectures": ["ViTForImageClassification"],
                "model_type": "vit",
                "hidden_size": 10**9,
                "num_labels": 2,
            },
            "hidden_size is 1000000000,",
        ),
    ],
)
def test_a_size_that_no_network_is_built_with_is_known_at_the_crawl(
    config: dict[str, Any], reason: str
) -> None:
    fields = describe(config)
    assert fields["loadable"] is False
    assert str(fields["not_loadable_reason"]).startswith(reason)
