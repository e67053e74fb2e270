"""The duplicates of a task, between its reading and its cut."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from selection.duplicates.report import DuplicateReport, leaks
from selection.duplicates.search import MOST_DECODED, find_duplicates
from selection.sources.split import Split
from zoo.files import write_text
from zoo.home import findings_folder

UnreadableImages = dict[str, str]  # image name -> why it cannot be read


def with_groups(
    splits: dict[str, Split],
    warnings: list[str],
) -> tuple[dict[str, Split], UnreadableImages]:
    """The splits as they were given with their ``groups``, and the images that cannot be read."""
    found = find_duplicates(splits)
    if not found.decoded:
        is_large = sum(map(len, splits.values())) > MOST_DECODED
        why = f"there are more than {MOST_DECODED} images" if is_large else "faiss is missing"
        warnings.append(f"only equal files count as duplicates, not nearly equal images: {why}")
    unreadable = {
        splits[kind].name(row): reason
        for kind, reasons in found.unreadable.items()
        for row, reason in reasons.items()
    }
    grouped = {
        kind: dataclasses.replace(split, groups=found.groups[kind])
        for kind, split in splits.items()
    }
    return grouped, unreadable


def without_copies(
    splits: dict[str, Split],
    given: set[str],
    warnings: list[str],
) -> dict[str, Split]:
    """The cut splits, unlabelled copies of labelled images left out; says what was found.

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
                [leaks(pool, split) for kind, split in splits.items() if kind != "unlabelled"]
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
    digests = " ".join(f"{kind} {split.digest}" for kind, split in splits.items())
    name = hashlib.sha256(digests.encode()).hexdigest()[:16]
    file = findings_folder() / name / "duplicates.tsv"
    try:
        write_text(file, "".join(f"{line}\n" for line in findings.lines()))
    except OSError:
        return None
    return file
