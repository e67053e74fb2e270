"""Samples that cannot be read, in sentences and in a file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from selection.kinds.kind import Kind
from selection.sources.split import Split, by_class
from zoo.errors import UserError
from zoo.files import write_text
from zoo.home import findings_folder
from zoo.terminal.command import printable

REASONS = 6  # that are told; the rest stands in the file
FEW = 3  # samples that are named without a file


def unreadable_warnings(reasons: Mapping[str, str], total: int, kind: Kind) -> list[str]:
    """What is said of samples that cannot be read: the commonest reasons, a sample of each.

    ``reasons`` are by a sample's name, ``total`` counts all samples. More than a few are listed in
    a file under ``$TEACHER_ZOO_HOME/findings``, whose path the last sentence names.
    """
    if not reasons:
        return []
    sentences = [
        f"{len(reasons)} of {total} {kind.nouns} cannot be read and are left out:"
        f" {commonest(reasons)}"
    ]
    if len(reasons) > FEW:
        file = _write(reasons)
        if file is not None:
            sentences.append(f"all {kind.nouns} that cannot be read are listed in {file}")
    return sentences


def check_readable(train: Split, reasons: Mapping[str, str], warnings: list[str]) -> None:
    """Say which classes have no training sample that can be read.

    Raises ``UserError`` with the commonest reason where fewer than two classes have two.
    """
    if not reasons:
        return
    readable = [
        sum(train.name(int(row)) not in reasons for row in rows)
        for rows in by_class(train.labels, len(train.classes))
    ]
    if sum(count >= 2 for count in readable) < 2:
        raise UserError(
            f"fewer than two classes have two {train.kind.nouns} that can be read: {len(reasons)}"
            " cannot,"
            f" {commonest(reasons)}"
        )
    lost = [name for name, count in zip(train.classes, readable, strict=True) if not count]
    if lost:
        names = ", ".join(repr(name) for name in lost[:5])
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        warnings.append(
            f"no {train.kind.noun} at all of {names}{more} can be read: the student will never say"
            f" {'it' if len(lost) == 1 else 'them'}"
        )


def commonest(reasons: Mapping[str, str]) -> str:
    """The commonest reasons, how often each occurs, and a sample of each."""
    counts = Counter(reasons.values()).most_common()
    parts = []
    for reason, count in counts[:REASONS]:
        example = next(name for name, text in reasons.items() if text == reason)
        parts.append(f"{count} {printable(reason, 120)} ({printable(example, 60)})")
    if len(counts) > REASONS:
        more = len(counts) - REASONS
        parts.append(f"{more} further reason{'s' if more > 1 else ''}")
    return "; ".join(parts)


def _write(reasons: Mapping[str, str]) -> Path | None:
    """The list in a file that is named by its content; None where none can be written."""
    text = "".join(
        f"{printable(name)}\t{printable(reason, 200)}\n" for name, reason in reasons.items()
    )
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    file = findings_folder() / name / "unreadable.tsv"
    try:
        write_text(file, text)
    except OSError:
        return None
    return file
