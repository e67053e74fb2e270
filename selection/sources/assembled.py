"""The splits of a task: those that its source has, and those that are cut from training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from selection.duplicates.groups import UnreadableSamples, with_groups, without_copies
from selection.sources.layouts.level import listed_texts
from selection.sources.raw_task import RawTask
from selection.sources.split import SPLIT_SEED, Joined, Part, Rows, Split, cut, with_decoding
from selection.sources.unreadable import check_readable, unreadable_warnings
from zoo.errors import UserError

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2


class AssembledTask(NamedTuple):
    """The splits ``train``, ``validation``, ``test`` and, where there is one, ``unlabelled``.

    cut         which of them were cut from ``train``
    unreadable  names of samples and why they cannot be read; only where duplicates were looked for
    """

    classes: tuple[str, ...]
    splits: dict[str, Split]
    cut: tuple[str, ...]
    unreadable: UnreadableSamples


def assemble(raw: RawTask, *, duplicates: bool) -> AssembledTask:
    """Drop small classes, leave out copies and cut the splits that are missing.

    What the user should know goes to ``raw.warnings``.
    """
    warnings = raw.warnings
    train = raw.parts["train"]
    counts = np.bincount(train.labels[train.labels >= 0], minlength=len(train.names))
    classes = _classes(raw, counts)
    splits = _given_splits(raw, classes)
    given = set(splits) - {"train"}
    decoding = with_decoding(splits["train"]).decoding
    splits = {name: replace(split, decoding=decoding) for name, split in splits.items()}
    unreadable: UnreadableSamples = {}
    if duplicates:
        splits, unreadable = with_groups(splits, warnings)
        total = sum(map(len, splits.values()))
        warnings += unreadable_warnings(unreadable, total, raw.kind)
        check_readable(splits["train"], unreadable, warnings)
    missing = tuple(name for name in ("test", "validation") if name not in given)
    _cut_missing(splits, missing, len(classes))
    return AssembledTask(classes, without_copies(splits, given, warnings), missing, unreadable)


def _given_splits(raw: RawTask, classes: tuple[str, ...]) -> dict[str, Split]:
    """The splits that the source has, and all samples without a label."""
    label_of = {name: label for label, name in enumerate(classes)}
    splits = {
        name: _split(
            raw,
            part,
            label_of,
            name,
        )
        for name, part in raw.parts.items()
    }
    splits = {name: split for name, split in splits.items() if len(split)}
    pool = _unlabelled(raw, classes)
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


def _classes(raw: RawTask, counts: Rows) -> tuple[str, ...]:
    """The names that ``counts`` (C,) gives two training samples; the others are warned of."""
    warnings, nouns = raw.warnings, raw.kind.nouns
    counted = list(zip(raw.parts["train"].names, counts, strict=True))
    kept = tuple(name for name, count in counted if count >= 2)
    dropped = [f"{name!r} ({count})" for name, count in counted if count < 2]
    if len(kept) < 2:
        usable = f"one class only ({kept[0]!r})" if kept else "no class"
        raise UserError(
            f"the task {raw.name} has {usable} with two or more labelled training {nouns}; two"
            " classes are needed"
            + (f" (too few {nouns}: {', '.join(dropped[:5])})" if dropped else "")
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
            f" training {nouns}: {', '.join(dropped[:5])}{more}"
        )
    return kept


def _split(
    raw: RawTask,
    part: Part,
    label_of: dict[str, int],
    split: str,
) -> Split:
    """The labelled samples of the kept classes."""
    nouns = raw.kind.nouns
    new_labels = [label_of.get(name, -1) for name in part.names]
    table = np.array([*new_labels, -1], dtype=np.int64)  # label -1 reads the last entry
    labels = table[part.labels]
    rows = np.flatnonzero(labels >= 0)
    if split != "train" and len(rows) < len(labels):
        raw.warnings.append(
            f"{len(labels) - len(rows)} of {len(labels)} {split} {nouns} have"
            f" {_why_not_used(part, labels, nouns)}, and are not used"
            + ("" if len(rows) else f"; a {split} split is cut from train")
        )
    return Split(part.source, rows, labels[rows], tuple(label_of), raw.kind)


def _why_not_used(part: Part, labels: Rows, nouns: str) -> str:
    """What samples of ``part`` lack whose label among the classes, in ``labels``, is -1."""
    lost = np.unique(part.labels[labels < 0])
    if lost[-1] < 0:
        return "no label"
    names = listed_texts([repr(part.names[label]) for label in lost if label >= 0])
    no_label = "no label or " if lost[0] < 0 else ""
    return f"{no_label}a class without training {nouns} ({names})"


def _differ_in_case(names: Sequence[str]) -> list[str]:
    """Pairs of names such as ``'Rose' and 'rose'``."""
    first: dict[str, str] = {}
    return [
        f"{before!r} and {name!r}"
        for name in names
        if (before := first.setdefault(" ".join(name.casefold().split()), name)) != name
    ]


def _unlabelled(raw: RawTask, classes: tuple[str, ...]) -> Split | None:
    """The training samples without a label, and those of the pool."""
    train = raw.parts["train"]
    source = Joined([train.source, *raw.unlabelled])
    is_unlabelled = np.ones(len(source), dtype=bool)
    is_unlabelled[: len(train.source)] = train.labels == -1
    rows = np.flatnonzero(is_unlabelled)
    if not len(rows):
        return None
    return Split(source, rows, np.full_like(rows, -1), classes, raw.kind)
