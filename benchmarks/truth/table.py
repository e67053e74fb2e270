"""The truth tables, cell by cell: how good a student is after each teacher, or committee, taught
it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.record import append_rows
from benchmarks.truth.targets import TARGETS, Target, held_out, training
from zoo.terminal.command import clean

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.truth.students import FixedBatches, StudentRecipe
    from benchmarks.truth.teachers import Answers, Entry

PROTOCOLS = ("pool", "labels")  # with unlabelled images beside the labelled ones, or those alone
SEEDS = (0, 1, 2)
NONE = "none"  # the student without a teacher
CELLS = "truth_cells.jsonl"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One student: ``accuracy`` on ``n`` held-out images, ``test_accuracy`` on the official test
    images among them.

    ``teacher`` is a card's id, ``none``, or a committee: ``rule``, how it was chosen, and its
    members joined by " + ". ``answers`` is the accuracy of the teacher's own head, out of fold;
    ``recipe`` the digest of the student's recipe.
    """

    task: str
    teacher: str
    protocol: str
    seed: int
    recipe: str
    accuracy: float
    n: int
    test_accuracy: float
    n_test: int
    answers: float | None
    seconds: float
    rule: str = ""

    @property
    def key(self) -> tuple[str, str, str, int, str]:
        """What makes it a cell of its own."""
        return self.task, self.teacher, self.protocol, self.seed, self.recipe


def digest(recipe: StudentRecipe) -> str:
    """Eight letters that change with the recipe."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:8]


def read_cells(path: Path, *, recipe: str | None = None) -> list[Cell]:
    """The cells of a table, each once, in the order they were made; torn lines are passed over."""
    found: dict[tuple[str, str, str, int, str], Cell] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            cell = Cell(**json.loads(line))
        except (json.JSONDecodeError, TypeError):
            continue
        if recipe in (None, cell.recipe):
            found.setdefault(cell.key, cell)
    return list(found.values())


@dataclass(eq=False)
class Bench:
    """Makes the cells that are missing: the teachers' ``answers``, the ``recipe`` and the table's
    ``path``.

    ``together`` students train in one batch: many on a GPU, one on a CPU, where a batch of them is
    no faster.
    """

    home: Path
    path: Path
    recipe: StudentRecipe
    answers: Answers
    together: int = 1

    def fill(self, target: Target, entries: Sequence[Entry], *, protocol: str, seed: int) -> int:
        """Train the student of every entry that may teach ``target`` and of none; returns how many
        were missing.
        """
        wanted = [NONE, *(entry.card.id for entry in entries if not entry.knows(target))]
        missing = [
            name for name in wanted if self._key(target, name, protocol, seed) not in self._done()
        ]
        if not missing:
            return 0
        lesson = Lesson.of(target, self.home, protocol=protocol, seed=seed)
        cards = {entry.card.id: entry.card for entry in entries}
        if NONE in missing:
            self._train(lesson, [(NONE, "")], [None], [None])
        teachers = [name for name in missing if name != NONE]
        for start in range(0, len(teachers), self.together):
            some = teachers[start : start + self.together]
            heads = [
                lesson.head(self.answers.of(cards[name], target)[0], self.answers.device)
                for name in some
            ]
            self._train(
                lesson,
                [(name, "") for name in some],
                [z for _, z in heads],
                [head.accuracy for head, _ in heads],
            )
        return len(missing)

    def committee(
        self, target: Target, members: Sequence[Entry], *, protocol: str, seed: int, rule: str
    ) -> int:
        """Train the student of the averaged answers of ``members``, weighted by
        ``probe_head.mixture``; 0 if it is there.
        """
        import torch

        from distill.teachers.probe_head import mixture

        name = f"{rule}: " + " + ".join(sorted(entry.card.id for entry in members))
        if self._key(target, name, protocol, seed) in self._done():
            return 0
        lesson = Lesson.of(target, self.home, protocol=protocol, seed=seed)
        heads = [
            lesson.head(self.answers.of(entry.card, target)[0], self.answers.device)
            for entry in members
        ]
        stacked = torch.stack([z for _, z in heads])  # (K, N, C)
        known = torch.from_numpy(np.flatnonzero(lesson.labels >= 0)).to(stacked.device)
        truth = torch.from_numpy(lesson.labels).to(stacked.device)[known]
        weights = mixture(stacked[:, known], truth).to(stacked.device)
        joined = (weights[:, None, None] * stacked.softmax(dim=2)).sum(dim=0).clamp(min=1e-9).log()
        right = float((joined[known].argmax(dim=1) == truth).float().mean())
        self._train(lesson, [(name, rule)], [joined], [right])
        return 1

    def _key(
        self, target: Target, name: str, protocol: str, seed: int
    ) -> tuple[str, str, str, int, str]:
        return target.name, name, protocol, seed, digest(self.recipe)

    def _done(self) -> set[tuple[str, str, str, int, str]]:
        return {cell.key for cell in read_cells(self.path, recipe=digest(self.recipe))}

    def _train(
        self,
        lesson: Lesson,
        names: Sequence[tuple[str, str]],
        answers: Sequence[Tensor | None],
        accuracies: Sequence[float | None],
    ) -> None:
        import torch

        import benchmarks.truth.students as students

        start = time.perf_counter()
        taught = [one for one in answers if one is not None]
        made = students.train(
            lesson.batches(self.recipe, pooled=bool(taught)),
            lesson.labels,
            torch.stack(taught) if taught else None,
            self.recipe,
            classes=len(lesson.target.classes),
            seed=lesson.seed,
            device=self.answers.device,
        )
        images, truth, n_test = lesson.held_out
        right = students.hits(made, images, truth)  # (K, n)
        seconds = round((time.perf_counter() - start) / len(names), 2)
        for (name, rule), row, accuracy in zip(names, right, accuracies, strict=True):
            cell = Cell(
                task=lesson.target.name,
                teacher=name,
                protocol=lesson.protocol,
                seed=lesson.seed,
                rule=rule,
                recipe=digest(self.recipe),
                accuracy=round(float(row.mean()), 5),
                n=len(row),
                test_accuracy=round(float(row[:n_test].mean()), 5),
                n_test=n_test,
                answers=None if accuracy is None else round(accuracy, 4),
                seconds=seconds,
            )
            self._keep(cell, row)

    def _keep(self, cell: Cell, right: npt.NDArray[np.bool_]) -> None:
        """First which images were right, then the line that says the cell is there."""
        hits = self.home / "hits" / cell.recipe / cell.task / f"{cell.protocol}-{cell.seed}"
        hits.mkdir(parents=True, exist_ok=True)
        np.save(
            hits / f"{hashlib.sha256(cell.teacher.encode()).hexdigest()[:16]}.npy",
            np.packbits(right),
        )
        append_rows(self.path, [asdict(cell)])
        print(
            f"{cell.task:18s} {cell.protocol:6s} {cell.seed} {clean(cell.teacher)[:60]:60s}"
            f" {100 * cell.accuracy:5.1f}  {cell.seconds:.1f} s",
            flush=True,
        )


def hits_of(home: Path, cell: Cell) -> npt.NDArray[np.bool_] | None:
    """(n,) which held-out images the cell's student named rightly, where this machine made the
    cell.
    """
    path = (
        home
        / "hits"
        / cell.recipe
        / cell.task
        / f"{cell.protocol}-{cell.seed}"
        / f"{hashlib.sha256(cell.teacher.encode()).hexdigest()[:16]}.npy"
    )
    return np.unpackbits(np.load(path), count=cell.n).astype(bool) if path.is_file() else None


@dataclass(frozen=True, eq=False)
class Lesson:
    """The images and labels of one task, protocol and seed: ``rows`` of the pool, ``labels`` -1
    where unlabelled.
    """

    target: Target
    protocol: str
    seed: int
    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    held_out: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], int]
    _batches: dict[bool, FixedBatches] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target, home: Path, *, protocol: str, seed: int) -> Lesson:
        """The training images (all of the pool, or the labelled ones) with the labels that ``seed``
        gives.
        """
        marked = target.labelled(seed)
        labels = (
            np.where(marked, np.arange(len(target.classes))[:, None], -1)
            .reshape(-1)
            .astype(np.int64)
        )
        rows = np.flatnonzero(labels >= 0) if protocol == "labels" else np.arange(len(labels))
        return cls(
            target,
            protocol,
            seed,
            training(target, home)[rows],
            labels[rows],
            rows,
            held_out(target, home),
        )

    def batches(self, recipe: StudentRecipe, *, pooled: bool) -> FixedBatches:
        """The batches of all students that have a teacher (``pooled``), or of the one that has none
        and needs labels.
        """
        if pooled not in self._batches:
            from benchmarks.truth.students import batches, flips

            self._batches[pooled] = batches(
                self.pixels,
                self.labels,
                recipe,
                seed=self.seed,
                flip=flips(self.target),
                pooled=pooled,
            )
        return self._batches[pooled]

    def head(self, features: npt.NDArray[np.float32], device: str) -> tuple[Any, Tensor]:
        """A teacher's head on the labelled images, and its answers to all images of the lesson."""
        from benchmarks.truth.students import answers_of

        head, answers = answers_of(
            features[self.rows], self.labels, classes=len(self.target.classes), device=device
        )
        return head, answers


def plan(
    tasks: Sequence[str], seeds: Sequence[int], protocols: Sequence[str]
) -> Iterator[tuple[Target, str, int]]:
    """The order in which the table fills: one protocol and seed over all tasks before the next."""
    for protocol in protocols:
        for seed in seeds:
            for task in tasks:
                yield TARGETS[task], protocol, seed
