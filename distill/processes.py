"""Where a training run computes: one process by torch alone, several by accelerate, behind the same few verbs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UserError


class Processes:
    """One process on one device. ``precision`` is ``fp32`` or ``bf16`` (autocast of the student, fp32 weights)."""

    rank, world = 0, 1

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device, self.precision = device, precision

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Both on the device, wrapped where several processes train together."""
        return model.to(self.device), optimizer

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision for the forward pass."""
        cast: AbstractContextManager[Any] = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")
        return cast

    def gather_later(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Within it gradients are not yet exchanged, unless ``last``."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss``."""
        loss.backward()  # type: ignore[no-untyped-call]

    def mean(self, values: Tensor) -> Tensor:
        """``values`` averaged over the processes."""
        return values

    def wait(self) -> None:
        """Until every process is here."""


class ManyProcesses(Processes):
    """The processes that ``accelerate launch`` (or torchrun) started, by accelerate."""

    def __init__(self, accelerator: Any, precision: str) -> None:
        super().__init__(accelerator.device, precision)
        self.accelerator = accelerator
        self.rank, self.world = accelerator.process_index, accelerator.num_processes

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        wrapped: tuple[nn.Module, Any] = self.accelerator.prepare(model, optimizer)
        return wrapped[0], wrapped[1]

    def gather_later(self, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
        wait: AbstractContextManager[Any] = contextlib.nullcontext() if last else self.accelerator.no_sync(model)
        return wait

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def mean(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, reduction="mean")  # type: ignore[no-any-return]

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()


def processes(device: str, precision: str) -> Processes:
    """The processes of this run: several where a launcher says so in the environment, else one on ``device``.

    One process needs nothing of accelerate, so a run works where it is not installed.
    """
    if precision not in ("fp32", "bf16"):
        raise UserError(f"no precision {precision!r} (valid: fp32, bf16)")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
        except ImportError as error:
            raise UserError("several processes were launched and accelerate is not installed: pip install accelerate") from error
        handlers: Sequence[Any] = [DistributedDataParallelKwargs(find_unused_parameters=True)]
        return ManyProcesses(Accelerator(cpu=device == "cpu", kwargs_handlers=list(handlers)), precision)
    return Processes(torch.device(resolve_device(device)), precision)


def resolve_device(device: str) -> str:
    """``auto`` -> ``cuda``, ``mps`` or ``cpu``; anything else is checked. Raises ``UserError``."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device!r} is not at hand on this machine ({reason}); use --device cpu") from error
    return device
