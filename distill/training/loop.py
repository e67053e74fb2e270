"""The one training loop: every method, one process or several, whole or resumed.

Shapes: B samples of a batch, C classes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from distill.data.batch import Batch
from distill.data.batches import Batches
from distill.data.lists import list_terms
from distill.methods.recipe import Recipe
from distill.run import RunFolder
from distill.student.student import Student
from distill.training.tally import Tally

if TYPE_CHECKING:
    from accelerate import Accelerator

Metrics = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast a student is trained.

    ``batch_size`` is the whole batch, shared by all processes and ``accumulate`` parts.
    ``optimizer`` is ``adamw``, ``sgd`` (Nesterov momentum 0.9) or ``momentum`` (0.9 without
    Nesterov, norms and biases decay too: as the reference figures on CIFAR-100 were made). The rate
    rises linearly over the first ``warmup`` share of the steps and falls by a cosine to 0, or,
    where ``milestones`` (shares of the steps) are given, by 10 at each of them.
    """

    epochs: int
    rate: float
    batch_size: int = 64
    optimizer: str = "adamw"
    weight_decay: float = 0.05
    warmup: float = 0.05
    milestones: tuple[float, ...] = ()
    accumulate: int = 1
    checkpoint_seconds: float = 30.0

    def at(self, progress: float) -> float:
        """The learning rate when the share ``progress`` of all steps is done."""
        if progress < self.warmup:
            return self.rate * (progress / self.warmup * 0.99 + 0.01)
        if self.milestones:
            return self.rate * 0.1 ** sum(progress >= m for m in self.milestones)
        falling = (progress - self.warmup) / (1 - self.warmup)  # 0 to 1
        return self.rate * 0.5 * (1 + math.cos(math.pi * falling))


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSetup:
    """A student about to be trained.

    seed       of dropout and the like at each step; weights and batches were drawn before
    precision  ``fp32``, or ``bf16``: the student's forward pass under autocast, weights in fp32
    validate   further figures of an epoch's line, such as ``validation_accuracy``; its
               ``teachers``, one entry a teacher, receive the recipe's weights
    """

    student: Student
    recipe: Recipe
    batches: Batches
    seed: int
    precision: str = "fp32"
    validate: Callable[[Student], Metrics] | None = None


class Learner(nn.Module):
    """Student and recipe as one module: several processes exchange the gradients of both."""

    def __init__(
        self,
        student: Student,
        recipe: Recipe,
        precision: str,
    ) -> None:
        super().__init__()
        self.student, self.recipe = student, recipe
        self.mixed = precision == "bf16"

    def forward(self, batch: Batch, progress: float) -> tuple[dict[str, Tensor], Tensor]:
        """The named terms of the loss, each (); and (2,) labelled samples: right, and in all."""
        with torch.autocast(batch.view.device.type, torch.bfloat16, enabled=self.mixed):
            state = self.student(batch.view)  # logits (B, C) and the states that recipes read
        terms = self.recipe(batch, state, progress=progress)
        if batch.lists is not None and state.lists is not None:
            terms = {**terms, **list_terms(state.lists, batch.lists)}
        right = (state.logits.detach().argmax(1) == batch.labels).sum()
        return terms, torch.stack([right, (batch.labels >= 0).sum()])


def fit(
    setup: TrainingSetup,
    schedule: Schedule,
    *,
    run: RunFolder,
    accelerator: Accelerator,
    on_epoch: Callable[[Metrics], None] | None = None,
) -> None:
    """Train ``setup.student``; checkpoints and metrics go to ``run``, where a stopped run goes on.

    Every draw follows from the seed and the step, nothing from the wall clock or from how often the
    run was stopped; on a CPU with the same number of threads a resumed run ends with the same bits.
    Raises ``Diverged``, ``OSError``.
    """
    accelerator.gradient_accumulation_steps, accelerator.step = schedule.accumulate, 0
    learner = Learner(setup.student, setup.recipe, setup.precision)
    model, optimizer = accelerator.prepare(learner, make_optimizer(learner, schedule))
    epoch_steps = setup.batches.steps_an_epoch
    total = schedule.epochs * epoch_steps
    first, tally = _resume(run, learner, optimizer, accelerator)
    if accelerator.is_main_process:
        run.keep_metrics(first // epoch_steps)
    learner.train()
    epoch_began = saved = time.monotonic()

    for step in range(first, total):
        progress = step / total
        for group in optimizer.param_groups:
            group["lr"] = schedule.at(progress)
        _seed_step(setup.seed, step, accelerator.process_index)
        optimizer.zero_grad(set_to_none=True)
        for part in range(schedule.accumulate):
            batch = part_of(setup.batches, step, part, schedule, accelerator)  # (B / parts, ...)
            with accelerator.accumulate(model):
                terms, hits = model(batch, progress)  # {name: ()}, (2,)
                accelerator.backward(torch.stack(list(terms.values())).sum())
            tally.add(terms, hits)
        tally.check(step, every=1 if accelerator.device.type == "cpu" else 50)
        optimizer.step()

        done = step + 1
        if done % epoch_steps == 0:
            tally.check(done)
            means = tally.means(accelerator)  # waits for all processes
            if accelerator.is_main_process:
                seconds = time.monotonic() - epoch_began
                line = _epoch_line(setup, schedule, means, step=done, seconds=seconds)
                line["rate"] = schedule.at(progress)
                run.add_metrics(line)
                if on_epoch:
                    on_epoch(line)
            learner.train()
            tally, epoch_began = Tally(accelerator.device), time.monotonic()
        late = time.monotonic() - saved > schedule.checkpoint_seconds
        if accelerator.is_main_process and (late or done == total):
            tally.check(done)
            _save(run, learner, optimizer, done, tally)
            saved = time.monotonic()
    accelerator.wait_for_everyone()


def part_of(
    batches: Batches, step: int, part: int, schedule: Schedule, accelerator: Accelerator
) -> Batch:
    """This process's part ``part`` of batch ``step``."""
    place = accelerator.process_index * schedule.accumulate + part
    return batches.at(step, part=place, parts=accelerator.num_processes * schedule.accumulate)


def make_optimizer(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The optimizer; weight decay spares biases and norms, except with ``momentum``."""
    from timm.optim import create_optimizer_v2

    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        module,
        opt=schedule.optimizer,  # timm's sgd has Nesterov momentum, its momentum has not
        lr=schedule.rate,
        weight_decay=schedule.weight_decay,
        momentum=0.9,
        filter_bias_and_bn=schedule.optimizer != "momentum",
    )
    return optimizer


def _seed_step(seed: int, step: int, process: int) -> None:
    """Seed dropout and the like by the step, so that a checkpoint needs no generator's state."""
    torch.manual_seed((seed * 1_000_003 + step * 8_191 + process) % 2**62)


def _epoch_line(
    setup: TrainingSetup,
    schedule: Schedule,
    means: Metrics,
    *,
    step: int,
    seconds: float,
) -> dict[str, Any]:
    """An epoch's line of ``metrics.jsonl``."""
    epoch_steps = setup.batches.steps_an_epoch
    line = {
        "epoch": step // epoch_steps - 1,
        "step": step,
        **means,
        "seconds": seconds,
        "samples_a_second": epoch_steps * schedule.batch_size / seconds,
    }
    figures = {name: float(value) for name, value in setup.recipe.metrics().items()}
    if figures:
        line["method"] = figures
    if setup.validate is not None:
        line |= setup.validate(setup.student)
    weights = setup.recipe.weights()
    if weights is not None and "teachers" in line:
        teachers = zip(line["teachers"], weights, strict=True)
        line["teachers"] = [entry | {"weight": float(weight)} for entry, weight in teachers]
    return line


def _resume(
    run: RunFolder, learner: Learner, optimizer: Any, accelerator: Accelerator
) -> tuple[int, Tally]:
    """The step to go on with and the sums of its epoch, from the checkpoint if there is one."""
    tally = Tally(accelerator.device)
    checkpoint = run.load_checkpoint(device=accelerator.device)
    if checkpoint is None:
        return 0, tally
    learner.load_state_dict(checkpoint["learner"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    tally.sums = dict(checkpoint["sums"])
    return int(checkpoint["step"]), tally


def _save(
    run: RunFolder,
    learner: Learner,
    optimizer: Any,
    step: int,
    tally: Tally,
) -> None:
    run.save_checkpoint(
        {
            "learner": learner.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "sums": tally.sums,
        }
    )
