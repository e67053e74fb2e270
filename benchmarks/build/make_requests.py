"""Write the packaged task ``requests``: ``python -m benchmarks.build.make_requests --data
../shared/text/clinc150``.

Twelve intents of CLINC150's domain `home` in its own splits, each wording once: every tenth
training text of a class keeps its label, the others are the pool.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.build.clinc150 import DOMAINS, read_clinc150
from benchmarks.build.text_recipes import HOME
from selection.duplicates.wordings import find_copies
from selection.kinds.text import TEXT
from selection.sources.split import Split
from selection.sources.texts.requests import FILE, POOL
from selection.sources.texts.source import TextSource
from zoo.files import write_text
from zoo.terminal.command import run
from zoo.terminal.options import command_of

_KEEPS_COPIES = ("test", "validation", "train")
LEFT_OUT = ("calendar", "order", "order_status")
EVERY = 10  # one of so many training texts of a class keeps its label


def request_rows(data: Path) -> Iterator[tuple[str, str, str]]:
    """Split, text and class; without a class the texts of the pool, in split ``unlabelled``.

    Each wording stands once, in the split that is named first in ``_KEEPS_COPIES``.
    """
    intents = {
        name: name.replace("_", " ") for name in sorted(DOMAINS[HOME]) if name not in LEFT_OUT
    }
    parts = {split: read_clinc150(data, split).renamed(intents) for split in _KEEPS_COPIES}
    copies = _copies([text for part in parts.values() for text in part.texts])
    counts: Counter[int] = Counter()
    place = itertools.count()
    for split, part in parts.items():
        for text, label in zip(part.texts, part.labels, strict=True):
            if next(place) in copies:
                continue
            counts[label] += split == "train"
            is_labelled = split != "train" or counts[label] % EVERY == 1
            yield (split, text, part.classes[label]) if is_labelled else (POOL, text, "")


def _copies(texts: Sequence[str]) -> set[int]:
    """The places of the texts whose wording stands further ahead."""
    import numpy as np

    rows = np.arange(len(texts))
    split = Split(TextSource(texts, "texts"), rows, np.zeros_like(rows), ("all",), TEXT)
    first: dict[int, int] = {}
    groups = find_copies({"all": split}).groups["all"].tolist()
    return {
        row
        for row, group in enumerate(groups)
        if group >= 0 and first.setdefault(group, row) != row
    }


@dataclass(frozen=True, kw_only=True)
class RequestsOptions:
    """The options of ``benchmarks.build.make_requests``."""

    data: Annotated[
        Path, typer.Option(help="folder of CLINC150: train, validation and test.parquet")
    ]
    out: Annotated[Path, typer.Option(help="the file (default: in the package)")] = FILE


def write_requests(options: RequestsOptions) -> None:
    """Write the packaged task of texts from CLINC150 (CC BY 3.0)."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("split", "text", "label"))
    rows = list(request_rows(options.data))
    writer.writerows(rows)
    write_text(options.out, table.getvalue())
    print(f"{len(rows):,} texts in {options.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    return run(
        command_of(RequestsOptions, write_requests), argv, name="benchmarks.build.make_requests"
    )


if __name__ == "__main__":
    raise SystemExit(main())
