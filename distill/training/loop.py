"""The one training loop: every method, one process or several, whole or resumed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill.batch import Batch
from distill.data.batches import Batches
from distill.methods.recipe import Recipe
from distill.run import RunFolder
from distill.student.student import Student
from distill.training.processes import Processes
from zoo.errors import Unavailable

Validate = Callable[[Student], Mapping[str, Any]]


class Diverged(Unavailable):
    """The loss became NaN or infinite; what was kept before it is sound."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast. ``batch_size`` is the whole batch, shared by all processes and
    ``accumulate`` parts.

    ``optimizer`` is ``adamw``, ``sgd`` (Nesterov momentum 0.9) or ``momentum`` (0.9 without
    Nesterov, norms and biases decay too: as the reference figures on CIFAR-100 were made). The rate
    rises linearly over the first ``warmup`` share of the steps and falls by a cosine to 0, or,
    where ``milestones`` (shares of the steps) are given, by 10 at each of them.
    """

    epochs: int
    batch_size: int = 64
    optimizer: str = "adamw"
    rate: float = 2e-3
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
        return (
            self.rate * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))
        )


class Learner(nn.Module):
    """Student and recipe as one module, so that several processes exchange the gradients of
    both.
    """

    def __init__(self, student: Student, recipe: Recipe) -> None:
        super().__init__()
        self.student, self.recipe = student, recipe

    def forward(
        self, batch: Batch, progress: float, autocast: Callable[[], Any]
    ) -> tuple[dict[str, Tensor], Tensor]:
        with autocast():
            state = self.student(batch.view)
        terms = self.recipe(batch, state, progress=progress)
        right = (state.logits.detach().argmax(1) == batch.labels).sum()
        return terms, torch.stack([right, (batch.labels >= 0).sum()])


def fit(
    student: Student,
    recipe: Recipe,
    batches: Batches,
    schedule: Schedule,
    *,
    run: RunFolder,
    where: Processes,
    seed: int,
    validate: Validate,
    on_epoch: Callable[[Mapping[str, Any]], None] | None = None,
) -> None:
    """Train ``student`` with ``recipe``; checkpoints and metrics go to ``run``, where a stopped run
    goes on.

    Every draw follows from ``seed`` and the step, nothing from the wall clock or from how often the
    run was stopped; on a CPU with the same number of threads a resumed run ends with the same bits.
    Raises ``Diverged``, ``OSError``.
    """
    learner = Learner(student, recipe)
    optimizer = make_optimizer(learner, schedule)
    wrapped, optimizer = where.prepare(learner, optimizer)
    parts = where.world * schedule.accumulate
    steps_an_epoch = batches.steps_an_epoch
    total = schedule.epochs * steps_an_epoch

    step, tally = 0, Tally(where.device)
    if (kept := run.load_checkpoint(device=where.device)) is not None:
        learner.load_state_dict(kept["learner"])
        optimizer.load_state_dict(kept["optimizer"])
        step, tally.sums = int(kept["step"]), dict(kept["sums"])
    if where.is_main:
        run.keep_metrics(step // steps_an_epoch)
    saved = begun = time.monotonic()
    learner.train()

    while step < total:
        progress = step / total
        for group in optimizer.param_groups:
            group["lr"] = schedule.at(progress)
        torch.manual_seed(
            (seed * 1_000_003 + step * 8_191 + where.rank) % 2**62
        )  # dropout and the like: no state to lose
        optimizer.zero_grad(set_to_none=True)
        for part in range(schedule.accumulate):
            batch = batches.at(
                step, part=where.rank * schedule.accumulate + part, parts=parts
            )  # (B / parts, ...)
            last = part == schedule.accumulate - 1
            with where.gather_later(wrapped, last):
                terms, hits = wrapped(batch, progress, where.autocast)  # {name: ()}, (2,)
                loss = torch.stack(list(terms.values())).sum() / schedule.accumulate  # ()
                loss.backward()
            tally.add(terms, hits)
        tally.check(step, every=1 if where.device.type == "cpu" else 50)
        optimizer.step()
        step += 1

        if step % steps_an_epoch == 0:
            tally.check(step, every=1)
            line = tally.means(where)
            if where.is_main:
                seconds, extra = (
                    time.monotonic() - begun,
                    {name: float(value) for name, value in recipe.metrics().items()},
                )
                line = {
                    "epoch": step // steps_an_epoch - 1,
                    "step": step,
                    **line,
                    "rate": schedule.at(progress),
                    "seconds": seconds,
                    "images_a_second": steps_an_epoch * schedule.batch_size / seconds,
                    **({"method": extra} if extra else {}),
                    **validate(student),
                }
                if (shares := recipe.weights()) is not None:
                    line["teachers"] = [
                        t | {"weight": float(w)}
                        for t, w in zip(line["teachers"], shares, strict=True)
                    ]
                run.add_metrics(line)
                if on_epoch:
                    on_epoch(line)
            learner.train()
            tally, begun = Tally(where.device), time.monotonic()
        if where.is_main and (
            step == total or time.monotonic() - saved > schedule.checkpoint_seconds
        ):
            tally.check(step, every=1)
            run.save_checkpoint(
                {
                    "learner": learner.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                    "sums": tally.sums,
                }
            )
            saved = time.monotonic()
    where.wait()


def make_optimizer(module: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Matrices and kernels decay, biases and norms do not (but with ``momentum``)."""
    from timm.optim import create_optimizer_v2

    optimizer: torch.optim.Optimizer = (
        create_optimizer_v2(  # timm's sgd has Nesterov momentum, its momentum has not
            module,
            opt=schedule.optimizer,
            lr=schedule.rate,
            weight_decay=schedule.weight_decay,
            momentum=0.9,
            filter_bias_and_bn=schedule.optimizer != "momentum",
        )
    )
    return optimizer


class Tally:
    """Sums over the steps of an epoch, kept on the device so that no step waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}

    def add(self, terms: Mapping[str, Tensor], hits: Tensor) -> None:
        """One batch: its named terms, and how many labelled images were right, of how many."""
        values = {f"term:{name}": value.detach().float() for name, value in terms.items()}
        for name, value in {
            **values,
            "right": hits[0].float(),
            "labelled": hits[1].float(),
            "batches": torch.ones((), device=self.device),
        }.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def check(self, step: int, *, every: int) -> None:
        """Every ``every`` steps, raise ``Diverged`` where a term is NaN or infinite."""
        if step % every or not self.sums:
            return
        names = sorted(self.sums)
        finite = torch.isfinite(torch.stack([self.sums[name] for name in names])).tolist()
        if bad := [
            name.removeprefix("term:") for name, ok in zip(names, finite, strict=True) if not ok
        ]:
            raise Diverged(
                f"the loss became NaN or infinite at step {step} ({', '.join(bad)}): a checkpoint"
                " before it is kept; train anew in another --out with a smaller --rate"
            )

    def means(self, where: Processes) -> dict[str, Any]:
        """Of the epoch: each term's mean, their sum, and the share of labelled training images that
        were right.
        """
        names = sorted(self.sums)
        values = dict(
            zip(names, where.mean(torch.stack([self.sums[n] for n in names])).tolist(), strict=True)
        )
        terms = {
            n.removeprefix("term:"): v / values["batches"]
            for n, v in values.items()
            if n.startswith("term:")
        }
        right = values["right"] / values["labelled"] if values["labelled"] else None
        return {"loss": sum(terms.values()), "terms": terms, "train_accuracy": right}


def time_steps(
    student: Student,
    recipe: Recipe,
    batches: Batches,
    schedule: Schedule,
    where: Processes,
    *,
    steps: int = 3,
) -> float:
    """Seconds a step, after one to warm up; student and recipe are as before."""
    learner = Learner(student, recipe).to(where.device)
    before = copy.deepcopy(learner.state_dict())
    laps = []
    for step in range(steps + 1):
        began = time.monotonic()
        for part in range(schedule.accumulate):
            terms, _ = learner(
                batches.at(step, part=part, parts=schedule.accumulate), 0.0, where.autocast
            )
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        if where.device.type == "cuda":
            torch.cuda.synchronize()
        laps.append(time.monotonic() - began)
    learner.zero_grad(set_to_none=True)
    learner.load_state_dict(before)
    recipe.metrics()  # its figures since the last call: the run's begin now
    return sorted(laps[1:])[len(laps[1:]) // 2]


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has taken at most so far, on ``device`` (a CPU: all of its
    memory).
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )
