"""The splits of a task: those that its source has, and those that are cut from training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from selection.duplicates.groups import UnreadableImages, with_groups, without_copies
from selection.sources.layouts.level import listed_texts
from selection.sources.raw_task import RawTask
from selection.sources.split import Joined, Part, Rows, Source, Split, cut, with_grey_scale
from selection.sources.unreadable import check_readable, unreadable_warnings
from zoo.errors import UserError

# of the cuts below; never the user's --seed, so that no choice of seed moves the test images
SPLIT_SEED = 2_204_115
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2


class AssembledTask(NamedTuple):
    """The splits ``train``, ``validation``, ``test`` and, where there is one, ``unlabelled``.

    cut         which of them were cut from ``train``
    unreadable  image names and why they cannot be read; only where duplicates were looked for
    """

    classes: tuple[str, ...]
    splits: dict[str, Split]
    cut: tuple[str, ...]
    unreadable: UnreadableImages


def assemble(raw: RawTask, *, duplicates: bool) -> AssembledTask:
    """Drop small classes, leave out copies and cut the splits that are missing.

    What the user should know goes to ``raw.warnings``.
    """
    warnings = raw.warnings
    train = raw.parts["train"]
    counts = np.bincount(train.labels[train.labels >= 0], minlength=len(train.names))
    classes = _classes(raw.name, train.names, counts, warnings)
    splits = _given_splits(raw, classes)
    given = set(splits) - {"train"}
    grey = with_grey_scale(splits["train"]).grey
    splits = {name: replace(split, grey=grey) for name, split in splits.items()}
    unreadable: UnreadableImages = {}
    if duplicates:
        splits, unreadable = with_groups(splits, warnings)
        warnings += unreadable_warnings(unreadable, sum(map(len, splits.values())))
        check_readable(splits["train"], unreadable, warnings)
    missing = tuple(name for name in ("test", "validation") if name not in given)
    _cut_missing(splits, missing, len(classes))
    return AssembledTask(classes, without_copies(splits, given, warnings), missing, unreadable)


def _given_splits(raw: RawTask, classes: tuple[str, ...]) -> dict[str, Split]:
    """The splits that the source has, and all images without a label."""
    label_of = {name: label for label, name in enumerate(classes)}
    splits = {
        name: _split(
            part,
            label_of,
            name,
            raw.warnings,
        )
        for name, part in raw.parts.items()
    }
    splits = {name: split for name, split in splits.items() if len(split)}
    pool = _unlabelled(raw.parts["train"], raw.unlabelled, classes)
    if pool is not None:
        splits["unlabelled"] = pool
    return splits


def _cut_missing(splits: dict[str, Split], missing: Sequence[str], classes: int) -> None:
    """Cut ``missing`` splits from ``train``, the test split first."""
    shares = {"test": TEST_SHARE, "validation": VALIDATION_SHARE}
    for name in missing:
        train = splits["train"]
        stay, go = cut(
            train.labels,
            classes,
            share=shares[name],
            seed=[SPLIT_SEED, 0 if name == "test" else 1],
            groups=train.groups,
        )
        splits[name], splits["train"] = train.subset(go), train.subset(stay)


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
    split: str,
    warnings: list[str],
) -> Split:
    """The labelled images of the kept classes."""
    new_labels = [label_of.get(name, -1) for name in part.names]
    table = np.array([*new_labels, -1], dtype=np.int64)  # label -1 reads the last entry
    labels = table[part.labels]
    rows = np.flatnonzero(labels >= 0)
    if split != "train" and len(rows) < len(labels):
        warnings.append(
            f"{len(labels) - len(rows)} of {len(labels)} {split} images have"
            f" {_why_not_used(part, labels)}, and are not used"
            + ("" if len(rows) else f"; a {split} split is cut from train")
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
