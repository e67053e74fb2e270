"""The duplicates of a task, between its reading and its cut."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from selection.duplicates.report import DuplicateReport, leaks
from selection.sources.split import Split
from zoo.files import write_text
from zoo.home import findings_folder

UnreadableSamples = dict[str, str]  # name of a sample -> why it cannot be read


def with_groups(
    splits: dict[str, Split],
    warnings: list[str],
) -> tuple[dict[str, Split], UnreadableSamples]:
    """The splits as they were given with their ``groups``, and the samples that cannot be read."""
    copies = splits["train"].kind.find_copies(splits)
    if copies.note:
        warnings.append(copies.note)
    unreadable = {
        splits[name].name(row): reason
        for name, reasons in copies.unreadable.items()
        for row, reason in reasons.items()
    }
    grouped = {
        name: dataclasses.replace(split, groups=copies.groups[name])
        for name, split in splits.items()
    }
    return grouped, unreadable


def without_copies(
    splits: dict[str, Split],
    given: set[str],
    warnings: list[str],
) -> dict[str, Split]:
    """The cut splits, unlabelled copies of labelled samples left out; says what was found.

    The whole list is written under ``$TEACHER_ZOO_HOME/findings``.
    """
    if all(split.groups is None or (split.groups < 0).all() for split in splits.values()):
        return splits
    findings = DuplicateReport(splits, given)
    sentences = findings.sentences()
    kept, pool = dict(splits), splits.get("unlabelled")
    if pool is not None:
        copies = np.unique(
            np.concatenate(
                [leaks(pool, split) for name, split in splits.items() if name != "unlabelled"]
            )
        )
        if len(copies):
            sentences.append(findings.pool_sentence(copies))
            kept["unlabelled"] = pool.subset(np.setdiff1d(np.arange(len(pool)), copies))
            if len(copies) == len(pool):
                del kept["unlabelled"]
    if sentences:
        file = _write(findings, splits)
        if file is not None:
            sentences.append(f"all duplicates are listed in {file}")
    warnings += sentences
    return kept


def _write(findings: DuplicateReport, splits: dict[str, Split]) -> Path | None:
    """The list of duplicates, in a file that is named by the task's content; None: no place."""
    digests = " ".join(f"{name} {split.digest}" for name, split in splits.items())
    name = hashlib.sha256(digests.encode()).hexdigest()[:16]
    file = findings_folder() / name / "duplicates.tsv"
    try:
        write_text(file, "".join(f"{line}\n" for line in findings.lines()))
    except OSError:
        return None
    return file
