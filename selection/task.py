"""The user's data: splits, images, labels, class names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from selection.duplicates.groups import UnreadableSamples
from selection.kinds.kind import Kind
from selection.sources.assembled import assemble
from selection.sources.class_counts import ClassCounts
from selection.sources.images import CorruptImage
from selection.sources.raw_task import more_samples, read_task
from selection.sources.split import SPLIT_SEED, Split
from selection.sources.tables.columns import Columns

__all__ = ["SPLIT_SEED", "CorruptImage", "Split", "Task"]


@dataclass(eq=False)
class Task:
    """C classes with labelled samples in three splits, and samples without labels.

    Open one with `Task.open`.

    Attributes
    ----------
    name : str
        The folder's name, ``org/name`` on the Hub, or a built-in name.
    classes : tuple of str
        The C class names.
    train, validation, test : Split
        Labelled samples, labels in [0, C). Every class has at least two in ``train``.
    unlabelled : Split or None
        All samples without a label (-1).
    broken_links : int
        File links of the folder whose target is missing.
    warnings : list of str
        Sentences for the user.
    split_seed : int
        The seed of the splits that were cut from ``train``; never the user's ``--seed``.
    cut : tuple of str
        The splits that were cut from ``train``: ``test``, ``validation``.
    revision : str or None
        The commit of a dataset of the Hub; None for a task of this machine.
    columns : Columns
        The columns of images and labels that the user named.
    unreadable : dict of str to str
        Names of samples and why they cannot be read; only where duplicates were looked for.

    Examples
    --------
    >>> task = Task.open("digits")
    >>> len(task.train), len(task.validation), len(task.test)
    (1151, 287, 359)
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    unlabelled: Split | None = None
    broken_links: int = 0
    warnings: list[str] = field(default_factory=list)
    split_seed: int = SPLIT_SEED
    cut: tuple[str, ...] = ()
    revision: str | None = None
    columns: Columns = field(default_factory=Columns)
    unreadable: UnreadableSamples = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What the samples are: images, texts, pairs of a user and an item."""
        return self.train.kind

    @cached_property
    def digest(self) -> str:
        """sha256 over the digests of the labelled splits: which samples, in order, and how cut."""
        digests = [split.digest for split in (self.train, self.validation, self.test)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()

    @cached_property
    def class_counts(self) -> ClassCounts:
        """How many samples each class has in each labelled split."""
        return ClassCounts.of(
            self.classes,
            train=self.train.labels,
            validation=self.validation.labels,
            test=self.test.labels,
        )

    @classmethod
    def open(
        cls,
        spec: str | Path,
        *,
        unlabelled: str | Path | None = None,
        revision: str | None = None,
        offline: bool = False,
        image_column: str | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        kind: str | None = None,
        duplicates: bool = True,
    ) -> Task:
        """Open a task and look for images that show the same picture.

        A missing test split is cut from train (20 % of each class), then a missing validation split
        (20 % of the rest), stratified by a fixed seed; classes keep two training images first. A
        class with fewer than two training images is dropped with a warning. Images of one picture
        stay on one side of a cut; unlabelled copies of labelled images are left out.

        Parameters
        ----------
        spec : str or Path
            A folder of class folders, of Parquet files, of images and a file of labels, or saved by
            the ``datasets`` library; such a file itself; a table of texts; a file of ratings with
            the file of items beside it, or their folder; ``hf:org/name``, or
            a built-in task: ``digits`` (images), ``requests`` (texts).
        unlabelled : str or Path, optional
            A folder of more images, searched recursively, or of Parquet files.
        revision : str, optional
            The commit to read a dataset of the Hub at; the newest by default.
        offline : bool, optional
            Read a dataset of the Hub from this machine only.
        image_column, text_column, label_column : str, optional
            The columns of a table, where their names do not tell.
        kind : str, optional
            ``image``, ``text`` or ``ratings``, where what lies there does not tell.
        duplicates : bool
            Look for equal and nearly equal images (``selection.duplicates.search``): every image is
            decoded once, in small. Without, no more than 32 images are opened, to see whether they
            have more than 8 bits.

        Raises
        ------
        UserError
            If the input is wrong; the message says how to mend it.
        Unavailable
            If the Hub cannot be reached.
        """
        columns = Columns(image_column, label_column, text_column)
        raw = read_task(str(spec), columns, revision, offline=offline, kind=kind)
        if unlabelled is not None:
            more_samples(Path(unlabelled).expanduser(), raw, columns)
        assembled = assemble(raw, duplicates=duplicates)
        splits = assembled.splits
        task = cls(
            raw.name,
            assembled.classes,
            splits["train"],
            splits["validation"],
            splits["test"],
            splits.get("unlabelled"),
            broken_links=raw.broken_links,
            warnings=raw.warnings,
            cut=assembled.cut,
            revision=raw.revision,
            columns=columns,
            unreadable=assembled.unreadable,
        )
        task.warnings += task.class_counts.warnings(task.kind)
        return task
