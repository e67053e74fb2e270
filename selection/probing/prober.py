"""The teachers' answers on a probe: from the cache where they are stored, else by running each
model once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from selection.probe import Probe
from selection.probing.budget import Budget, Costs, until
from selection.probing.cache import CacheKey, FeatureCache, StoredOutputs
from selection.probing.rounds import sizes
from zoo.card import ModelCard
from zoo.errors import TeacherError, UserError

if TYPE_CHECKING:
    from zoo.teacher import Teacher

_BATCH = 64
_KEPT = 2_000_000_000  # bytes of weights that stay loaded between rounds


@dataclass(frozen=True)
class Answer:
    """What became of one model: its stored outputs, or the reason why there are none.

    ``stored`` holds the probe's first images, at least as many as were asked for. ``cached``: no
    teacher was loaded. ``left_out`` is ``"budget"`` (time) or ``"budget_gb"`` where the model was
    not begun, or not finished, for that.
    """

    card: ModelCard
    stored: StoredOutputs | None
    error: str | None = None
    cached: bool = False
    left_out: str | None = None


class Asker(Protocol):
    """Who has the teachers answer: this process (``Prober``) or Ray workers
    (``selection.probing.workers.Workers``).
    """

    def ask(self, cards: Sequence[ModelCard], size: int, *, end: float) -> Iterator[Answer]:
        """An ``Answer`` on the probe's first ``size`` images for every card, in any order, those
        that are stored first.

        ``end`` is the time (``time.monotonic``) by which a model must be expected to be done, or it
        is not begun. Cards of which nothing is yielded were at work when all time was up.
        """
        ...

    def cost(self, card: ModelCard, size: int) -> float:
        """Seconds that ``card`` is expected to take for ``size`` images; 0 where its answers are
        stored.
        """
        ...


class Prober:
    """Runs teachers on one probe on this machine, one after the other, the next loading meanwhile.

    An answer is in the cache before it is yielded, so a run that is killed loses at most the model
    in work. An entry under the probe's key holds its first n images: it serves every round up to n,
    and a longer round runs only the images that are missing. A GPU answers in bf16, so its answers
    are kept apart from a CPU's; without ``device`` either will do. ``started`` and ``batch_done``
    (images of the current model done) may be called from another thread.
    """

    def __init__(
        self,
        probe: Probe,
        cache: FeatureCache,
        *,
        device: str | None = None,
        offline: bool = False,
        budget: Budget | None = None,
        costs: Costs | None = None,
        started: Callable[[ModelCard], None] = lambda card: None,
        batch_done: Callable[[int], None] = lambda images: None,
    ) -> None:
        self.probe, self.cache, self.device, self.offline = probe, cache, device, offline
        self.budget, self.costs = budget or Budget(), costs or Costs()
        self.started, self.batch_done = started, batch_done
        self._loaded: dict[str, Teacher] = {}
        self._held: dict[str, int] = {}
        self._stop = threading.Event()

    def ask(
        self, cards: Sequence[ModelCard], size: int, *, end: float = float("inf")
    ) -> Iterator[Answer]:
        """See ``Asker``."""
        waiting: list[ModelCard] = []
        for card in cards:
            found = self.stored(card, size)
            if found is None:
                waiting.append(card)
            else:
                yield found
        if not waiting:
            return
        answers = self._run(waiting, size, end)
        if not self.budget.bounded:
            yield from answers
            return
        yield from until(answers, self.budget.left, self._stop.set)

    def stored(self, card: ModelCard, size: int) -> Answer | None:
        """The answer in the cache if it covers ``size`` images, or the fault of a card that no key
        can be made of.
        """
        self._held[card.id] = 0
        try:
            found = self._entry(card)
        except TeacherError as error:
            return Answer(card, None, str(error))
        self._held[card.id] = 0 if found is None else len(found.features)
        return (
            Answer(card, found, cached=True)
            if found is not None and len(found.features) >= size
            else None
        )

    def cost(self, card: ModelCard, size: int) -> float:
        """See ``Asker``."""
        missing = size - self.held(card)
        if missing <= 0:
            return 0.0
        return self.costs.running(card, missing) + (
            0.0 if card.id in self._loaded else self.costs.loading(card)
        )

    def held(self, card: ModelCard) -> int:
        """How many of the probe's first images this model has answered already."""
        if card.id not in self._held:
            self.stored(card, 0)
        return self._held[card.id]

    def _entry(self, card: ModelCard) -> StoredOutputs | None:
        entries = [
            self.cache.get(key_of(card, self.probe, kind))
            for kind in ([self.device] if self.device else ["cpu", "cuda"])
        ]
        return max(
            (entry for entry in entries if entry),
            key=lambda entry: len(entry.features),
            default=None,
        )

    def _run(self, waiting: Sequence[ModelCard], size: int, end: float) -> Iterator[Answer]:
        refused: list[Answer] = []
        probed = False
        for card, teacher in self._teachers(waiting, size, end, refused):
            if self._stop.is_set():
                return
            if isinstance(teacher, TeacherError):
                yield Answer(card, None, str(teacher))
                continue
            self._keep(card, teacher)
            if time.monotonic() + self.costs.running(card, size - self.held(card)) > self._limit(
                end, first=not probed
            ):
                refused.append(_refused(card, "budget"))
                continue
            probed = True
            self.started(card)
            yield self._probed(card, teacher, size)
        yield from refused

    def _teachers(
        self, waiting: Sequence[ModelCard], size: int, end: float, refused: list[Answer]
    ) -> Iterator[tuple[ModelCard, Teacher | TeacherError]]:
        """Those that are still loaded, then each that may begin, while the one before it runs."""
        from zoo.teacher import load_ahead

        yield from ((card, self._loaded[card.id]) for card in waiting if card.id in self._loaded)
        new = [card for card in waiting if card.id not in self._loaded]
        least = self.costs.starting() + min((self.cost(card, size) for card in new), default=0.0)
        if time.monotonic() + least > self._limit(end, first=True):
            refused.extend(_refused(card, "budget") for card in new)
            # before torch is loaded: that takes seconds in which nothing else can be done, not even
            # stop
            return
        device = _device(self.device)
        begun: dict[str, tuple[float, int]] = {}

        def admitted() -> Iterator[ModelCard]:
            running = (
                0.0  # seconds that the model which was admitted last will take once it is loaded
            )
            for card in new:
                limit = self._limit(end, first=not begun)
                mine = self.costs.running(card, size - self.held(card))
                done = (
                    time.monotonic()
                    + self.costs.starting()
                    + running
                    + self.costs.loading(card)
                    + mine
                )
                why = self._stop.is_set() or done > limit
                short = "budget" if why else pay(self.budget, self.costs, card)
                if short:
                    refused.append(_refused(card, short))
                    continue
                running, begun[card.id] = mine, (time.monotonic(), self.costs.download(card) or 0)
                yield card

        for card, teacher in load_ahead(admitted(), device=device, offline=self.offline):
            since, size_there = begun[card.id]
            if not isinstance(teacher, TeacherError):
                self.costs.fetched(card, size_there, time.monotonic() - since)
            yield card, teacher

    def _limit(self, end: float, *, first: bool) -> float:
        """When a model has to be done. The first of a round may take all that is left: starting
        torch may have taken the rest.
        """
        return self.budget.end if first and self.budget.bounded else end

    def _keep(self, card: ModelCard, teacher: Teacher) -> None:
        """A later round needs it again, unless too many are there already."""
        if (
            self.budget.bounded
            and sum(each.card.weight_bytes or 0 for each in self._loaded.values()) < _KEPT
        ):
            self._loaded[card.id] = teacher

    def _probed(self, card: ModelCard, teacher: Teacher, size: int) -> Answer:
        """Run the images that are missing, in steps that end where the rounds of a budget end: so
        the batches, and the last bits of an answer, are the same whatever the rounds were.
        """
        key = key_of(card, self.probe, str(teacher.device))
        stored = self.cache.get(key)
        begin, start = time.perf_counter(), 0 if stored is None else len(stored.features)

        stopped = threading.Event()

        def go_on(images: int) -> bool:
            self.batch_done(done + images)
            batch = (time.perf_counter() - begin) * _BATCH / max(done + images - start, 1)
            if self._stop.is_set() or self.budget.left() < batch:
                stopped.set()
            return not stopped.is_set()

        ends = [
            end for end in sizes(self.probe.size, len(self.probe.classes)) if start < end < size
        ]
        done = start
        for end in [*ends, size]:
            before = time.perf_counter()
            try:
                outputs = teacher.outputs(
                    self.probe.images[done:end], batch_size=_BATCH, on_batch=go_on
                )
            except TeacherError as error:
                return Answer(card, None, str(error))
            weights, bias = teacher.classifier or (None, None)
            new = StoredOutputs(
                outputs.features, outputs.logits, weights, bias, time.perf_counter() - before
            )
            stored = new if stored is None else _joined(stored, new)
            done = len(stored.features)
            if stopped.is_set():
                break
        self.costs.ran(card, done - start, time.perf_counter() - begin)
        self._held[card.id] = done
        if stored is not None and done > start:
            self.cache.put(key, stored)
        if done < size:
            return _refused(card, "budget", f"the budget ended after {done} of {size} images")
        return Answer(card, stored)


def pay(budget: Budget, costs: Costs, card: ModelCard) -> str | None:
    """Take what ``card`` has to download from the budget; ``"budget_gb"``, and nothing taken, where
    that is too much.
    """
    need = costs.download(card)
    if need == 0 or budget.download == float("inf"):
        return None
    if need is None or need > budget.download:
        return "budget_gb"
    budget.download -= need
    return None


def _refused(card: ModelCard, short: str, error: str | None = None) -> Answer:
    return Answer(card, None, error, left_out=short)


def beginning(probe: Probe, size: int) -> Probe:
    """The first ``size`` images of ``probe``; a stratified sample of it, since classes take
    turns.
    """
    if size >= probe.size:
        return probe
    return replace(
        probe,
        images=probe.images[:size],
        labels=probe.labels[:size],
        names=probe.names[:size],
        size=size,
    )


def first(stored: StoredOutputs, size: int) -> StoredOutputs:
    """The answers to the first ``size`` images."""
    logits = None if stored.logits is None else stored.logits[:size]
    return replace(stored, features=stored.features[:size], logits=logits)


def _joined(before: StoredOutputs, new: StoredOutputs) -> StoredOutputs:
    logits = (
        None
        if before.logits is None or new.logits is None
        else np.concatenate([before.logits, new.logits])
    )
    features = np.concatenate([before.features, new.features])
    return replace(new, features=features, logits=logits, seconds=before.seconds + new.seconds)


def key_of(card: ModelCard, probe: Probe, device: str) -> CacheKey:
    """Where the cache holds this model's answers to this probe; ``TeacherError`` where its
    preprocessing is no such thing.
    """
    from zoo.loading.preprocessing import preprocessing_of

    precision = "bf16" if device.startswith("cuda") else "float32"
    preprocessing = f"{preprocessing_of(card).key} {precision}"
    return CacheKey(
        model=card.id, revision=card.revision, preprocessing=preprocessing, probe=probe.digest
    )


def _device(given: str | None) -> str:
    """``given`` if this machine has it, a GPU where there is one if nothing was given."""
    import torch

    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if given is None:
        return "cuda" if there["cuda"] else "cpu"
    kind, _, number = given.partition(":")
    if not there[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UserError(
            f"--device {given}: this machine has no such device"
            f" ({', '.join(k for k, has in there.items() if has)})"
        )
    return given
