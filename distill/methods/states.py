"""What talk and committee share: states on a common grid, and small networks over them.

Shapes: B samples of a batch, c channels, h x w or g x g positions, n tokens, D_t teacher features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from distill.data.batch import TeacherOutputs
from distill.teachers.info import TeacherInfo
from zoo.split_teacher import GRID, Splitter


def on_grid(state: Tensor, grid: tuple[int, int] = (GRID, GRID)) -> Tensor:
    """A state (B, c, h, w) averaged (or repeated) onto (B, c, *grid).

    Tokens come as (B, c, n, 1). Onto a grid of more than one column they are folded back: those of
    a square of patches, with or without tokens before it.
    """
    if state.shape[3] == 1 and state.shape[2] > 3 and grid[1] > 1:
        tokens = state.shape[2]
        side = math.isqrt(tokens)
        patches = state[:, :, tokens - side * side :, 0]  # (B, c, side * side)
        state = patches.unflatten(2, (side, side))
    return functional.adaptive_avg_pool2d(state.float(), grid)


def mlp(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """A two-layer network over vectors (B, inputs) that first normalises its input."""
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, width),
        nn.GELU(),
        nn.Linear(width, outputs),
    )


class MapNorm(nn.Module):
    """Group normalisation in one group: each map (c, h, w) to mean 0 and variance 1, then a scale
    and a shift for each channel.

    Torch up to 2.13 crashes on a CPU in the backward pass of ``nn.GroupNorm`` where the input needs
    no gradient, as a teacher's state does; layer normalisation over all three axes is the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        normal = functional.layer_norm(maps, maps.shape[1:])  # (B, c, h, w)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


def position_mlp(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """The same at each position of a map (B, inputs, g, g), with a view of its neighbours."""
    return nn.Sequential(
        MapNorm(inputs),
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(width, outputs, 1),
    )


class TeacherState(nn.Module):
    """One teacher's lower state, on a grid, standardised by its mean and spread.

    Mean and spread (c,) are learned from the teacher's states of the first ``LEARN`` batches, so
    that what a recipe puts into the frozen upper layers lies in the range these layers know.
    ``state_dict()`` holds them.
    """

    LEARN = 8
    mean: Tensor
    spread: Tensor

    def __init__(self, info: TeacherInfo, *, splitter: Splitter | None = None) -> None:
        super().__init__()
        split_teacher = splitter or info.splitter  # shuffled in the control
        assert split_teacher is not None
        self.splitter: Splitter = split_teacher
        self.seen = 0
        channels = self.splitter.channels
        self.prefix = self.splitter.prefix  # tokens before the patches
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.before = nn.Linear(channels, self.prefix * channels) if self.prefix else None

    @property
    def learning(self) -> bool:
        """Whether mean and spread still need the teacher's stored states."""
        return self.seen < self.LEARN

    @torch.no_grad()
    def standardised(self, outputs: TeacherOutputs) -> Tensor:
        """The teacher's stored state of the batch, standardised: (B, c, g, g)."""
        assert outputs.hidden is not None
        hidden = outputs.hidden.float()
        if self.training and self.learning:
            share = 1 / (self.seen + 1)
            mean = hidden.mean(dim=(0, 2, 3))  # (c,)
            spread = hidden.std(dim=(0, 2, 3), correction=0)  # (c,)
            self.mean.lerp_(mean, share)
            self.spread.lerp_(spread.clamp(min=1e-3), share)
            self.seen += 1
        return (hidden - self.mean[:, None, None]) / self.spread[:, None, None]

    def features_from(self, state: Tensor) -> Tensor:
        """The teacher's features (B, D_t) of a standardised ``state`` (B, c, g, g).

        With gradient through the frozen upper layers. Tokens before the patches are a linear image
        of the patches' mean.
        """
        prefix = None
        if self.before is not None:
            tokens = self.before(state.mean(dim=(2, 3)))  # (B, prefix * c)
            prefix = tokens.unflatten(1, (self.prefix, -1)) * self.spread + self.mean
        raw = state * self.spread[:, None, None] + self.mean[:, None, None]
        features: Tensor = self.splitter.upper(self.splitter.join(raw, prefix)).features
        return features

    def get_extra_state(self) -> Any:
        return self.seen

    def set_extra_state(self, state: Any) -> None:
        self.seen = int(state)
