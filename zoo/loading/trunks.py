"""Networks of timm as chains of blocks, by family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.loading.transformers.halves import CannotSplit, cut_after

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Trunk:
    """A network as a chain: ``before``, then ``blocks`` one after another, then ``after``, which
    feeds the head.

    ``prefix`` is the number of tokens that stand before the patches (0 for maps).
    """

    before: Callable[[Any], Any]
    blocks: tuple[Any, ...]
    after: Callable[[Any], Any]
    prefix: int = 0


def trunk(network: nn.Module) -> Trunk:
    """The chain of a ResNet-, EfficientNet- (and MobileNet-), ConvNeXt-, RegNet- or ViT-like
    network of timm. Raises ``CannotSplit`` for others.
    """
    for family in (_resnet, _efficientnet, _convnext, _regnet, _vit):
        try:
            return family(network)
        except AttributeError:
            continue
    raise CannotSplit(
        f"{type(network).__name__} is not ResNet-, MobileNet-, EfficientNet-, ConvNeXt- or"
        " ViT-like, so it cannot be run from the middle"
    )


def boundary(network: nn.Module, *, share: float = 0.5) -> nn.Module:
    """The block whose output is the state after ``share`` of the blocks; for families unknown here,
    by timm's own list.
    """
    try:
        blocks = trunk(network).blocks
    except CannotSplit:
        stages = getattr(network, "feature_info", None) or []
        names = [stage["module"] for stage in stages if isinstance(stage, dict)]
        if not names:
            raise
        return network.get_submodule(names[cut_after(len(names), share) - 1])
    block: nn.Module = blocks[cut_after(len(blocks), share) - 1]
    return block


def chain(*parts: Any) -> Callable[[Any], Any]:
    """``parts`` as one function, one after another."""

    def run(x: Any) -> Any:
        for part in parts:
            x = part(x)
        return x

    return run


def _flat(stages: Any) -> tuple[Any, ...]:
    blocks: list[Any] = []
    for stage in stages:
        blocks += stage if hasattr(stage, "__iter__") else [stage]
    return tuple(blocks)


def _resnet(net: Any) -> Trunk:
    before = chain(
        net.conv1,
        net.bn1,
        net.act1,
        net.maxpool,
    )
    return Trunk(before, _flat((net.layer1, net.layer2, net.layer3, net.layer4)), chain())


def _efficientnet(net: Any) -> Trunk:
    # MobileNetV3 has it in the head
    after = chain(net.conv_head, net.bn2) if hasattr(net, "bn2") else chain()
    return Trunk(chain(net.conv_stem, net.bn1), _flat(net.blocks), after)


def _convnext(net: Any) -> Trunk:
    blocks = tuple(part for stage in net.stages for part in (stage.downsample, *stage.blocks))
    return Trunk(chain(net.stem), blocks, chain(net.norm_pre))


def _regnet(net: Any) -> Trunk:
    stages = (net.s1, net.s2, net.s3, net.s4)
    blocks = _flat(stage.children() for stage in stages)
    return Trunk(chain(net.stem), blocks, chain(net.final_conv))


def _vit(net: Any) -> Trunk:
    before = chain(
        net.patch_embed,
        net._pos_embed,
        net.patch_drop,
        net.norm_pre,
    )
    return Trunk(
        before,
        tuple(net.blocks),
        chain(net.norm),
        prefix=int(net.num_prefix_tokens),
    )
