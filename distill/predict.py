"""``python -m distill.predict``: what does the student see in these images?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.errors import UserError
from zoo.terminal.command import printable, run, validate_choice
from zoo.terminal.options import command_of
from zoo.terminal.progress import warn

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = ("table", "json")


@dataclass(frozen=True)
class Prediction:
    """One image: its ``top`` classes with their probabilities in [0, 1], likeliest first, or why it
    could not be read.
    """

    image: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict(
    student: Path, images: Sequence[Path], *, top: int = 1, batch_size: int = 64
) -> Iterator[Prediction]:
    """The classes of ``images`` by the exported ``student``, in order, with the preprocessing its
    own config names.

    A folder among ``images`` stands for the image files below it. Raises ``UserError`` where
    ``student`` is not one.
    """
    import timm.data
    import torch

    from distill.student.student import reopen
    from selection.sources.images import decode

    network, config = reopen(student / "student" if (student / "student").is_dir() else student)
    names = [str(name) for name in config["label_names"]]
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(network), is_training=False
    )
    files = [file for path in images for file in _files(path)]
    for start in range(0, len(files), batch_size):
        inputs: dict[Path, Tensor] = {}
        errors: dict[Path, str] = {}
        for file in files[start : start + batch_size]:
            try:
                inputs[file] = transform(decode(file.read_bytes()))  # (3, s, s)
            except (OSError, ValueError) as error:
                errors[file] = getattr(error, "strerror", None) or str(error)
        probabilities: dict[Path, Tensor] = {}  # (C,) each
        if inputs:
            with torch.no_grad():
                answers = network(torch.stack(list(inputs.values()))).softmax(1)
            probabilities = dict(zip(inputs, answers, strict=True))
        for file in files[start : start + batch_size]:
            if file in errors:
                yield Prediction(str(file), error=errors[file])
            else:
                yield Prediction(str(file), _likeliest(probabilities[file], names, top))


def _likeliest(
    probabilities: Tensor, names: Sequence[str], top: int
) -> tuple[tuple[str, float], ...]:
    best = probabilities.topk(min(top, len(names)))
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return tuple((names[place], value) for value, place in pairs)


def _files(path: Path) -> list[Path]:
    from selection.sources.folder import find_images

    return [path / name for name in find_images(path)[0]] if path.is_dir() else [path]


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of ``distill.predict``."""

    student: Annotated[Path, typer.Argument(help="the student/ folder of a run, or the run itself")]
    images: Annotated[tuple[Path, ...], typer.Argument(help="image files, or folders of them")]
    top: Annotated[int, typer.Option(min=1, help="so many classes an image")] = 1
    format: Annotated[str, typer.Option(help="table or json (one object a line)")] = "table"

    def __post_init__(self) -> None:
        validate_choice("format", self.format, FORMATS)


def predict_images(options: PredictOptions) -> int:
    """Print the class of each image and its probability."""
    read = 0
    for prediction in predict(options.student, options.images, top=options.top):
        read += prediction.error is None
        _show(prediction, as_json=options.format == "json")
    if not read:
        raise UserError(
            "no image could be read; give image files that open in a viewer, or a folder of them"
        )
    return 0


def _show(prediction: Prediction, *, as_json: bool) -> None:
    image = printable(prediction.image)
    if as_json:
        print(json.dumps(asdict(prediction), ensure_ascii=False))
    elif prediction.error is None:
        classes = (f"{printable(name, 80)} {share:.3f}" for name, share in prediction.classes)
        print(image, *classes, sep="\t")
    if prediction.error is not None:
        warn(f"{image} could not be read: {prediction.error}")


def main(argv: Sequence[str] | None = None) -> int:
    return run(command_of(PredictOptions, predict_images), argv, name="distill.predict")


if __name__ == "__main__":
    raise SystemExit(main())
