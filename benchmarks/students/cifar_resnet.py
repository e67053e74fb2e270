"""The three-stage residual networks of the CIFAR-100 reference figures, known to timm as resnet8x4
and resnet32x4.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from timm.models.resnet import BasicBlock, downsample_conv
from torch import Tensor, nn

STEM, WIDTHS = 32, (64, 128, 256)


class Stage(nn.Module):
    """``blocks`` basic blocks from ``inside`` to ``width`` channels; the first one has the
    ``stride``.
    """

    def __init__(
        self,
        inside: int,
        width: int,
        *,
        blocks: int,
        stride: int,
    ) -> None:
        super().__init__()
        shortcut = downsample_conv(inside, width, kernel_size=1, stride=stride)
        first = BasicBlock(inside, width, stride=stride, downsample=shortcut)
        self.blocks = nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(x)
        return features


class CifarResNet(nn.Module):
    """A stem of 32 channels at full resolution, then stages of 64, 128 and 256, each half as wide
    in pixels as the one before.

    Depth 6 ``blocks`` + 2, four times as wide as the networks of He et al. 2015, section 4.2; with
    timm's interface.
    """

    def __init__(self, *, blocks: int, num_classes: int) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = WIDTHS[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(3, STEM, 3, padding=1, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(inplace=True),
        )
        ends = zip((STEM, *WIDTHS), WIDTHS, strict=False)
        self.layer1, self.layer2, self.layer3 = (
            Stage(
                inside,
                width,
                blocks=blocks,
                stride=1 if inside == STEM else 2,
            )
            for inside, width in ends
        )
        self.feature_info = [
            {"num_chs": width, "reduction": 2**i, "module": f"layer{i + 1}"}
            for i, width in enumerate(WIDTHS)
        ]
        self.pretrained_cfg = {"first_conv": "stem.0", "classifier": "fc"}
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, 256, 8, 8)."""
        features: Tensor = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 256, h, w) -> (B, num_classes), or the pooled features (B, 256)."""
        pooled = x.mean((2, 3))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def _network(blocks: int, options: dict[str, Any]) -> CifarResNet:
    return CifarResNet(blocks=blocks, num_classes=int(options.get("num_classes", 100)))


@register_model
def resnet8x4(pretrained: bool = False, **options: Any) -> CifarResNet:
    """One block a stage: 1.2 million parameters."""
    return _network(1, options)


@register_model
def resnet32x4(pretrained: bool = False, **options: Any) -> CifarResNet:
    """Five blocks a stage: 7.4 million parameters."""
    return _network(5, options)


def run_as_graphs(network: CifarResNet, view: Tensor) -> None:
    """Let the stem and each stage run as CUDA graphs for training inputs of the shape of ``view``;
    the weights stay.

    Networks this small wait for Python, not for the GPU. In eval mode, and for hooks on a stage,
    nothing changes.
    """
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    stages = (network.layer1, network.layer2, network.layer3)
    parts = (network.stem, *(stage.blocks for stage in stages))
    inputs = [view]  # of each part
    with torch.no_grad():
        for part in parts[:-1]:
            inputs.append(part(inputs[-1]))
    samples = [(each.detach().requires_grad_(i > 0),) for i, each in enumerate(inputs)]
    torch.cuda.make_graphed_callables(parts, tuple(samples))
    network.load_state_dict(kept)  # the trial runs moved the running averages
