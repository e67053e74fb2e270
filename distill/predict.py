"""``python -m distill.predict``: what does the student see in these images?"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from zoo.errors import UserError
from zoo.files import check_can_write_text, replacing
from zoo.terminal.command import printable, run, validate_choice
from zoo.terminal.options import check_bounds, command_of, named_as_parameters
from zoo.terminal.progress import Progress, warn
from zoo.terminal.spreadsheet import write_csv

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image
    from torch import Tensor, nn

    from selection.sources.grey import GreyScale

FORMATS = ("table", "json", "csv")
_MOST_WARNINGS = 20  # images that are named on stderr where the output has every reason


@dataclass(frozen=True)
class Prediction:
    """One image: its likeliest classes with probabilities in [0, 1], or why it was not read."""

    image: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict(
    student: str | Path,
    images: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """The classes of images by an exported student, with its preprocessing.

    Parameters
    ----------
    student : str or Path
        The ``student`` folder of a run, or the run itself.
    images : str, Path or a sequence of them
        Image files; a folder stands for the image files below it.
    top : int
        So many classes of each image, likeliest first.
    batch_size : int
        Images in memory at a time.
    progress : Progress, optional
        Shows how many images are done; silent by default.

    Returns
    -------
    iterator of Prediction
        One for each image, in order, while they are read. What is no image is a prediction with
        its ``error``.

    Raises
    ------
    UserError
        If ``student`` is none, a folder among ``images`` has no image file, or ``top`` or
        ``batch_size`` is less than 1.

    Examples
    --------
    ``[answer.classes[0] for answer in predict("run/student", "photo.jpg")]`` is a list with the
    likeliest class and its probability.
    """
    from distill.student.student import reopen

    folder = Path(student)
    paths = [images] if isinstance(images, str | Path) else images
    PredictOptions(student=folder, images=tuple(map(Path, paths)), top=top)  # raises UserError
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: expected 1 or more")
    inner = folder / "student"
    network, config = reopen(inner if inner.is_dir() else folder)
    files = [file for path in paths for file in _files(Path(path))]
    labelled = _Classifier.of(network, config, top)
    return _predictions(labelled, files, batch_size, progress or Progress.silent())


def _predictions(
    classifier: _Classifier,
    files: Sequence[Path],
    batch_size: int,
    progress: Progress,
) -> Iterator[Prediction]:
    with progress.over("predicting", unit="images", total=len(files)) as meter:
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            yield from classifier.predictions(batch)
            meter.advance(len(batch))


@dataclass(frozen=True, eq=False)
class _Classifier:
    """An exported student with its preprocessing, and so many classes to name of each image."""

    network: nn.Module
    names: tuple[str, ...]
    transform: Callable[[Image], Tensor]
    grey: GreyScale | None
    top: int

    @classmethod
    def of(
        cls,
        network: nn.Module,
        config: dict[str, object],
        top: int,
    ) -> _Classifier:
        import timm.data

        from selection.sources.grey import GreyScale

        names = config["label_names"]
        assert isinstance(names, list)
        settings = timm.data.resolve_model_data_config(network)
        return cls(
            network=network,
            names=tuple(str(name) for name in names),
            transform=timm.data.create_transform(**settings, is_training=False),
            grey=GreyScale.from_config(config.get("grey_scale")),
            top=min(top, len(names)),
        )

    def predictions(self, files: Sequence[Path]) -> list[Prediction]:
        """One for each of ``files``, in order."""
        import torch

        inputs = [self._pixels(file) for file in files]
        decoded = [pixels for pixels in inputs if not isinstance(pixels, str)]
        best: Iterator[tuple[tuple[str, float], ...]] = iter(())
        if decoded:
            with torch.no_grad():
                logits = self.network(torch.stack(decoded))  # (B, C)
            best = map(self._likeliest, logits.softmax(dim=1))
        predictions = []
        for file, pixels in zip(files, inputs, strict=True):
            name = os.fsencode(file).decode("utf-8", "replace")
            if isinstance(pixels, str):
                predictions.append(Prediction(name, error=pixels))
            else:
                predictions.append(Prediction(name, next(best)))
        return predictions

    def _pixels(self, file: Path) -> Tensor | str:
        """The image as the network takes it, (3, s, s), or why it cannot be read."""
        from selection.sources.images import CorruptImage, decode
        from selection.sources.layouts.folder import read_image_file

        try:
            return self.transform(decode(read_image_file(file), grey=self.grey))
        except CorruptImage as error:
            return str(error)

    def _likeliest(self, probabilities: Tensor) -> tuple[tuple[str, float], ...]:
        best = probabilities.topk(self.top)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return tuple((self.names[place], value) for value, place in pairs)


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


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of ``distill.predict``."""

    student: Annotated[Path, typer.Argument(help="the student/ folder of a run, or the run itself")]
    images: Annotated[tuple[Path, ...], typer.Argument(help="image files, or folders of them")]
    top: Annotated[int, typer.Option(min=1, help="so many classes an image")] = 1
    format: Annotated[str, typer.Option(help="table, json (one object a line) or csv")] = "table"
    out: Annotated[Path | None, typer.Option(help="write to this file, not to the terminal")] = None

    def __post_init__(self) -> None:
        with named_as_parameters(type(self)):
            check_bounds(self)
        validate_choice("format", self.format, FORMATS)


def predict_images(options: PredictOptions) -> int:
    """Print the class of each image and its probability."""
    if options.out:
        check_can_write_text(options.out)
    # where the predictions run over the screen themselves, a bar would break them
    on_screen = options.out is None and sys.stdout.isatty()
    predictions = predict(
        options.student,
        options.images,
        top=options.top,
        progress=Progress.silent() if on_screen else Progress.default(),
    )
    outcome = _Outcome(names_all=options.format != "table")
    with _output(options) as file:
        _WRITERS[options.format](file, outcome.counted(predictions), options.top)
        outcome.conclude()
    if options.out:
        print(f"{outcome.read} images: {options.out}")
    return 0


class _Outcome:
    """Counts what was read, and warns of what could not be.

    Where the output ``names_all`` images with their reasons, stderr has the first of them.
    """

    def __init__(self, *, names_all: bool) -> None:
        self.read, self.failed = 0, 0
        self._names_all = names_all

    def counted(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """The same predictions."""
        for prediction in predictions:
            if prediction.error is None:
                self.read += 1
            else:
                self.failed += 1
                if not self._names_all or self.failed <= _MOST_WARNINGS:
                    warn(f"{printable(prediction.image)} could not be read: {prediction.error}")
            yield prediction

    def conclude(self) -> None:
        """``UserError`` where nothing could be read."""
        if not self.read:
            raise UserError(
                "no image could be read; give image files that open in a viewer, or a folder of"
                " them"
            )
        if self._names_all and self.failed > _MOST_WARNINGS:
            warn(
                f"{self.failed - _MOST_WARNINGS} more images could not be read: the output has"
                " their reasons"
            )


@contextlib.contextmanager
def _output(options: PredictOptions) -> Iterator[TextIO]:
    """``--out``, written whole or not at all, or stdout; for programs it is UTF-8."""
    if options.out:
        with (
            replacing(options.out) as partial,
            open(partial, "w", encoding="utf-8", newline="") as file,
        ):
            yield file
        return
    if options.format != "table" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    yield sys.stdout


def _write_table(file: TextIO, predictions: Iterator[Prediction], top: int) -> None:
    for prediction in predictions:
        if prediction.error is None:
            classes = (f"{printable(name, 80)} {share:.3f}" for name, share in prediction.classes)
            print(
                printable(prediction.image),
                *classes,
                sep="\t",
                file=file,
            )


def _write_json(file: TextIO, predictions: Iterator[Prediction], top: int) -> None:
    for prediction in predictions:
        print(json.dumps(asdict(prediction), ensure_ascii=False), file=file)


def _write_csv(file: TextIO, predictions: Iterator[Prediction], top: int) -> None:
    """One row an image; an image that cannot be read has its reason in the last column."""
    names = ["image", "class", "probability"]
    for place in range(2, top + 1):
        names += [f"class_{place}", f"probability_{place}"]
    rows = (_csv_row(prediction, top) for prediction in predictions)
    write_csv(file, [*names, "error"], rows)


def _csv_row(prediction: Prediction, top: int) -> list[object]:
    cells: list[object] = []
    for name, probability in prediction.classes:
        cells += [name, round(probability, 6)]
    cells += [None] * (2 * top - len(cells))
    return [prediction.image, *cells, prediction.error]


_WRITERS = {"table": _write_table, "json": _write_json, "csv": _write_csv}


def main(argv: Sequence[str] | None = None) -> int:
    return run(command_of(PredictOptions, predict_images), argv, name="distill.predict")


if __name__ == "__main__":
    raise SystemExit(main())
