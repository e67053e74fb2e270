"""What a ranking may spend, and what its next step would cost."""

from __future__ import annotations

import math
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median_low
from typing import TypeVar

from zoo.card import ModelCard
from zoo.errors import UserError

T = TypeVar("T")

hurried = threading.Event()  # set where the end of the process must not be waited for
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_START = 4.0  # seconds that loading torch and timm takes, once
_LOADING = 0.3  # seconds to build a small network whose weights are here
_READING = 200e6  # bytes of weights that are read and built a second
_BANDWIDTH = 10e6  # bytes a second, until a download was measured
_CAUTION = 1.3  # an estimate should rather be too long
_OVERHEAD = 0.1  # seconds of a model's run that do not depend on the number of images


def seconds_of(text: str, option: str = "--budget") -> float:
    """``"90s"``, ``"20m"``, ``"2h"``, or minutes without a unit -> seconds; ``UserError`` for
    anything else.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text.lower())
    if not match or float(match[1]) <= 0:
        raise UserError(
            f"{option} {text!r}: expected a time such as 90s, 20m or 2h (a bare number is minutes)"
        )
    return float(match[1]) * _UNITS[match[2] or "m"]


def bytes_of(gigabytes: float, option: str = "--budget-gb") -> float:
    """Gigabytes (10**9) -> bytes, 0 meaning no download at all; ``UserError`` for negative or no
    number.
    """
    if not (math.isfinite(gigabytes) and gigabytes >= 0):
        raise UserError(
            f"{option} {gigabytes:g}: expected gigabytes to download at most, 0 or more, such as 5"
        )
    return gigabytes * 1e9


@dataclass
class Budget:
    """Wall clock ``seconds`` from ``begin`` (``time.monotonic``) and bytes to ``download``;
    infinite where not bounded.

    ``reserve`` are the seconds kept back for what follows the probing: scores, committee, table.
    """

    seconds: float = math.inf
    download: float = math.inf
    begin: float = field(default_factory=time.monotonic)
    reserve: float = 0.0

    @property
    def bounded(self) -> bool:
        """Whether the time is."""
        return math.isfinite(self.seconds)

    @property
    def end(self) -> float:
        """When probing has to be over, on the clock of ``time.monotonic``."""
        return self.begin + self.seconds - self.reserve

    def left(self) -> float:
        """Seconds left for probing; below zero when time is up."""
        return self.end - time.monotonic()


def until(answers: Iterable[T], left: Callable[[], float], stop: Callable[[], None]) -> Iterator[T]:
    """The answers as they come, made in a thread of their own, until no time is left; then it is
    told to ``stop``.
    """
    arrived: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            for answer in answers:
                arrived.put((answer,))
            arrived.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the answers are read
            arrived.put(error)

    over = False
    threading.Thread(target=work, name="probe", daemon=True).start()
    try:
        while True:
            try:
                answer = arrived.get(timeout=max(0.0, left()))
            except queue.Empty:
                return
            over = answer is None or isinstance(answer, BaseException)
            if isinstance(answer, BaseException):
                raise answer
            if answer is None:
                return
            yield answer[0]
    finally:
        if not over:
            stop()


@contextmanager
def watched(budget: Budget, *, strict: bool) -> Iterator[None]:
    """Opening a task and a catalogue cannot be stopped half way; where time is up within the
    context, a ``strict`` process ends with one line and status 1.
    """
    if not strict or not budget.bounded:
        yield
        return
    hurried.set()

    def give_up() -> None:
        print(
            f"error: the budget of {budget.seconds:g} s ended while task and catalogue were read,"
            " before any model could be probed; give more, such as --budget 1m",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)

    timer = threading.Timer(max(0.0, budget.left() + budget.reserve), give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def process_age() -> float:
    """Seconds since this process was started, as far as the system tells (Linux), else 0."""
    try:
        ticks = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        return max(
            0.0,
            float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK"),
        )
    except (OSError, ValueError, IndexError):
        return 0.0


def leave_at_once(status: int) -> None:
    """End the process where there was a budget: tearing torch down takes a second or two on a busy
    machine, and a thread that was left at work when time was up would be waited for, or crash
    meanwhile.
    """
    if hurried.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Costs:
    """Estimates of what a model will take, calibrated by what earlier ones took.

    The first guess is ``area * (10 + 10 * millions of parameters)`` milliseconds an image and core,
    where ``area`` is that of the input over 224 x 224 (ours: within a factor of two for MobileNets
    on one core, not measured on a GPU). What was measured corrects it: a model's own rate, else the
    median ratio of the models so far (the first is slow, being cold).
    """

    def __init__(self, *, started: bool = False) -> None:
        self._started = started  # whether torch is, where the teachers run
        self._rates: dict[str, float] = {}  # seconds an image, by model
        self._ratios = [1.0]  # seconds over those guessed, by model
        self._bandwidth = _BANDWIDTH
        self._local: dict[str, bool] = {}

    def download(self, card: ModelCard) -> int | None:
        """Bytes that ``card`` would have to fetch, 0 where its weights are on this machine,
        ``None`` where unknown; four a scalar where the card does not tell (timm's cards), since
        weights are rarely wider.
        """
        if card.source in ("folder", "small"):
            return 0
        if card.id not in self._local:
            from zoo.loading.download import is_local

            self._local[card.id] = is_local(card)
        if self._local[card.id]:
            return 0
        return card.weight_bytes or (
            int(4.04 * card.params_total) + 1_000_000 if card.params_total else None
        )

    def running(self, card: ModelCard, images: int) -> float:
        """Seconds to run a loaded model on ``images``."""
        rate = self._rates.get(card.id)
        if rate is None:
            rate = _guess(card) * median_low(self._ratios)
        return _CAUTION * (_OVERHEAD + rate * images)

    def loading(self, card: ModelCard) -> float:
        """Seconds to fetch and build a model."""
        need = self.download(card)
        size = 4 * (card.params_total or 25_000_000) if need is None else need
        return _LOADING + (card.weight_bytes or size) / _READING + _CAUTION * size / self._bandwidth

    def starting(self) -> float:
        """Seconds that loading torch and timm takes, once, before any model; 0 where they are."""
        return 0.0 if self._started or "timm" in sys.modules else _START

    def largest(self, seconds: float) -> float:
        """Bytes of weights that can be fetched and built in so many seconds."""
        return max(0.0, seconds - _LOADING) / (1 / _READING + _CAUTION / self._bandwidth)

    def ran(self, card: ModelCard, images: int, seconds: float) -> None:
        """Learn that ``card`` took ``seconds`` for ``images``."""
        if images > 0:
            self._rates[card.id] = max(0.0, seconds - _OVERHEAD) / images
            self._ratios.append(self._rates[card.id] / _guess(card))

    def fetched(self, card: ModelCard, size: int, seconds: float) -> None:
        """Learn that ``size`` bytes of ``card`` arrived in ``seconds``; its weights are here
        now.
        """
        self._local[card.id] = True
        if size > 0:
            self._bandwidth = size / max(seconds, 1e-3)


def _guess(card: ModelCard) -> float:
    """Seconds an image, from the card alone."""
    area = ((card.input_size or 224) / 224) ** 2
    return 0.01 * area * (1 + (card.params_total or 25_000_000) / 1e6) / _speed()


@cache
def _speed() -> float:
    """How much faster than one core this machine may be: a rough guess, made without loading
    torch.
    """
    if Path("/dev/nvidia0").exists():
        return 50.0
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    given = os.environ.get("OMP_NUM_THREADS", "")
    return max(1.0, 0.6 * min(16, int(given) if given.isdecimal() else cores))
