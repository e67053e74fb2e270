"""``python -m distill.predict``: what does the student say of these samples, or to these users?"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from distill.student.output import LIST_WRITERS, WRITERS, Prediction
from zoo.errors import UserError
from zoo.files import check_can_write_text, replacing
from zoo.terminal.command import printable, run, validate_choice
from zoo.terminal.options import check_bounds, command_of, named_as_parameters
from zoo.terminal.progress import Progress, warn

if TYPE_CHECKING:
    from torch import Tensor

    from distill.kinds.kind import Readable, TrainingKind
    from distill.student.recommender import Recommendation
    from distill.student.student import ExportedStudent

FORMATS = ("table", "json", "csv")
_MOST_WARNINGS = 20  # samples that are named on stderr where the output has every reason
_LISTED = 10  # items that a user is recommended by default


def predict(
    student: str | Path,
    samples: str | Path | Sequence[str | Path],
    *,
    top: int = 1,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """The classes of images, texts or pairs by an exported student, with its preprocessing.

    Parameters
    ----------
    student : str or Path
        The ``student`` folder of a run, or the run itself.
    samples : str, Path or a sequence of them
        Image files; a folder stands for the image files below it. For a student of texts: texts; a
        ``.txt`` file stands for its lines, a table (CSV, TSV, JSONL, Parquet) for its column of
        texts, ``-`` for the lines of stdin. For a student of ratings: pairs as ``USER,ITEM``, or a
        table with the columns user and item.
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
        If ``student`` is none, a folder among ``samples`` has no image file, a table has no texts
        or pairs, or ``top`` or ``batch_size`` is less than 1.

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


def recommend(
    student: str | Path, users: str | Sequence[str], *, top: int = _LISTED
) -> list[Recommendation]:
    """The items that a student of ratings puts first for users, those left out that they had.

    Parameters
    ----------
    student : str or Path
        The ``student`` folder of a run, or the run itself.
    users : str or a sequence of str
        Users by their ids in the file of ratings.
    top : int
        So many items of each user.

    Returns
    -------
    list of Recommendation
        User by user, the best item first; fewer than ``top`` of a user who has had the others.

    Raises
    ------
    UserError
        If ``student`` is none of ratings, a user is unknown, or ``top`` is less than 1.

    Examples
    --------
    ``[each.title for each in recommend("run/student", "42")]`` are the titles of ten items.
    """
    from distill.kinds.registry import kind_of_export

    given, folder = Path(student), student_folder(Path(student))
    names = tuple(dict.fromkeys([users] if isinstance(users, str) else users))
    PredictOptions(student=given, user=names, top=top)  # UserError
    kind = kind_of_export(folder)
    if kind.recommender is None:
        raise UserError(
            f"--user is for students of ratings, and {given} is one of {kind.nouns}:"
            f" {kind.readable_help}"
        )
    recommender = kind.recommender(folder)
    for name in names:
        recommender.user(name)  # UserError, before anything is written
    return [each for name in names for each in recommender.top(name, top)]


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
        shares: Iterator[Tensor] = iter(())
        if decoded:
            with torch.no_grad():
                logits = self.student.network(self.kind.collate(decoded))  # (B, C)
            shares = iter(logits.softmax(dim=1))
        predictions = []
        for readable, values in zip(readables, inputs, strict=True):
            if isinstance(values, str):
                predictions.append(Prediction(readable.name, error=values))
            else:
                predictions.append(self._prediction(readable.name, next(shares)))
        return predictions

    def _prediction(self, name: str, probabilities: Tensor) -> Prediction:
        values = self.student.values
        rating = None
        if values is not None:
            rating = round(float(probabilities @ probabilities.new_tensor(values)), 4)
        return Prediction(name, self._likeliest(probabilities), rating=rating)

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
            " pairs as USER,ITEM, or tables of them"
        ),
    ] = ()
    user: Annotated[
        tuple[str, ...],
        typer.Option(help="recommend items to this user; may be repeated", show_default=False),
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
            self._check()

    def _check(self) -> None:
        validate_choice("format", self.format, FORMATS)
        if self.user and self.samples:
            raise UserError(
                f"--user {self.user[0]}: it takes no samples beside it, and got"
                f" {printable(self.samples[0], 80)}: give one of the two"
            )


def predict_samples(options: PredictOptions) -> int:
    """Print the class of each sample and its probability, or the items for each user."""
    if options.out:
        check_can_write_text(options.out)
    if options.user:
        return _print_lists(options)
    if not options.samples:
        raise UserError("nothing to predict: give samples, or --user for the items to recommend")
    top = options.top or 1
    # where the predictions run over the screen themselves, a bar would break them
    on_screen = options.out is None and sys.stdout.isatty()
    predictions = predict(
        options.student,
        options.samples,
        top=top,
        progress=Progress.silent() if on_screen else Progress.default(),
    )
    from distill.kinds.registry import kind_of_export

    kind = kind_of_export(student_folder(options.student))
    outcome = _Outcome(kind, names_all=options.format != "table")
    with _output(options) as file:
        write = WRITERS[options.format]
        write(file, outcome.counted(predictions), top, kind.noun)
        outcome.conclude()
    if options.out:
        print(f"{outcome.read} {kind.nouns}: {options.out}")
    return 0


def _print_lists(options: PredictOptions) -> int:
    found = recommend(options.student, options.user, top=options.top or _LISTED)
    short = [name for name in options.user if not any(each.user == name for each in found)]
    for name in short:
        warn(f"user {printable(name, 80)} has had every item: there is none to recommend")
    with _output(options) as file:
        LIST_WRITERS[options.format](file, found, tuple(dict.fromkeys(options.user)))
    if options.out:
        print(f"{len(options.user)} users: {options.out}")
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


def main(argv: Sequence[str] | None = None) -> int:
    return run(command_of(PredictOptions, predict_samples), argv, name="distill.predict")


if __name__ == "__main__":
    raise SystemExit(main())
