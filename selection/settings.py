"""What a ranking is made with: the options of the command, with its defaults."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from zoo.errors import UserError
from zoo.terminal.command import byte_size
from zoo.terminal.options import CatalogueFile, named_as_parameters

ImageColumn = Annotated[
    str | None,
    typer.Option(help="a table's column of images, where its name does not tell"),
]
TextColumn = Annotated[
    str | None,
    typer.Option(help="a table's column of texts, where its name does not tell"),
]
KindOption = Annotated[
    str | None,
    typer.Option("--kind", help="image, text or ratings, where what the task holds does not tell"),
]
LabelColumn = Annotated[
    str | None, typer.Option(help="a table's column of labels, where its name does not tell")
]
FindDuplicates = Annotated[
    bool,
    typer.Option(
        help="look for copies of one picture or wording and keep them on one side of every cut"
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="download without a question, however much it is"),
]
ShowFiles = Annotated[
    bool, typer.Option("--show-files", help="print the first file names of each class too")
]

_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

DEFAULT_SCORE = "transport"  # the registry of scores says which one it stands for


def parse_seconds(text: str) -> float:
    """Read a time as seconds; a number without a unit is minutes.

    >>> parse_seconds("90s"), parse_seconds("2h"), parse_seconds("5")
    (90.0, 7200.0, 300.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text.lower())
    if not match or float(match[1]) <= 0:
        raise UserError(
            f"{text!r}: expected a time such as 90s, 20m or 2h (a bare number is minutes)"
        )
    return float(match[1]) * _UNIT_SECONDS[match[2] or "m"]


def parse_gigabytes(text: str) -> float:
    """Read gigabytes (10**9) as bytes; 0 means no download at all."""
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not (math.isfinite(gigabytes) and gigabytes >= 0):
        raise UserError(f"{text!r}: expected gigabytes to download at most, 0 or more, such as 5")
    return gigabytes * 1e9


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a ranking is made with; every field is an option of ``selection.rank``.

    Attributes
    ----------
    where : str, optional
        An SQL expression over the catalogue's columns that models must meet.
    models : tuple of str
        Exact ids or globs; they meet ``where``.
    top : int
        Size of the committee at most, 1 or more.
    score : str
        Name of the score to rank by.
    also : tuple of str
        Further scores to show, or ``("all",)``.
    probe_size : int
        Samples of the training split to probe with, 4 or more.
    budget : float, optional
        Wall-clock seconds for the whole ranking.
    download : float, optional
        Bytes to download at most (``--budget-gb``).
    yes : bool
        Whether to download more than 2 GB where neither ``budget`` nor ``download`` limits it.
    ray : str, optional
        ``local:N`` or a cluster's address, whose workers then probe.
    unlabelled : Path, optional
        Samples without labels.
    kind : str, optional
        ``image``, ``text`` or ``ratings``, where what the task holds does not tell.
    image_column, text_column, label_column : str, optional
        The columns of a task that is a table, where their names do not tell.
    duplicates : bool
        Whether equal and nearly equal samples of the task are looked for.
    seed : int
        Seed of the probe, 0 or more.
    offline : bool
        Whether only weights on this machine are considered and the network is left alone.
    device : str, optional
        ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; by default a GPU if there is one.
    catalogue : Path, optional
        The catalogue's file.
    label_encoder : str, optional
        A sentence-transformers model for label names; by default the packaged table.
    max_size : int, optional
        Bytes that the stored features may take.

    Raises
    ------
    UserError
        If a value makes no sense; it is named as parameter and as the command's option.
    """

    where: Annotated[str | None, typer.Option(help="only models that meet this SQL expression")] = (
        None
    )
    models: Annotated[
        tuple[str, ...],
        typer.Option(help="only these ids or globs; repeat or separate by commas"),
    ] = ()
    top: Annotated[int, typer.Option(help="size of the committee at most")] = 3
    score: Annotated[str, typer.Option(help="the score to rank by")] = DEFAULT_SCORE
    also: Annotated[
        tuple[str, ...], typer.Option(help="further scores to show beside it, or 'all'")
    ] = ()
    probe_size: Annotated[int, typer.Option(help="samples of the training split to probe with")] = (
        500
    )
    budget: Annotated[
        float | None,
        typer.Option(
            parser=parse_seconds,
            help="time for the whole command: 90s, 20m, 2h; a bare number is minutes",
        ),
    ] = None
    download: Annotated[
        float | None,
        typer.Option("--budget-gb", parser=parse_gigabytes, help="gigabytes to download at most"),
    ] = None
    yes: Yes = False
    ray: Annotated[
        str | None,
        typer.Option(help="probe on Ray workers: local:N, or a cluster's address such as auto"),
    ] = None
    unlabelled: Annotated[
        Path | None, typer.Option(help="samples without labels: checked here, for distill.train")
    ] = None
    kind: KindOption = None
    image_column: ImageColumn = None
    text_column: TextColumn = None
    label_column: LabelColumn = None
    duplicates: FindDuplicates = True
    seed: Annotated[int, typer.Option(help="seed of the probe")] = 0
    offline: Annotated[
        bool,
        typer.Option("--offline", help="no network call at all; only weights on this machine"),
    ] = False
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:N or mps")] = None
    catalogue: CatalogueFile = None
    label_encoder: Annotated[
        str | None, typer.Option(help="a sentence-transformers model for label names")
    ] = None
    max_size: Annotated[
        int | None,
        typer.Option(parser=byte_size, help="bound of the stored outputs, such as 20GB"),
    ] = None

    def __post_init__(self) -> None:
        """Raise ``UserError`` if a value makes no sense."""
        with named_as_parameters(type(self)):
            self._check()

    def _check(self) -> None:
        if self.top < 1:
            raise UserError(f"--top {self.top}: a committee needs at least 1 teacher")
        if self.probe_size < 4:
            raise UserError(
                f"--probe-size {self.probe_size}: at least 4 samples are needed, 500 is a good size"
            )
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: expected 0 or more")
        if self.device and not re.fullmatch(r"cpu|mps|cuda(:\d+)?", self.device):
            raise UserError(f"--device {self.device!r}: expected cpu, cuda, cuda:N or mps")
        if self.budget is not None and not self.budget > 0:
            raise UserError(f"a budget of {self.budget} seconds: expected more than 0")
        if self.download is not None and not self.download >= 0:
            raise UserError(f"a download of at most {self.download} bytes: expected 0 or more")
