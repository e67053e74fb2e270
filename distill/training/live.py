"""What a user sees while a run trains: a live table on a terminal, plain lines elsewhere,
TensorBoard files where installed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.terminal.command import clean

ROWS = 12  # epochs that the live table shows


def note(text: str) -> None:
    """A sentence for the user, on stderr."""
    print(f"note: {clean(text, 400)}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A warning for the user, on stderr."""
    print(f"warning: {clean(text, 400)}", file=sys.stderr, flush=True)


def progress(what: str) -> Callable[[int, int], None]:
    """Plain progress on stderr: a line every few seconds."""
    begun = said = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said > 3:
            said = now
            left = (now - begun) / max(done, 1) * (total - done)
            print(
                f"{clean(what, 100)}: {done} of {total}, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    return tell


class Live:
    """Shows each epoch's metrics as they come; warns once where the student falls behind a finished
    control.

    ``control`` maps epoch to the validation accuracy of the finished plain run, ``images`` is how
    many it was read on.
    """

    def __init__(
        self,
        title: str,
        *,
        epochs: int,
        folder: Path | None = None,
        control: Mapping[int, float] | None = None,
        images: int = 0,
    ) -> None:
        self.title, self.epochs, self.control, self.images = (
            title,
            epochs,
            dict(control or {}),
            images,
        )
        self.lines: list[Mapping[str, Any]] = []
        self.began, self.warned, self.shown = time.monotonic(), False, 0.0
        self._table = _live_table() if sys.stderr.isatty() else None
        self._board = _board(folder) if folder is not None else None

    def __enter__(self) -> Live:
        if self._table is not None:
            self._table.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._table is not None:
            self._table.stop()
        if self._board is not None:
            self._board.close()

    def epoch(self, line: Mapping[str, Any]) -> None:
        """One more epoch is done. Without a terminal a line is printed every two seconds at most,
        and the last one.
        """
        self.lines.append(line)
        if self._board is not None:
            for name, value in flat(line).items():
                self._board.add_scalar(name, value, line["epoch"])
        if self._table is not None:
            self._table.update(self._rows(), refresh=True)
        elif line["epoch"] + 1 >= self.epochs or time.monotonic() - self.shown > 2:
            self.shown = time.monotonic()
            print(self._text(line), file=sys.stderr, flush=True)
        self._warn(line)

    def _text(self, line: Mapping[str, Any]) -> str:
        terms = " ".join(f"{name} {value:.3f}" for name, value in line["terms"].items())
        left = (time.monotonic() - self.began) / len(self.lines) * (self.epochs - line["epoch"] - 1)
        behind = (
            f", plain {100 * self.control[line['epoch']]:.1f}"
            if line["epoch"] in self.control
            else ""
        )
        return (
            f"{self.title} epoch {line['epoch'] + 1}/{self.epochs}: validation"
            f" {100 * line['validation_accuracy']:.1f} %{behind}, loss {line['loss']:.3f}"
            f" ({terms}), {left:.0f} s left"
        )

    def _rows(self) -> Any:
        from rich.table import Table

        table, terms = Table(title=clean(self.title, 100)), list(self.lines[-1]["terms"])
        for name in ("epoch", "validation %", "plain %", "train %", "loss", *terms, "teachers"):
            table.add_column(name, justify="right")
        for line in self.lines[-ROWS:]:
            shares = (
                line["validation_accuracy"],
                self.control.get(line["epoch"]),
                line["train_accuracy"],
            )
            teachers = (
                ":".join(f"{teacher[n]:.2f}" for n in ("weight", "agreement") if n in teacher)
                for teacher in line.get("teachers", ())
            )
            table.add_row(
                f"{line['epoch'] + 1}/{self.epochs}",
                *("" if s is None else f"{100 * s:.1f}" for s in shares),
                f"{line['loss']:.3f}",
                *(f"{line['terms'][name]:.3f}" for name in terms),
                "  ".join(teachers),
            )
        return table

    def _warn(self, line: Mapping[str, Any]) -> None:
        """Once, after a fifth of the training: clearly (by two standard errors) behind plain at the
        same epoch.
        """
        mine, plain = line["validation_accuracy"], self.control.get(line["epoch"])
        if plain is None or self.warned or line["epoch"] < self.epochs / 5 or not self.images:
            return
        if mine < plain - 2 * (2 * max(plain * (1 - plain), 0.01) / self.images) ** 0.5:
            self.warned = True
            warn(
                f"after epoch {line['epoch'] + 1} the student has {100 * mine:.1f} % on validation,"
                f" the finished plain control had {100 * plain:.1f} %: these teachers seem to hurt"
                " here"
            )


def flat(line: Mapping[str, Any]) -> dict[str, float]:
    """A metrics line as one level of named numbers."""
    groups = {"": line, "terms/": line.get("terms", {}), "method/": line.get("method", {})}
    groups |= {
        f"teacher {place}/": teacher for place, teacher in enumerate(line.get("teachers", ()), 1)
    }
    return {
        f"{group}{name}": float(value)
        for group, values in groups.items()
        for name, value in values.items()
        if isinstance(value, (int, float)) and name not in ("epoch", "step")
    }


def _live_table() -> Any:
    try:
        from rich.console import Console
        from rich.live import Live as RichLive
    except ImportError:
        return None
    return RichLive(console=Console(stderr=True), auto_refresh=False)


def _board(folder: Path) -> Any:
    """A TensorBoard writer, or None where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(folder / "tensorboard"))  # type: ignore[no-untyped-call]
