"""The same probing on many machines or processes: Ray workers that share the feature cache's folder
(an extra).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from selection.probe import Probe
from selection.probing.budget import Budget, Costs
from selection.probing.cache import FeatureCache
from selection.probing.prober import Answer, Prober, pay
from zoo.card import ModelCard
from zoo.errors import Unavailable, UserError

RETRIES = 3  # a model whose worker dies so often has killed it itself
_PROBERS: dict[
    tuple[str, str, str | None], Prober
] = {}  # of a worker process: teachers stay loaded between rounds


class Workers:
    """Has Ray workers answer instead of this process; an ``Asker``.

    A worker writes a model's answers into the shared cache before it reports, and this process
    reads them there, so a worker that dies costs the model that it had in work, which another takes
    up. What a worker computes is what this process would have computed: the same batches of the
    same images in as many threads as torch would use here, since another number of threads moves
    the last bits of some networks (seen: 1e-8 of a score). OMP_NUM_THREADS=1 on all sides is the
    fastest where there is a worker a core.
    """

    def __init__(
        self,
        ray: Any,
        probe: Probe,
        cache: FeatureCache,
        *,
        device: str | None,
        offline: bool,
        budget: Budget,
    ) -> None:
        import torch

        self.ray, self.budget, self.costs = ray, budget, Costs(started=True)
        self.near = Prober(probe, cache, device=device)  # reads the cache; loads nothing
        resources = ray.cluster_resources()
        self.gpu = bool(resources.get("GPU")) and (device is None or device.startswith("cuda"))
        self.slots = max(1, int(resources["GPU" if self.gpu else "CPU"]))
        self._work = ray.remote(num_cpus=1, num_gpus=int(self.gpu), max_retries=RETRIES)(_probe)
        self._common = (
            ray.put(probe),
            str(cache.folder.absolute()),
            cache.max_bytes,
            device,
            offline,
        )
        self._threads = torch.get_num_threads()

    @classmethod
    @contextlib.contextmanager
    def connected(
        cls,
        address: str,
        probe: Probe,
        cache: FeatureCache,
        *,
        device: str | None,
        offline: bool,
        budget: Budget,
    ) -> Iterator[Workers]:
        """Workers for as long as the context lasts: ``local:N`` starts N processes here and ends
        them; else a cluster's address (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``), whose
        machines share the cache's folder by the same path.

        ``UserError`` where Ray is not installed or the address is no such thing, ``Unavailable``
        where nobody answers.
        """
        ray = connect(address)
        try:
            yield cls(ray, probe, cache, device=device, offline=offline, budget=budget)
        finally:
            ray.shutdown()

    def cost(self, card: ModelCard, size: int) -> float:
        """See ``Asker``: seconds of all workers together."""
        missing = size - self.near.held(card)
        return (
            (self.costs.loading(card) + self.costs.running(card, missing)) / self.slots
            if missing > 0
            else 0.0
        )

    def ask(
        self, cards: Sequence[ModelCard], size: int, *, end: float = float("inf")
    ) -> Iterator[Answer]:
        """See ``Asker``."""
        waiting = []
        for card in cards:
            found = self.near.stored(card, size)
            if found is None:
                waiting.append(card)
            else:
                yield found
        at_work: dict[Any, ModelCard] = {}
        while waiting or at_work:
            while waiting and len(at_work) < self.slots:
                card = waiting.pop(0)
                short = self._short(card, size, end)
                if short:
                    yield Answer(card, None, left_out=short)
                else:
                    at_work[
                        self._work.remote(card, size, *self._common, self._until(), self._threads)
                    ] = card
            done, _ = self.ray.wait(
                list(at_work), timeout=max(0.0, self.budget.left()) if self.budget.bounded else None
            )
            if at_work and not done:
                for reference in at_work:
                    self.ray.cancel(reference, force=True)
                return
            for reference in done:
                yield self._answer(at_work.pop(reference), size, reference)

    def _short(self, card: ModelCard, size: int, end: float) -> str | None:
        """What the budget lacks for ``card``, or ``None``: then its download is paid."""
        mine = self.costs.loading(card) + self.costs.running(card, size - self.near.held(card))
        return "budget" if time.monotonic() + mine > end else pay(self.budget, self.costs, card)

    def _until(self) -> float:
        """Seconds a worker may take."""
        return self.budget.left() if self.budget.bounded else float("inf")

    def _answer(self, card: ModelCard, size: int, reference: Any) -> Answer:
        before = self.near.held(card)
        try:
            error, left_out, seconds = self.ray.get(reference)
        except self.ray.exceptions.RayError as fault:
            return Answer(
                card,
                None,
                f"its Ray worker died {RETRIES + 1} times, or failed: {type(fault).__name__}",
            )
        if error or left_out:
            return Answer(card, None, error, left_out=left_out)
        found = self.near.stored(card, size)
        if found is None or found.stored is None:
            return Answer(
                card,
                None,
                f"a worker has probed it, but {self.near.cache.folder} does not hold the answers"
                " here; the workers need that folder on a shared disk, by the same path"
                " ($TEACHER_ZOO_HOME)",
            )
        self.costs.ran(card, size - before, seconds)
        return Answer(card, found.stored)


def connect(address: str) -> Any:
    """The ``ray`` module, connected to ``address``."""
    local = re.fullmatch(r"local:([1-9]\d{0,3})", address)
    if not local and (
        address.startswith("local") or not re.fullmatch(r"auto|(ray://)?[\w.\-\[\]:]+:\d+", address)
    ):
        raise UserError(
            f"--ray {address!r}: expected local:N with N workers, auto, HOST:PORT or"
            " ray://HOST:PORT"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # else it warns of a default to come
    try:
        import ray
    except ImportError:
        raise UserError(
            f"--ray {address} needs Ray, which is not installed: pip install 'teacher-zoo[ray]'"
        ) from None
    where: dict[str, Any] = {"address": address}
    if local:
        where = {
            "address": "local",
            "num_cpus": int(local[1]),
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        ray.init(**where, log_to_driver=False, logging_level="error")
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"--ray {address}: no Ray there ({type(error).__name__}: {str(error)[:200]})"
        ) from None
    return ray


def _probe(
    card: ModelCard,
    size: int,
    probe: Probe,
    folder: str,
    most: int | None,
    device: str | None,
    offline: bool,
    seconds: float,
    threads: int,
) -> tuple[str | None, str | None, float]:
    """Runs on a worker: answers into the cache; the reason where there are none, what was short,
    and the seconds it took.
    """
    import torch

    torch.set_num_threads(threads)
    key = (probe.digest, folder, device)
    if key not in _PROBERS:
        _PROBERS[key] = Prober(
            probe, FeatureCache(Path(folder), max_bytes=most), device=device, offline=offline
        )
    prober = _PROBERS[key]
    prober.budget = Budget(seconds)
    begin = time.perf_counter()
    answers = list(prober.ask([card], size, end=time.monotonic() + seconds))
    if not answers:
        return None, "budget", 0.0
    return answers[0].error, answers[0].left_out, time.perf_counter() - begin
