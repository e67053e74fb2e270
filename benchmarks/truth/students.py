"""Many small students of one task, trained in one batch: same images, same order, same first
weights, other teachers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.truth.targets import Target

SIDE = 32


@dataclass(frozen=True)
class StudentRecipe:
    """How every student of a table is trained: probe_kd, cross-entropy on labels + ``weight`` x KL
    to the teacher's answers.

    ``widths`` are the channels of three convolutions (4 x 4, then 3 x 3, all of stride 2), each
    with batch normalisation and ReLU, then the mean and a linear layer. AdamW on one cycle to
    ``rate``.
    """

    steps: int = 250
    batch: int = 64
    labelled: int = (
        16  # images of a batch that have a label, where there is a pool; all of them without one
    )
    weight: float = 4.0
    rate: float = 6e-3
    decay: float = 0.05
    widths: tuple[int, int, int] = (32, 64, 128)


class Students:
    """K networks as one: their channels lie side by side and every convolution but the first is in
    K groups.
    """

    def __init__(
        self, count: int, classes: int, recipe: StudentRecipe, *, seed: int, device: str
    ) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.count, self.device = count, torch.device(device)
        self.shapes = [
            (3, recipe.widths[0], 4, 2),
            (*recipe.widths[:2], 3, 2),
            (*recipe.widths[1:], 3, 2),
        ]
        self.parameters: list[Tensor] = []
        self.running: list[Tensor] = []
        for inputs, outputs, size, _ in self.shapes:
            first = (
                torch.randn(outputs, inputs, size, size, generator=draw)
                * (2 / (inputs * size * size)) ** 0.5
            )
            for value in (first, torch.ones(outputs), torch.zeros(outputs)):
                self.parameters.append(
                    value.repeat(count, *[1] * (value.ndim - 1)).to(device).requires_grad_()
                )
            self.running += [
                torch.zeros(count * outputs, device=device),
                torch.ones(count * outputs, device=device),
            ]
        width = recipe.widths[-1]
        head = torch.randn(classes, width, generator=draw) / width**0.5
        self.parameters += [
            head.repeat(count, 1, 1).to(device).requires_grad_(),
            torch.zeros(count, 1, classes, device=device, requires_grad=True),
        ]

    def __call__(self, pixels: Tensor, *, training: bool) -> Tensor:
        """(K, B, C) float32 logits of ``pixels`` (B, 3, 32, 32) float in [-1, 1]."""
        hidden = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            for number, (_, _, size, stride) in enumerate(self.shapes):
                weight, gain, bias = self.parameters[3 * number : 3 * number + 3]
                mean, variance = self.running[2 * number : 2 * number + 2]
                hidden = F.conv2d(
                    hidden,
                    weight,
                    stride=stride,
                    padding=(size - 1) // 2,
                    groups=self.count if number else 1,
                )
                hidden = F.relu(F.batch_norm(hidden, mean, variance, gain, bias, training=training))
        pooled = (
            hidden.float().mean(dim=(2, 3)).unflatten(1, (self.count, -1)).transpose(0, 1)
        )  # (K, B, width)
        return torch.baddbmm(self.parameters[-1], pooled, self.parameters[-2].transpose(1, 2))


@dataclass(frozen=True, eq=False)
class FixedBatches:
    """What every student of a lesson sees, in this order: ``rows`` (steps, B) of the training
    images, the first ``labelled`` of each batch with a label, and the ``views`` (steps, B, 3, 32,
    32) uint8 of them.
    """

    rows: Tensor
    views: Tensor
    labelled: int


def batches(
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    recipe: StudentRecipe,
    *,
    seed: int,
    flip: bool,
    pooled: bool = True,
) -> FixedBatches:
    """Drawn by ``seed`` from ``pixels`` (N, S, S, 3) with ``labels`` (N,), -1 where unlabelled;
    without ``pooled`` only from those with a label.
    """
    draw = torch.Generator().manual_seed(seed)
    inputs = student_pixels(pixels)
    known = torch.from_numpy(np.flatnonzero(labels >= 0))
    others = torch.from_numpy(np.flatnonzero(labels < 0)) if pooled else known[:0]
    labelled = recipe.labelled if len(others) else recipe.batch
    first, second = _rows(known, labelled, draw), _rows(others, recipe.batch - labelled, draw)
    rows = torch.stack(
        [
            torch.cat([next(first), next(second)]) if len(others) else next(first)
            for _ in range(recipe.steps)
        ]
    )
    return FixedBatches(
        rows, torch.stack([augment(inputs, one, draw, flip=flip) for one in rows]), labelled
    )


def train(
    given: FixedBatches,
    labels: npt.NDArray[np.int64],
    answers: Tensor | None,
    recipe: StudentRecipe,
    *,
    classes: int,
    seed: int,
    device: str = "cpu",
) -> Students:
    """Students of the K teachers of ``answers`` (K, N, C) logits, or one student without a teacher
    (None).

    ``labels`` (N,) in [0, classes), or -1 where unlabelled. First weights depend on ``seed`` only.
    """
    truth = torch.from_numpy(labels).to(device)
    soft = None if answers is None else torch.log_softmax(answers.to(device).float(), dim=2)
    count = 1 if answers is None else len(answers)
    students = Students(count, classes, recipe, seed=seed, device=device)
    optimizer = torch.optim.AdamW(
        students.parameters, lr=recipe.rate, weight_decay=recipe.decay, foreach=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=recipe.steps, pct_start=0.2
    )
    for rows, views in zip(given.rows.to(device), given.views.to(device), strict=True):
        logits = students(scaled(views), training=True)  # (K, B, C)
        target = truth[rows[: given.labelled]].expand(count, -1)
        loss = (
            F.cross_entropy(logits[:, : given.labelled].flatten(0, 1), target.flatten()) * count
        )  # a sum over students
        if soft is not None:
            loss = loss + recipe.weight * F.kl_div(
                torch.log_softmax(logits, dim=2), soft[:, rows], log_target=True, reduction="sum"
            ) / len(rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return students


@torch.no_grad()
def hits(
    students: Students, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """(K, n) which images each student names rightly."""
    inputs, truth = student_pixels(pixels), torch.from_numpy(labels)
    right = []
    for rows in torch.arange(len(inputs)).split(500):
        logits = students(scaled(inputs[rows].to(students.device)), training=False)
        right.append((logits.argmax(dim=2).cpu() == truth[rows]).numpy())
    return np.concatenate(right, axis=1)


def student_pixels(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, 32, 32) uint8: smaller ones padded with zeros, larger ones
    scaled down.
    """
    found = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    pad = (SIDE - found.shape[-1]) // 2
    if pad >= 0:
        return F.pad(found, (pad,) * 4)
    return (
        F.interpolate(found.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
    )


def _rows(pool: Tensor, count: int, draw: torch.Generator) -> Iterator[Tensor]:
    """FixedBatches of ``count`` of ``pool`` without end, each image once before any comes again."""
    left = pool[:0]
    while len(pool):
        while len(left) < count:
            left = torch.cat([left, pool[torch.randperm(len(pool), generator=draw)]])
        yield left[:count]
        left = left[count:]


def augment(pixels: Tensor, rows: Tensor, draw: torch.Generator, *, flip: bool) -> Tensor:
    """(B, 3, 32, 32) uint8: images ``rows``, each shifted by up to 4 pixels (reflected) and, if
    ``flip``, mirrored at random.
    """
    count = len(rows)
    padded = F.pad(pixels[rows].float(), (4,) * 4, mode="reflect").to(torch.uint8)
    shift = torch.randint(0, 9, (2, count, 1), generator=draw)
    across, down = shift[0] + torch.arange(SIDE), shift[1] + torch.arange(SIDE)
    mirrored = torch.rand(count, 1, generator=draw) < (0.5 if flip else 0.0)
    across = torch.where(mirrored, across.flip(1), across)
    batch = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, down[:, :, None], across[:, None, :]].permute(
        0, 3, 1, 2
    )


def scaled(pixels: Tensor) -> Tensor:
    """uint8 -> float in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def flips(target: Target) -> bool:
    """Whether a mirrored image of the target is still one of its class: digits are not."""
    return target.dataset != "mnist"


def answers_of(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], *, classes: int, device: str
) -> Any:
    """The cross-fitted head (``distill.teachers.probe_head.ProbeHead``) of one teacher and its
    answers (N, C) on all images.
    """
    from distill.teachers.probe_head import fit

    table = torch.from_numpy(features).to(device)
    truth = torch.from_numpy(labels).to(device)
    head = fit(table, truth, num_classes=classes)
    return head, head.logits(table, torch.arange(len(truth), device=device))
