"""A teacher cut in two: images to a hidden state, and a hidden state to outputs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.loading.inputs.preprocessing import Preprocessing
from zoo.loading.transformers.halves import CannotSplit, Halves, Interrupted, cut_after
from zoo.teacher import Outputs, Teacher

__all__ = ["GRID", "SHARE", "CannotSplit", "SplitTeacher", "Trunk", "boundary", "trunk"]

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARE = 0.75  # of a teacher's blocks that lie below the cut
GRID = 4  # a stored state is averaged onto GRID x GRID positions


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


def _chain(*parts: Any) -> Callable[[Any], Any]:
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
    before = _chain(
        net.conv1,
        net.bn1,
        net.act1,
        net.maxpool,
    )
    return Trunk(before, _flat((net.layer1, net.layer2, net.layer3, net.layer4)), _chain())


def _efficientnet(net: Any) -> Trunk:
    # MobileNetV3 has it in the head
    after = _chain(net.conv_head, net.bn2) if hasattr(net, "bn2") else _chain()
    return Trunk(_chain(net.conv_stem, net.bn1), _flat(net.blocks), after)


def _convnext(net: Any) -> Trunk:
    blocks = tuple(part for stage in net.stages for part in (stage.downsample, *stage.blocks))
    return Trunk(_chain(net.stem), blocks, _chain(net.norm_pre))


def _regnet(net: Any) -> Trunk:
    stages = (net.s1, net.s2, net.s3, net.s4)
    blocks = _flat(stage.children() for stage in stages)
    return Trunk(_chain(net.stem), blocks, _chain(net.final_conv))


def _vit(net: Any) -> Trunk:
    before = _chain(
        net.patch_embed,
        net._pos_embed,
        net.patch_drop,
        net.norm_pre,
    )
    return Trunk(
        before,
        tuple(net.blocks),
        _chain(net.norm),
        prefix=int(net.num_prefix_tokens),
    )


class SplitTeacher:
    """A frozen teacher cut in two: images to hidden states, and hidden states to outputs.

    Attributes
    ----------
    card : ModelCard
        The teacher's card.
    state : tuple of int
        Shape of the hidden state of one image: (c, h, w), or (n, c) for tokens.
    channels : int
        c.
    grid : tuple of int
        (h, w) of the map or of the patches.
    prefix : int
        The number of tokens before the patches.
    feature_dim, num_classes : int
        D_t and C_t of ``upper``'s outputs.
    """

    def __init__(self, teacher: Teacher, *, share: float = SHARE) -> None:
        self.teacher, self.card = teacher, teacher.card
        self.feature_dim, self.num_classes = teacher.feature_dim, teacher.num_classes
        self._share = share
        self._lower: Callable[[Any], Any]
        self._finish: Callable[[Any], Outputs[Tensor]]
        self._cut_open()
        self._check()

    def _cut_open(self) -> None:
        if self.teacher.modality == "text":
            raise CannotSplit("a network of texts is not cut yet")
        if self.teacher.library == "transformers":
            self._halves = Halves.of(self.teacher.module, self._share)
            self._lower_teacher = self.teacher.with_module(self._halves.lower)
            self._upper_teacher = self.teacher.with_module(self._halves.upper)
            self._lower, self._finish = self._until_cut, self._from_cut
            return
        chain = trunk(self.teacher.module)
        cut = cut_after(len(chain.blocks), self._share)
        self._lower = _chain(chain.before, *chain.blocks[:cut])
        upper = _chain(*chain.blocks[cut:], chain.after)
        self._finish = lambda hidden: self.teacher.finish(upper(hidden))
        self.prefix = chain.prefix

    @property
    def _input_size(self) -> tuple[int, int]:
        """(height, width) of the teacher's images."""
        assert isinstance(self.teacher.preprocessing, Preprocessing)
        return self.teacher.preprocessing.input_size

    def _until_cut(self, inputs: Tensor) -> Tensor:
        try:
            self._lower_teacher.forward(inputs)
        except Interrupted as reached:
            return reached.hidden
        raise CannotSplit(f"{type(self.teacher.module).__name__} passes over its layers")

    def _from_cut(self, hidden: Tensor) -> Outputs[Tensor]:
        """What the upper half makes of ``hidden``; its image says nothing but the batch's size."""
        import torch

        blank = torch.zeros(
            1,
            3,
            *self._image_size(hidden),
            device=hidden.device,
        )
        self._halves.entry[:] = [hidden]
        try:
            return self._upper_teacher.forward_with_gradient(
                blank.expand(
                    len(hidden),
                    -1,
                    -1,
                    -1,
                )
            )
        finally:
            self._halves.entry.clear()

    def _image_size(self, hidden: Tensor) -> tuple[int, int]:
        """(height, width) of the image of ``hidden``, where positions are turned into angles at
        each layer; else the teacher's own.
        """
        height, width = self._input_size
        if hidden.ndim != 3 or not hasattr(self.teacher.module, "rope_embeddings"):
            return height, width
        patch = _patch_size(self.teacher.module)
        side = math.isqrt(hidden.shape[1] - self.prefix) * patch
        return side, side

    def _prefix_of(self, hidden: Tensor) -> int:
        """The number of tokens before the patches, by the size of the patches."""
        height, width = self._input_size
        patch = _patch_size(self.teacher.module)
        if hidden.ndim != 3 or not patch:
            return 0
        return max(0, hidden.shape[1] - (height // patch) * (width // patch))

    def lower(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) normalised as ``Teacher.view`` does -> the hidden state (B, c, h, w) or (B,
        n, c); no gradient.
        """
        import torch

        with torch.no_grad(), self.teacher.autocast():
            hidden: Tensor = self._lower(inputs)
            return hidden.float()

    def upper(self, hidden: Tensor) -> Outputs[Tensor]:
        """``Outputs`` of the frozen upper layers, float32, with gradient to ``hidden``; maps may
        have any height and width.
        """
        with self.teacher.autocast():
            return self._finish(hidden)

    def as_map(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """The state as ``(map (B, c, h, w), prefix tokens (B, p, c) or None)``."""
        if hidden.ndim == 4:
            return hidden, None
        tokens = hidden[:, self.prefix :].mT  # (B, c, n)
        return tokens.unflatten(2, self.grid), hidden[:, : self.prefix] if self.prefix else None

    def join(self, state: Tensor, prefix: Tensor | None = None) -> Tensor:
        """The inverse of ``as_map``: what ``upper`` takes."""
        if len(self.state) == 3:
            return state
        import torch

        patches = state.flatten(2).mT  # (B, n, c)
        return patches if prefix is None else torch.cat([prefix, patches], dim=1)

    def pooled(self, hidden: Tensor, size: int = GRID) -> Tensor:
        """The state averaged onto ``size`` x ``size`` positions, (B, c, size, size): small enough
        to be stored.
        """
        import torch.nn.functional as F

        return F.adaptive_avg_pool2d(self.as_map(hidden)[0], size)

    def shuffled(self, seed: int) -> SplitTeacher:
        """The same network with the entries of every weight matrix shuffled: an untrained control.

        Shuffling keeps each layer's scale, so that signals neither vanish nor explode; norms and
        biases stay.
        """
        import torch

        generator = torch.Generator().manual_seed(seed)
        other = copy.copy(self)
        other.teacher = self.teacher.with_module(copy.deepcopy(self.teacher.module))
        matrices = [part for part in other.teacher.module.parameters() if part.ndim > 1]
        with torch.no_grad():
            for weights in matrices:
                order = torch.randperm(weights.numel(), generator=generator)
                shuffled = weights.flatten()[order.to(weights.device)]
                weights.copy_(shuffled.view(weights.shape))
        other._cut_open()
        return other

    def _check(self) -> None:
        """Set the shapes from one image; ``CannotSplit`` if the halves differ from the whole."""
        import torch

        name = type(self.teacher.module).__name__
        size = self._input_size
        generator = torch.Generator().manual_seed(0)
        inputs = self.teacher.normalise(
            torch.rand(
                1,
                3,
                *size,
                generator=generator,
            )
        )
        whole = self.teacher.forward(inputs).features
        try:
            hidden = self.lower(inputs)
            if self.teacher.library == "transformers":
                self.prefix = self._prefix_of(hidden)
            with torch.no_grad():
                again = self.upper(hidden).features
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise CannotSplit(
                f"{name} cannot be run from the middle: its layers need more than the state before"
                " them"
            ) from error
        relative = 0.05 if self.teacher.device.type == "cuda" else 1e-4
        tolerance = relative * (1 + float(whole.abs().max()))
        if again.shape != whole.shape or (again - whole).abs().max() > tolerance:
            raise CannotSplit(
                f"{name} does not give the same answer from the middle as from the image"
            )
        self.state: tuple[int, ...] = tuple(hidden.shape[1:])
        if len(self.state) == 3:
            self.channels, height, width = self.state
            self.grid = (height, width)
            return
        self.channels = self.state[1]
        patches = self.state[0] - self.prefix
        side = math.isqrt(patches)
        if side**2 != patches:
            raise CannotSplit(f"{name} has {patches} patches, which are no square")
        self.grid = (side, side)
        self._check_small(hidden)

    def _check_small(self, hidden: Tensor) -> None:
        """``CannotSplit`` where the upper half takes no state of ``GRID`` x ``GRID`` positions."""
        import torch

        count = self.prefix + GRID * GRID
        try:
            with torch.no_grad():
                self.upper(hidden[:, :1].expand(-1, count, -1))
        except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise CannotSplit(
                f"{type(self.teacher.module).__name__} takes no hidden state of another size than"
                " that of its images"
            ) from error


def _patch_size(network: Any) -> int:
    """Pixels a side; 0 where the network has no patches of one size."""
    size = getattr(network.config, "patch_size", 0)
    return size if isinstance(size, int) else 0
