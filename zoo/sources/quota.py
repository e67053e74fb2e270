"""How many requests the Hub still grants, so that a crawl slows down before it is told to."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

_LONGEST = 3_600  # seconds that are waited for, whatever a header says


class Quota:
    """The RateLimit windows of the Hub, one a kind of request (``api`` or ``files``); safe under
    threads.

    ``note`` learns from every answer, ``wait`` sleeps until the window ends when ``reserve``
    requests are left, so that a 429 is never provoked. ``clock`` (seconds, monotonic) and ``sleep``
    are arguments so that a test needs no time. ``slept`` is the seconds waited so far, ``sent`` the
    requests taken by kind.
    """

    def __init__(
        self,
        *,
        reserve: int = 2,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.reserve, self.clock, self.sleep = reserve, clock, sleep
        self.slept, self.sent = 0.0, Counter[str]()
        self._windows: dict[
            str, tuple[int, float]
        ] = {}  # kind -> (requests left, when the window ends)
        self._lock = threading.Lock()

    def note(self, kind: str, headers: Mapping[str, str]) -> None:
        """Learn what is left from ``RateLimit``, or how long to pause from ``Retry-After``;
        anything else is ignored.
        """
        from huggingface_hub.utils import parse_ratelimit_headers

        info, pause = parse_ratelimit_headers(headers), headers.get("retry-after", "")
        if info is not None:
            remaining, seconds = info.remaining, info.reset_in_seconds
        elif pause.isascii() and pause.isdecimal():
            remaining, seconds = 0, int(pause[:9])
        else:
            return
        now = self.clock()
        ends = now + min(seconds, _LONGEST)
        with self._lock:
            left, old_ends = self._windows.get(kind, (remaining, 0.0))
            if abs(old_ends - ends) < 3 and now < old_ends:
                # An answer that was on its way while others were sent says more than is left: the
                # count only falls.
                remaining = min(left, remaining)
            self._windows[kind] = remaining, ends

    def wait(self, kind: str) -> float:
        """Take one request out of the window of ``kind``, sleeping first if it is spent; returns
        the seconds slept.
        """
        with self._lock:
            self.sent[kind] += 1
            left, ends = self._windows.get(kind, (0, 0.0))
            now = self.clock()
            if now >= ends:
                self._windows.pop(kind, None)
                return 0.0
            if left > self.reserve:
                self._windows[kind] = left - 1, ends
                return 0.0
            pause = ends - now + 0.5  # the header counts whole seconds
            self.slept += pause
        self.sleep(pause)
        return pause

    def left(self, kind: str) -> int | None:
        """Requests left in the present window of ``kind``, or ``None`` where the server has not
        said.
        """
        left, ends = self._windows.get(kind, (0, 0.0))
        return left if self.clock() < ends else None

    def left_text(self, kind: str) -> str:
        """``431 requests left``, or nothing where that is not known."""
        left = self.left(kind)
        return "" if left is None else f"{left:,} requests left"
