"""The classes of a task as the commands print them before they start."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.terminal.command import printable
from zoo.terminal.progress import warn
from zoo.terminal.table import Column, table_text

if TYPE_CHECKING:
    from selection.evidence import Ints
    from selection.sources.split import Split
    from selection.task import Task

_MOST_ROWS = 12  # classes of which each has a row
_ENDS = 4  # rows of the largest and of the smallest classes where there are more
_FILES = 3  # names of a class in one split
_NAME_LENGTH = 40


def announce(task: Task, *, files: bool = False) -> None:
    """Print the classes of ``task`` with their samples in each split, and its warnings, on stderr.

    With ``files`` the first file names of each class are printed too.
    """
    if int(os.environ.get("RANK", "0")) != 0:  # only the main process prints
        return
    print(class_table(task, width=_width()), file=sys.stderr)
    for line in first_files(task) if files else ():
        print(line, file=sys.stderr)
    sys.stderr.flush()
    warn_of(task)


def warn_of(task: Task) -> None:
    """Print the warnings of ``task`` on stderr."""
    for text in task.warnings:
        warn(text)


def class_table(task: Task, *, width: int | None = None) -> str:
    """The task in one line, and the number of samples of each class in each split.

    Of many classes those with the most and with the fewest training samples are shown. Samples that
    cannot be read are not counted, as far as the search for duplicates has read them.
    """
    splits = _splits(task)
    labels = [_readable_labels(task, split) for split in splits.values()]
    counts = np.stack([np.bincount(some, minlength=len(task.classes)) for some in labels], axis=1)
    # (C, 3)
    columns = [Column("class", is_name=True), *(Column(name, is_number=True) for name in splits)]
    rows: list[list[str]] = []
    for label in _shown(counts):
        if label is None:
            rows.append([f"... {len(counts) - 2 * _ENDS:,} more", *[""] * len(splits)])
        else:
            name = printable(task.classes[label], _NAME_LENGTH)
            rows.append([name, *(f"{count:,}" for count in counts[label])])
    return "\n".join([_headline(task, counts), table_text(columns, rows, width=width)])


def _readable_labels(task: Task, split: Split) -> Ints:
    """The labels of the samples of ``split`` that can be read."""
    if not task.unreadable:
        return split.labels
    rows = [i for i in range(len(split)) if split.name(i) not in task.unreadable]
    return split.labels[rows]


def first_files(task: Task) -> Iterator[str]:
    """Lines with the first file names of each class in each split."""
    splits = _splits(task)
    for label, name in enumerate(task.classes):
        yield printable(name, 200)
        for split_name, split in splits.items():
            rows = np.flatnonzero(split.labels == label)[:_FILES]
            names = ", ".join(printable(split.name(int(row)), 200) for row in rows)
            yield f"  {split_name:<10}  {names or '-'}"


def _splits(task: Task) -> dict[str, Split]:
    return {"train": task.train, "validation": task.validation, "test": task.test}


def _headline(task: Task, counts: np.ndarray) -> str:
    """``flowers: 5 classes, 120 images each; test and validation are cut from train``."""
    nouns = task.kind.nouns
    parts = [f"{counts.sum():,} labelled {nouns}"]
    if unread := sum(map(len, _splits(task).values())) - counts.sum():
        parts.append(f"{unread:,} more that cannot be read")
    if task.unlabelled is not None:
        parts.append(f"{len(task.unlabelled):,} without labels")
    low, high = counts.sum(1).min(), counts.sum(1).max()
    each = f"{low:,} to {high:,}" if low < high else f"{low:,}"
    extent = task.kind.extent(task.train)
    head = f"{extent}, {len(task.classes):,}" if extent else f"{len(task.classes):,}"
    line = f"{printable(task.name, 60)}: {head} classes, {each} {nouns} each"
    cut = f"; {' and '.join(task.cut)} cut from train" if task.cut else ""
    return f"{line}, {', '.join(parts)}{cut}"


def _shown(counts: np.ndarray) -> Sequence[int | None]:
    """The classes of ``counts`` (C, 3) that have a row; None stands for those left out."""
    if len(counts) <= _MOST_ROWS:
        return list(range(len(counts)))
    order = np.lexsort((-counts.sum(1), -counts[:, 0])).tolist()
    return [*order[:_ENDS], None, *order[-_ENDS:]]


def _width() -> int | None:
    """The characters of a line of stderr; None where it is a file or a pipe."""
    if sys.stderr.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None
