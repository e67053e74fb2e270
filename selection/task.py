"""The user's data: splits, images, labels, class names."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selection.sources import folder as folder_task
from selection.sources import hub as hub_task
from selection.sources import parquet as parquet_task
from selection.sources.images import CorruptImage
from selection.sources.split import Joined, Part, Rows, Source, Split, class_name, cut
from zoo.errors import UserError

__all__ = ["CorruptImage", "Split", "Task"]

# of the cuts below; never the user's --seed, so that no choice of seed moves the test images
SPLIT_SEED = 2_204_115
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2
BUILT_IN = ("digits",)


@dataclass(eq=False)
class Task:
    """C classes with labelled images in three splits, and images without labels.

    Labels of ``train``, ``validation`` and ``test`` are in [0, C); every class has at least two
    images in ``train``. ``unlabelled`` holds all images without a label (-1), or is None.
    ``skipped`` counts links that led nowhere; an image that cannot be decoded is found when it is
    read. ``warnings`` are sentences for the user. ``revision`` is the commit of a dataset of the
    Hub, and None for a task of this machine.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    unlabelled: Split | None = None
    skipped: int = 0
    warnings: list[str] = field(default_factory=list)
    split_seed: int = SPLIT_SEED
    revision: str | None = None

    @cached_property
    def digest(self) -> str:
        """sha256 over the digests of the three labelled splits: what they hold, in which order, cut
        how.
        """
        splits = (self.train, self.validation, self.test)
        return hashlib.sha256(" ".join(split.digest for split in splits).encode()).hexdigest()

    @classmethod
    def open(
        cls,
        spec: str | Path,
        *,
        unlabelled: str | Path | None = None,
        revision: str | None = None,
        offline: bool = False,
    ) -> Task:
        """Open a folder of class folders or of Parquet files, ``hf:org/name``, or the built-in
        ``digits``.

        No image is decoded. A missing test split is cut from train (20 % of each class), then a
        missing validation split (20 % of the rest), stratified by a fixed seed; classes keep two
        training images first. A class with fewer than two training images is dropped with a
        warning. ``unlabelled`` is a folder of more images, found recursively, or of Parquet files;
        ``revision`` the commit to read a Hub dataset at, the newest if None; ``offline`` reads a
        Hub dataset from this machine only.
        Raises ``UserError`` where the input is wrong, ``Unavailable`` where the Hub cannot be
        reached.
        """
        warnings: list[str] = []
        commit = None
        if str(spec).startswith("hf:") and not Path(spec).expanduser().exists():
            name = str(spec)[3:]
            parts, commit = hub_task.read(name, revision, offline=offline)
            loose: Sequence[Source] = []
            skipped = 0
        else:
            name, parts, loose, skipped = _read(str(spec), warnings)
        if unlabelled is not None:
            more, broken = _more_images(
                Path(unlabelled).expanduser(), [*(part.source for part in parts.values()), *loose]
            )
            loose, skipped = [*loose, more], skipped + broken
        task = _assemble(name, parts, loose, warnings)
        task.skipped = skipped
        task.revision = commit
        return task


def _read(spec: str, warnings: list[str]) -> tuple[str, dict[str, Part], Sequence[Source], int]:
    """The task's name, its parts by split name, its unlabelled sources, and how many links led
    nowhere.
    """
    path = Path(spec).expanduser()
    if spec and path.exists():
        return _read_folder(path, warnings)
    if spec in BUILT_IN:
        return spec, {"train": _digits()}, [], 0
    near = difflib.get_close_matches(path.name, [*_siblings(path), *BUILT_IN], n=1, cutoff=0.5)
    hint = (
        f"did you mean {str(path.parent / near[0]) if near[0] not in BUILT_IN else near[0]!r}?"
        if near
        else (
            "give a folder with one sub-folder a class or with train.parquet, hf:org/name, or the"
            " built-in 'digits'"
        )
    )
    raise UserError(f"no task {spec!r}: no such folder; {hint}")


def _siblings(path: Path) -> list[str]:
    try:
        return folder_task.sub_folders(path.parent)
    except UserError:
        return []


def _read_folder(
    path: Path, warnings: list[str]
) -> tuple[str, dict[str, Part], Sequence[Source], int]:
    if not path.is_dir():
        raise UserError(
            f"the task {path} is a file; expected a folder with one sub-folder a class, or with"
            " train.parquet"
        )
    name = class_name(path.resolve().name) or "task"
    files = parquet_task.files_by_split(path)
    if files:
        if "train" not in files:
            raise UserError(
                f"{path} has {', '.join(sorted(files))} but no train.parquet (or train-*.parquet)"
            )
        parts, tables = parquet_task.read(path, files)
        return name, parts, tables, 0
    parts, loose, broken = folder_task.read(path, warnings)
    _check_classes(path, parts["train"])
    return name, parts, loose, broken


def _check_classes(path: Path, train: Part) -> None:
    """Raise ``UserError`` for the usual mistakes in laying out a folder."""
    if len(train.names) > 1:
        return
    inner = folder_task.sub_folders(path)
    if not train.names:
        loose = len(folder_task.find_images(path)[0])
        if not inner and loose:
            raise UserError(
                f"{path} holds {loose} files but no sub-folders; expected one sub-folder of images"
                " a class"
            )
        raise UserError(
            f"{path} holds no images; expected one sub-folder of images a class, or train.parquet"
        )
    below = path / inner[0]
    hint = (
        f"; did you mean {below}?"
        if len(inner) == 1 and len(folder_task.sub_folders(below)) > 1
        else ""
    )
    raise UserError(
        f"{path} has one class only ({train.names[0]!r}); at least two sub-folders with images are"
        f" needed{hint}"
    )


def _more_images(path: Path, own: Sequence[Source]) -> tuple[Source, int]:
    """The images of the ``--unlabelled`` folder less what the task holds itself, else its test
    images would come back.
    """
    if not path.is_dir():
        near = difflib.get_close_matches(path.name, _siblings(path), n=1, cutoff=0.5)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise UserError(f"the unlabelled images: no such folder {str(path)!r}{hint}")
    root = path.resolve()
    known = {
        one.resolve()
        for source in own
        if isinstance(source, parquet_task.Table)
        for one in source.paths
    }
    for source in own:
        if isinstance(source, folder_task.Files):
            place = source.root.resolve()
            if root.is_relative_to(place) or place.is_relative_to(root):
                known |= {(place / one).resolve() for one in source.paths}
    shards = [one for one in sorted(path.glob("*.parquet")) if one.resolve() not in known]
    if shards:
        return parquet_task.Table(shards), 0
    found, broken = folder_task.find_images(path)
    found = [one for one in found if not known or (root / one).resolve() not in known]
    if not found:
        raise UserError(
            f"the unlabelled images: {path} holds no images"
            + (" that the task does not hold" if known else "")
        )
    return folder_task.Files(path, found), broken


def _assemble(
    name: str, parts: dict[str, Part], loose: Sequence[Source], warnings: list[str]
) -> Task:
    train = parts["train"]
    counts = np.bincount(train.labels[train.labels >= 0], minlength=len(train.names))
    classes = _classes(name, train.names, counts, warnings)
    new = {old: i for i, old in enumerate(classes)}
    splits = {kind: _split(part, new, kind, warnings) for kind, part in parts.items()}
    for kind, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if kind not in splits or not len(splits[kind]):
            seed = [SPLIT_SEED, 0 if kind == "test" else 1]
            stay, go = cut(splits["train"].labels, len(classes), share=share, seed=seed)
            splits[kind], splits["train"] = splits["train"].subset(go), splits["train"].subset(stay)
    unlabelled = _unlabelled(train, loose, classes)
    return Task(
        name,
        classes,
        splits["train"],
        splits["validation"],
        splits["test"],
        unlabelled,
        warnings=warnings,
    )


def _classes(
    name: str, names: tuple[str, ...], counts: Rows, warnings: list[str]
) -> tuple[str, ...]:
    """The names with at least two training images; the others are warned of."""
    kept = tuple(one for one, count in zip(names, counts, strict=True) if count >= 2)
    dropped = [f"{one!r} ({count})" for one, count in zip(names, counts, strict=True) if count < 2]
    if len(kept) < 2:
        usable = f"one class only ({kept[0]!r})" if kept else "no class"
        raise UserError(
            f"the task {name} has {usable} with two or more labelled training images; two classes"
            " are needed" + (f" (too few images: {', '.join(dropped[:5])})" if dropped else "")
        )
    if dropped:
        more = f" and {len(dropped) - 5} more" if len(dropped) > 5 else ""
        warnings.append(
            f"dropped {len(dropped)} class{'es' if len(dropped) > 1 else ''} with fewer than two"
            f" training images: {', '.join(dropped[:5])}{more}"
        )
    return kept


def _split(part: Part, new: dict[str, int], kind: str, warnings: list[str]) -> Split:
    """The labelled images of the kept classes."""
    table = np.asarray(
        [*(new.get(name, -1) for name in part.names), -1], dtype=np.int64
    )  # label -1 reads the last entry
    labels = table[part.labels]
    rows = np.flatnonzero(labels >= 0)
    if kind != "train" and len(rows) < len(labels):
        warnings.append(
            f"{len(labels) - len(rows)} of {len(labels)} {kind} images have no label or a class"
            " without training images, and are not used"
            + ("" if len(rows) else f"; a {kind} split is cut from train")
        )
    return Split(part.source, rows, labels[rows], tuple(new))


def _unlabelled(train: Part, loose: Sequence[Source], classes: tuple[str, ...]) -> Split | None:
    own = np.flatnonzero(train.labels == -1)
    source = Joined([train.source, *loose])
    rows = np.concatenate([own, np.arange(len(train.source), len(source))]).astype(np.int64)
    return (
        Split(source, rows, np.full(len(rows), -1, dtype=np.int64), classes) if len(rows) else None
    )


def _digits() -> Part:
    """The 1,797 gray images of 8 x 8 pixels that come with scikit-learn."""
    table = _digits_table()  # (1797, 65): 64 pixels from 0 to 16, the digit
    gray = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8)
    return Part(_Digits(gray), table[:, 64].astype(np.int64), tuple("0123456789"))


def _digits_table() -> npt.NDArray[np.float64]:
    """Read from scikit-learn's own file where it lies as usual: importing the library takes
    seconds, reading 0.1.
    """
    found = importlib.util.find_spec("sklearn")
    for place in (found.submodule_search_locations or ()) if found else ():
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
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
