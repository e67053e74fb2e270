"""Where a training run computes: one process by torch alone, several by accelerate, behind the same
few verbs.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UserError


class Processes:
    """This process on its device, alone or with the others of ``accelerator``.

    ``precision`` is ``fp32`` or ``bf16`` (autocast of the student, fp32 weights).
    """

    def __init__(self, device: torch.device, precision: str, accelerator: Any = None) -> None:
        self.device, self.precision, self.accelerator = device, precision, accelerator
        self.rank: int = accelerator.process_index if accelerator else 0
        self.world: int = accelerator.num_processes if accelerator else 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def prepare(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Both on the device, wrapped where several processes train together."""
        found = (
            self.accelerator.prepare(model, optimizer)
            if self.accelerator
            else (model.to(self.device), optimizer)
        )
        return found[0], found[1]

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for the forward pass."""
        cast: AbstractContextManager[Any] = torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bf16"
        )
        return cast

    def gather_later(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Within it gradients are not yet exchanged, unless ``last``."""
        return (
            contextlib.nullcontext()
            if last or not self.accelerator
            else self.accelerator.no_sync(model)
        )

    def mean(self, values: Tensor) -> Tensor:
        """``values`` averaged over the processes."""
        averaged: Tensor = (
            self.accelerator.reduce(values, reduction="mean") if self.accelerator else values
        )
        return averaged

    def wait(self) -> None:
        """Until every process is here."""
        if self.accelerator:
            self.accelerator.wait_for_everyone()


def processes(device: str, precision: str) -> Processes:
    """The processes of this run: several where a launcher says so in the environment, else one on
    ``device``.

    One process needs nothing of accelerate, so a run works where it is not installed.
    """
    if precision not in ("fp32", "bf16"):
        raise UserError(f"no precision {precision!r} (valid: fp32, bf16)")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(torch.device(resolve_device(device)), precision)
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError as error:
        raise UserError(
            "several processes were launched and accelerate is not installed: pip install"
            " accelerate"
        ) from error
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    accelerator = Accelerator(cpu=device == "cpu", kwargs_handlers=handlers)
    return Processes(accelerator.device, precision, accelerator)


def resolve_device(device: str) -> str:
    """``auto`` -> ``cuda``, ``mps`` or ``cpu``; anything else is checked. Raises ``UserError``."""
    if device == "auto":
        return (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device {device!r} is not at hand on this machine ({reason}); use --device cpu"
        ) from error
    return device
