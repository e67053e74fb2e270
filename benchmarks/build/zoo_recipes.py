"""The recipes of the small zoo: architectures, data and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_RESNET = {"layers": [1, 1, 1, 1], "stem_type": "deep", "stem_width": 16, "output_stride": 16}
_CONVNEXT = {"depths": [1, 1, 2, 1], "dims": [24, 40, 56, 56], "patch_size": 2}
_VIT = {"patch_size": 7, "embed_dim": 64, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}
# channels of the four stages
_LARGE, _MIDDLE, _LITTLE = (32, 48, 64, 80), (32, 48, 48, 64), (16, 32, 48, 48)


@dataclass(frozen=True, kw_only=True)
class PretrainingRecipe:
    """How a teacher of the small zoo is trained.

    ``size`` is its input in pixels, ``rate`` the one-cycle peak, ``group`` one of CIFAR-100's;
    ``half`` trains in bfloat16 on the CPU too (twice as fast for plain convolutions, slower for the
    others).
    """

    data: str
    architecture: str
    model_args: dict[str, Any] = field(default_factory=dict)
    size: int = 32
    epochs: int = 30
    rate: float = 4e-3
    group: str | None = None
    flip: bool = True
    half: bool = False
    shuffled: bool = False

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of timm's model."""
        image_size = {"img_size": self.size} if "vit" in self.architecture else {}
        return self.model_args | image_size

    @property
    def task(self) -> str:
        """The data, in words."""
        return f"{self.data}, {self.group}" if self.group else self.data


def _resnet(data: str, channels: Sequence[int], **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(
        data=data,
        architecture="resnet18",
        model_args=_RESNET | {"channels": list(channels)},
        half=True,
        **options,
    )


def _convnext(data: str, **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(
        data=data, architecture="test_convnext", model_args=_CONVNEXT, **options
    )


def _efficientnet(data: str, **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(data=data, architecture="test_efficientnet", rate=6e-3, **options)


def _vit(data: str, **options: Any) -> PretrainingRecipe:
    return PretrainingRecipe(
        data=data,
        architecture="vit_tiny_patch16_224",
        model_args=_VIT,
        size=28,
        rate=2e-3,
        **options,
    )


RECIPES: dict[str, PretrainingRecipe] = {
    "resnet_mnist": _resnet(
        "mnist",
        _LITTLE,
        size=28,
        epochs=12,
        flip=False,
    ),
    "resnet_fashion": _resnet("fashion_mnist", _LITTLE, size=28, epochs=10),
    "resnet_cifar10": _resnet("cifar10", _MIDDLE, epochs=40),
    "resnet_cifar10_b": _resnet("cifar10", _LITTLE, epochs=15, shuffled=True),
    "resnet_vehicles": _resnet("cifar100", _MIDDLE, group="vehicles", epochs=30),
    "resnet_plants": _resnet("cifar100", _MIDDLE, group="plants", epochs=24),
    "resnet_people_and_scenes": _resnet("cifar100", _MIDDLE, group="people and scenes", epochs=24),
    "resnet_animals": _resnet("cifar100", _LARGE, group="animals", epochs=10),
    "resnet_superclasses": _resnet("cifar100", _LARGE, group="superclasses", epochs=4),
    "efficientnet_mammals": _efficientnet("cifar100", group="mammals", epochs=16),
    "efficientnet_household": _efficientnet("cifar100", group="household", epochs=20),
    "efficientnet_fashion": _efficientnet("fashion_mnist", size=28, epochs=8),
    "efficientnet_flowers": _efficientnet("tf_flowers", size=64, epochs=20),
    "convnext_vehicles": _convnext("cifar100", group="vehicles", epochs=40),
    "convnext_cifar10": _convnext("cifar10", epochs=25),
    "vit_mnist": _vit("mnist", epochs=40, flip=False),
}
