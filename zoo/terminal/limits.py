"""How much memory and time a query may take."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from zoo.errors import UserError
from zoo.terminal.command import byte_size

MEMORY = "TEACHER_ZOO_QUERY_MEMORY"
SECONDS = "TEACHER_ZOO_QUERY_SECONDS"
_DEFAULT_MEMORY, _DEFAULT_SECONDS = "2GB", "120"
_ENDING = {signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])}
_BLOCK_ENDED = b"\0"  # no signal has this number


@dataclass
class QueryLimits:
    """``memory`` in bytes, ``seconds`` of work; both are counted over all parts of one query.

    A database bounds what it manages itself, but not one value of a gigabyte, nor the table that is
    made of its answer: on Linux the operating system bounds them all.
    """

    memory: int
    seconds: float
    expired: bool = False
    _used: float = 0.0
    _data_bytes: int | None = field(default_factory=lambda: _data_bytes())

    @classmethod
    def of_environment(cls) -> QueryLimits:
        """The limits that the environment gives; ``UserError`` for values that are none."""
        text = os.environ.get(SECONDS) or _DEFAULT_SECONDS
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < threading.TIMEOUT_MAX:
            raise UserError(f"{SECONDS}={text}: expected a number of seconds, such as 600")
        return cls(memory_limit(), seconds)

    @contextmanager
    def bound(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Bound the block, a part of the query; ``interrupt`` is called when its time is up.

        It is called at Ctrl-C too, which Python itself notices only between two steps of a query.
        """
        left = max(0.0, self.seconds - self._used)
        begin = time.monotonic()
        try:
            with (
                _watched(left, interrupt, self._expire),
                _bounded_memory(self._data_bytes, self.memory),
            ):
                yield
        finally:
            self._used += time.monotonic() - begin

    def _expire(self) -> None:
        self.expired = True

    def error(self, error: BaseException) -> BaseException | None:
        """What ``error`` means where it came of a limit, or of Ctrl-C; else ``None``."""
        kind, text = type(error).__name__, str(error)
        if kind == "InterruptException" or "Interrupted!" in text or "Query interrupted" in text:
            if not self.expired:
                return KeyboardInterrupt()
            return UserError(
                f"the query took more than {self.seconds:g} s and was stopped; ask for less, or"
                f" allow more with {SECONDS}={self.seconds * 10:g}"
            )
        memory = ("OutOfMemoryException", "MemoryError", "ArrowMemoryError")
        if kind in memory or "Out of Memory Error" in text or "bad_alloc" in text:
            return UserError(
                f"the query needs more than {self.memory / 1e9:.3g} GB of memory and was stopped;"
                " ask for less (fewer --columns, a --limit), or allow more with"
                f" {MEMORY}={4 * self.memory / 1e9:.3g}GB"
            )
        return None


@contextmanager
def _watched(
    seconds: float,
    interrupt: Callable[[], object],
    expire: Callable[[], object],
) -> Iterator[None]:
    """Call ``interrupt`` after ``seconds``, then after ``expire``, or at a signal that ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    is_main = threading.current_thread() is threading.main_thread()
    end = time.monotonic() + seconds

    def watch() -> None:
        while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
            number = os.read(reader, 1)
            if number == _BLOCK_ENDED:
                return
            if number[0] in _ENDING:
                interrupt()
                return
        expire()
        interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    # the number of each signal is written there at once, whatever the main thread is doing
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False) if is_main else -1
    watcher.start()
    try:
        yield
    finally:
        if is_main:
            signal.set_wakeup_fd(before)
        os.write(writer, _BLOCK_ENDED)
        watcher.join()  # a thread that wakes while Python ends aborts the process
        os.close(reader)
        os.close(writer)


def memory_limit() -> int:
    """The bytes that one query may take."""
    text = os.environ.get(MEMORY) or _DEFAULT_MEMORY
    try:
        return byte_size(text)
    except UserError as error:
        raise UserError(f"{MEMORY}={error}") from None


def _data_bytes() -> int | None:
    """The bytes of memory that this process has of its own; ``None`` where that is not known."""
    if sys.platform != "linux":
        return None
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["VmData"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


@contextmanager
def _bounded_memory(begin: int | None, memory: int) -> Iterator[None]:
    """Let this process have ``memory`` bytes more than ``begin`` while the block runs."""
    if sys.platform != "linux" or begin is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = begin + memory
    tighter = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *tighter]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
