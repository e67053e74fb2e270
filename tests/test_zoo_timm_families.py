"""timm's families: one random network of each module, and which of its heads are no classifiers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from zoo.card import ModelCard
from zoo.loading.backbones import is_embedding
from zoo.loading.checkpoint.architecture import timm_name
from zoo.loading.construction import skip_weight_init
from zoo.sources.folder import card as folder_card
from zoo.sources.timm import SIZES
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

THIN = {"depth": 2, "embed_dim": 64, "num_heads": 2}  # of large transformers
LARGEST = 13_500_000  # scalars of a network that is tried as it is
WIDTHS = (384, 512, 640, 768, 1024, 1152, 1280)


def built(architecture: str, classes: int, **arguments: Any) -> Any:
    """timm's network of that name, always with the same random numbers."""
    with skip_weight_init():
        network = timm.create_model(architecture, num_classes=classes, **arguments)
    randomise(network)
    return network


def write(
    folder: Path, architecture: str, classes: int, tag: str = "", **arguments: Any
) -> ModelCard:
    """A random network of timm in the Hub's layout; its card as a crawl makes it."""
    from safetensors.torch import save_file

    network = built(architecture, classes, **arguments)
    folder.mkdir()
    shared = {tensor.data_ptr(): name for name, tensor in network.named_parameters()}
    state = {  # a tensor with two names is stored once
        name: tensor.contiguous()
        for name, tensor in network.state_dict().items()
        if shared.get(tensor.data_ptr(), name) == name
    }
    save_file(state, folder / "model.safetensors")
    config = {
        "architecture": architecture,
        "num_classes": classes,
        "model_args": arguments,
        "pretrained_cfg": {**network.pretrained_cfg, "tag": tag, "num_classes": classes},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder_card(folder)


def test_the_embeddings_among_timms_heads_are_known() -> None:
    from timm.models import get_pretrained_cfg

    for name in timm.list_pretrained():
        count = get_pretrained_cfg(name).num_classes
        assert is_embedding(*timm_name(name), count) is (count in WIDTHS), name


@pytest.mark.parametrize(
    ("architecture", "tag", "count"),
    [
        ("vit_base_patch16_clip_224", "openai", 10),  # trained on ten classes of somebody's
        ("vit_base_patch16_clip_224", "openai_ft_in1k", 1000),
        ("vit_base_patch16_clip_224", "openai_ft_in1k", 512),
        ("vit_pe_core_base_patch16_224", "mine", 1024),
        ("vit_base_patch16_224", "", 512),
        ("resnet50", "a1_in1k", 512),
    ],
)
def test_classes_are_no_embedding(architecture: str, tag: str, count: int) -> None:
    assert not is_embedding(architecture, tag, count)


def test_the_tower_of_clip_has_features_and_no_logits(tmp_path: Path) -> None:
    arguments = {**THIN, "img_size": 32}
    name = "vit_xsmall_patch16_clip_224"
    card = write(tmp_path / "m", name, 512, tag="tinyclip_yfcc15m", **arguments)
    assert (card.num_classes, card.labels, card.loadable) == (0, None, True)
    teacher = Teacher.load(card)
    inputs = torch.randn(2, 3, 32, 32)
    features, logits = teacher.forward(inputs)
    with torch.no_grad():
        network: Any = teacher.module
        tokens = network.forward_features(inputs)
        wanted = network.forward_head(tokens, pre_logits=True)
    assert logits is None and teacher.num_classes == 0
    assert torch.equal(features, wanted) and features.shape == (2, 64)


# The smallest network of a module that is made smaller still, by its arguments.
STAGES = {"embed_dims": [32, 64, 64, 128]}
SWIN = {"embed_dim": 32, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
SMALLER: dict[str, dict[str, Any]] = {
    "beit_base_patch16_224": THIN,
    "cait_xxs24_224": THIN,
    "davit_tiny": STAGES | {"num_heads": [1, 2, 4, 8]},
    "deepseek_vit_412m": THIN,
    "efficientformer_l1": STAGES,
    "hiera_tiny_224": {"embed_dim": 32, "stages": [1, 1, 1, 1]},
    "legacy_seresnet18": {"layers": [1, 1, 1, 1]},
    "naflexvit_base_patch16_parfac_gap": THIN,
    "nf_regnet_b1": {"depths": [1, 1, 1, 1]},
    "qwen3_vit_88m": THIN,
    "res2next50": {"layers": [1, 1, 1, 1]},
    "resnest14d": {"cardinality": 4, "base_width": 8},
    "resnetv2_18": {"layers": [1, 1, 1, 1]},
    "sam2_hiera_tiny": {"embed_dim": 32, "stages": [1, 1, 1, 1]},
    "samvit_base_patch16": THIN,
    "sequencer2d_s": STAGES,
    "skresnet18": {"layers": [1, 1, 1, 1]},
    "swin_s3_tiny_224": SWIN,
    "swinv2_cr_tiny_ns_224": SWIN,
    "swinv2_tiny_window8_256": SWIN,
    "tnt_s_legacy_patch16_224": {"depth": 2},
    "tresnet_v2_l": {"layers": [1, 1, 1, 1]},
    "twins_svt_small": STAGES,
    "visformer_tiny": THIN,
    "vit_srelpos_small_patch16_224": THIN,
    "vitamin_small_224": {"depth": 2},
}


def smallest() -> list[str]:
    """The smallest architecture of each of timm's modules, where it has ``LARGEST`` scalars or can
    be made smaller. The others (VGG, Inception, NASNet ...) have no small form.
    """
    with SIZES.open(newline="") as lines:
        sizes = {row[0]: int(row[2]) for row in csv.reader(lines) if row[2].isdecimal()}
    names = []
    for module in timm.list_modules():
        known = [name for name in timm.list_models(module=module) if name in sizes]
        known = [name for name in known if not name.startswith("test_")]
        names += [min(known, key=lambda name: sizes[name])] if known else []
    return sorted(name for name in names if sizes[name] <= LARGEST or name in SMALLER)


def randomise(network: Any) -> None:
    """Fill ``network`` with small random numbers, scales around 1: faster than timm's own way."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", smallest())
def test_a_family_answers_as_in_timm(tmp_path: Path, architecture: str) -> None:
    card = write(tmp_path / "m", architecture, 3, **SMALLER.get(architecture, {}))
    assert (card.loadable, card.num_classes) == (True, 3)
    teacher = Teacher.load(card)
    inputs = torch.randn(1, 3, *teacher.preprocessing.input_size)
    features, logits = teacher.forward(inputs)
    network = built(architecture, 3, **SMALLER.get(architecture, {})).eval()
    with torch.no_grad():
        wanted = network(inputs)
        pooled = network.forward_head(network.forward_features(inputs), pre_logits=True)
    assert torch.allclose(logits, wanted, rtol=1e-4, atol=1e-4)
    assert torch.allclose(features, pooled.reshape(features.shape), rtol=1e-4, atol=1e-4)
