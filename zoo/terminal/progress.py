"""How far a long pass is: a bar on a terminal where rich is installed, plain lines elsewhere, or
nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS_A_LINE = 10.0


class Progress:
    """Says on stderr how many rows are done, how fast, what is left of the quota, and when the pass
    will end.
    """

    def __init__(self, kind: str) -> None:
        self.kind, self.name = kind, ""
        self.begin = self.said = time.monotonic()
        self.first = 0
        self._bar: Any = None
        self._job: Any = None

    @classmethod
    def silent(cls) -> Progress:
        """No output: the default of the Python API."""
        return cls("silent")

    @classmethod
    def live(cls) -> Progress:
        """A bar on a terminal where rich is installed, plain lines otherwise."""
        try:
            import rich  # noqa: F401
        except ImportError:
            return cls("plain")
        return cls("bar" if sys.stderr.isatty() else "plain")

    @contextmanager
    def over(self, name: str, *, total: int | None, done: int = 0) -> Iterator[Progress]:
        """Show the progress of the pass ``name``, of which ``done`` were done before."""
        self.name, self.first = name, done
        self.begin = self.said = time.monotonic()
        if self.kind != "bar":
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        with Bar(*columns, console=Console(stderr=True), transient=True) as self._bar:
            self._job = self._bar.add_task(name, total=total, completed=done, facts="")
            yield self

    def at(self, done: int, *, total: int | None, quota: int | None = None) -> None:
        """``done`` of ``total`` (``None``: not known) are done; ``quota`` requests are left in the
        Hub's window.
        """
        if self.kind == "bar":
            self._bar.update(
                self._job, completed=done, total=total, facts=self.facts(done, total, quota)
            )
        elif self.kind == "plain" and time.monotonic() - self.said >= _SECONDS_A_LINE:
            self.said = time.monotonic()
            print(f"{self.name}: {self.facts(done, total, quota)}", file=sys.stderr, flush=True)

    def facts(self, done: int, total: int | None, quota: int | None) -> str:
        """``120,000 of 3,012,377 rows, 3,100 rows/s, 15:33 to go, 431 requests left``."""
        rate = (done - self.first) / max(time.monotonic() - self.begin, 1e-6)
        parts = [
            f"{done:,} of {total:,} rows" if total else f"{done:,} rows",
            f"{rate:,.0f} rows/s",
        ]
        if total and rate > 0:
            seconds = max(0, round((total - done) / rate))
            parts.append(f"{seconds // 60}:{seconds % 60:02d} to go")
        if quota is not None:
            parts.append(f"{quota:,} requests left")
        return ", ".join(parts)
