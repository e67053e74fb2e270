"""The outputs of a teacher on the samples of a run, read from the store or computed and stored."""

from __future__ import annotations

import errno
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from distill.data.batch import Augmentation, TeacherOutputs
from distill.data.samples import Samples
from selection.probing.store import (
    BATCH,
    CLASSIFIER,
    NewRows,
    StoreKey,
    TeacherStore,
    outputs_of,
)
from zoo.errors import TeacherError
from zoo.terminal.progress import Meter, Progress, note

if TYPE_CHECKING:
    from zoo.teacher import Teacher

LOGITS = ("logits",)
HIDDEN = ("hidden",)  # kept apart: few methods need it, and it is the largest
_FLOAT16_MAX = 65504.0
_NOTED_BYTES = 1e6  # storing more than this is announced

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class RenderedViews:
    """``count`` seeded views of every training sample, which student and teachers both see."""

    augmentation: Augmentation
    seed: int
    count: int


class TeacherInputs(Protocol):
    """What a teacher is shown: n samples, each with the digest under which its outputs are kept."""

    digests: list[bytes]
    samples: Samples

    @property
    def view(self) -> str | None:
        """See ``StoreKey.view``."""
        ...

    def batches(self, teacher: Teacher, places: Sequence[int]) -> Iterator[Tensor]:
        """The samples at ``places`` among the n, normalised, (at most ``BATCH``, 3, H, W)."""
        ...


class SampleInputs:
    """The samples as they are, with the teacher's preprocessing: what ``selection.rank`` shows."""

    view = None

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.digests = [samples.digests[row].tobytes() for row in samples.usable]

    def batches(self, teacher: Teacher, places: Sequence[int]) -> Iterator[Tensor]:
        """See ``TeacherInputs``; the next batch is decoded while the teacher runs."""

        def prepared(place: int) -> Tensor:
            sample = self.samples.sample(int(self.samples.usable[place]))
            inputs: Tensor = teacher.prepare(sample)
            return inputs

        waiting: deque[Iterator[Tensor]] = deque()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(places), BATCH):
                waiting.append(pool.map(prepared, places[start : start + BATCH]))
                if len(waiting) > 1:
                    yield teacher.normalise(teacher.collate(list(waiting.popleft())))
            for samples in waiting:
                yield teacher.normalise(teacher.collate(list(samples)))


class ViewInputs:
    """One rendered view of every sample, exactly as the student sees it."""

    def __init__(
        self,
        samples: Samples,
        views: RenderedViews,
        number: int,
    ) -> None:
        self.samples, self.views, self.number = samples, views, number
        name = f"{views.augmentation.key} seed {views.seed} view {number}"
        self.view = f"{name} of {samples.digest}"
        # a view is drawn by the sample's row in the training set, so the row is its digest
        self.digests = [int(row).to_bytes(16, "big") for row in samples.usable]

    def batches(self, teacher: Teacher, places: Sequence[int]) -> Iterator[Tensor]:
        """See ``TeacherInputs``."""
        inputs = torch.from_numpy(self.samples.inputs)
        usable = torch.from_numpy(self.samples.usable).to(teacher.device)
        for start in range(0, len(places), BATCH):
            index = usable[list(places[start : start + BATCH])]
            shown = self.views.augmentation.render(
                inputs,
                index,
                torch.full_like(index, self.number),
                seed=self.views.seed,
                size=self.samples.size,
                partners=usable,
            )
            yield teacher.view(shown.inputs)


def teacher_outputs(
    store: TeacherStore,
    key: StoreKey,
    samples: Samples,
    load: Callable[[], Teacher],
    *,
    views: RenderedViews | None = None,
) -> TeacherOutputs:
    """The outputs (V, N, ...) on rendered views, or (1, N, ...) on the samples as they are.

    What is not in the store is computed and kept, shard by shard, so a stopped run goes on.
    ``load`` is called only if something is missing. Rows of damaged samples are 0. Raises
    ``TeacherError`` if the teacher fails or an output is NaN, ``OSError`` if the disk is full.
    """
    inputs: list[TeacherInputs] = []
    if views is None:
        inputs.append(SampleInputs(samples))
    else:
        inputs += [ViewInputs(samples, views, number) for number in range(views.count)]
    arrays = []
    for number, part in enumerate(inputs):
        view_key = replace(key, view=part.view)
        arrays.append(
            _arrays(
                store,
                view_key,
                part,
                load,
                views_left=len(inputs) - number,
            )
        )
    names = set.intersection(*(set(part) for part in arrays))
    if not names:
        raise TeacherError(f"{key.model} has no {' or '.join(key.content)} to store")
    return TeacherOutputs(
        **{
            name: _joined(
                arrays,
                name,
                samples,
                key,
            )
            for name in sorted(names)
        }
    )


def _joined(
    arrays: Sequence[Arrays],
    name: str,
    samples: Samples,
    key: StoreKey,
) -> Tensor:
    """(V, N, ...) float16 from V arrays (n, ...) of the usable samples."""
    shape = arrays[0][name].shape[1:]
    joined = torch.zeros(
        len(arrays),
        len(samples),
        *shape,
        dtype=torch.float16,
    )
    rows = torch.from_numpy(samples.usable)
    for view, part in enumerate(arrays):
        values = torch.from_numpy(part[name])
        if not bool(torch.isfinite(values).all()):
            raise TeacherError(f"{key.model} answers with NaN or infinity on some samples")
        joined[view, rows] = values.clamp(-_FLOAT16_MAX, _FLOAT16_MAX).half()
    return joined


def _arrays(
    store: TeacherStore,
    key: StoreKey,
    inputs: TeacherInputs,
    load: Callable[[], Teacher],
    *,
    views_left: int,
) -> Arrays:
    """Name -> (n, ...) outputs on ``inputs``. Of several processes one computes, the rest read."""
    runner = _Runner(key, inputs, load)
    with store.lock(key):
        missing = len(inputs.digests) - int(store.read(key, inputs.digests).present.sum())
        if missing:
            runner.check_space(store.folder, missing * views_left)
        progress = Progress.default() if missing else Progress.silent()
        with progress.over(
            f"running {key.model}", unit=inputs.samples.nouns, total=missing
        ) as runner.meter:
            stored = outputs_of(store, key, inputs.digests, runner.compute)
    return stored.arrays


class _Runner:
    """Runs a teacher, or its lower layers alone, on the missing samples."""

    meter: Meter

    def __init__(
        self,
        key: StoreKey,
        inputs: TeacherInputs,
        load: Callable[[], Teacher],
    ) -> None:
        self.key, self.inputs, self.load = key, inputs, load

    def check_space(self, folder: Any, samples: int) -> None:
        """Raise ``OSError`` before any work if the disk cannot hold the outputs."""
        size = samples * self._width() * self.key.dtype.itemsize  # bytes
        if size > shutil.disk_usage(folder).free:
            message = f"{size / 1e6:.0f} MB of outputs of {self.key.model} do not fit"
            raise OSError(errno.ENOSPC, message, str(folder))
        if size > _NOTED_BYTES:
            note(f"storing outputs of {self.key.model}, {size / 1e6:.0f} MB, in {folder}")

    def compute(self, places: Sequence[int]) -> NewRows:
        """The outputs on the inputs at ``places``, and the teacher's classifier."""
        teacher = self.load()
        parts: dict[str, list[Tensor]] = {}
        for batch in self.inputs.batches(teacher, places):
            for name, values in self._forward(teacher, batch).items():
                parts.setdefault(name, []).append(values.float().cpu())
            self.meter.advance(len(batch))
        arrays = {name: torch.cat(values).numpy() for name, values in parts.items()}
        if not all(np.isfinite(values).all() for values in arrays.values()):
            raise TeacherError(f"{self.key.model} answers with NaN or infinity on some samples")
        classifier = teacher.classifier if "features" in arrays else None
        return NewRows(arrays, dict(zip(CLASSIFIER, classifier or (), strict=False)))

    def _forward(self, teacher: Teacher, batch: Tensor) -> dict[str, Tensor]:
        if self.key.content == HIDDEN:
            from zoo.split_teacher import SplitTeacher

            return {"hidden": SplitTeacher(teacher).stored_state(batch)}
        outputs = teacher.forward(batch)
        named = {name: getattr(outputs, name) for name in self.key.content}
        return {name: values for name, values in named.items() if values is not None}

    def _width(self) -> int:
        """How many numbers are stored of one sample."""
        teacher = self.load()
        widths = {"features": teacher.feature_dim, "logits": teacher.num_classes}
        if self.key.content == HIDDEN:
            from zoo.split_teacher import GRID, SplitTeacher

            widths["hidden"] = SplitTeacher(teacher).channels * GRID * GRID
        return sum(widths[name] for name in self.key.content)
