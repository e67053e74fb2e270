"""Images: networks of timm, crops and colour."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from distill.data.pixels import pixel_packing, working_size
from distill.data.views import ImageAugmentation
from distill.kinds import classes
from distill.kinds.kind import (
    OptimizerDefaults,
    Packings,
    Readable,
    StudentSetup,
    TrainingKind,
)
from distill.options import STEPS, Options
from distill.student.image_student import ImageSpec, check_student, input_size, reopen
from distill.student.onnx import write_int8, write_onnx
from distill.student.student import ExportedStudent
from zoo.errors import UserError

if TYPE_CHECKING:
    from selection.sources.grey import GreyScale
    from selection.task import Task

GRID = (4, 4)
OPTIMIZERS = {
    "adamw": OptimizerDefaults(rate=2e-3, pretrained_rate=5e-4, weight_decay=0.05),
    "sgd": OptimizerDefaults(rate=0.05, pretrained_rate=0.01, weight_decay=5e-4),
}


def _takes(student: str) -> bool:
    """Whether ``student`` may be a network of timm: a name, or any folder."""
    return bool(student)


def _check_student(options: Options) -> None:
    check_student(
        options.student,
        size=options.size,
        pretrained=options.pretrained,
        model_args=options.network_arguments,
    )


def _set_up(options: Options, task: Task) -> StudentSetup:
    """What the options leave open follows from the images."""
    side = working_size(task.train, 512)
    size = options.size or input_size(side)
    spec = ImageSpec.of(
        options.student,
        size=size,
        pretrained=options.pretrained,
        model_args=options.network_arguments,
    )
    return StudentSetup(spec, _augmentation(options, task.classes, min(side, 2 * size)))


def _augmentation(options: Options, classes: tuple[str, ...], side: int) -> ImageAugmentation:
    """Shifts for images of 64 pixels or less, random windows for larger ones.

    Left and right are exchanged unless the classes are digits or letters, which change their
    meaning by it.
    """
    letters = all(len(name) <= 1 or name.isdigit() for name in classes)
    return ImageAugmentation(
        crop="shift" if side <= 64 else "resize",
        flip=not letters if options.flip is None else options.flip,
        mix=options.mix,
    )


def _packings(task: Task, spec: ImageSpec) -> Packings:
    """Training images are stored larger than the student's input: views are cut from them."""
    work_size = working_size(task.train, spec.size)
    return Packings(pixel_packing(work_size), pixel_packing(spec.size))


def _resolved(spec: ImageSpec, augmentation: ImageAugmentation) -> dict[str, Any]:
    return {"size": spec.size, "flip": augmentation.flip}


def _is_export(config: Mapping[str, Any]) -> bool:
    return "architecture" in config


def _readables(
    folder: Path, student: ExportedStudent, given: Sequence[str | Path]
) -> Iterable[Readable]:
    """Image files; a folder stands for the image files below it."""
    import timm.data

    from selection.sources.grey import GreyScale

    settings = timm.data.resolve_model_data_config(student.network)
    transform = timm.data.create_transform(**settings, is_training=False)
    grey = GreyScale.from_config(student.config.get("grey_scale"))
    return [
        Readable(
            os.fsencode(file).decode("utf-8", "replace"), partial(_read, file, transform, grey)
        )
        for path in given
        for file in _files(Path(path))
    ]


def _read(file: Path, transform: Any, grey: GreyScale | None) -> Tensor:
    """The image as the network takes it, (3, s, s)."""
    from selection.sources.images import decode
    from selection.sources.layouts.folder import read_image_file

    pixels: Tensor = transform(decode(read_image_file(file), grey=grey))
    return pixels


def _files(path: Path) -> list[Path]:
    """The image files below a folder; any other path as it is."""
    from selection.sources.layouts.folder import find_images

    if not path.is_dir():
        return [path]
    files = [path / name for name in find_images(path)[0]]
    if not files:
        raise UserError(
            f"{path} has no image file; give image files that open in a viewer, or a folder of them"
        )
    return files


def _collate(inputs: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(inputs))


def _opening() -> list[str]:
    return [
        "It opens in plain timm:",
        "",
        "```python",
        'model = timm.create_model("local-dir:student", pretrained=True).eval()',
        "```",
    ]


IMAGE = TrainingKind(
    name="image",
    noun="image",
    nouns="images",
    library="timm",
    pipeline_tag="image-classification",
    default_student=None,
    grid=GRID,
    optimizers=OPTIMIZERS,
    steps=STEPS,
    batch=64,
    foreign=("max_length",),
    takes=_takes,
    check_student=_check_student,
    set_up=_set_up,
    packings=_packings,
    resolved=_resolved,
    is_export=_is_export,
    reopen=reopen,
    readables=_readables,
    readable_help="give image files that open in a viewer, or a folder of them",
    collate=_collate,
    write_onnx=write_onnx,
    write_int8=write_int8,
    opening=_opening,
    example="photo.jpg",
    input_words=lambda size: f"images of {size} x {size} pixels",
    figures=classes.FIGURES,
    decided_by=classes.decided_by,
    evaluate=classes.evaluate,
    validate=classes.validate,
)
