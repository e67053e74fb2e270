"""``python -m distill.predict``: what does the student see in these images?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from zoo.command import clean, run
from zoo.errors import UserError


@dataclass(frozen=True)
class Prediction:
    """One image: its ``top`` classes with their probabilities in [0, 1], likeliest first, or why it could not be read."""

    image: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict(student: Path, images: Sequence[Path], *, top: int = 1, batch_size: int = 64) -> Iterator[Prediction]:
    """The classes of ``images`` by the exported ``student``, in order, with the preprocessing its own config names.

    A folder among ``images`` stands for the image files below it. Raises ``UserError`` where ``student`` is not one.
    """
    import timm.data
    import torch

    from distill.student import reopen

    network, config = reopen(student / "student" if (student / "student").is_dir() else student)
    names = [str(name) for name in config["label_names"]]
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
    files = list(_files(images))
    for start in range(0, len(files), batch_size):
        chunk = files[start: start + batch_size]
        opened = [_open(file) for file in chunk]
        good = [image for image in opened if not isinstance(image, str)]
        with torch.no_grad():
            shares = iter(network(torch.stack([transform(i) for i in good])).softmax(1) if good else ())
        for file, image in zip(chunk, opened, strict=True):
            if isinstance(image, str):
                yield Prediction(str(file), error=image)
                continue
            best = next(shares).topk(min(top, len(names)))
            yield Prediction(str(file), tuple((names[int(i)], float(p)) for p, i in zip(best.values, best.indices, strict=True)))


def _files(images: Sequence[Path]) -> Iterator[Path]:
    from selection.folder_task import find_images

    for path in images:
        if path.is_dir():
            yield from (path / one for one in find_images(path)[0])
        else:
            yield path


def _open(file: Path) -> object:
    """An RGB image, or why there is none."""
    from selection.images import decode

    try:
        return decode(file.read_bytes())
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)


def _command(
    student: Annotated[Path, typer.Argument(help="the student/ folder of a run, or the run itself")],
    images: Annotated[list[Path], typer.Argument(help="image files, or folders of them")],
    top: Annotated[int, typer.Option(min=1, help="so many classes an image")] = 1,
    format: Annotated[str, typer.Option(help="table or json (one object a line)")] = "table",
) -> int:
    """Print the class of each image and its probability."""
    if format not in ("table", "json"):
        raise UserError(f"no format {format!r} (valid: table, json)")
    read = 0
    for found in predict(student, images, top=top):
        read += found.error is None
        if format == "json":
            print(json.dumps(asdict(found), ensure_ascii=False))
        elif found.error is None:
            print(clean(found.image), *(f"{clean(name, 80)} {share:.3f}" for name, share in found.classes), sep="\t")
        if found.error is not None:
            print(f"warning: {clean(found.image)} could not be read: {clean(found.error, 200)}", file=sys.stderr)
    if not read:
        raise UserError("no image could be read; give image files that open in a viewer, or a folder of them")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(_command, argv, name="distill.predict")


if __name__ == "__main__":
    raise SystemExit(main())
