"""The split forward: lower then upper is the teacher, for every family and every real model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.places import SHARED
from tests.tiny_families import SIDE, save, tiny
from zoo.card import ModelCard
from zoo.loading.inputs.preprocessing import Preprocessing
from zoo.loading.network import Network
from zoo.loading.transformers.halves import longest_chain
from zoo.split_teacher import CannotSplit, SplitTeacher, boundary, trunk
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey

FAMILIES = {
    "resnet18": {},
    "resnet26d": {},
    "ecaresnet26t": {},
    "mobilenetv2_035": {},
    "mobilenetv1_100": {},
    "mobilenetv3_small_050": {},
    "efficientnet_b0": {},
    "convnext_atto": {},
    "regnety_002": {},
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_distilled_patch16_224": {"img_size": 64},
    "vit_small_patch16_224": {
        "img_size": 64,
        "global_pool": "avg",
        "class_token": False,
        "depth": 4,
    },
}


def wrap(module: Any, *, size: int = 64, classes: int = 7, library: str = "timm") -> Teacher:
    for parameter in module.eval().parameters():
        parameter.requires_grad_(False)
    card = ModelCard(id="random", source="folder", num_classes=classes)
    return Teacher(
        card,
        Network(module, classes, library),
        Preprocessing(input_size=(size, size)),
        device="cpu",
    )


def random_teacher(name: str, classes: int = 7, **options: Any) -> Teacher:
    import timm

    torch.manual_seed(0)
    module = timm.create_model(name, num_classes=classes, **options)
    for layer in (
        module.modules()
    ):  # norms and layer scales that do something, so that a left-out layer shows
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    for vector in (p for p in module.parameters() if p.ndim == 1):
        vector.data.add_(0.3 * torch.randn_like(vector))
    return wrap(module, classes=classes)


def check(teacher: Teacher, batch: int = 2) -> SplitTeacher:
    split = SplitTeacher(teacher)
    inputs = teacher.normalise(torch.rand(batch, 3, *teacher.preprocessing.input_size))
    hidden = split.lower(inputs)
    assert hidden.shape[1:] == split.state
    whole = teacher.forward(inputs)
    halves = split.upper(hidden)
    torch.testing.assert_close(halves.features, whole.features, rtol=1e-4, atol=1e-4)
    if whole.logits is None:
        assert halves.logits is None
    else:
        torch.testing.assert_close(halves.logits, whole.logits, rtol=1e-4, atol=1e-4)
    maps, prefix = split.as_map(hidden)
    assert maps.shape == (batch, split.channels, *split.grid)
    assert torch.equal(split.join(maps, prefix), hidden)
    return split


@pytest.mark.journey
@pytest.mark.parametrize("name", FAMILIES)
def test_lower_then_upper_is_the_teacher(name: str) -> None:
    teacher = random_teacher(name, **FAMILIES[name])
    split = check(teacher)
    hidden = split.lower(teacher.normalise(torch.rand(2, 3, 64, 64))).requires_grad_()
    before = hidden.detach().clone()
    split.upper(hidden).logits.square().sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().max() > 0
    assert torch.equal(before, hidden)
    assert all(parameter.grad is None for parameter in teacher.module.parameters())


def test_teacher_without_a_head() -> None:
    split = check(random_teacher("mobilenetv2_035", classes=0))
    assert split.num_classes == 0


def transformers_teacher(name: str, folder: Path, **changes: Any) -> Teacher:
    pytest.importorskip("transformers")
    return Teacher.load(save(tiny(name, **changes), folder / "m"))


# By class of transformers: the number of tokens before the patches.
LAYERED = {
    "AltCLIPVisionModel": 1,
    "BeitModel": 1,
    "BlipVisionModel": 1,
    "CLIPVisionModel": 1,
    "DINOv3ViTModel": 3,
    "DeiTModel": 2,
    "Dinov2ForImageClassification": 1,
    "Dinov2Model": 1,
    "Dinov2WithRegistersModel": 4,
    "IJepaModel": 0,
    "Siglip2VisionModel": 0,
    "SiglipVisionModel": 0,
    "ViTForImageClassification": 1,
    "ViTMAEModel": 1,
    "ViTMSNModel": 1,
    "ViTModel": 1,
}
MAPPED = [
    "ConvNextForImageClassification",
    "ConvNextModel",
    "ConvNextV2Model",
    "DINOv3ConvNextModel",
    "EfficientNetModel",
    "MobileNetV2ForImageClassification",
    "MobileViTModel",
    "RegNetModel",
    "ResNetForImageClassification",
    "ResNetModel",
]


@pytest.mark.journey
@pytest.mark.parametrize("name", LAYERED)
def test_layers_of_transformers(name: str, tmp_path: Path) -> None:
    teacher = transformers_teacher(name, tmp_path, num_hidden_layers=4)
    split = check(teacher)
    assert (split.prefix, split.grid) == (LAYERED[name], (4, 4))
    module: Any = teacher.module
    name, count = longest_chain(module)
    assert count == 4
    seen: list[torch.Tensor] = []
    hook = module.get_submodule(name)[2].register_forward_hook(
        lambda _layer, _inputs, output: seen.append(output)
    )
    inputs = teacher.normalise(torch.rand(2, 3, SIDE, SIDE))
    teacher.forward(inputs)
    assert torch.equal(split.lower(inputs), seen[0])  # the state after three of four layers
    hook.remove()
    small = split.join(torch.rand(2, split.channels, 2, 2), split.as_map(seen[0])[1])
    assert split.upper(small).features.shape == (2, teacher.feature_dim)
    check_gradient(split)


@pytest.mark.journey
@pytest.mark.parametrize("name", MAPPED)
def test_stages_of_transformers(name: str, tmp_path: Path) -> None:
    teacher = transformers_teacher(name, tmp_path)
    split = check(teacher)
    assert split.prefix == 0
    answer = split.upper(torch.rand(2, split.channels, 4, 4))
    assert answer.features.shape == (2, teacher.feature_dim)
    check_gradient(split)


def check_gradient(split: SplitTeacher) -> None:
    """The upper half passes gradients to each state; shuffled weights answer otherwise."""
    hidden = (100 * torch.randn(2, *split.state)).requires_grad_()
    answer = split.upper(hidden).features
    answer.square().sum().backward()
    assert hidden.grad is not None
    assert all(float(row.abs().max()) > 0 for row in hidden.grad)
    other = split.shuffled(1)
    assert not torch.allclose(other.upper(hidden).features, answer, rtol=1e-3)
    assert torch.equal(split.upper(hidden).features, answer)


@pytest.mark.journey
@pytest.mark.parametrize("name", ["SwinModel", "PvtModel", "CvtForImageClassification"])
def test_layers_that_need_more_than_the_state_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CannotSplit, match=rf"^{name} cannot be run from the middle: its layers"):
        SplitTeacher(transformers_teacher(name, tmp_path))


def test_maps_of_another_size_may_be_injected() -> None:
    split = SplitTeacher(random_teacher("mobilenetv2_035"))
    assert split.upper(torch.rand(3, split.channels, 4, 4)).logits.shape == (3, 7)
    assert split.pooled(torch.rand(3, *split.state), 2).shape == (3, split.channels, 2, 2)


@pytest.mark.journey
def test_shuffled_teacher_answers_otherwise_and_leaves_the_first_alone() -> None:
    teacher = random_teacher("resnet18")
    split = SplitTeacher(teacher)
    hidden = split.lower(teacher.normalise(torch.rand(2, 3, 64, 64)))
    answer = split.upper(hidden).features
    other = split.shuffled(1)
    assert (other.upper(hidden).features - answer).abs().max() > 1e-2
    assert torch.equal(other.upper(hidden).features, split.shuffled(1).upper(hidden).features)
    assert torch.equal(split.upper(hidden).features, answer)


def test_other_families_are_refused_in_a_sentence() -> None:
    import timm

    with pytest.raises(CannotSplit, match=r"Levit.* cannot be run from the middle"):
        trunk(timm.create_model("levit_128s"))


def test_a_chain_that_is_not_the_network_is_refused() -> None:
    import timm

    class Odd(timm.models.resnet.ResNet):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward_features(x) + 1

    module = Odd(timm.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7)
    with pytest.raises(CannotSplit, match="same answer"):
        SplitTeacher(wrap(module))


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv3_small_050", "convnext_atto", "levit_128s"]
)
def test_boundary_is_an_earlier_stage(name: str) -> None:
    import timm

    network = timm.create_model(name)
    block = boundary(network)
    assert any(block is module for module in network.modules())
    assert (
        sum(p.numel() for p in block.parameters())
        < sum(p.numel() for p in network.parameters()) / 2
    )


REAL = sorted(path.name for path in (SHARED / "models").glob("*/") if path.is_dir())


@pytest.mark.journey
@pytest.mark.skipif(not REAL, reason=f"{SHARED}/models is not here")
@pytest.mark.parametrize("name", REAL or ["none"])
def test_real_models(name: str) -> None:
    from zoo.sources import folder

    card = next(iter(folder.cards(SHARED / "models" / name)))
    check(Teacher.load(card))
