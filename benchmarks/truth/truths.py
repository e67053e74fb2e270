"""The complete part of the truth tables, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.truth.scores import SCORED, Values, read_scores
from benchmarks.truth.table import CELLS, NONE, Cell, read_cells
from benchmarks.truth.targets import TARGETS
from benchmarks.truth.teachers import TEACHERS, TeacherFacts, read_facts

Floats = npt.NDArray[np.floating]
CellKey = tuple[str, int, str]  # task, seed, teacher


@dataclass(frozen=True, eq=False, kw_only=True)
class Truths:
    """Students and the scores of their teachers: T tasks, S seeds, M teachers.

    tasks, groups  (T,) names, and which tasks are related
    truth          (T, S, M) accuracy; NaN where the teacher was trained on the task's images, or
                   the teachers of that task and seed are not all measured and scored yet
    plain          (T, S) accuracy of the student without a teacher
    scores         name -> (T, S, M); NaN where a score does not apply
    cells          the cells that the accuracies are from
    """

    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    seeds: tuple[int, ...]
    teachers: tuple[TeacherFacts, ...]
    truth: Floats
    plain: Floats
    scores: Mapping[str, Floats]
    cells: Mapping[CellKey, Cell]

    @classmethod
    def of(
        cls,
        cells: Sequence[Cell],
        values: Values,
        teachers: Sequence[TeacherFacts],
        *,
        protocol: str,
    ) -> Truths:
        """The tasks that are complete under a seed, and the teachers that have a cell."""
        single = {
            (cell.task, cell.seed, cell.teacher): cell
            for cell in cells
            if cell.protocol == protocol and not cell.rule
        }
        with_cells = {teacher for _, _, teacher in single}
        kept = tuple(teacher for teacher in teachers if teacher.id in with_cells)
        seeds = tuple(sorted({seed for _, seed, _ in single}))
        shape = (len(TARGETS), len(seeds), len(kept))
        keys = list(product(TARGETS, seeds, [teacher.id for teacher in kept]))

        measured = np.array([key in single for key in keys]).reshape(shape)
        scored = np.array([key in values for key in keys]).reshape(shape)
        complete = (measured == scored).all(axis=2)  # else the best teacher may be missing
        accuracy = [single[key].accuracy if key in single else np.nan for key in keys]
        truth = np.where(complete[..., None], np.reshape(accuracy, shape), np.nan)
        plain = [_accuracy(single, (task, seed, NONE)) for task, seed in product(TARGETS, seeds)]
        scores = {
            name: np.reshape([values.get(key, {}).get(name, np.nan) for key in keys], shape)
            for name in sorted({name for scored in values.values() for name in scored})
        }
        every = cls(
            tasks=tuple(TARGETS),
            groups=tuple(target.group for target in TARGETS.values()),
            seeds=seeds,
            teachers=kept,
            truth=truth,
            plain=np.where(complete, np.reshape(plain, shape[:2]), np.nan),
            scores=scores,
            cells=single,
        )
        some = every.at_tasks(np.flatnonzero(np.isfinite(truth).any(axis=(1, 2))))
        applicable = {n: table for n, table in some.scores.items() if np.isfinite(table).any()}
        return replace(some, scores=applicable)

    @classmethod
    def read(cls, folder: Path, protocol: str) -> Truths:
        """One protocol of the tables in ``folder``, as far as it is complete."""
        return cls.of(
            read_cells(folder / CELLS),
            read_scores(folder / SCORED),
            read_facts(folder / TEACHERS),
            protocol=protocol,
        )

    def at_tasks(self, rows: Sequence[int] | npt.NDArray[np.integer]) -> Truths:
        """The tasks of these numbers."""
        kept = list(rows)
        return replace(
            self,
            tasks=tuple(self.tasks[t] for t in kept),
            groups=tuple(self.groups[t] for t in kept),
            truth=self.truth[kept],
            plain=self.plain[kept],
            scores={name: table[kept] for name, table in self.scores.items()},
        )

    def with_teachers(self, columns: Sequence[int]) -> Truths:
        """The teachers of these numbers."""
        kept = list(columns)
        return replace(
            self,
            teachers=tuple(self.teachers[m] for m in kept),
            truth=self.truth[..., kept],
            scores={name: table[..., kept] for name, table in self.scores.items()},
        )

    def of_group(self, group: str) -> list[int]:
        """The numbers of the group's tasks."""
        return [t for t, name in enumerate(self.groups) if name == group]

    def without_group(self, group: str) -> Truths:
        """The tasks of the other groups."""
        return self.at_tasks([t for t, name in enumerate(self.groups) if name != group])

    def measured(self) -> list[tuple[int, int]]:
        """The numbers of the tasks and seeds of which a teacher has been measured."""
        return [(int(t), int(s)) for t, s in np.argwhere(np.isfinite(self.truth).any(axis=2))]


def _accuracy(cells: Mapping[CellKey, Cell], key: CellKey) -> float:
    return cells[key].accuracy if key in cells else np.nan


def standardise(values: Floats) -> Floats:
    """(..., M) with mean 0 and deviation 1 over the teachers that have a value; NaN stays."""
    known = np.ma.masked_invalid(values)
    spread = np.ma.maximum(known.std(axis=-1, keepdims=True), 1e-12)
    standardised = (known - known.mean(axis=-1, keepdims=True)) / spread
    return np.asarray(standardised.filled(np.nan))


def known_mean(values: Floats, *, axis: int) -> Floats:
    """The mean of the known values along an axis, NaN where there is none."""
    return np.asarray(np.ma.masked_invalid(values).mean(axis=axis).filled(np.nan))
