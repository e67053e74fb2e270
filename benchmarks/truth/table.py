"""The truth tables, cell by cell: how good a student is after each teacher, or committee, taught
it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.record import append_rows
from benchmarks.truth.targets import TARGETS, Target, held_out, training
from zoo.terminal.command import printable

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.truth.students import LabelledImages, StudentRecipe, TeacherAnswers
    from benchmarks.truth.teachers import Answers, Entry
    from distill.teachers.probe_head import ProbeHead
    from zoo.card import ModelCard

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
    """

    home: Path
    path: Path
    recipe: StudentRecipe
    answers: Answers

    def fill(self, target: Target, entries: Sequence[Entry], *, protocol: str, seed: int) -> int:
        """Train the student of every entry that may teach ``target`` and of none; returns how many
        were missing.
        """
        cards = {entry.card.id: entry.card for entry in entries if not entry.knows(target)}
        done = self._done()
        missing = [
            name for name in (NONE, *cards) if self._key(target, name, protocol, seed) not in done
        ]
        if not missing:
            return 0
        task = LabelledTask.of(target, self.home, protocol=protocol, seed=seed)
        for name in missing:
            if name == NONE:
                self._train(task, NONE, None)
                continue
            head, logits = self._head(task, cards[name])
            self._train(task, name, _alone(logits), accuracy=head.accuracy)
        return len(missing)

    def committee(
        self, target: Target, members: Sequence[Entry], *, protocol: str, seed: int, rule: str
    ) -> int:
        """Train the student of ``members`` together, weighted by ``probe_head.mixture``; 0 if it is
        there.
        """
        import torch

        from benchmarks.truth.students import TeacherAnswers
        from distill.teachers.probe_head import mixture

        name = f"{rule}: " + " + ".join(sorted(entry.card.id for entry in members))
        if self._key(target, name, protocol, seed) in self._done():
            return 0
        task = LabelledTask.of(target, self.home, protocol=protocol, seed=seed)
        logits = torch.stack([self._head(task, entry.card)[1] for entry in members])  # (K, N, C)
        known = torch.from_numpy(np.flatnonzero(task.labels >= 0)).to(logits.device)
        truth = torch.from_numpy(task.labels).to(logits.device)[known]
        weights = mixture(logits[:, known], truth).to(logits.device)
        joined = (weights[:, None, None] * logits[:, known].softmax(dim=2)).sum(dim=0)
        accuracy = float((joined.argmax(dim=1) == truth).float().mean())
        answers = TeacherAnswers(logits=logits, weights=weights)
        self._train(task, name, answers, accuracy=accuracy, rule=rule)
        return 1

    def _head(self, task: LabelledTask, card: ModelCard) -> tuple[ProbeHead, Tensor]:
        features, _ = self.answers.of(card, task.target)
        return task.head(features, self.answers.device)

    def _key(
        self, target: Target, name: str, protocol: str, seed: int
    ) -> tuple[str, str, str, int, str]:
        return target.name, name, protocol, seed, digest(self.recipe)

    def _done(self) -> set[tuple[str, str, str, int, str]]:
        return {cell.key for cell in read_cells(self.path, recipe=digest(self.recipe))}

    def _train(
        self,
        task: LabelledTask,
        name: str,
        answers: TeacherAnswers | None,
        *,
        accuracy: float | None = None,
        rule: str = "",
    ) -> None:
        """Train one student and keep its cell; ``accuracy`` is its teacher's head's."""
        from benchmarks.truth import students

        start = time.perf_counter()
        student = students.train(
            task.images, answers, self.recipe, seed=task.seed, device=self.answers.device
        )
        images, truth, n_test = task.held_out
        right = students.hits(student, images, truth)  # (n,)
        cell = Cell(
            task=task.target.name,
            teacher=name,
            protocol=task.protocol,
            seed=task.seed,
            rule=rule,
            recipe=digest(self.recipe),
            accuracy=round(float(right.mean()), 5),
            n=len(right),
            test_accuracy=round(float(right[:n_test].mean()), 5),
            n_test=n_test,
            answers=None if accuracy is None else round(accuracy, 4),
            seconds=round(time.perf_counter() - start, 2),
        )
        self._keep(cell, right)

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
            f"{cell.task:18s} {cell.protocol:6s} {cell.seed} {printable(cell.teacher)[:60]:60s}"
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


def _alone(logits: Tensor) -> TeacherAnswers:
    """The answers (N, C) of a single teacher."""
    import torch

    from benchmarks.truth.students import TeacherAnswers

    return TeacherAnswers(logits=logits[None], weights=torch.ones(1))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTask:
    """The images and labels of one task, protocol and seed: ``rows`` of the pool, ``labels`` -1
    where unlabelled.
    """

    target: Target
    protocol: str
    seed: int
    images: LabelledImages
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    held_out: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], int]

    @classmethod
    def of(cls, target: Target, home: Path, *, protocol: str, seed: int) -> LabelledTask:
        """The training images (all of the pool, or the labelled ones) with the labels that ``seed``
        gives.
        """
        from benchmarks.truth.students import LabelledImages

        classes = np.arange(len(target.classes))[:, None]
        labels = np.where(target.labelled(seed), classes, -1).reshape(-1).astype(np.int64)
        rows = np.flatnonzero(labels >= 0) if protocol == "labels" else np.arange(len(labels))
        images = LabelledImages.of(
            training(target, home)[rows],
            labels[rows],
            classes=target.classes,
            flip=target.dataset != "mnist",  # a mirrored digit is none
        )
        return cls(
            target=target,
            protocol=protocol,
            seed=seed,
            images=images,
            labels=labels[rows],
            rows=rows,
            held_out=held_out(target, home),
        )

    def head(self, features: npt.NDArray[np.float32], device: str) -> tuple[ProbeHead, Tensor]:
        """A teacher's head on the labelled images, and its answers to all images of the task."""
        from benchmarks.truth.students import answers_of

        return answers_of(
            features[self.rows], self.labels, classes=len(self.target.classes), device=device
        )


def plan(
    tasks: Sequence[str], seeds: Sequence[int], protocols: Sequence[str]
) -> Iterator[tuple[Target, str, int]]:
    """The order in which the table fills: one protocol and seed over all tasks before the next."""
    for protocol in protocols:
        for seed in seeds:
            for task in tasks:
                yield TARGETS[task], protocol, seed
