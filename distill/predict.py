"""``python -m distill.predict``: what does the student see in these images?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.errors import UserError
from zoo.terminal.command import printable, run, validate_choice
from zoo.terminal.options import command_of
from zoo.terminal.progress import warn

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from selection.sources.grey import GreyScale

FORMATS = ("table", "json")


@dataclass(frozen=True)
class Prediction:
    """One image: its likeliest classes with probabilities in [0, 1], or why it was not read."""

    image: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict(
    student: Path,
    images: Sequence[Path],
    *,
    top: int = 1,
    batch_size: int = 64,
) -> Iterator[Prediction]:
    """The classes of ``images`` by the exported ``student``, in order, with its preprocessing.

    A folder among ``images`` stands for the image files below it. Raises ``UserError`` where
    ``student`` is not one.
    """
    import timm.data
    import torch

    from distill.student.student import reopen
    from selection.sources.grey import GreyScale

    network, config = reopen(student / "student" if (student / "student").is_dir() else student)
    names = [str(name) for name in config["label_names"]]
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(network), is_training=False
    )
    grey = GreyScale.from_config(config.get("grey_scale"))
    files = [file for path in images for file in _files(path)]
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        inputs = [_pixels(file, transform, grey) for file in batch]
        decoded = [pixels for pixels in inputs if not isinstance(pixels, str)]
        probabilities: Iterator[Tensor] = iter(())
        if decoded:
            with torch.no_grad():
                logits = network(torch.stack(decoded))  # (B, C)
            probabilities = iter(logits.softmax(dim=1))
        for file, pixels in zip(batch, inputs, strict=True):
            if isinstance(pixels, str):
                yield Prediction(str(file), error=pixels)
            else:
                yield Prediction(str(file), _likeliest(next(probabilities), names, top))


def _pixels(
    file: Path, transform: Callable[[Image], Tensor], grey: GreyScale | None
) -> Tensor | str:
    """The image as the network takes it, (3, s, s), or why it cannot be read."""
    from selection.sources.images import decode

    try:
        return transform(decode(file.read_bytes(), grey=grey))
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)


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
