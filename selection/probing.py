"""The teachers' answers on a probe: from the cache where they are stored, else by running each model once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selection.cache import CacheKey, FeatureCache, StoredOutputs
from selection.probe import Probe
from zoo.card import ModelCard
from zoo.errors import TeacherError, UserError

if TYPE_CHECKING:
    from zoo.teacher import Teacher


@dataclass(frozen=True)
class Answer:
    """What became of one model: its stored outputs, or the reason why there are none. ``cached``: no teacher was loaded."""

    card: ModelCard
    stored: StoredOutputs | None
    error: str | None = None
    cached: bool = False


def answers(
    cards: Sequence[ModelCard],
    probe: Probe,
    cache: FeatureCache,
    *,
    device: str | None = None,
    offline: bool = False,
    started: Callable[[ModelCard], None] = lambda card: None,
    batch_done: Callable[[int], None] = lambda images: None,
) -> Iterator[Answer]:
    """Yield an ``Answer`` for every card: those in the cache first, then the others as each is done, in order.

    The next model is fetched and loaded while this one runs. An answer is in the cache before it is yielded, so a run
    that is killed loses at most the model in work. A GPU answers in bf16, so its answers are kept apart from a CPU's;
    without ``device`` either will do. ``batch_done`` is told how many images of the current model are done.
    """
    waiting: list[ModelCard] = []
    for card in cards:
        stored = _stored(card, probe, cache, device)
        if isinstance(stored, Answer):
            yield stored
        else:
            waiting.append(card)
    if not waiting:
        return
    from zoo.teacher import load_ahead

    chosen = _device(device)
    for card, teacher in load_ahead(waiting, device=chosen, offline=offline):
        if isinstance(teacher, TeacherError):
            yield Answer(card, None, str(teacher))
            continue
        started(card)
        yield _probed(card, teacher, probe, cache, batch_done)


def key_of(card: ModelCard, probe: Probe, device: str) -> CacheKey:
    """Where the cache holds this model's answers to this probe; ``TeacherError`` where its preprocessing is no such thing."""
    from zoo.preprocessing import preprocessing_of

    precision = "bf16" if device.startswith("cuda") else "float32"
    preprocessing = f"{preprocessing_of(card).key} {precision}"
    return CacheKey(model=card.id, revision=card.revision, preprocessing=preprocessing, probe=probe.digest)


def _stored(card: ModelCard, probe: Probe, cache: FeatureCache, device: str | None) -> Answer | None:
    try:
        for kind in [device] if device else ["cpu", "cuda"]:
            if (stored := cache.get(key_of(card, probe, kind))) is not None:
                return Answer(card, stored, cached=True)
    except TeacherError as error:
        return Answer(card, None, str(error))
    return None


def _probed(card: ModelCard, teacher: Teacher, probe: Probe, cache: FeatureCache, batch_done: Callable[[int], None]) -> Answer:
    begin = time.perf_counter()
    try:
        outputs = teacher.outputs(probe.images, on_batch=batch_done)
    except TeacherError as error:
        return Answer(card, None, str(error))
    weights, bias = teacher.classifier or (None, None)
    stored = StoredOutputs(
        features=outputs.features,
        logits=outputs.logits,
        classifier_weights=weights,
        classifier_bias=bias,
        seconds=time.perf_counter() - begin,
    )
    cache.put(key_of(card, probe, str(teacher.device)), stored)
    return Answer(card, stored)


def _device(given: str | None) -> str:
    """``given`` if this machine has it, a GPU where there is one if nothing was given."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if given is None:
        return "cuda" if there["cuda"] else "cpu"
    kind, _, number = given.partition(":")
    if not there[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UserError(f"--device {given}: this machine has no such device ({', '.join(k for k, has in there.items() if has)})")
    return given
