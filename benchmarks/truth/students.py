"""The students of the truth tables: what the loop of ``distill.train`` makes from each teacher."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.data.batch import TeacherOutputs
from distill.data.batches import Batches, BatchSettings
from distill.data.samples import Samples
from distill.data.views import ImageAugmentation
from distill.kinds.image import OPTIMIZERS
from distill.methods.recipe import Context, Recipe
from distill.methods.registry import build
from distill.run import RunFolder
from distill.student.image_student import ImageSpec, ImageStudent
from distill.teachers.info import TeacherInfo
from distill.training.loop import Schedule, TrainingSetup, fit
from distill.training.processes import open_accelerator
from zoo.card import ModelCard

SIDE = 32  # pixels of the student's input


@dataclass(frozen=True)
class StudentRecipe:
    """How every student of a table is trained: as ``distill.train`` does by default, but shorter.

    ``architecture`` is timm's, from scratch; ``method`` runs with its default settings for about
    ``steps`` steps of ``batch`` images (whole epochs), without a teacher ``plain`` does.
    """

    architecture: str = "test_efficientnet"
    method: str = "probe_kd"
    steps: int = 250
    batch: int = 64


@dataclass(frozen=True, eq=False)
class HeadLogits:
    """The logits of K teachers' heads of all N training images.

    logits   (K, N, C) float32, out of fold on labelled images
    weights  (K,) each teacher's share in the mixture, summing to 1
    """

    logits: Tensor
    weights: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """The training images of a task: N of them, labels -1 where unlabelled.

    ``flip`` says whether a mirrored image is still one of its class.
    """

    samples: Samples
    classes: tuple[str, ...]
    flip: bool

    @classmethod
    def of(
        cls,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        *,
        classes: tuple[str, ...],
        flip: bool,
    ) -> LabelledImages:
        """From images (N, S, S, 3) and labels (N,)."""
        samples = Samples(
            inputs=student_pixels(images).numpy(),
            labels=labels,
            usable=np.arange(len(labels)),
            digest="",
        )
        return cls(samples=samples, classes=classes, flip=flip)


def train(
    images: LabelledImages,
    heads: HeadLogits | None,
    recipe: StudentRecipe,
    *,
    seed: int,
    device: str = "cpu",
) -> ImageStudent:
    """The student of these teachers, or of labels alone (None); ``seed`` draws its weights."""
    accelerator = open_accelerator(device)
    student = ImageStudent.create(
        ImageSpec(architecture=recipe.architecture, size=SIDE), images.classes, seed=seed
    )
    batches = _batches(
        images,
        heads,
        recipe,
        seed=seed,
        device=accelerator.device,
    )
    schedule = Schedule(
        epochs=max(1, round(recipe.steps / batches.steps_an_epoch)),
        rate=OPTIMIZERS["adamw"].rate,
        batch_size=recipe.batch,
        checkpoint_seconds=float("inf"),  # a table is resumed cell by cell
    )
    setup = TrainingSetup(
        student=student,
        recipe=_method(recipe, student, heads, seed=seed),
        batches=batches,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder.create(Path(folder) / "run", {}, resume=False)
        fit(setup, schedule, run=run, accelerator=accelerator)
    return student


def _batches(
    images: LabelledImages,
    heads: HeadLogits | None,
    recipe: StudentRecipe,
    *,
    seed: int,
    device: torch.device,
) -> Batches:
    stored = () if heads is None else heads.logits.unsqueeze(1)  # K of (1, N, C): one view
    settings = BatchSettings(
        batch_size=recipe.batch,
        size=SIDE,
        augmentation=ImageAugmentation(crop="shift", flip=images.flip),
        seed=seed,
        view_seed=seed,
        use_unlabelled=heads is not None,
    )
    teachers = tuple(TeacherOutputs(probe_logits=logits) for logits in stored)
    return Batches.build(images.samples, settings, teachers=teachers, device=device)


def _method(
    recipe: StudentRecipe, student: ImageStudent, heads: HeadLogits | None, *, seed: int
) -> Recipe:
    shares = [] if heads is None else heads.weights.tolist()
    teachers = tuple(
        TeacherInfo(card=ModelCard(id=str(k), source="folder"), feature_dim=1, weight=share)
        for k, share in enumerate(shares)
    )
    context = Context(
        classes=student.classes,
        feature_dim=student.feature_dim,
        hidden_shape=student.hidden_shape,
        low_shape=student.low_shape,
        teachers=teachers,
        seed=seed,
    )
    return build(recipe.method if teachers else "plain", context)


def hits(
    student: ImageStudent, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """(n,) which of ``images`` (n, S, S, 3) the student names rightly."""
    predicted = student.logits(student_pixels(images)).argmax(dim=1)
    return np.asarray(predicted.numpy() == labels)


def student_pixels(images: npt.NDArray[np.uint8]) -> Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, 32, 32) uint8: smaller ones padded with zeros, larger ones
    scaled down.
    """
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    pad = (SIDE - pixels.shape[-1]) // 2
    if pad >= 0:
        return F.pad(pixels, (pad,) * 4).contiguous()
    scaled = F.interpolate(
        pixels.float(),
        (SIDE, SIDE),
        mode="bilinear",
        antialias=True,
    )
    return scaled.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A teacher's head: its accuracy on labelled images, out of fold, and its ``logits`` (N, C)."""

    accuracy: float
    logits: Tensor


def fit_head(
    features: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    classes: int,
    device: str,
) -> FittedHead:
    """A teacher's cross-fitted head on ``features`` (N, D), of which ``labels`` are -1 where
    unlabelled.
    """
    from distill.teachers.probe_head import fit as fit_probe_head

    table = torch.from_numpy(features).to(device)
    truth = torch.from_numpy(labels).to(device)
    head = fit_probe_head(table, truth, num_classes=classes)
    return FittedHead(head.accuracy, head.logits(table, torch.arange(len(truth), device=device)))
