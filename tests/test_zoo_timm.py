"""timm's own list as a source: complete, offline, and careful about what it infers."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
import timm
from timm.models import get_pretrained_cfg

from tests.places import ROOT
from zoo.card import ModelCard
from zoo.sources import timm as source

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def cards() -> dict[str, ModelCard]:
    found = list(source.cards())
    assert len({card.id for card in found}) == len(found) == len(timm.list_pretrained())
    return {card.id: card for card in found}


def test_a_classifier_of_imagenet(cards: dict[str, ModelCard]) -> None:
    card = cards["timm/resnet18.a1_in1k"]
    cfg = get_pretrained_cfg("resnet18.a1_in1k")
    assert card == ModelCard(
        id="timm/resnet18.a1_in1k",
        source="timm",
        location="timm/resnet18.a1_in1k",
        author="timm",
        modality="image",
        library_name="timm",
        pipeline_tag="image-classification",
        license="apache-2.0",
        architecture="resnet18",
        datasets=("imagenet-1k",),
        num_classes=1000,
        labels=card.labels,
        label_source="inferred:imagenet-1k",
        input_size=cfg.input_size[1],
        mean=cfg.mean,
        std=cfg.std,
        interpolation=cfg.interpolation,
        crop_pct=cfg.crop_pct,
        crop_mode=cfg.crop_mode,
        params_total=card.params_total,
        feature_dim=512,
        weight_format="safetensors",
        custom_code=False,
        loadable=True,
    )
    assert card.labels is not None
    assert card.labels[207] == "golden retriever"


def test_labels_are_as_many_as_classes_and_shared(cards: dict[str, ModelCard]) -> None:
    spaces = {card.label_source: card.labels for card in cards.values() if card.labels}
    assert set(spaces) >= {
        f"inferred:imagenet-{kind}" for kind in ("1k", "12k", "22k", "21k-goog", "22k-ms")
    }
    assert all(len(card.labels) == card.num_classes for card in cards.values() if card.labels)
    assert all(card.labels is spaces[card.label_source] for card in cards.values() if card.labels)


def test_embeddings_are_no_classes(cards: dict[str, ModelCard]) -> None:
    card = cards["timm/vit_base_patch16_clip_224.openai"]
    assert (card.labels, card.datasets, card.pipeline_tag) == (
        None,
        ("openai-wit-400m",),
        "image-feature-extraction",
    )


@pytest.mark.parametrize(
    ("name", "datasets"),
    [
        (
            "convnext_base.clip_laion2b_augreg_ft_in12k_in1k",
            ("laion-2b", "imagenet-12k", "imagenet-1k"),
        ),
        ("vit_base_patch16_224.augreg2_in21k_ft_in1k", ("imagenet-21k", "imagenet-1k")),
        ("resnet18.fb_swsl_ig1b_ft_in1k", ("instagram-1b", "imagenet-1k")),
    ],
)
def test_training_data_by_tag(
    cards: dict[str, ModelCard], name: str, datasets: tuple[str, ...]
) -> None:
    assert cards[f"timm/{name}"].datasets == datasets


def test_what_cannot_be_fetched_is_listed_with_its_reason(cards: dict[str, ModelCard]) -> None:
    for card in cards.values():
        assert (card.loadable is False) == (card.not_loadable_reason is not None)
        assert card.loadable is False or card.location == card.id
    alone = [card for card in cards.values() if card.location is None]
    assert alone
    assert all("no Hub repository" in (card.not_loadable_reason or "") for card in alone)
    twin = cards["timm/vit_base_patch16_clip_quickgelu_224.openai"]
    assert (
        twin.not_loadable_reason
        == "its weights are those of timm/vit_base_patch16_clip_224.openai, which is listed by"
        " itself"
    )
    assert cards["timm/vit_base_patch16_clip_224.openai"].loadable
    assert Counter(card.loadable for card in cards.values())[True] > 1700


def test_licences_are_lower_case_and_never_unknown_by_name(cards: dict[str, ModelCard]) -> None:
    names = {card.license for card in cards.values()}
    assert {"apache-2.0", "mit", "cc-by-nc-4.0", None} <= names
    assert all(name == name.lower() and name != "unknown" for name in names if name)


def test_sizes_are_those_of_the_models(cards: dict[str, ModelCard]) -> None:
    for name in ("resnet18.a1_in1k", "mobilenetv3_small_050.lamb_in1k", "test_vit.r160_in1k"):
        model = timm.create_model(name, pretrained=False)
        card = cards[f"timm/{name}"]
        assert card.params_total == sum(tensor.numel() for tensor in model.state_dict().values())
        assert card.feature_dim == model.head_hidden_size
    assert sum(card.params_total is None for card in cards.values()) < len(cards) / 50


@pytest.mark.journey
def test_the_network_is_not_asked() -> None:
    code = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = no\n"
        "from zoo.sources import timm; print(sum(1 for _ in timm.cards()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert int(done.stdout) > 1000
