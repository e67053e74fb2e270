"""Live progress of a ranking: a rich bar on a terminal, a plain line a model elsewhere, or
nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from selection.ranking import Row
from zoo.card import ModelCard
from zoo.terminal.command import clean


class Progress:
    """Says on stderr which model is at work, how many are done, and when all will be."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.models = self.images = self.done = self.loaded = 0
        self.begin = time.monotonic()

    @classmethod
    def silent(cls) -> Progress:
        """No output: the default of the Python API."""
        return cls("silent")

    @classmethod
    def live(cls) -> Progress:
        """A bar on a terminal where rich is installed, plain lines otherwise."""
        if sys.stderr.isatty():
            try:
                import rich  # noqa: F401
            except ImportError:
                return cls("plain")
            return cls("bar")
        return cls("plain")

    @contextmanager
    def shown(self) -> Iterator[Progress]:
        """Show progress for as long as the context lasts."""
        if self.kind != "bar":
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        with Bar(
            TextColumn("{task.fields[round]}{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as self.bar:
            self.job = self.bar.add_task("probing", total=None, rate="", round="")
            yield self

    def round(self, number: int, rounds: int, models: int, images: int) -> None:
        """A round begins: ``models`` models on ``images`` probe images each."""
        self.models, self.images, self.done = models, images, 0
        named = f"round {number} of {rounds}: " if rounds > 1 else ""
        if self.kind == "bar":
            self.bar.reset(
                self.job, total=models * images, description="probing", rate="", round=named
            )
        elif self.kind == "plain" and named:
            print(f"{named}{models} models, {images} images", file=sys.stderr, flush=True)

    def started(self, card: ModelCard) -> None:
        """This model is loaded and begins to answer."""
        self.seen, self.at = 0, time.monotonic()
        if self.kind == "bar":
            from rich.markup import escape

            self.bar.update(self.job, description=escape(clean(card.id, 40)))

    def advance(self, images: int) -> None:
        """So many images of the current model are answered."""
        new, self.seen = images - self.seen, images
        if self.kind == "bar":
            rate = self.seen / max(time.monotonic() - self.at, 1e-9)
            self.bar.update(self.job, advance=new, rate=f"{rate:.0f} images/s")

    def finished(self, row: Row, *, cached: bool) -> None:
        """This model is done, or failed."""
        self.done += 1
        self.loaded += not cached
        if self.kind == "bar":
            self.bar.update(self.job, completed=self.done * self.images)
        elif self.kind == "plain" and not cached and (row.value is not None or row.error):
            what = (
                f"{row.seconds or 0:.1f} s"
                if row.value is not None
                else f"failed: {clean(row.error or '', 200)}"
            )
            print(
                f"[{self.done}/{self.models}] {clean(row.model, 80)}: {what}",
                file=sys.stderr,
                flush=True,
            )
