"""Runs teachers on a probe: stored outputs come from the cache, missing ones from the model."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from selection.evidence import StoredOutputs
from selection.probe import Probe
from selection.probing.budget import START_SECONDS, Budget, CostModel
from selection.probing.rounds import step_sizes
from selection.probing.store import (
    BATCH,
    NewRows,
    StoreKey,
    TeacherStore,
    outputs_of,
    run_teacher,
)
from selection.settings import Settings
from zoo.card import ModelCard
from zoo.errors import TeacherError, UserError
from zoo.files import check_home
from zoo.home import bandwidth_file

if TYPE_CHECKING:
    from zoo.teacher import Teacher

_KEPT_BYTES = 2_000_000_000  # of weights that stay loaded between rounds


@dataclass(frozen=True)
class ProbeResult:
    """One model's outputs on the first samples of a probe, or the reason why there are none.

    ``outputs`` hold at least as many samples as were requested. ``cached``: no teacher was loaded.
    ``skipped`` is ``"budget"`` (time) or ``"budget_gb"`` (download) where the model was not begun,
    or not finished, for lack of it.
    """

    card: ModelCard
    outputs: StoredOutputs | None = None
    error: str | None = None
    cached: bool = False
    skipped: str | None = None


class Prober(Protocol):
    """Runs teachers: in this process (``LocalProber``) or on Ray workers (``RayProber``)."""

    def warm_up(self, cards: Sequence[ModelCard], size: int) -> None:
        """Import torch now if any of ``cards`` has to run, so that a budget's time includes it."""
        ...

    def cost(self, card: ModelCard, size: int) -> float:
        """Estimate the seconds that ``size`` samples take; 0 where the outputs are stored."""
        ...

    def probe(
        self,
        cards: Sequence[ModelCard],
        size: int,
        *,
        deadline: float,
    ) -> Iterator[ProbeResult]:
        """Yield one result a card on the probe's first ``size`` samples, cached results first.

        A model is begun only if it is expected to end before ``deadline`` (``time.monotonic``).
        """
        ...


class ProbeStore:
    """The stored outputs of teachers on one probe.

    They serve every round up to the first sample that is missing. A GPU runs in bfloat16, so its
    outputs are kept apart from a CPU's; without ``device`` either will do.
    """

    def __init__(
        self,
        probe: Probe,
        store: TeacherStore,
        *,
        device: str | None,
    ) -> None:
        self.probe, self.store = probe, store
        self._devices = [device] if device else ["cpu", "cuda"]
        self._counts: dict[str, int] = {}

    def count(self, card: ModelCard) -> int:
        """How many of the probe's first samples are stored."""
        if card.id not in self._counts:
            self.result(card, 0)
        return self._counts[card.id]

    def results(
        self, cards: Sequence[ModelCard], size: int
    ) -> Generator[ProbeResult, None, list[ModelCard]]:
        """Yield the results that need no teacher; the cards that do need one are returned."""
        missing = []
        for card in cards:
            stored = self.result(card, size)
            if stored is None:
                missing.append(card)
            else:
                yield stored
        return missing

    def result(self, card: ModelCard, size: int) -> ProbeResult | None:
        """The stored outputs if they cover ``size`` samples, or the fault of the card."""
        self._counts[card.id] = 0
        try:
            stored = [self.get(card, device) for device in self._devices]
        except TeacherError as error:
            return ProbeResult(card, error=str(error))
        present = [outputs for outputs in stored if outputs is not None]
        if not present:
            return None
        longest = max(present, key=lambda outputs: len(outputs.features))
        count = len(longest.features)
        self._counts[card.id] = count
        return ProbeResult(card, longest, cached=True) if count >= size else None

    def get(self, card: ModelCard, device: str) -> StoredOutputs | None:
        """The outputs stored for this very device, of all first samples that have some."""
        key = StoreKey.of(card, device=device)
        rows = self.store.read(key, self.probe.digests)
        count = rows.leading
        if not count:
            return None
        outputs = StoredOutputs(
            features=rows.arrays["features"],
            logits=rows.arrays.get("logits"),
            classifier_weights=rows.classifier.get("classifier_weights"),
            classifier_bias=rows.classifier.get("classifier_bias"),
            seconds=rows.seconds,
        )
        return first_outputs(outputs, count)

    def compute(
        self,
        teacher: Teacher,
        start: int,
        end: int,
        *,
        on_batch: Callable[[int], bool],
    ) -> int:
        """Run and store what is missing of the samples ``start`` to ``end``; returns how many of
        them are stored now.

        ``on_batch`` gets the samples done so far, and stops the run by answering False.
        """

        def run(rows: Sequence[int]) -> NewRows:
            samples = [self.probe.samples[start + row] for row in rows]
            return run_teacher(teacher, samples, on_batch=on_batch)

        key = StoreKey.of(teacher.card, device=str(teacher.device))
        digests = self.probe.digests[start:end]
        return outputs_of(self.store, key, digests, run).leading


class LocalProber:
    """Runs teachers in this process, the next one loading while the one before it runs.

    Outputs are stored before they are yielded, so a killed run repeats no finished model.
    ``on_model`` is called when a model begins to run, ``on_samples`` with its samples done so far.
    """

    def __init__(
        self,
        store: ProbeStore,
        settings: Settings,
        budget: Budget,
        *,
        on_model: Callable[[ModelCard], None] = lambda card: None,
        on_samples: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.store, self.settings = store, settings
        self.budget, self.costs = budget, CostModel(bandwidth_file())
        self.on_model, self.on_samples = on_model, on_samples
        self._loaded: dict[str, Teacher] = {}

    def warm_up(self, cards: Sequence[ModelCard], size: int) -> None:
        """See ``Prober``; without the time for it, torch is left alone."""
        enough_time = self.budget.left() > START_SECONDS * self.budget.slowdown
        if enough_time and any(self.store.count(card) < size for card in cards):
            import timm  # noqa: F401 - brings torch

    def cost(self, card: ModelCard, size: int) -> float:
        """See ``Prober``."""
        missing = size - self.store.count(card)
        if missing <= 0:
            return 0.0
        load = 0.0 if card.id in self._loaded else self.costs.load_seconds(card)
        return load + self.costs.run_seconds(card, missing)

    def probe(
        self,
        cards: Sequence[ModelCard],
        size: int,
        *,
        deadline: float = math.inf,
    ) -> Iterator[ProbeResult]:
        """See ``Prober``."""
        missing = yield from self.store.results(cards, size)
        if missing:
            check_home()  # stored outputs can be read where nothing can be written
        skipped: list[ProbeResult] = []
        start = 0.0 if "timm" in sys.modules else START_SECONDS * self.budget.slowdown
        if time.monotonic() + start > deadline:
            missing, skipped = [], [ProbeResult(card, skipped="budget") for card in missing]
        for card, teacher in self._teachers(missing, size, deadline, skipped):
            if isinstance(teacher, TeacherError):
                yield ProbeResult(card, error=str(teacher))
            else:
                self.on_model(card)
                yield self._run(card, teacher, size)
        yield from skipped

    def _teachers(
        self,
        cards: Sequence[ModelCard],
        size: int,
        deadline: float,
        skipped: list[ProbeResult],
    ) -> Iterator[tuple[ModelCard, Teacher | TeacherError]]:
        """Those still loaded, then every other that the budget admits; the rest is ``skipped``."""
        from zoo.teacher import load_ahead

        def admitted() -> Iterator[ModelCard]:
            running = 0.0  # seconds that the model before this one will take
            for card in others:
                reason = self._reason_to_skip(card, size, deadline - running)
                if reason:
                    skipped.append(ProbeResult(card, skipped=reason))
                    continue
                running = self.costs.run_seconds(card, size - self.store.count(card))
                yield card

        others = []
        for card in cards:
            if card.id not in self._loaded:
                others.append(card)
            elif reason := self._reason_to_skip(card, size, deadline):
                skipped.append(ProbeResult(card, skipped=reason))
            else:
                yield card, self._loaded[card.id]
        if not others:
            return
        device = torch_device(self.settings.device)
        for loaded in load_ahead(admitted(), device=device, offline=self.settings.offline):
            if not isinstance(loaded.teacher, TeacherError):
                self.costs.record_load(loaded.card, loaded.seconds)
                self._keep(loaded.teacher)
            yield loaded.card, loaded.teacher

    def _reason_to_skip(
        self,
        card: ModelCard,
        size: int,
        deadline: float,
    ) -> str | None:
        """What is short for this model; ``None`` if nothing is, and its download is paid then."""
        download = 0 if card.id in self._loaded else self.costs.download_bytes(card)
        return self.budget.reason_to_skip(self.cost(card, size), download, deadline)

    def _keep(self, teacher: Teacher) -> None:
        """Keep a teacher loaded for later rounds, unless too many are already."""
        kept = sum(other.card.weight_bytes or 0 for other in self._loaded.values())
        if self.budget.limited and kept < _KEPT_BYTES:
            self._loaded[teacher.card.id] = teacher

    def _run(
        self,
        card: ModelCard,
        teacher: Teacher,
        size: int,
    ) -> ProbeResult:
        """Run the missing samples and store them.

        The steps end where the rounds of a budget may end, so the batches, and the last bits of the
        outputs, are the same whatever the rounds were.
        """
        probe = self.store.probe
        outputs = self.store.get(card, str(teacher.device))
        first = done = 0 if outputs is None else len(outputs.features)
        steps = step_sizes(probe.labelled, len(probe.classes))
        ends = [end for end in map(probe.length_of, steps) if done < end < size]
        begin = time.perf_counter()

        def go_on(samples: int) -> bool:
            self.on_samples(done + samples)
            return self._time_for_batch(begin, done + samples - first)

        try:
            for end in [*ends, size]:
                if not self._time_for_batch(begin, done - first):
                    break
                done += self.store.compute(teacher, done, end, on_batch=go_on)
                if done < end:
                    break
        except TeacherError as error:
            return ProbeResult(card, error=str(error))
        except (RuntimeError, MemoryError) as error:  # torch's exhausted memory is a RuntimeError
            from zoo.teacher import too_large

            return ProbeResult(card, error=str(too_large(error)))
        self.costs.record_run(card, done - first, time.perf_counter() - begin)
        result = self.store.result(card, size)
        if result is None:
            reason = f"the budget ended after {done} of {size} {probe.kind.asked}"
            return ProbeResult(card, error=reason, skipped="budget")
        return replace(result, cached=False)

    def _time_for_batch(self, begin: float, done: int) -> bool:
        """Whether one more batch fits, after ``done`` samples since ``begin``; the first always."""
        batch_seconds = (time.perf_counter() - begin) * BATCH / max(done, 1)
        return done == 0 or self.budget.left() >= batch_seconds


def beginning(probe: Probe, size: int) -> Probe:
    """The first ``size`` samples of a probe: a stratified sample, since classes take turns."""
    if size >= probe.size:
        return probe
    return replace(
        probe,
        samples=probe.samples[:size],
        labels=probe.labels[:size],
        names=probe.names[:size],
        digests=probe.digests[:size],
        size=size,
    )


def first_outputs(outputs: StoredOutputs, size: int) -> StoredOutputs:
    """The outputs on the first ``size`` samples."""
    logits = None if outputs.logits is None else outputs.logits[:size]
    return replace(outputs, features=outputs.features[:size], logits=logits)


def torch_device(name: str | None) -> str:
    """``name`` if this machine has it; a GPU if there is one and no name is given."""
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name is None:
        return "cuda" if available["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if not available[kind] or (number and int(number) >= torch.cuda.device_count()):
        kinds = ", ".join(kind for kind, present in available.items() if present)
        raise UserError(f"--device {name}: this machine has no such device ({kinds})")
    return name
