"""A small world for the tests of training: coloured squares as a task, networks of random weights
as teachers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from distill.data.batch import Batch, StudentState, TeacherOutputs
from distill.data.batches import Batches, BatchSettings
from distill.data.samples import Samples
from distill.data.views import ImageAugmentation
from distill.methods.recipe import Recipe, task_term
from distill.student.image_student import ImageSpec, ImageStudent

CLASSES = ("red", "green", "blue")
SPEC = ImageSpec(architecture="test_efficientnet", size=32)


def squares(count: int, *, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(count, 3, size, size) uint8 noise, brighter in the channel of the label (count,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = rng.integers(0, 160, (count, 3, size, size), dtype=np.uint8)
    images[np.arange(count), labels] += 60
    return images, labels


def pixels(count: int = 24, *, unlabelled: int = 0, seed: int = 0) -> Samples:
    images, labels = squares(count + unlabelled, seed=seed)
    labels[count:] = -1
    return Samples(
        inputs=images,
        labels=labels,
        usable=np.arange(len(labels)),
        digest=f"{count}+{unlabelled}/{seed}",
    )


def batches(
    data: Samples,
    *,
    batch_size: int = 8,
    views: int = 1,
    teachers: tuple[TeacherOutputs, ...] = (),
    use_unlabelled: bool = True,
    seed: int = 0,
) -> Batches:
    settings = BatchSettings(
        batch_size=batch_size,
        size=32,
        augmentation=ImageAugmentation(flip=False, colour=0.1),
        seed=seed,
        views=views,
        use_unlabelled=use_unlabelled,
    )
    return Batches.build(data, settings, teachers=teachers)


def enlarged(images: np.ndarray) -> torch.Tensor:
    """(N, 3, 2s, 2s) uint8 from (N, 3, s, s): each pixel twice."""
    return torch.from_numpy(images).repeat_interleave(2, 2).repeat_interleave(2, 3)


def student(seed: int = 0) -> ImageStudent:
    return ImageStudent.create(SPEC, CLASSES, seed=seed)


class Drops(Recipe):
    """Cross-entropy on features with dropout, and a parameter of its own; stops or spoils the loss
    at a given step.
    """

    def __init__(self, *, stop_at: int = -1, nan_at: int = -1) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.stop_at, self.nan_at = stop_at, nan_at

    def forward(
        self, batch: Batch, student: StudentState, *, progress: float
    ) -> dict[str, torch.Tensor]:
        step = int(self.step)
        self.step += 1
        if step == self.stop_at:
            raise KeyboardInterrupt
        dropped = torch.nn.functional.dropout(student.logits, 0.2) * self.scale
        loss = task_term(dropped, batch)
        return {
            "cross_entropy": loss * float("nan") if step == self.nan_at else loss,
            "size": 0.01 * self.scale.square(),
        }


def write_task(folder: Path, *, per_class: int = 12, unlabelled: int = 0) -> Path:
    """A task of PNG files, one sub-folder a class; ``folder.parent/more`` holds unlabelled ones."""
    images, labels = squares(3 * per_class + unlabelled)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        home = folder / CLASSES[label] if i < 3 * per_class else folder.parent / "more"
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(home / f"{i}.png")
    return folder


def write_teacher(
    folder: Path,
    *,
    seed: int = 0,
    classes: int = 4,
    licence: str = "apache-2.0",
    architecture: str = "test_resnet",
) -> Path:
    """A network of random weights in timm's Hub layout; 0 ``classes``: no head."""
    import timm
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = timm.create_model(architecture, num_classes=classes)
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    cfg = {
        "input_size": [3, 32, 32],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "num_classes": classes,
        "first_conv": network.default_cfg["first_conv"],
        "classifier": network.default_cfg["classifier"],
    }
    config = {
        "architecture": architecture,
        "num_classes": classes,
        "num_features": network.num_features,
        "pretrained_cfg": cfg,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    return folder


def write_ranking(path: Path, task: str, teachers: list[Path]) -> Path:
    """A ranking.json whose committee is all of ``teachers``."""
    from selection.ranking import Ranking, Row
    from selection.task import Task
    from zoo.sources import folder

    opened = Task.open(task)
    cards = [folder.card(one) for one in teachers]
    rows = tuple(
        Row(
            model=c.id,
            revision=c.revision,
            source=c.source,
            location=c.location,
            value=1.0,
            low=1.0,
            high=1.0,
            license=c.license,
        )
        for c in cards
    )
    Ranking(
        task=opened.name,
        classes=opened.classes,
        split={"digest": opened.digest, "seed": opened.split_seed},
        probe={"size": 9, "seed": 0, "digest": "x"},
        score="knn",
        catalogue="none",
        versions={},
        rows=rows,
        committee=tuple(c.id for c in cards),
    ).save(path)
    return path


def train_options(folder: Path, out: Path, *more: str) -> list[str]:
    """The options of ``distill.train`` for a short run on ``folder``'s task and ranking."""
    return [
        *("--task", str(folder / "squares"), "--ranking", str(folder / "ranking.json")),
        *("--student", "test_efficientnet", "--size", "32", "--batch-size", "8"),
        *("--epochs", "2", "--views", "2", "--device", "cpu", "--out", str(out)),
        *more,
    ]
