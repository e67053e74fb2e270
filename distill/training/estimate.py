"""What a run will cost, measured before it begins: seconds a step, and memory taken so far."""

from __future__ import annotations

import copy
import statistics
import time
from typing import TYPE_CHECKING

import torch

from distill.training.loop import Learner, Schedule, TrainingSetup, part_of

if TYPE_CHECKING:
    from accelerate import Accelerator


def time_steps(
    setup: TrainingSetup, schedule: Schedule, accelerator: Accelerator, *, steps: int = 3
) -> float:
    """Seconds a step, after one to warm up; student and recipe are as before."""
    learner = Learner(setup.student, setup.recipe, setup.precision).to(accelerator.device)
    before = copy.deepcopy(learner.state_dict())
    laps = []
    for step in range(steps + 1):
        began = time.monotonic()
        for part in range(schedule.accumulate):
            batch = part_of(setup.batches, step, part, schedule, accelerator)
            terms, _ = learner(batch, 0.0)
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        laps.append(time.monotonic() - began)
    learner.zero_grad(set_to_none=True)
    learner.load_state_dict(before)
    setup.recipe.metrics()  # clears what the timed steps have counted
    return statistics.median(laps[1:])


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has taken so far, on ``device`` or, for the CPU, in all.

    psutil does not report a process's peak on Linux.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
