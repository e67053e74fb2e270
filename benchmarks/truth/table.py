"""The truth tables, cell by cell: how good a student is after each teacher or committee."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.record import append_rows, read_rows
from benchmarks.truth.targets import TARGETS, HeldOut, Target, held_out, training
from zoo.files import known_fields, replacing
from zoo.terminal.command import printable
from zoo.terminal.progress import Progress

if TYPE_CHECKING:
    from benchmarks.truth.students import FittedHead, HeadLogits, LabelledImages, StudentRecipe
    from benchmarks.truth.teachers import TableTeacher, TargetOutputs
    from zoo.card import ModelCard

PROTOCOLS = ("pool", "labels")  # with unlabelled images beside the labelled ones, or those alone
SEEDS = (0, 1, 2)
NONE = "none"  # the student without a teacher
CELLS = "truth_cells.jsonl"
COMMITTEE_PROTOCOL = "pool"

CellKey = tuple[str, str, str, int, str]  # task, teacher, protocol, seed, recipe


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
    def key(self) -> CellKey:
        """What makes it a cell of its own."""
        return self.task, self.teacher, self.protocol, self.seed, self.recipe


def recipe_digest(recipe: StudentRecipe) -> str:
    """Eight letters that change with the recipe."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:8]


def read_cells(path: Path, *, recipe: str | None = None) -> list[Cell]:
    """The cells of a table, each once, in the order they were made; torn lines are passed over.

    All of one ``recipe``, by default that of the table's first cell: students of two recipes are
    not compared. Another recipe's table is read from a file of its own.
    """
    cells: dict[CellKey, Cell] = {}
    for row in read_rows(path):
        cell = Cell(**known_fields(Cell, row))
        recipe = recipe or cell.recipe
        if cell.recipe == recipe:
            cells.setdefault(cell.key, cell)
    return list(cells.values())


@dataclass(eq=False)
class TableFiller:
    """Makes the cells that the table at ``path`` lacks: students of ``recipe`` from the ``outputs``
    of teachers.
    """

    home: Path
    path: Path
    recipe: StudentRecipe
    outputs: TargetOutputs

    def fill(
        self,
        target: Target,
        teachers: Sequence[TableTeacher],
        *,
        protocol: str,
        seed: int,
    ) -> int:
        """Train the student of every teacher that was not trained on ``target``, and of none;
        returns how many were missing.
        """
        allowed = {each.card.id: each.card for each in teachers if not each.trained_on(target)}
        done = self._done()
        missing = [
            name
            for name in (NONE, *allowed)
            if self._key(
                target,
                name,
                protocol,
                seed,
            )
            not in done
        ]
        if not missing:
            return 0
        task = LabelledTask.of(
            target,
            self.home,
            protocol=protocol,
            seed=seed,
        )
        title = f"{target.name}, {protocol}, seed {seed}"
        with Progress.default().over(title, unit="students", total=len(missing)) as meter:
            for name in missing:
                self._train_single(task, name, allowed.get(name))
                meter.advance()
        return len(missing)

    def fill_committee(
        self,
        target: Target,
        members: Sequence[TableTeacher],
        *,
        seed: int,
        rule: str,
    ) -> int:
        """Train the student of ``members`` together, weighted by ``probe_head.mixture``; returns
        whether it was missing.
        """
        import torch

        from benchmarks.truth.students import HeadLogits
        from distill.teachers.probe_head import mixture

        name = f"{rule}: " + " + ".join(sorted(member.card.id for member in members))
        if (
            self._key(
                target,
                name,
                COMMITTEE_PROTOCOL,
                seed,
            )
            in self._done()
        ):
            return 0
        task = LabelledTask.of(
            target,
            self.home,
            protocol=COMMITTEE_PROTOCOL,
            seed=seed,
        )
        heads = [task.head(self.outputs, member.card) for member in members]
        logits = torch.stack([head.logits for head in heads])  # (K, N, C)
        labelled = torch.from_numpy(np.flatnonzero(task.labels >= 0)).to(logits.device)
        truth = torch.from_numpy(task.labels).to(logits.device)[labelled]
        weights = mixture(logits[:, labelled], truth).to(logits.device)
        mixed = (weights[:, None, None] * logits[:, labelled].softmax(dim=2)).sum(dim=0)
        accuracy = float((mixed.argmax(dim=1) == truth).float().mean())
        self._train(
            task,
            name,
            HeadLogits(logits, weights),
            accuracy=accuracy,
            rule=rule,
        )
        return 1

    def _key(
        self,
        target: Target,
        name: str,
        protocol: str,
        seed: int,
    ) -> CellKey:
        return target.name, name, protocol, seed, recipe_digest(self.recipe)

    def _done(self) -> set[CellKey]:
        return {cell.key for cell in read_cells(self.path, recipe=recipe_digest(self.recipe))}

    def _train_single(
        self,
        task: LabelledTask,
        name: str,
        card: ModelCard | None,
    ) -> None:
        """Train the student of one teacher, or of none."""
        import torch

        from benchmarks.truth.students import HeadLogits

        if card is None:
            self._train(task, name, None)
            return
        head = task.head(self.outputs, card)
        heads = HeadLogits(head.logits[None], torch.ones(1))
        self._train(task, name, heads, accuracy=head.accuracy)

    def _train(
        self,
        task: LabelledTask,
        name: str,
        heads: HeadLogits | None,
        *,
        accuracy: float | None = None,
        rule: str = "",
    ) -> None:
        """Train one student and keep its cell; ``accuracy`` is that of its teachers' heads."""
        from benchmarks.truth import students

        start = time.perf_counter()
        student = students.train(
            task.images,
            heads,
            self.recipe,
            seed=task.seed,
            device=self.outputs.device,
        )
        test = task.held_out
        hits = students.hits(student, test.images, test.labels)  # (n,)
        cell = Cell(
            task=task.target.name,
            teacher=name,
            protocol=task.protocol,
            seed=task.seed,
            rule=rule,
            recipe=recipe_digest(self.recipe),
            accuracy=round(float(hits.mean()), 5),
            n=len(hits),
            test_accuracy=round(float(hits[: test.test_count].mean()), 5),
            n_test=test.test_count,
            answers=None if accuracy is None else round(accuracy, 4),
            seconds=round(time.perf_counter() - start, 2),
        )
        self._keep(cell, hits)

    def _keep(self, cell: Cell, hits: npt.NDArray[np.bool_]) -> None:
        """First which images were right, then the line that says the cell is there."""
        with replacing(_hits_path(self.home, cell)) as partial, partial.open("wb") as file:
            np.save(file, np.packbits(hits))
        append_rows(self.path, [asdict(cell)])
        print(
            f"{cell.task:18s} {cell.protocol:6s} {cell.seed} {printable(cell.teacher)[:60]:60s}"
            f" {100 * cell.accuracy:5.1f}  {cell.seconds:.1f} s",
            flush=True,
        )


def _hits_path(home: Path, cell: Cell) -> Path:
    name = hashlib.sha256(cell.teacher.encode()).hexdigest()[:16]
    folder = home / "hits" / cell.recipe / cell.task / f"{cell.protocol}-{cell.seed}"
    return folder / f"{name}.npy"


def read_hits(home: Path, cell: Cell) -> npt.NDArray[np.bool_] | None:
    """(n,) which held-out images the cell's student named rightly; None if another machine made the
    cell.
    """
    path = _hits_path(home, cell)
    return np.unpackbits(np.load(path), count=cell.n).astype(bool) if path.is_file() else None


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
    held_out: HeldOut

    @classmethod
    def of(
        cls,
        target: Target,
        home: Path,
        *,
        protocol: str,
        seed: int,
    ) -> LabelledTask:
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

    def head(self, outputs: TargetOutputs, card: ModelCard) -> FittedHead:
        """A teacher's head on the labelled images, with its logits of all images of the task."""
        from benchmarks.truth.students import fit_head

        features = outputs.arrays(card, self.target)["features"][self.rows]
        return fit_head(
            features,
            self.labels,
            classes=len(self.target.classes),
            device=outputs.device,
        )


def filling_order(
    tasks: Sequence[str], seeds: Sequence[int], protocols: Sequence[str]
) -> list[tuple[Target, str, int]]:
    """The order in which the table fills: one protocol and seed over all tasks before the next."""
    return [
        (TARGETS[task], protocol, seed)
        for protocol in protocols
        for seed in seeds
        for task in tasks
    ]
