"""What a ranking may spend, and what its next step would cost."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median_low

from selection.settings import Settings
from zoo.card import LOCAL, ModelCard
from zoo.errors import TeacherError
from zoo.files import load_json, write_json

START_SECONDS = 4.0  # to import torch and timm, once
_LOAD_SECONDS = 0.3  # to build a small network whose weights are on this machine
_READ_RATE = 200e6  # bytes of weights a second that are read and built
_BANDWIDTH = 10e6  # bytes a second, as long as no download was measured
_SMALLEST_MEASURED = 5_000_000  # bytes; a smaller download measures latency, not bandwidth
_POSSIBLE_BANDWIDTHS = (1e3, 1e11)  # bytes a second that a file may say
_RUN_SECONDS = 0.1  # of a model's run that do not depend on the number of samples
_CAUTION = 1.3  # an estimate should rather be too long
_TYPICAL_TOKENS, _PATCHES = 128, 196  # of a text, and of an image of 224 x 224 pixels
_TYPICAL_PARAMETERS = 25_000_000  # where a card does not tell
_FINISH_SECONDS = 1.5  # to print the table and end the process, torch included
_REPORT_SECONDS = 3.0  # to write the page
_COMPARE_SHARE = 0.1  # of the budget, to compare the finalists and choose a committee ...
_MOST_COMPARE_SECONDS = 30.0  # ... and no more than this


@dataclass
class Budget:
    """Seconds from ``start`` (``time.monotonic``) and bytes to download; infinite without a limit.

    ``compare`` are the seconds kept back for what follows the probing: comparisons and committee;
    ``finish`` those to print, to write a page and to end the process. The deadline is soft: it is
    checked before a model and a round begin, and between the batches of a model.
    """

    seconds: float = math.inf
    download: float = math.inf
    start: float = field(default_factory=time.monotonic)
    compare: float = 0.0
    finish: float = 0.0
    slowdown: float = 1.0  # wall-clock over processor seconds: how busy the machine is

    @classmethod
    def of(cls, settings: Settings) -> Budget:
        """The budget of a ranking that begins now."""
        download = math.inf if settings.download is None else settings.download
        if settings.budget is None:
            return cls(download=download)
        compare = min(_MOST_COMPARE_SECONDS, _COMPARE_SHARE * settings.budget)
        return cls(settings.budget, download, compare=compare)

    @classmethod
    def of_command(cls, settings: Settings, *, report: bool) -> Budget:
        """The budget of a whole process: the start of its interpreter counts, and its end."""
        budget = cls.of(settings)
        budget.start -= time.process_time()
        budget.finish = _FINISH_SECONDS + (_REPORT_SECONDS if report else 0.0)
        return budget

    @property
    def limited(self) -> bool:
        """Whether the time is limited."""
        return math.isfinite(self.seconds)

    def left(self) -> float:
        """Seconds left for probing; negative after the deadline."""
        return self.left_to_compare() - self.compare

    def left_to_compare(self) -> float:
        """Seconds left for what follows the probing."""
        return self.start + self.seconds - time.monotonic() - self.finish * self.slowdown

    def measure_slowdown(self, wall_seconds: float, processor_seconds: float) -> None:
        """Learn how busy the machine is from work that was done in one thread."""
        self.slowdown = max(1.0, wall_seconds / max(processor_seconds, 0.1))

    def reason_to_skip(
        self,
        seconds: float,
        download: int | None,
        deadline: float,
    ) -> str | None:
        """What is short for a model; ``None`` if nothing is, and its download is paid then."""
        if time.monotonic() + seconds > deadline:
            return "budget"
        return None if self.pay_download(download) else "budget_gb"

    def pay_download(self, need: int | None) -> bool:
        """Take ``need`` bytes from the download limit; False, and nothing taken, if it is short.

        ``None`` is an unknown size, which fits no limit.
        """
        if need == 0 or math.isinf(self.download):
            return True
        if need is None or need > self.download:
            return False
        self.download -= need
        return True


class CostModel:
    """Estimated seconds of a model, corrected by what earlier models took.

    Loading takes 0.3 s, the reading of the weights at 200 MB/s and their download at the measured
    bandwidth. Running takes 0.1 s and, per sample and core, ``area * (10 + 10 * millions of
    parameters)`` milliseconds, where ``area`` is the input's over 224 x 224 (ours: within a factor
    of two for MobileNets on one core, not measured on a GPU). A model that has run is estimated by
    its measured rate; the guess of any other is multiplied by the median ratio of measured to
    guessed rates. ``kept`` is the file in which the bandwidth of the last download is kept for the
    next command.

    Attributes
    ----------
    bandwidth : float
        Bytes a second.
    is_measured : bool
        Whether ``bandwidth`` was measured at a download rather than assumed.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self._rates: dict[str, float] = {}  # measured seconds a sample, by model
        self._ratios = [1.0]  # measured over guessed rate; a first, cold model alone moves nothing
        self._kept = kept
        measured = None if kept is None else _read_bandwidth(kept)
        self.bandwidth = measured or _BANDWIDTH
        self.is_measured = measured is not None
        self._is_local: dict[str, bool] = {}

    def download_bytes(self, card: ModelCard) -> int | None:
        """Bytes to fetch: 0 if the weights are on this machine, ``None`` if nobody knows.

        A card without a size is taken to hold four bytes a parameter, since weights are rarely
        wider.
        """
        if card.source in LOCAL:
            return 0
        if card.id not in self._is_local:
            from zoo.loading.download import is_local

            self._is_local[card.id] = is_local(card)
        if self._is_local[card.id]:
            return 0
        if card.weight_bytes or not card.params_total:
            return card.weight_bytes
        return int(4.04 * card.params_total) + 1_000_000

    def load_seconds(self, card: ModelCard) -> float:
        """Seconds to fetch and build a model."""
        guessed_bytes = 4 * (card.params_total or _TYPICAL_PARAMETERS)
        download = self.download_bytes(card)
        if download is None:
            download = guessed_bytes
        read = (card.weight_bytes or guessed_bytes) / _READ_RATE
        return _LOAD_SECONDS + read + _CAUTION * download / self.bandwidth

    def run_seconds(self, card: ModelCard, samples: int) -> float:
        """Seconds to run a loaded model on ``samples`` samples."""
        rate = self._rates.get(card.id)
        if rate is None:
            rate = _guessed_rate(card) * median_low(self._ratios)
        return _CAUTION * (_RUN_SECONDS + rate * samples)

    def largest_download(self, seconds: float) -> float:
        """Bytes of weights that can be fetched and built within ``seconds``."""
        seconds_a_byte = 1 / _READ_RATE + _CAUTION / self.bandwidth
        return max(0.0, seconds - _LOAD_SECONDS) / seconds_a_byte

    def record_load(self, card: ModelCard, seconds: float) -> None:
        """Learn the bandwidth from a load that took ``seconds``; its weights are local now."""
        size = self.download_bytes(card) or 0
        self._is_local[card.id] = True
        if size < _SMALLEST_MEASURED:
            return
        self.bandwidth, self.is_measured = size / max(seconds, 1e-3), True
        if self._kept is not None:
            with contextlib.suppress(OSError):  # a home that takes no files still ranks
                write_json(self._kept, {"bytes_per_second": round(self.bandwidth)})

    def record_run(
        self,
        card: ModelCard,
        samples: int,
        seconds: float,
    ) -> None:
        """Learn a model's rate from a run of ``samples`` samples that took ``seconds``."""
        if samples > 0:
            self._rates[card.id] = max(0.0, seconds - _RUN_SECONDS) / samples
            self._ratios.append(self._rates[card.id] / _guessed_rate(card))


def _read_bandwidth(path: Path) -> float | None:
    """The bandwidth that a file keeps; None where it keeps none that is possible."""
    try:
        value = load_json(path)["bytes_per_second"]
        low, high = _POSSIBLE_BANDWIDTHS
        return float(value) if low <= value <= high else None
    except (TeacherError, TypeError, KeyError):
        return None


def _guessed_rate(card: ModelCard) -> float:
    """Seconds a sample, from the card alone."""
    area = ((card.input_size or 224) / 224) ** 2
    if card.max_length:  # a text's tokens cost what as many patches of an image do
        area = min(card.max_length, _TYPICAL_TOKENS) / _PATCHES
    millions = (card.params_total or _TYPICAL_PARAMETERS) / 1e6
    return 0.01 * area * (1 + millions) / _machine_speed()


@cache
def _machine_speed() -> float:
    """How much faster than one core this machine may be; a rough guess that loads no torch."""
    if Path("/dev/nvidia0").exists():
        return 50.0
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal():
        cores = int(threads)
    return max(1.0, 0.6 * min(16, cores))
