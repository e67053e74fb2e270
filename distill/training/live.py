"""What a user sees while a run trains: the latest epochs, and TensorBoard files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.terminal.progress import Meter, Progress, warn
from zoo.terminal.table import Column, live_table

if TYPE_CHECKING:
    from rich.text import Text

    from distill.training.figures import Figure

EPOCHS_SHOWN = 12


class TrainingView:
    """Shows each epoch's metrics as they come, and writes them for TensorBoard where installed.

    ``control`` is the ``figure`` of the finished plain run by epoch. Where the student's falls
    behind it by its ``margin``, the view warns once.
    """

    def __init__(
        self,
        title: str,
        *,
        epochs: int,
        folder: Path | None = None,
        figure: Figure,
        control: Sequence[float | None] = (),
        margin: Callable[[float], float | None] = lambda plain: None,
    ) -> None:
        self.title, self.epochs = title, epochs
        self.figure, self.margin = figure, margin
        self.control = dict(enumerate(control))
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
        extra = f"{self._name} {self.figure.shown(self._value(metrics))}"
        plain = self.control.get(epoch)
        if plain is not None:
            extra += f", plain {self.figure.shown(plain)}"
        meter.table = self._table
        meter.at(epoch + 1, extra=f"{extra}, loss {metrics['loss']:.3f}")

    @property
    def _name(self) -> str:
        """What the shown figure is called: ``validation``, ``validation balanced``."""
        return f"validation {self.figure.short}".rstrip()

    def _value(self, metrics: Mapping[str, Any]) -> float:
        return float(metrics[f"validation_{self.figure.name}"])

    def _table(self) -> Text:
        """The latest epochs, one a row."""
        terms = list(self.metrics[-1]["terms"])
        unit = self.figure.unit
        heads = ["epoch", f"{self._name}{unit}", f"plain{unit}", "train %", "loss", *terms]
        columns = [
            *(Column(head, is_number=True, optional=head in terms) for head in heads),
            Column("teachers", optional=True),
        ]
        rows = [self._row(metrics, terms) for metrics in self.metrics[-EPOCHS_SHOWN:]]
        return live_table(columns, rows, title=self.title)

    def _row(self, metrics: Mapping[str, Any], terms: list[str]) -> list[str]:
        epoch = metrics["epoch"]
        plain = self.control.get(epoch)
        return [
            f"{epoch + 1}/{self.epochs}",
            self.figure.number(self._value(metrics)),
            "" if plain is None else self.figure.number(plain),
            _percent(metrics["train_accuracy"]),
            f"{metrics['loss']:.3f}",
            *(f"{metrics['terms'][name]:.3f}" for name in terms),
            "  ".join(_teacher(teacher) for teacher in metrics.get("teachers", ())),
        ]

    def _warn(self, metrics: Mapping[str, Any]) -> None:
        """Once, after a fifth of the training: behind plain at the same epoch by the margin."""
        plain = self.control.get(metrics["epoch"])
        early = metrics["epoch"] < self.epochs / 5
        if plain is None or early or self.warned:
            return
        margin, value = self.margin(plain), self._value(metrics)
        behind = plain - value if self.figure.higher_is_better else value - plain
        if margin is not None and behind > margin:
            self.warned = True
            warn(
                f"after epoch {metrics['epoch'] + 1} the student has {self.figure.shown(value)} on"
                f" {self._name}, the finished plain control had {self.figure.shown(plain)}: these"
                " teachers seem to hurt here"
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
