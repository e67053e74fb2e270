"""How many requests the Hub still grants, so that a crawl slows down before it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass
class _Window:
    remaining: int
    ends: float


class Quota:
    """The RateLimit windows of the Hub, one a kind of request (``api`` or ``files``); safe under threads.

    ``note`` learns from every answer, ``wait`` sleeps until the window ends when ``reserve`` requests are left, so that
    a 429 is never provoked. ``clock`` (seconds, monotonic) and ``sleep`` are arguments so that a test needs no time.
    """

    def __init__(self, *, reserve: int = 2, clock: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.reserve, self.clock, self.sleep = reserve, clock, sleep
        self.slept = 0.0
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def note(self, kind: str, headers: Mapping[str, str]) -> None:
        """Learn what is left from the headers of an answer; an unreadable header is ignored."""
        from huggingface_hub.utils import parse_ratelimit_headers

        info = parse_ratelimit_headers(headers)
        if info is None:
            return
        # An answer that was on its way while others were sent says more than is left: the count only falls in a window.
        ends = self.clock() + min(info.reset_in_seconds, 3_600)
        with self._lock:
            old = self._windows.get(kind)
            same = old is not None and abs(old.ends - ends) < 3 and self.clock() < old.ends
            remaining = min(old.remaining, info.remaining) if same and old else info.remaining
            self._windows[kind] = _Window(remaining, ends)

    def wait(self, kind: str) -> float:
        """Take one request out of the window of ``kind``, sleeping first if it is spent; returns the seconds slept."""
        with self._lock:
            window = self._windows.get(kind)
            now = self.clock()
            if window is None or now >= window.ends:
                self._windows.pop(kind, None)
                return 0.0
            if window.remaining > self.reserve:
                window.remaining -= 1
                return 0.0
            pause = window.ends - now + 0.5  # the header counts whole seconds
            self.slept += pause
        self.sleep(pause)
        return pause

    def left(self, kind: str) -> int | None:
        """Requests left in the present window of ``kind``, or ``None`` where the server has not said."""
        window = self._windows.get(kind)
        return None if window is None or self.clock() >= window.ends else window.remaining
