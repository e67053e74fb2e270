"""Runs teachers on many machines or processes: Ray workers that share the store's folder."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selection.probe import Probe
from selection.probing.budget import Budget, CostModel
from selection.probing.prober import LocalProber, ProbeResult, ProbeStore
from selection.probing.store import TeacherStore
from selection.settings import Settings
from zoo.card import ModelCard
from zoo.errors import Unavailable, UserError
from zoo.home import bandwidth_file

RETRIES = 3  # a model whose worker dies so often has killed it itself
# of a worker process: teachers stay loaded between rounds
_PROBERS: dict[tuple[str, str, str | None], LocalProber] = {}


@dataclass(frozen=True)
class Job:
    """What a worker needs to know beside the model: where outputs go and how to run."""

    folder: str
    settings: Settings
    threads: int


class RayProber:
    """Has Ray workers run the teachers; a ``Prober``.

    A worker stores a model's outputs before it reports, and this process reads them there, so a
    worker that dies costs the model that it was running, which another takes up. What a worker
    computes is what this process would have computed: the same batches of the same samples in as
    many threads as torch would use here, since another number of threads moves the last bits of
    some networks (seen: 1e-8 of a score). OMP_NUM_THREADS=1 on all sides is the fastest where there
    is a worker a core.
    """

    def __init__(
        self,
        ray: Any,
        store: ProbeStore,
        settings: Settings,
        budget: Budget,
    ) -> None:
        import torch

        self.ray, self.store = ray, store
        self.budget, self.costs = budget, CostModel(bandwidth_file())
        resources, device = ray.cluster_resources(), settings.device
        use_gpu = bool(resources.get("GPU")) and (device is None or device.startswith("cuda"))
        self.slots = max(1, int(resources["GPU" if use_gpu else "CPU"]))
        self._remote = ray.remote(num_cpus=1, num_gpus=int(use_gpu), max_retries=RETRIES)(_probe)
        self._probe = ray.put(store.probe)
        folder = str(store.store.folder.absolute())
        self._job = Job(folder, settings, torch.get_num_threads())

    @classmethod
    @contextlib.contextmanager
    def connected(
        cls,
        address: str,
        store: ProbeStore,
        settings: Settings,
        budget: Budget,
    ) -> Iterator[RayProber]:
        """Workers for as long as the context lasts.

        ``local:N`` starts N processes here and ends them; any other address is a cluster's
        (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``), whose machines share the store's folder by
        the same path. Raises ``UserError`` if Ray is not installed or the address is invalid,
        ``Unavailable`` if nobody answers.
        """
        ray = connect(address)
        try:
            yield cls(ray, store, settings, budget)
        finally:
            ray.shutdown()

    def warm_up(self, cards: Sequence[ModelCard], size: int) -> None:
        """Nothing to do: the workers import torch."""

    def cost(self, card: ModelCard, size: int) -> float:
        """See ``Prober``: wall-clock seconds when all workers share the work."""
        missing = size - self.store.count(card)
        return self._seconds(card, missing) / self.slots if missing > 0 else 0.0

    def probe(
        self,
        cards: Sequence[ModelCard],
        size: int,
        *,
        deadline: float = math.inf,
    ) -> Iterator[ProbeResult]:
        """See ``Prober``."""
        missing = yield from self.store.results(cards, size)
        running: dict[Any, ModelCard] = {}
        while missing or running:
            while missing and len(running) < self.slots:
                card = missing.pop(0)
                reason = self.budget.reason_to_skip(
                    self._seconds(card, size - self.store.count(card)),
                    self.costs.download_bytes(card),
                    deadline,
                )
                if reason:
                    yield ProbeResult(card, skipped=reason)
                else:
                    left = self.budget.left()
                    running[
                        self._remote.remote(
                            card,
                            size,
                            self._probe,
                            self._job,
                            left,
                        )
                    ] = card
            done, _ = self.ray.wait(list(running)) if running else ([], [])
            for reference in done:
                yield self._result(running.pop(reference), size, reference)

    def _seconds(self, card: ModelCard, samples: int) -> float:
        return self.costs.load_seconds(card) + self.costs.run_seconds(card, samples)

    def _result(
        self,
        card: ModelCard,
        size: int,
        reference: Any,
    ) -> ProbeResult:
        before = self.store.count(card)
        try:
            error, skipped, seconds = self.ray.get(reference)
        except self.ray.exceptions.RayError as fault:
            reason = f"its Ray worker died {RETRIES + 1} times, or failed: {type(fault).__name__}"
            return ProbeResult(card, error=reason)
        if error or skipped:
            return ProbeResult(card, error=error, skipped=skipped)
        stored = self.store.result(card, size)
        if stored is None or stored.outputs is None:
            return ProbeResult(
                card,
                error=f"a worker has probed it, but {self.store.store.folder} does not hold the"
                " outputs here; the workers need that folder on a shared disk, by the same path"
                " ($TEACHER_ZOO_HOME)",
            )
        self.costs.record_run(card, size - before, seconds)
        return ProbeResult(card, stored.outputs)


def check_ray(address: str) -> re.Match[str] | None:
    """The match of ``local:N``, or None for a cluster; ``UserError`` without Ray or for another."""
    local = re.fullmatch(r"local:([1-9]\d{0,3})", address)
    cluster = re.fullmatch(r"auto|(ray://)?[\w.\-\[\]:]+:\d+", address)
    if not local and (address.startswith("local") or not cluster):
        raise UserError(
            f"--ray {address!r}: expected local:N with N workers, auto, HOST:PORT or"
            " ray://HOST:PORT"
        )
    if not importlib.util.find_spec("ray"):
        raise UserError(
            f"--ray {address} needs Ray, which is not installed: pip install 'teacher-zoo[ray]'"
        )
    return local


def connect(address: str) -> Any:
    """The ``ray`` module, connected to ``address``."""
    local = check_ray(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
    # else it warns of a default to come
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    options: dict[str, Any] = {"address": address}
    if local:
        options = {
            "address": "local",
            "num_cpus": int(local[1]),
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        ray.init(**options, log_to_driver=False, logging_level="error")
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"--ray {address}: no Ray there ({type(error).__name__}: {str(error)[:200]})"
        ) from None
    return ray


def _probe(
    card: ModelCard,
    size: int,
    probe: Probe,
    job: Job,
    seconds: float,
) -> tuple[str | None, str | None, float]:
    """Run one model on a worker; its outputs go into the store.

    Returns the error and the reason for skipping it, if any, and the seconds that it took.
    """
    import torch

    torch.set_num_threads(job.threads)
    settings, budget = job.settings, Budget(seconds)
    key = (probe.digest, job.folder, settings.device)
    if key not in _PROBERS:
        outputs = TeacherStore(Path(job.folder), max_bytes=settings.max_size)
        store = ProbeStore(probe, outputs, device=settings.device)
        _PROBERS[key] = LocalProber(store, settings, budget)
    prober = _PROBERS[key]
    prober.budget = budget
    begin = time.perf_counter()
    [result] = prober.probe([card], size, deadline=time.monotonic() + seconds)
    return result.error, result.skipped, time.perf_counter() - begin
