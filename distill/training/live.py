"""What a user sees while a run trains: the latest epochs, and TensorBoard files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.terminal.progress import Meter, Progress, warn
from zoo.terminal.table import Column, live_table

if TYPE_CHECKING:
    from rich.text import Text

EPOCHS_SHOWN = 12


class TrainingView:
    """Shows each epoch's metrics as they come, and writes them for TensorBoard where installed.

    ``control`` holds the epochs' metrics of the finished plain run. Where the student's ``figure``
    falls clearly behind plain's, the view warns once; ``images`` is how many images both were
    validated on.
    """

    def __init__(
        self,
        title: str,
        *,
        epochs: int,
        folder: Path | None = None,
        control: Sequence[Mapping[str, Any]] = (),
        figure: str = "validation_accuracy",
        images: int = 0,
    ) -> None:
        self.title, self.epochs, self.images = title, epochs, images
        self.figure = figure
        self.control = {line["epoch"]: line.get(figure) for line in control}
        self.metrics: list[Mapping[str, Any]] = []
        self.warned = False
        self._resources = ExitStack()
        self._meter: Meter | None = None
        self._board = _tensorboard(folder) if folder is not None else None

    def __enter__(self) -> TrainingView:
        passing = Progress.default().over(self.title, unit="epochs", total=self.epochs)
        self._meter = self._resources.enter_context(passing)
        return self

    def __exit__(self, *_: object) -> None:
        if self._meter is not None:
            self._meter.conclude()
        self._resources.close()
        if self._board is not None:
            self._board.close()

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """One more epoch is done; ``metrics`` is its line of ``metrics.jsonl``."""
        self.metrics.append(metrics)
        if self._board is not None:
            for name, value in flat(metrics).items():
                self._board.add_scalar(name, value, metrics["epoch"])
        if self._meter is not None:
            self._show(self._meter, metrics)
        self._warn(metrics)

    def _show(self, meter: Meter, metrics: Mapping[str, Any]) -> None:
        epoch = metrics["epoch"]
        if len(self.metrics) == 1:
            meter.skip(epoch)  # epochs that a run had before it was resumed
        extra = f"{self._name} {100 * metrics[self.figure]:.1f} %"
        plain = self.control.get(epoch)
        if plain is not None:
            extra += f", plain {100 * plain:.1f} %"
        meter.table = self._table
        meter.at(epoch + 1, extra=f"{extra}, loss {metrics['loss']:.3f}")

    @property
    def _name(self) -> str:
        """What the shown figure is called."""
        return "validation" if self.figure == "validation_accuracy" else "balanced validation"

    def _table(self) -> Text:
        """The latest epochs, one a row."""
        terms = list(self.metrics[-1]["terms"])
        heads = ["epoch", f"{self._name} %", "plain %", "train %", "loss", *terms]
        columns = [
            *(Column(head, is_number=True, optional=head in terms) for head in heads),
            Column("teachers", optional=True),
        ]
        rows = [self._row(metrics, terms) for metrics in self.metrics[-EPOCHS_SHOWN:]]
        return live_table(columns, rows, title=self.title)

    def _row(self, metrics: Mapping[str, Any], terms: list[str]) -> list[str]:
        epoch = metrics["epoch"]
        return [
            f"{epoch + 1}/{self.epochs}",
            _percent(metrics[self.figure]),
            _percent(self.control.get(epoch)),
            _percent(metrics["train_accuracy"]),
            f"{metrics['loss']:.3f}",
            *(f"{metrics['terms'][name]:.3f}" for name in terms),
            "  ".join(_teacher(teacher) for teacher in metrics.get("teachers", ())),
        ]

    def _warn(self, metrics: Mapping[str, Any]) -> None:
        """Once, after a fifth of the training: behind plain at the same epoch by two standard
        errors.
        """
        accuracy, plain = metrics[self.figure], self.control.get(metrics["epoch"])
        early = metrics["epoch"] < self.epochs / 5
        if plain is None or early or self.warned or not self.images:
            return
        error = (2 * max(plain * (1 - plain), 0.01) / self.images) ** 0.5
        if accuracy < plain - 2 * error:
            self.warned = True
            warn(
                f"after epoch {metrics['epoch'] + 1} the student has {100 * accuracy:.1f} % on"
                f" {self._name}, the finished plain control had {100 * plain:.1f} %: these teachers"
                " seem to hurt here"
            )


def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of an epoch as one level of named numbers, for TensorBoard."""
    groups = {
        "": metrics,
        "terms/": metrics.get("terms", {}),
        "method/": metrics.get("method", {}),
    }
    for place, teacher in enumerate(metrics.get("teachers", ()), 1):
        groups[f"teacher {place}/"] = teacher
    return {
        f"{group}{name}": float(value)
        for group, values in groups.items()
        for name, value in values.items()
        if isinstance(value, int | float) and name not in ("epoch", "step")
    }


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _teacher(teacher: Mapping[str, float]) -> str:
    """The weight of a teacher and how often the student agrees with it: ``0.50:0.81``."""
    return ":".join(f"{teacher[name]:.2f}" for name in ("weight", "agreement") if name in teacher)


def _tensorboard(folder: Path) -> Any:
    """A TensorBoard writer, or ``None`` where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(folder / "tensorboard"))  # type: ignore[no-untyped-call]
