"""What training has to know of a kind of samples; each kind has a file beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from distill.data.batch import Augmentation
    from distill.data.samples import Packing, Samples
    from distill.options import Options
    from distill.student.recommender import Recommender
    from distill.student.student import ExportedStudent, Student, StudentSpec
    from distill.teachers.joined import PartJoin
    from distill.training.figures import Figure
    from selection.evidence import Ints
    from selection.task import Task


class OptimizerDefaults(NamedTuple):
    """Learning rates of a new and of a pretrained student, and the weight decay."""

    rate: float
    pretrained_rate: float
    weight_decay: float


class StudentSetup(NamedTuple):
    """The student of a run, and what a view may do to its samples."""

    spec: StudentSpec
    augmentation: Augmentation


class Packings(NamedTuple):
    """How the training samples are packed, and how those of validation and test."""

    training: Packing
    held_out: Packing


class Readable(NamedTuple):
    """A sample that ``distill.predict`` was given: its name and how it is read.

    ``read`` gives the input of the network without the batch, or raises ``ValueError`` saying why
    it cannot be read.
    """

    name: str
    read: Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class SplitAnswers:
    """What a student says of the samples of a split that can be read.

    task     whose split it is
    samples  of the split; n of them are ``usable``
    logits   (n, C) float32, of the usable ones in order
    student  which can be asked for more; None where a teacher's head gave the logits
    lists    (U, L) what a teacher says of users' lists, where it does
    """

    task: Task
    samples: Samples
    logits: Tensor
    student: Student | None = None
    lists: Tensor | None = None

    @property
    def labels(self) -> Ints:
        """(n,) true classes."""
        labels: Ints = self.samples.labels[self.samples.usable]
        return labels


def _nothing(task: Task) -> None:
    return None


def _no_references(task: Task) -> dict[str, dict[str, Any]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class TrainingKind:
    """A kind of samples as training, evaluation and export see it.

    Attributes
    ----------
    name, noun, nouns : str
        As of `selection.kinds`.
    library, pipeline_tag : str
        What opens an exported student, as a model card names it.
    default_student : str, optional
        The ``--student`` where none is given; None: one must be given.
    grid : tuple of int
        The positions that hidden states are averaged onto, rows and columns.
    optimizers : mapping
        The defaults of each optimizer.
    steps : int
        Of a run when ``--epochs`` is not given.
    batch : int
        Samples of one step when ``--batch-size`` is not given.
    foreign : tuple of str
        Fields of ``Options`` that mean nothing here.
    takes : callable
        Whether a ``--student`` is of this kind, as far as its name or folder tells.
    check_student : callable
        Raises ``UserError`` where the student that options ask for cannot be made.
    set_up : callable
        The student and the augmentation that options and task come to.
    packings : callable
        How the samples of a task are packed for a student.
    resolved : callable
        The options that a set-up has decided, so that another machine's defaults change nothing.
    is_export : callable
        Whether a ``config.json`` is that of an exported student of this kind.
    reopen : callable
        The exported student of a folder; ``UserError`` where there is none.
    readables : callable
        The samples that ``distill.predict`` was given, in order, as its student reads them.
    readable_help : str
        What ``distill.predict`` should be given, for an error.
    collate : callable
        Inputs of samples as one batch.
    write_onnx, write_int8 : callable
        The files of ``--onnx`` and ``--int8``, see `distill.student.onnx`.
    opening : callable
        Markdown lines that show how the student of a run is opened.
    example : str
        What ``distill.predict`` may be given, as typed.
    input_words : callable
        What a student of that input size is shown, for a model card.
    figures : tuple of Figure
        What students are measured by, the most important first. A split need not have all.
    decided_by : callable
        The one of ``figures`` that decides whether teachers help on a task.
    evaluate : callable
        The answers on a split -> its entry of ``results.json``: what is known of each of
        ``figures`` (`distill.training.figures.Figure.kept`) and what they are counted from.
    validate : callable
        The answers on the validation split -> what an epoch's line says of it, by name: the figure
        that decides, ``loss``.
    join : callable
        How teachers that are asked about parts of the task's samples answer on the samples; None:
        they are asked about the samples.
    class_values : callable
        The C values that the task's classes stand for, ascending; None: they have no order.
    references : callable
        What needs no training, by name, and its entries of ``results.json`` by split.
    recommender : callable, optional
        The exported student of a folder, which lists items for users; None: it is no such student.
    """

    name: str
    noun: str
    nouns: str
    library: str
    pipeline_tag: str
    default_student: str | None
    grid: tuple[int, int]
    optimizers: Mapping[str, OptimizerDefaults]
    steps: int
    batch: int
    foreign: tuple[str, ...]
    takes: Callable[[str], bool]
    check_student: Callable[[Options], None]
    set_up: Callable[[Options, Task], StudentSetup]
    packings: Callable[[Task, Any], Packings]
    resolved: Callable[[Any, Any], dict[str, Any]]
    is_export: Callable[[Mapping[str, Any]], bool]
    reopen: Callable[[Path], ExportedStudent]
    readables: Callable[[Path, ExportedStudent, Sequence[str | Path]], Iterable[Readable]]
    readable_help: str
    collate: Callable[[Sequence[Tensor]], Tensor]
    write_onnx: Callable[[Path], Path]
    write_int8: Callable[[Path, Samples, Samples], Any]
    opening: Callable[[], list[str]]
    example: str
    input_words: Callable[[int], str]
    figures: tuple[Figure, ...]
    decided_by: Callable[[Task], Figure]
    evaluate: Callable[[SplitAnswers], dict[str, Any]]
    validate: Callable[[SplitAnswers], dict[str, float]]
    join: Callable[[Task], PartJoin | None] = _nothing
    class_values: Callable[[Task], tuple[float, ...] | None] = _nothing
    references: Callable[[Task], dict[str, dict[str, Any]]] = _no_references
    recommender: Callable[[Path], Recommender] | None = None

    @property
    def counts_classes(self) -> bool:
        """Whether it matters how each class is recognised, not the samples or lists alone."""
        return any(figure.by_class for figure in self.figures)

    def figure(self, name: str) -> Figure:
        """The figure of that name; the first where a run of another version names one."""
        return next((figure for figure in self.figures if figure.name == name), self.figures[0])
