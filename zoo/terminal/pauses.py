"""Waits that a user hears of and that a stop ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from zoo.errors import Unavailable
from zoo.terminal.command import in_command
from zoo.terminal.progress import note

_SAID_FROM = 5.0  # seconds; shorter waits are not worth a line
_SECONDS_A_LINE = 60.0  # between two lines of the same wait


class Pauses:
    """The waits of all threads that talk to one Hub.

    A wait of five seconds and more is said with its reason and its length, once however many
    threads wait for the same, and again every minute. ``stop`` ends all waits: each then raises
    ``Unavailable``. ``clock`` (seconds, monotonic), ``sleep`` and ``say`` are arguments so that a
    test needs no time.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.clock = clock
        self._stop = threading.Event()
        self._sleep: Callable[[float], object] = sleep or self._stop.wait
        self._say = say or _note_in_command
        self._said_at: float | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End the waits of all threads, and refuse new ones."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the work that waits was stopped."""
        return self._stop.is_set()

    def wait(self, seconds: float, reason: str) -> None:
        """Wait ``seconds``; ``reason`` follows "waiting 0:30 ...", such as "for the quota"."""
        left = seconds
        while left > 0 and not self.stopped:
            if seconds >= _SAID_FROM:
                self._tell(left, reason)
            part = min(left, _SECONDS_A_LINE)
            self._sleep(part)
            left -= part
        if self.stopped:
            raise Unavailable("stopped while it waited")

    def _tell(self, left: float, reason: str) -> None:
        now = self.clock()
        with self._lock:
            if self._said_at is not None and now - self._said_at < _SECONDS_A_LINE:
                return
            self._said_at = now
        self._say(f"waiting {_minutes(left)} {reason}; Ctrl-C stops, and nothing is lost")


def _minutes(seconds: float) -> str:
    """``1:02:03`` or ``4:58``, rounded up."""
    whole = int(-(-seconds // 1))
    hours, minutes = divmod(whole // 60, 60)
    start = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{start}:{whole % 60:02d}"


def _note_in_command(text: str) -> None:
    if in_command():
        note(text)
