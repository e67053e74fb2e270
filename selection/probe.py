"""A few labelled samples of a task, on which every teacher is run."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from selection.duplicates.report import one_of_each
from selection.kinds.kind import Completion, CorruptSample, Join, Kind
from selection.sources.split import Rows, Split
from selection.sources.unreadable import commonest
from selection.task import Task
from zoo.errors import UserError


class _DrawnSample(NamedTuple):
    position: int  # in task.train
    sample: Any  # as teachers are shown it; None: it could not be read, see ``reason``
    digest: bytes  # ``Split.fingerprint``
    reason: str


@dataclass(eq=False)
class Probe:
    """N samples of the training split, as even over the classes as it has samples.

    Draw one with `Probe.draw`.

    Attributes
    ----------
    samples : list
        N samples as teachers are shown them (``Kind.show``).
    labels : (N,) int64 array
        In [0, C), or -1 for a sample that teachers are asked about for the sake of others.
    classes : tuple of str
        The task's C class names.
    seed, size : int
        How the probe was drawn; ``size`` is N.
    digest : str
        sha256 over class names, labels and the encoded bytes of the samples, in order.
    skipped : int
        Samples that were drawn but could not be read; others took their place.
    names : list of str
        N names, for reports.
    digests : list of bytes
        N times 16 bytes, the key of each sample in the store of teachers' outputs.
    kind : Kind
        What the samples are.
    warnings : list of str
        Sentences for the user.
    unreadable : dict of str to str
        Names of the samples that could not be read, and why.
    join : Join or None
        What makes features of the labelled samples, where teachers are asked about parts of them;
        None: a teacher's own features are those of the samples.
    """

    samples: list[Any]
    labels: Rows
    classes: tuple[str, ...]
    seed: int
    digest: str
    size: int
    skipped: int
    names: list[str]
    digests: list[bytes]
    kind: Kind
    warnings: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    join: Join | None = None

    @classmethod
    def draw(
        cls,
        task: Task,
        *,
        size: int = 500,
        seed: int = 0,
    ) -> Probe:
        """Draw samples from ``task.train``, classes taking turns.

        Each turn takes one sample of every class that still has one, so small classes count, and
        the probe of a smaller size with the same seed is the beginning of this one. Of copies
        (``Split.groups``) one is drawn. A class with fewer than two readable samples is left out
        with a warning.

        Parameters
        ----------
        task : Task
        size : int
            Samples to draw, at least two a class; all, if the task has fewer.
        seed : int
            Another seed draws other samples.

        Raises
        ------
        UserError
            If ``size`` is too small, or no two classes have two readable samples.
        """
        nouns = task.kind.nouns
        if size < 2 * len(task.classes):
            raise UserError(
                f"a probe of {size} {nouns} for {len(task.classes)} classes; at least"
                f" {2 * len(task.classes)} are needed (--probe-size {2 * len(task.classes)})"
            )
        rng = np.random.default_rng(seed)
        turns = rng.permutation(len(task.classes))
        rows_of_class = one_of_each(task.train)
        queues = [rng.permutation(rows) for rows in rows_of_class]
        drawn, failed = _decode_turns(task.train, queues, turns, size)
        unreadable = {task.train.name(sample.position): sample.reason for sample in failed}
        few = [label for label, samples in enumerate(drawn) if len(samples) < 2]
        warnings = [
            f"class {task.classes[label]!r} has {len(drawn[label])} readable training {nouns} and"
            " is left out of the probe"
            for label in few
        ]
        if len(task.classes) - len(few) < 2:
            raise UserError(
                f"no two classes of the task {task.name} have two readable {nouns}: "
                f"{len(failed)} of {len(task.train)} training {nouns} could not be read"
                + (f"; {commonest(unreadable)}" if unreadable else "")
            )
        kept = [[] if label in few else samples for label, samples in enumerate(drawn)]
        _refuse_equal_samples(task, kept)
        order = _round_robin([len(samples) for samples in kept], turns, size)
        in_order = [kept[label][turn] for label, turn in order]
        return cls._of(task, in_order, seed, unreadable, warnings)

    @property
    def labelled(self) -> int:
        """How many samples have a label: N, unless teachers are asked about parts of samples."""
        return int((self.labels >= 0).sum())

    def length_of(self, labelled: int) -> int:
        """How many of the first samples hold ``labelled`` ones with a label; N where all do."""
        places = np.flatnonzero(self.labels >= 0)
        return int(places[labelled - 1]) + 1 if 0 < labelled < len(places) else self.size

    @property
    def class_counts(self) -> list[int]:
        """How many probe samples each of the C classes has."""
        labels = self.labels[self.labels >= 0]
        counts: list[int] = np.bincount(labels, minlength=len(self.classes)).tolist()
        return counts

    @classmethod
    def _of(
        cls,
        task: Task,
        drawn: Sequence[_DrawnSample],
        seed: int,
        unreadable: dict[str, str],
        warnings: list[str],
    ) -> Probe:
        positions = np.array([sample.position for sample in drawn], dtype=np.int64)
        labels = task.train.labels[positions]
        names = "\0".join(task.classes)
        digest = hashlib.sha256(f"probe 1, {task.kind.shown_as}\0".encode())
        digest.update(names.encode("utf-8", "surrogatepass"))
        digest.update(labels.tobytes())
        for sample in drawn:
            digest.update(sample.digest)
        probe = cls(
            samples=[sample.sample for sample in drawn],
            labels=labels,
            classes=task.classes,
            seed=seed,
            digest=digest.hexdigest(),
            size=len(drawn),
            skipped=len(unreadable),
            names=[task.train.name(sample.position) for sample in drawn],
            digests=[sample.digest[:16] for sample in drawn],
            kind=task.kind,
            warnings=warnings,
            unreadable=unreadable,
        )
        completion = task.kind.complete(task.train, positions)
        return probe if completion is None else probe.completed(completion)

    def completed(self, further: Completion) -> Probe:
        """The probe with further samples, which have no label."""
        samples = [*self.samples, *further.samples]
        names, digests = [*self.names, *further.names], [*self.digests, *further.digests]
        labels = np.concatenate([self.labels, np.full(len(further.samples), -1)])
        return replace(
            self,
            samples=[samples[place] for place in further.order],
            names=[names[place] for place in further.order],
            digests=[digests[place] for place in further.order],
            labels=labels[further.order],
            size=len(further.order),
            join=further.join,
        )


def _refuse_equal_samples(task: Task, drawn: Sequence[Sequence[_DrawnSample]]) -> None:
    """Raise ``UserError`` where all samples are equal: no model can tell the classes apart."""
    samples = [sample for of_class in drawn for sample in of_class]
    equal = task.kind.equal([sample.sample for sample in samples])
    if equal is None:
        return
    raise UserError(
        f"all {len(samples)} {task.kind.nouns} drawn from the task {task.name} are {equal}: nothing"
        f" tells its classes apart; look at {task.train.name(samples[0].position)}"
    )


def _round_robin(available: Sequence[int], turns: Rows, size: int) -> list[tuple[int, int]]:
    """The first ``size`` of (label, turn) when classes take turns, each while it has samples."""
    order = [
        (int(label), turn)
        for turn in range(max(available, default=0))
        for label in turns
        if turn < available[label]
    ]
    return order[:size]


def _decode_turns(
    split: Split,
    queues: Sequence[Rows],
    turns: Rows,
    size: int,
) -> tuple[list[list[_DrawnSample]], list[_DrawnSample]]:
    """Readable samples by class in the order of its queue, ``size`` in all; and the failed ones."""
    good: list[list[_DrawnSample]] = [[] for _ in queues]
    failed: list[_DrawnSample] = []
    taken = [0] * len(queues)  # from each queue
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while True:
            available = [
                len(samples) + len(queue) - count
                for samples, queue, count in zip(good, queues, taken, strict=True)
            ]
            usable = [count if count >= 2 else 0 for count in available]
            wanted = Counter(label for label, _ in _round_robin(usable, turns, size))
            todo: list[int] = []
            for label, queue in enumerate(queues):
                more = max(0, wanted[label] - len(good[label]))
                todo += queue[taken[label] : taken[label] + more].tolist()
                taken[label] += more
            if not todo:
                return good, failed
            in_disk_order = sorted(todo)
            samples = pool.map(lambda position: _read(split, position), in_disk_order)
            by_position = dict(zip(in_disk_order, samples, strict=True))
            for position in todo:
                sample = by_position[position]
                of_class = good[int(split.labels[position])]
                (failed if sample.sample is None else of_class).append(sample)


def _read(split: Split, position: int) -> _DrawnSample:
    try:
        raw = split.raw(position)
        return _DrawnSample(position, split.shown(raw), split.fingerprint(raw), "")
    except CorruptSample as error:
        return _DrawnSample(position, None, b"", str(error))
