"""The options of a run: command line, ``config.json`` and documentation are made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selection.settings import (
    FindDuplicates,
    ImageColumn,
    KindOption,
    LabelColumn,
    ShowFiles,
    TextColumn,
    Yes,
)
from zoo.errors import UserError
from zoo.terminal.command import validate_choice
from zoo.terminal.options import (
    EXPLICIT,
    CatalogueFile,
    as_dict,
    check_bounds,
    from_dict,
    named_as_parameters,
)

if TYPE_CHECKING:
    from zoo.card import ModelCard

DEFAULT_METHOD = "probe_kd"
MISSING_STUDENT = (
    "--student is missing; give both, for example --task mydata --student mobilenetv3_small_050"
)
STEPS = 2_000  # of a run when --epochs is not given: minutes on two cores for a small student
OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("fp32", "bf16")
CLASS_BALANCES = ("auto", "none", "logits", "weights", "effective", "sampling")

Offline = Annotated[bool, typer.Option("--offline", help="no network call at all")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, mps or auto")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that decide a run's result; kept in ``config.json``.

    Parameters
    ----------
    task, student : str
        A task of `selection.task.Task.open`, and a network of timm or a folder with one.
    ranking : str, optional
        The file whose committee teaches; every method but ``plain`` needs it.
    method : str
        A name of ``distill.methods.registry.METHODS``; ``settings`` (``NAME=VALUE``) change its
        config in ``distill.methods.configs``.
    others
        As their help says. ``None``: the default follows from the task.

    Raises
    ------
    UserError
        If a value is out of bounds, unknown, or at odds with another option.
    """

    task: Annotated[
        str,
        typer.Option(
            help="a folder of class folders, Parquet files or a file of labels, a table of paths"
            " and labels, hf:org/name, digits or requests",
            show_default=False,
        ),
    ] = ""
    student: Annotated[
        str,
        typer.Option(help="a network of timm, such as resnet18, or its folder", show_default=False),
    ] = ""
    ranking: Annotated[
        str | None, typer.Option(help="ranking.json of selection.rank; its committee teaches")
    ] = None
    top: Annotated[
        int | None, typer.Option(min=1, help="at most so many teachers of the committee")
    ] = None
    method: Annotated[str, typer.Option(help="how to distil; 'plain' is the control")] = (
        DEFAULT_METHOD
    )
    settings: Annotated[
        tuple[str, ...], typer.Option("--set", help="a setting of the method, NAME=VALUE")
    ] = ()
    unlabelled: Annotated[
        str | None, typer.Option(help="more samples without labels: a folder, or a file of texts")
    ] = None
    kind: KindOption = None
    image_column: ImageColumn = None
    text_column: TextColumn = None
    label_column: LabelColumn = None
    duplicates: FindDuplicates = True
    pretrained: Annotated[
        bool, typer.Option(help="start from the student's pretrained weights")
    ] = False
    epochs: Annotated[
        int | None, typer.Option(min=1, help=f"default: about {STEPS} steps, of texts 600")
    ] = None
    seed: Annotated[
        int, typer.Option(min=0, help="of the student's weights and of the order of samples")
    ] = 0
    size: Annotated[
        int | None, typer.Option(min=8, help="the student's input in pixels (default 64)")
    ] = None
    max_length: Annotated[
        int | None,
        typer.Option(min=8, max=512, help="tokens of a text (default: what 95 % of them have)"),
    ] = None
    views: Annotated[
        int | None,
        typer.Option(min=1, help="views of each image that the teachers answer (default 1)"),
    ] = None
    teacher_size: Annotated[
        int | None, typer.Option(min=32, help="teachers look at so many pixels at most: faster")
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="samples of one step (default 64; of ratings 256)")
    ] = None
    rate: Annotated[float | None, typer.Option(min=1e-9, help="learning rate")] = None
    optimizer: Annotated[str, typer.Option(help="adamw or sgd")] = "adamw"
    labelled_share: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="share of a batch that is labelled")
    ] = None
    flip: Annotated[
        bool | None,
        typer.Option(help="exchange left and right (default: unless digits or letters)"),
    ] = None
    mix: Annotated[
        float,
        typer.Option(min=0, max=1, help="share of images blended, taught by the teachers alone"),
    ] = 0.0
    precision: Annotated[str, typer.Option(help="fp32 or bf16")] = "fp32"
    accumulate: Annotated[int, typer.Option(min=1, help="parts that a batch is computed in")] = 1
    class_balance: Annotated[
        str,
        typer.Option(
            help="for small classes: logits (adjusted in training), weights or effective (of the"
            " loss), sampling, none; auto: logits where classes are unbalanced"
        ),
    ] = "auto"
    student_args: Annotated[
        str | None, typer.Option(help="further arguments of the network, as JSON")
    ] = None

    def __post_init__(self) -> None:
        with named_as_parameters(type(self)):
            self._check()

    def _check(self) -> None:
        check_bounds(self)
        validate_choice("optimizer", self.optimizer, OPTIMIZERS)
        validate_choice("precision", self.precision, PRECISIONS)
        validate_choice("class-balance", self.class_balance, CLASS_BALANCES)
        if self.mix and self.views == 1:
            raise UserError(
                "--mix needs the teachers' answers on the blends themselves: leave out --views 1,"
                " or --mix"
            )
        settings_of(self.settings)
        _ = self.network_arguments

    @property
    def network_arguments(self) -> dict[str, Any]:
        """``student_args`` as keyword arguments; ``UserError`` where they are no JSON object."""
        try:
            arguments = json.loads(self.student_args or "{}")
            if not isinstance(arguments, dict):
                raise ValueError(f"a {type(arguments).__name__}, not an object")
            return arguments
        except ValueError as error:
            raise UserError(
                f"--student-args {self.student_args!r} is not a JSON object ({error}); expected"
                " such as '{\"output_stride\": 16}'"
            ) from error


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """The options of ``distill.train``: those of the run, and those of this call alone."""

    out: Annotated[Path, typer.Option(help="the run folder")] = Path("run")
    resume: Annotated[
        bool,
        typer.Option("--resume", help="go on with the run in --out; other options may be left out"),
    ] = False
    control: Annotated[
        bool, typer.Option(help="train the plain control too, once, to tell whether teachers help")
    ] = True
    offline: Offline = False
    yes: Yes = False
    device: Device = "auto"
    catalogue: CatalogueFile = None
    onnx: Annotated[bool, typer.Option("--onnx", help="also write student/model.onnx")] = False
    int8: Annotated[
        bool,
        typer.Option("--int8", help="also write student/model.int8.onnx and print its accuracy"),
    ] = False
    push: Annotated[
        str | None, typer.Option(help="upload the student to the Hub as ORG/NAME, private")
    ] = None
    public: Annotated[
        bool, typer.Option("--public", help="with --push: a public repository, for everybody")
    ] = False
    show_files: ShowFiles = False
    explicit: Annotated[frozenset[str], EXPLICIT] = frozenset()


def to_json(options: Options) -> dict[str, Any]:
    """The options as ``config.json`` holds them, without method and seed, which it holds apart."""
    return {k: v for k, v in as_dict(options).items() if k not in ("method", "seed")}


def from_config(
    config: Mapping[str, Any], *, source: str = "config.json"
) -> tuple[Options, tuple[ModelCard, ...]]:
    """The options and the committee that a ``config.json`` was written with."""
    from zoo.card import ModelCard

    values = {  # of a version that looked for no copies, and did nothing for small classes
        "duplicates": False,
        "class_balance": "none",
    }
    values |= config["options"] | {"method": config["method"], "seed": config["seed"]}
    options = from_dict(Options, values, source=source)
    return options, tuple(ModelCard.from_row(dict(card)) for card in config["teachers"])


def settings_of(texts: Sequence[str]) -> dict[str, str]:
    """``["weight=2"]`` -> ``{"weight": "2"}``; ``UserError`` for anything else."""
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--set {text!r}: expected NAME=VALUE, such as --set weight=2")
        settings[name.strip()] = value.strip()
    return settings
