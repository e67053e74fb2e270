"""The user's data: splits, images, labels, class names."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selection.duplicates.groups import UnreadableImages, with_groups, without_copies
from selection.sources import folder as folder_task
from selection.sources import hub as hub_task
from selection.sources import parquet as parquet_task
from selection.sources import structure
from selection.sources.class_counts import ClassCounts
from selection.sources.images import CorruptImage
from selection.sources.level import listed_texts
from selection.sources.split import (
    Joined,
    Part,
    Rows,
    Source,
    Split,
    class_name,
    cut,
    with_grey_scale,
)
from selection.sources.tables import label_file
from selection.sources.tables.columns import Columns
from selection.sources.unreadable import check_readable, unreadable_warnings
from zoo.errors import UserError

__all__ = ["CorruptImage", "Split", "Task"]

# of the cuts below; never the user's --seed, so that no choice of seed moves the test images
SPLIT_SEED = 2_204_115
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2
BUILT_IN = ("digits",)


@dataclass(eq=False)
class Task:
    """C classes with labelled images in three splits, and images without labels.

    Open one with `Task.open`.

    Attributes
    ----------
    name : str
        The folder's name, ``org/name`` on the Hub, or a built-in name.
    classes : tuple of str
        The C class names.
    train, validation, test : Split
        Labelled images, labels in [0, C). Every class has at least two images in ``train``.
    unlabelled : Split or None
        All images without a label (-1).
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
        Image names and why they cannot be read; only where duplicates were looked for.

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
    unreadable: UnreadableImages = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """sha256 over the digests of the labelled splits: which images, in order, and how cut."""
        digests = [split.digest for split in (self.train, self.validation, self.test)]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()

    @cached_property
    def class_counts(self) -> ClassCounts:
        """How many images each class has in each labelled split."""
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
        label_column: str | None = None,
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
            the ``datasets`` library; such a file itself; ``hf:org/name``, or ``digits``.
        unlabelled : str or Path, optional
            A folder of more images, searched recursively, or of Parquet files.
        revision : str, optional
            The commit to read a dataset of the Hub at; the newest by default.
        offline : bool, optional
            Read a dataset of the Hub from this machine only.
        image_column, label_column : str, optional
            The columns of a table, where their names do not tell.
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
        columns = Columns(image_column, label_column)
        raw = _read(str(spec), columns, revision, offline=offline)
        if unlabelled is not None:
            sources = [*(part.source for part in raw.parts.values()), *raw.unlabelled]
            more, broken_links = _more_images(Path(unlabelled).expanduser(), sources, columns)
            raw.unlabelled.append(more)
            raw.broken_links += broken_links
        return _assemble(raw, columns, duplicates=duplicates)


@dataclass
class _RawTask:
    """A task as its source states it, before splits are cut."""

    name: str
    parts: dict[str, Part]  # by split name
    unlabelled: list[Source] = field(default_factory=list)
    broken_links: int = 0
    revision: str | None = None
    warnings: list[str] = field(default_factory=list)


def _read(
    spec: str,
    columns: Columns,
    revision: str | None,
    *,
    offline: bool,
) -> _RawTask:
    path = Path(spec).expanduser()
    if spec and path.exists():
        return _read_folder(path, columns) if path.is_dir() else _read_file(path, columns)
    warnings: list[str] = []
    if spec.startswith("hf:"):
        dataset = hub_task.read(
            spec[3:],
            columns,
            warnings,
            revision,
            offline=offline,
        )
        return _RawTask(
            spec[3:],
            dataset.parts,
            revision=dataset.revision,
            warnings=warnings,
        )
    if spec in BUILT_IN:
        columns.require_unused(spec)
        return _RawTask(spec, {"train": _digits()})
    known = {folder: str(path.parent / folder) for folder in _siblings(path)}
    known |= {name: name for name in BUILT_IN}
    near = difflib.get_close_matches(
        path.name,
        known,
        n=1,
        cutoff=0.5,
    )
    hint = (
        "give a folder with one sub-folder a class or with train.parquet, hf:org/name, or the"
        " built-in 'digits'"
    )
    if near:
        hint = f"did you mean {known[near[0]]!r}?"
    raise UserError(f"no task {spec!r}: no such folder; {hint}")


def _siblings(path: Path) -> list[str]:
    try:
        return folder_task.sub_folders(path.parent)
    except UserError:
        return []


def _read_file(path: Path, columns: Columns) -> _RawTask:
    """The task of a table of images or of paths and labels."""
    warnings: list[str] = []
    content = label_file.read_file(path, columns, warnings)
    return _RawTask(
        _name(path),
        content.parts,
        content.unlabelled,
        warnings=warnings,
    )


def _name(path: Path) -> str:
    """The name of a folder, or of a file unless it says nothing, as ``labels.csv``."""
    whole = path.resolve()
    name = whole.name
    if whole.is_file():
        name = whole.parent.name if label_file.is_plain_name(whole.stem) else whole.stem
    return class_name(name) or "task"


def _read_folder(path: Path, columns: Columns) -> _RawTask:
    name = _name(path)
    warnings: list[str] = []
    if parts := hub_task.read_saved(path, columns, warnings):
        return _RawTask(name, parts, warnings=warnings)
    files = parquet_task.files_by_split(path)
    if files:
        if "train" not in files:
            raise UserError(
                f"{path} has {', '.join(sorted(files))} but no train.parquet (or train-*.parquet)"
            )
        parts, tables = parquet_task.read(path, files, columns, warnings)
        return _RawTask(name, parts, tables, warnings=warnings)
    labelled = label_file.read_folder(path, columns, warnings)
    if labelled and "train" in labelled.parts:
        return _RawTask(name, labelled.parts, labelled.unlabelled, warnings=warnings)
    columns.require_unused(name)
    leave_out = labelled.folders if labelled else ()
    content = structure.read(path, warnings, leave_out=leave_out)
    parts = content.parts | (labelled.parts if labelled else {})
    return _RawTask(
        name,
        parts,
        [*content.unlabelled],
        content.broken_links,
        warnings=warnings,
    )


def _more_images(
    path: Path,
    task_sources: Sequence[Source],
    columns: Columns,
) -> tuple[Source, int]:
    """The images of the ``--unlabelled`` folder and how many links there are broken.

    Images that the task holds itself are left out, else its test images would be learnt from.
    """
    if not path.is_dir():
        near = difflib.get_close_matches(
            path.name,
            _siblings(path),
            n=1,
            cutoff=0.5,
        )
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"the unlabelled images: no such folder {str(path)!r}{hint}")
    root = path.resolve()
    known = _paths_of(task_sources, root)
    shards = [shard for shard in sorted(path.glob("*.parquet")) if shard.resolve() not in known]
    if shards:
        return parquet_task.Table(shards, columns.image), 0
    paths, broken_links = folder_task.find_images(path)
    if known:
        paths = [inner for inner in paths if (root / inner).resolve() not in known]
    if not paths:
        but = " that the task does not hold" if known else ""
        raise UserError(f"the unlabelled images: {path} holds no images{but}")
    return folder_task.Files(path, paths), broken_links


def _paths_of(sources: Sequence[Source], root: Path) -> set[Path]:
    """The files of ``sources``, of folders only if they lie in ``root`` or ``root`` in them."""
    paths: set[Path] = set()
    for source in sources:
        if isinstance(source, parquet_task.Table | parquet_task.TableRows):
            paths |= {file.resolve() for file in source.paths}
        elif isinstance(source, folder_task.Files):
            folder = source.root.resolve()
            if root.is_relative_to(folder) or folder.is_relative_to(root):
                paths |= {(folder / inner).resolve() for inner in source.paths}
    return paths


def _assemble(raw: _RawTask, columns: Columns, *, duplicates: bool) -> Task:
    """The task with its missing splits cut and its small classes dropped."""
    name, parts, warnings = raw.name, raw.parts, raw.warnings
    train = parts["train"]
    counts = np.bincount(train.labels[train.labels >= 0], minlength=len(train.names))
    classes = _classes(name, train.names, counts, warnings)
    label_of = {name: label for label, name in enumerate(classes)}
    splits = {
        kind: _split(
            part,
            label_of,
            kind,
            warnings,
        )
        for kind, part in parts.items()
    }
    splits = {kind: split for kind, split in splits.items() if len(split)}
    pool = _unlabelled(train, raw.unlabelled, classes)
    if pool is not None:
        splits["unlabelled"] = pool
    given = set(splits) - {"train"}
    unreadable: UnreadableImages = {}
    grey = with_grey_scale(splits["train"]).grey
    splits = {kind: replace(split, grey=grey) for kind, split in splits.items()}
    if duplicates:
        splits, unreadable = with_groups(splits, warnings)
        warnings += unreadable_warnings(unreadable, sum(map(len, splits.values())))
        check_readable(splits["train"], unreadable, warnings)
    for kind, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if kind not in splits:
            seed = [SPLIT_SEED, 0 if kind == "test" else 1]
            train_split = splits["train"]
            stay, go = cut(
                train_split.labels,
                len(classes),
                share=share,
                seed=seed,
                groups=train_split.groups,
            )
            splits[kind] = train_split.subset(go)
            splits["train"] = train_split.subset(stay)
    splits = without_copies(splits, given, warnings)
    task = Task(
        name,
        classes,
        splits["train"],
        splits["validation"],
        splits["test"],
        splits.get("unlabelled"),
        broken_links=raw.broken_links,
        warnings=warnings,
        cut=tuple(kind for kind in ("test", "validation") if kind not in given),
        revision=raw.revision,
        columns=columns,
        unreadable=unreadable,
    )
    task.warnings += task.class_counts.warnings()
    return task


def _classes(
    task: str,
    names: tuple[str, ...],
    counts: Rows,
    warnings: list[str],
) -> tuple[str, ...]:
    """The names with at least two training images; the others are warned of."""
    counted = list(zip(names, counts, strict=True))
    kept = tuple(name for name, count in counted if count >= 2)
    dropped = [f"{name!r} ({count})" for name, count in counted if count < 2]
    if len(kept) < 2:
        usable = f"one class only ({kept[0]!r})" if kept else "no class"
        raise UserError(
            f"the task {task} has {usable} with two or more labelled training images; two classes"
            " are needed" + (f" (too few images: {', '.join(dropped[:5])})" if dropped else "")
        )
    same = _differ_in_case(kept)
    if same:
        warnings.append(
            f"{len(same)} pair{'s' if len(same) > 1 else ''} of classes differ in upper and lower"
            f" case only ({', '.join(same[:3])}): where they are one class, write it in one way"
        )
    if dropped:
        more = f" and {len(dropped) - 5} more" if len(dropped) > 5 else ""
        warnings.append(
            f"dropped {len(dropped)} class{'es' if len(dropped) > 1 else ''} with fewer than two"
            f" training images: {', '.join(dropped[:5])}{more}"
        )
    return kept


def _split(
    part: Part,
    label_of: dict[str, int],
    kind: str,
    warnings: list[str],
) -> Split:
    """The labelled images of the kept classes."""
    new_labels = [label_of.get(name, -1) for name in part.names]
    table = np.array([*new_labels, -1], dtype=np.int64)  # label -1 reads the last entry
    labels = table[part.labels]
    rows = np.flatnonzero(labels >= 0)
    if kind != "train" and len(rows) < len(labels):
        warnings.append(
            f"{len(labels) - len(rows)} of {len(labels)} {kind} images have"
            f" {_why_not_used(part, labels)}, and are not used"
            + ("" if len(rows) else f"; a {kind} split is cut from train")
        )
    return Split(part.source, rows, labels[rows], tuple(label_of))


def _why_not_used(part: Part, labels: Rows) -> str:
    """What images of ``part`` lack whose label among the classes, in ``labels``, is -1."""
    lost = np.unique(part.labels[labels < 0])
    if lost[-1] < 0:
        return "no label"
    names = listed_texts([repr(part.names[label]) for label in lost if label >= 0])
    no_label = "no label or " if lost[0] < 0 else ""
    return f"{no_label}a class without training images ({names})"


def _differ_in_case(names: Sequence[str]) -> list[str]:
    """Pairs of names such as ``'Rose' and 'rose'``."""
    first: dict[str, str] = {}
    return [
        f"{before!r} and {name!r}"
        for name in names
        if (before := first.setdefault(" ".join(name.casefold().split()), name)) != name
    ]


def _unlabelled(train: Part, more: Sequence[Source], classes: tuple[str, ...]) -> Split | None:
    """The images of ``train`` without a label, and all of ``more``."""
    source = Joined([train.source, *more])
    is_unlabelled = np.ones(len(source), dtype=bool)
    is_unlabelled[: len(train.source)] = train.labels == -1
    rows = np.flatnonzero(is_unlabelled)
    if not len(rows):
        return None
    return Split(source, rows, np.full_like(rows, -1), classes)


def _digits() -> Part:
    """The 1,797 gray images of 8 x 8 pixels that come with scikit-learn."""
    table = _digits_table()  # (1797, 65): 64 pixels from 0 to 16, the digit
    pixels, digits = table[:, :64], table[:, 64]
    gray = np.rint(pixels * (255 / 16)).astype(np.uint8)
    return Part(_Digits(gray), digits.astype(np.int64), tuple("0123456789"))


def _digits_table() -> npt.NDArray[np.float64]:
    """Read scikit-learn's file without importing it, which takes seconds."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return np.column_stack([pixels, labels])


class _Digits:
    """Rows of 64 gray pixels, handed out as PGM files."""

    def __init__(self, gray: npt.NDArray[np.uint8]) -> None:
        self._gray = gray

    def __len__(self) -> int:
        return len(self._gray)

    def raw(self, row: int) -> bytes:
        return b"P5 8 8 255\n" + bytes(self._gray[row])

    def name(self, row: int) -> str:
        return f"digit#{row}"

    def stamp(self, rows: Rows) -> Iterator[bytes]:
        yield self._gray[rows].tobytes()
