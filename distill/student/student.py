"""A student of any kind: a network that takes views and returns the states that recipes read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from distill.data.batch import StudentState
from zoo.errors import UserError

if TYPE_CHECKING:
    from selection.task import Task


class StudentSpec(Protocol):
    """Which network a student is; a frozen dataclass, which ``config.json`` of a run holds.

    ``size`` is that of its input: pixels a side of an image, tokens of a text.
    """

    @property
    def architecture(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def pretrained(self) -> bool: ...

    def create(self, classes: tuple[str, ...], *, seed: int) -> Student:
        """The student, its weights drawn from ``seed``, or the pretrained ones."""
        ...


class Student(nn.Module):
    """A network that takes views (see `distill.data.batch.View`) and returns its states.

    ``feature_dim``, ``hidden_shape`` and ``low_shape`` are the shapes of ``StudentState`` without
    the batch. ``network`` is what is exported.
    """

    network: Any
    classes: tuple[str, ...]
    feature_dim: int
    hidden_shape: tuple[int, int, int]
    low_shape: tuple[int, int, int]

    def forward(self, view: Tensor) -> StudentState:
        """The states of a batch of views, with gradient."""
        raise NotImplementedError

    def plain_view(self, inputs: Tensor) -> Tensor:
        """Packed samples (B, ...) as a view that changes nothing."""
        raise NotImplementedError

    def export(self, folder: Path, *, task: Task | None = None) -> None:
        """Write the network as its library opens it, without this package.

        ``task`` may say how its samples are decoded, and what they are called.
        """
        raise NotImplementedError

    @torch.no_grad()
    def logits(self, inputs: Tensor, *, batch_size: int = 256) -> Tensor:
        """Packed samples (N, ...) -> (N, C) float32 on the CPU, in eval mode."""
        training, device = self.training, next(self.parameters()).device
        self.eval()
        parts = [
            self(self.plain_view(chunk.to(device))).logits.float().cpu()
            for chunk in inputs.split(batch_size)
        ]
        self.train(training)
        return torch.cat(parts)

    def keep_shapes(self, noise: Tensor) -> None:
        """Set the shapes of the states from those of the view ``noise``."""
        with torch.no_grad():
            state = self.eval()(noise)
        self.train()
        self.feature_dim = int(state.features.shape[1])
        self.hidden_shape = _shape(state.hidden)
        self.low_shape = _shape(state.low)


def _shape(state: Tensor) -> tuple[int, int, int]:
    c, h, w = state.shape[1:]
    return int(c), int(h), int(w)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedStudent:
    """An exported student, opened in eval mode.

    name     of its architecture
    network  takes a batch as ``example`` and returns logits (B, C)
    classes  the C class names
    config   its ``config.json``
    example  one sample as the network takes it, on the CPU
    values   (C,) the ratings that the classes stand for; None: they are no ratings
    """

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    config: Mapping[str, Any]
    example: Tensor
    values: tuple[float, ...] | None = None


def exported_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of an exported student; ``UserError`` where there is none."""
    if not (folder / "config.json").exists():
        lack = "it has no config.json" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{folder} is not an exported student ({lack}); give the student/ folder of a run"
        )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError(f"a {type(config).__name__}, not an object")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder} is not an exported student ({type(error).__name__}: {error}); give the"
            " student/ folder of a run"
        ) from error
    return config
