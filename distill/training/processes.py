"""Where a training run computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from zoo.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator


def open_accelerator(device: str) -> Accelerator:
    """The accelerate engine of this process, alone or one of those that a launcher started.

    ``device`` is where one process computes; of several, each has a GPU of its own, or the CPU.
    Mixed precision is not accelerate's here: it would cast the losses too, and holds for all runs
    of a process. Raises ``UserError`` where an earlier run of this process fixed another device.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs

    kind, _, number = resolve_device(device).partition(":")
    if kind == "cuda" and number:
        torch.cuda.set_device(int(number))
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        accelerator = Accelerator(cpu=kind == "cpu", mixed_precision="no", kwargs_handlers=[unused])
    except ValueError:  # the state that accelerate keeps for the whole process is of a GPU
        raise _fixed_device(device) from None
    if accelerator.device.type != kind:
        raise _fixed_device(device)
    return accelerator


def _fixed_device(device: str) -> UserError:
    return UserError(
        f"this process has trained on another device than {device} before, which accelerate fixes"
        " once: use a process for each device"
    )


def resolve_device(device: str) -> str:
    """``auto`` -> ``cuda``, ``mps`` or ``cpu``; anything else is checked. Raises ``UserError``."""
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device {device!r} is not at hand on this machine ({reason}); use --device cpu"
        ) from error
    return device
