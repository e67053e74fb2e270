"""``python -m distill.predict``: what does the student say of these images or texts?"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import asdict, dataclass
from itertools import islice
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
    from torch import Tensor

    from distill.kinds.kind import Readable, TrainingKind
    from distill.student.student import ExportedStudent

FORMATS = ("table", "json", "csv")
USER_TOP = 10  # items of a user where --top is not given
_MOST_WARNINGS = 20  # samples that are named on stderr where the output has every reason


@dataclass(frozen=True)
class Prediction:
    """One sample: its likeliest classes with probabilities in [0, 1], or why it was not read.

    ``sample`` is the name of an image's file, or a text itself.
    """

    sample: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def predict(
    student: str | Path,
    samples: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """The classes of images or texts by an exported student, with its preprocessing.

    Parameters
    ----------
    student : str or Path
        The ``student`` folder of a run, or the run itself.
    samples : str, Path or a sequence of them
        Image files; a folder stands for the image files below it. For a student of texts: texts; a
        ``.txt`` file stands for its lines, a table (CSV, TSV, JSONL, Parquet) for its column of
        texts, ``-`` for the lines of stdin.
    top : int
        So many classes of each sample, likeliest first.
    batch_size : int
        Samples in memory at a time.
    progress : Progress, optional
        Shows how many samples are done; silent by default.

    Returns
    -------
    iterator of Prediction
        One for each sample, in order, while they are read. What cannot be read is a prediction with
        its ``error``.

    Raises
    ------
    UserError
        If ``student`` is none, a folder among ``samples`` has no image file, a table has no texts,
        or ``top`` or ``batch_size`` is less than 1.

    Examples
    --------
    ``[answer.classes[0] for answer in predict("run/student", "photo.jpg")]`` is a list with the
    likeliest class and its probability.
    """
    given = [samples] if isinstance(samples, str | Path) else list(samples)
    PredictOptions(student=Path(student), samples=tuple(map(str, given)), top=top)  # UserError
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size}: expected 1 or more")
    classifier = _Classifier.of(student_folder(Path(student)), top)
    readables = classifier.readables(given)
    return _predictions(classifier, readables, batch_size, progress or Progress.silent())


def student_folder(path: Path) -> Path:
    """The folder of the exported student in a run, or ``path`` itself."""
    inner = path / "student"
    return inner if inner.is_dir() else path


def _predictions(
    classifier: _Classifier,
    readables: Iterable[Readable],
    batch_size: int,
    progress: Progress,
) -> Iterator[Prediction]:
    total = len(readables) if isinstance(readables, Sized) else None
    waiting = iter(readables)
    with progress.over("predicting", unit=classifier.kind.nouns, total=total) as meter:
        while batch := list(islice(waiting, batch_size)):
            yield from classifier.predictions(batch)
            meter.advance(len(batch))


@dataclass(frozen=True, eq=False)
class _Classifier:
    """An exported student of its kind, and so many classes to name of each sample."""

    folder: Path
    kind: TrainingKind
    student: ExportedStudent
    top: int

    @classmethod
    def of(cls, folder: Path, top: int) -> _Classifier:
        from distill.kinds.registry import kind_of_export

        kind = kind_of_export(folder)
        student = kind.reopen(folder)
        return cls(folder, kind, student, min(top, len(student.classes)))

    def readables(self, given: Sequence[str | Path]) -> Iterable[Readable]:
        return self.kind.readables(self.folder, self.student, given)

    def predictions(self, readables: Sequence[Readable]) -> list[Prediction]:
        """One for each of ``readables``, in order."""
        import torch

        inputs = [_input(readable) for readable in readables]
        decoded = [values for values in inputs if not isinstance(values, str)]
        best: Iterator[tuple[tuple[str, float], ...]] = iter(())
        if decoded:
            with torch.no_grad():
                logits = self.student.network(self.kind.collate(decoded))  # (B, C)
            best = map(self._likeliest, logits.softmax(dim=1))
        predictions = []
        for readable, values in zip(readables, inputs, strict=True):
            if isinstance(values, str):
                predictions.append(Prediction(readable.name, error=values))
            else:
                predictions.append(Prediction(readable.name, next(best)))
        return predictions

    def _likeliest(self, probabilities: Tensor) -> tuple[tuple[str, float], ...]:
        best = probabilities.topk(self.top)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return tuple((self.student.classes[place], value) for value, place in pairs)


def _input(readable: Readable) -> Tensor | str:
    """The sample as the network takes it, or why it cannot be read."""
    try:
        return readable.read()
    except ValueError as error:
        return str(error)


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """The options of ``distill.predict``."""

    student: Annotated[Path, typer.Argument(help="the student/ folder of a run, or the run itself")]
    samples: Annotated[
        tuple[str, ...],
        typer.Argument(
            help="image files, or folders of them; texts, files of texts, or - for lines of stdin;"
            " pairs USER,ITEM, or tables of them",
            show_default=False,
        ),
    ] = ()
    user: Annotated[
        tuple[str, ...], typer.Option(help="recommend items to this user; may be repeated")
    ] = ()
    top: Annotated[
        int | None,
        typer.Option(min=1, help="so many classes a sample (default 1), or items a user (10)"),
    ] = None
    format: Annotated[str, typer.Option(help="table, json (one object a line) or csv")] = "table"
    out: Annotated[Path | None, typer.Option(help="write to this file, not to the terminal")] = None

    def __post_init__(self) -> None:
        with named_as_parameters(type(self)):
            check_bounds(self)
        validate_choice("format", self.format, FORMATS)
        if bool(self.user) == bool(self.samples):
            given = "both samples and --user" if self.user else "nothing to predict"
            raise UserError(f"{given}: give samples, or --user USER of a student of ratings")


def predict_samples(options: PredictOptions) -> int:
    """Print the class of each sample and its probability."""
    if options.out:
        check_can_write_text(options.out)
    if options.user:
        return _recommend(options)
    # where the predictions run over the screen themselves, a bar would break them
    on_screen = options.out is None and sys.stdout.isatty()
    predictions = predict(
        options.student,
        options.samples,
        top=options.top or 1,
        progress=Progress.silent() if on_screen else Progress.default(),
    )
    from distill.kinds.registry import kind_of_export

    kind = kind_of_export(student_folder(options.student))
    outcome = _Outcome(kind, names_all=options.format != "table")
    with _output(options) as file:
        write = _WRITERS[options.format]
        write(file, outcome.counted(predictions), options.top or 1, kind.noun)
        outcome.conclude()
    if options.out:
        print(f"{outcome.read} {kind.nouns}: {options.out}")
    return 0


def _recommend(options: PredictOptions) -> int:
    """Print the items that a student of ratings recommends to each user."""
    from distill.kinds.registry import kind_of_export
    from distill.report.recommendations import RECOMMENDATION_WRITERS

    folder = student_folder(options.student)
    kind = kind_of_export(folder)
    if kind.recommend is None:
        raise UserError(
            f"--user is for students of ratings, {folder} is one of {kind.nouns}:"
            f" {kind.readable_help}"
        )
    lists = [kind.recommend(folder, user, options.top or USER_TOP) for user in options.user]
    with _output(options) as file:
        RECOMMENDATION_WRITERS[options.format](file, [item for items in lists for item in items])
    if options.out:
        print(f"{sum(map(len, lists))} items for {len(lists)} users: {options.out}")
    return 0


class _Outcome:
    """Counts what was read, and warns of what could not be.

    Where the output ``names_all`` samples with their reasons, stderr has the first of them.
    """

    def __init__(self, kind: TrainingKind, *, names_all: bool) -> None:
        self.kind = kind
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
                    number = self.read + self.failed
                    name = printable(prediction.sample).strip() or f"{self.kind.noun} {number}"
                    warn(f"{name} could not be read: {prediction.error}")
            yield prediction

    def conclude(self) -> None:
        """``UserError`` where nothing could be read."""
        if not self.read:
            raise UserError(f"no {self.kind.noun} could be read; {self.kind.readable_help}")
        if self._names_all and self.failed > _MOST_WARNINGS:
            warn(
                f"{self.failed - _MOST_WARNINGS} more {self.kind.nouns} could not be read: the"
                " output has their reasons"
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


def _write_table(file: TextIO, predictions: Iterator[Prediction], top: int, noun: str) -> None:
    for prediction in predictions:
        if prediction.error is None:
            classes = (f"{printable(name, 80)} {share:.3f}" for name, share in prediction.classes)
            print(
                printable(prediction.sample),
                *classes,
                sep="\t",
                file=file,
            )


def _write_json(file: TextIO, predictions: Iterator[Prediction], top: int, noun: str) -> None:
    for prediction in predictions:
        fields = asdict(prediction)
        line = {noun: fields.pop("sample"), **fields}
        print(json.dumps(line, ensure_ascii=False), file=file)


def _write_csv(file: TextIO, predictions: Iterator[Prediction], top: int, noun: str) -> None:
    """One row a sample; a sample that cannot be read has its reason in the last column."""
    names = [noun, "class", "probability"]
    for place in range(2, top + 1):
        names += [f"class_{place}", f"probability_{place}"]
    rows = (_csv_row(prediction, top) for prediction in predictions)
    write_csv(file, [*names, "error"], rows)


def _csv_row(prediction: Prediction, top: int) -> list[object]:
    cells: list[object] = []
    for name, probability in prediction.classes:
        cells += [name, round(probability, 6)]
    cells += [None] * (2 * top - len(cells))
    return [prediction.sample, *cells, prediction.error]


_WRITERS = {"table": _write_table, "json": _write_json, "csv": _write_csv}


def main(argv: Sequence[str] | None = None) -> int:
    return run(command_of(PredictOptions, predict_samples), argv, name="distill.predict")


if __name__ == "__main__":
    raise SystemExit(main())
