"""The teachers' answers on a probe: from the cache where they are stored, else by running each model once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from selection.cache import CacheKey, FeatureCache, StoredOutputs
from selection.probe import Probe
from zoo.card import ModelCard
from zoo.errors import TeacherError

if TYPE_CHECKING:
    from zoo.teacher import Teacher


@dataclass(frozen=True)
class Answer:
    """What became of one model: its stored outputs, or the reason why there are none. ``cached``: no teacher was loaded."""

    card: ModelCard
    stored: StoredOutputs | None
    error: str | None = None
    cached: bool = False


def key_of(card: ModelCard, probe: Probe) -> CacheKey:
    """Where the cache holds this model's answers to this probe."""
    from zoo.teacher import preprocessing_of

    return CacheKey(model=card.id, revision=card.revision, preprocessing=preprocessing_of(card).key, probe=probe.digest)


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
    that is killed loses at most the model in work.
    """
    waiting: list[ModelCard] = []
    for card in cards:
        stored = _stored(card, probe, cache)
        if isinstance(stored, Answer):
            yield stored
        else:
            waiting.append(card)
    if not waiting:
        return
    chosen = device or _default_device()
    with ThreadPoolExecutor(1, thread_name_prefix="load") as loader:
        coming: Future[Teacher] = loader.submit(_load, waiting[0], chosen, offline)
        for i, card in enumerate(waiting):
            started(card)
            ready = coming
            try:
                teacher = ready.result()
            except TeacherError as error:
                if i + 1 < len(waiting):
                    coming = loader.submit(_load, waiting[i + 1], chosen, offline)
                yield Answer(card, None, str(error))
                continue
            if i + 1 < len(waiting):
                coming = loader.submit(_load, waiting[i + 1], chosen, offline)
            yield _probed(card, teacher, probe, cache, batch_done)


def _stored(card: ModelCard, probe: Probe, cache: FeatureCache) -> Answer | None:
    try:
        stored = cache.get(key_of(card, probe))
    except TeacherError as error:
        return Answer(card, None, str(error))
    return None if stored is None else Answer(card, stored, cached=True)


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
    cache.put(key_of(card, probe), stored)
    return Answer(card, stored)


def _load(card: ModelCard, device: str, offline: bool) -> Teacher:
    from zoo.teacher import Teacher

    return Teacher.load(card, device=device, offline=offline)


def _default_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
