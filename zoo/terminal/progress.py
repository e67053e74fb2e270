"""Progress of long passes, notes and warnings, on stderr.

>>> with Progress.silent().over("decoding", unit="images", total=3) as meter:
...     for image in range(3):
...         meter.advance()
>>> meter.facts(seconds=2.0)
'3 of 3 images, 1.5 images/s, 0:00 to go'
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.terminal.command import in_command, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.progress import Progress as RichProgress

_SECONDS_A_LINE = 5.0  # between two plain lines of a pass
_BAR_WIDTH = 20
_NARROW, _NARROW_BAR_WIDTH = 100, 8  # columns of a terminal where the bar gives way
_NAME_WIDTH = 24  # of a pass beside its bar; lines have the whole name
_FORESEEING_SHARE = 0.02  # of a pass; before that the time to go is not said


def note(text: str) -> None:
    """A sentence for the user, on stderr."""
    print(f"note: {printable(text, 400)}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """A warning for the user, on stderr."""
    print(f"warning: {printable(text, 400)}", file=sys.stderr, flush=True)


class Progress:
    """Shows passes: a live bar on a terminal, elsewhere a plain line every few seconds.

    A pass within a pass is a second bar below the first.
    """

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown
        self._live: Live | None = None
        self._bars: RichProgress | None = None
        self._meters: list[Meter] = []

    @classmethod
    @functools.cache
    def silent(cls) -> Progress:
        """No output."""
        return cls(shown=False)

    @classmethod
    @functools.cache
    def live(cls) -> Progress:
        """Bars or lines on stderr."""
        return cls(shown=True)

    @classmethod
    def default(cls) -> Progress:
        """Live while a command runs, silent for the Python API."""
        return cls.live() if in_command() else cls.silent()

    @contextmanager
    def over(
        self,
        name: str,
        *,
        unit: str,
        total: int | None = None,
        done: int = 0,
    ) -> Iterator[Meter]:
        """Show the pass ``name``: ``done`` of ``total`` units are done (``None``: not known)."""
        meter = Meter(
            printable(name, 100),
            unit=unit,
            total=total,
            done=done,
            shown=self.shown,
        )
        if not self.shown or not sys.stderr.isatty():
            yield meter
            return
        self._begin(meter)
        try:
            yield meter
        finally:
            self._end(meter)

    def _begin(self, meter: Meter) -> None:
        """Add the bar of ``meter``; the first starts the live display."""
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        if self._bars is None:
            console = Console(stderr=True)
            whole = Column(no_wrap=True)
            what_is_left = Column(no_wrap=True, overflow="ellipsis", ratio=1)
            is_narrow = console.width < _NARROW
            self._bars = RichProgress(
                TextColumn("{task.description}", markup=False, table_column=whole),
                BarColumn(bar_width=_NARROW_BAR_WIDTH if is_narrow else _BAR_WIDTH),
                TextColumn("{task.fields[facts]}", markup=False, table_column=whole.copy()),
                TextColumn("{task.fields[more]}", markup=False, table_column=what_is_left),
                auto_refresh=False,
                expand=True,
            )
            self._live = Live(get_renderable=self._render, console=console, transient=True)
        self._meters.append(meter)
        meter.show_in(self._bars)
        if self._live is not None and len(self._meters) == 1:
            self._live.start()

    def _end(self, meter: Meter) -> None:
        self._meters.remove(meter)
        if self._live is not None and not self._meters:
            self._live.stop()
            self._live = self._bars = None
        else:
            meter.hide()

    def _render(self) -> RenderableType:
        from rich.console import Group

        tables = [meter.table() for meter in self._meters if meter.table is not None]
        return Group(*tables, self._bars or "")


class Meter:
    """One pass: how much of it is done."""

    def __init__(
        self,
        name: str,
        *,
        unit: str,
        total: int | None,
        done: int,
        shown: bool,
    ) -> None:
        self.name, self.unit, self.total, self.done = name, unit, total, done
        self.table: Callable[[], RenderableType] | None = None  # draws what is above the bar
        self._without_work = done
        self._extra = ""
        self._shown = shown
        self._begin = self._last_line = time.monotonic()
        self._bars: RichProgress | None = None

    def at(
        self,
        done: int,
        *,
        total: int | None = None,
        extra: str = "",
    ) -> None:
        """Set ``done``, the ``total`` if it became known, and an ``extra`` text to show."""
        self.done, self._extra = done, extra
        self.total = self.total if total is None else total
        self._refresh()

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more as done."""
        self.at(self.done + count)

    def skip(self, count: int) -> None:
        """Count ``count`` more as done without work: stored units say nothing of the speed."""
        self._without_work += count
        self.advance(count)

    def at_work_on(self, name: str) -> None:
        """Show what is at work just now."""
        if self._bars is not None:
            self._bars.update(self._task, more=printable(name, 80))

    def line(self, text: str) -> None:
        """One line that stays, above the bar."""
        if self._shown:
            self._last_line = time.monotonic()
            print(printable(text), file=sys.stderr, flush=True)

    def conclude(self) -> None:
        """Leave the last state on the screen: the table, or the line of facts."""
        if self._shown and self._bars is not None and self.table is not None:
            from rich.console import Console

            Console(stderr=True).print(self.table())
        elif self._shown:
            self.line(self._text())

    def facts(self, seconds: float) -> str:
        """``120,000 of 3,012,377 rows, 3,100 rows/s, 15:33 to go``, after ``seconds`` of work."""
        return ", ".join(filter(None, (self._counts(seconds), self._extra)))

    def _counts(self, seconds: float) -> str:
        of = f" of {self.total:,}" if self.total else ""
        rate = (self.done - self._without_work) / max(seconds, 1e-6)
        parts = [f"{self.done:,}{of} {self.unit}"]
        if rate > 0:
            parts.append(f"{rate:,.{0 if rate >= 10 else 1}f} {self.unit}/s")
            if self.total and self._tells_speed():
                left = max(0, round((self.total - self.done) / rate))
                parts.append(f"{left // 60}:{left % 60:02d} to go")
        return ", ".join(parts)

    def _tells_speed(self) -> bool:
        """Whether enough is done to foresee the end: the first part also waits for imports."""
        work = (self.total or 0) - self._without_work
        return self.done - self._without_work >= _FORESEEING_SHARE * work

    def show_in(self, bars: RichProgress) -> None:
        """Show this pass as a bar among ``bars``."""
        self._bars = bars
        self._task = bars.add_task(
            printable(self.name, _NAME_WIDTH),
            total=self.total,
            completed=self.done,
            facts="",
            more="",
        )

    def hide(self) -> None:
        """Take the bar away again."""
        if self._bars is not None:
            self._bars.remove_task(self._task)
            self._bars = None

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._bars is not None:
            self._bars.update(
                self._task,
                completed=self.done,
                total=self.total,
                facts=self._counts(now - self._begin),
            )
            if self._extra:
                self._bars.update(self._task, more=self._extra)
        elif self._shown and now - self._last_line >= _SECONDS_A_LINE:
            self.line(self._text())

    def _text(self) -> str:
        return f"{self.name}: {self.facts(time.monotonic() - self._begin)}"
