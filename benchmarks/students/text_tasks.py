"""The tasks of the benchmark of texts: few labelled texts of a real dataset, alone or with the rest
unlabelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.shared import existing_shared
from benchmarks.students.distillation_tasks import SEED, Rows
from zoo.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = 25  # labelled texts a class
VALIDATION = 500  # further texts that only choices of settings may look at
ALONE_VALIDATION = 200  # an epoch of few texts takes a second: it must not go to validation
ORACLE = "oracle"  # the pool with its true labels, a control


@dataclass(frozen=True, kw_only=True)
class SampledTexts:
    """A dataset of ../shared/text and the names of its classes, () if the README lists them."""

    dataset: str
    classes: tuple[str, ...] = ()


SOURCES = {  # short texts first
    "trec": SampledTexts(
        dataset="trec6",
        classes=("description", "entity", "abbreviation", "human", "location", "number"),
    ),
    "emotion": SampledTexts(
        dataset="tweeteval_emotion", classes=("anger", "joy", "optimism", "sadness")
    ),
    "clinc": SampledTexts(dataset="clinc150"),
    "subj": SampledTexts(dataset="subj", classes=("subjective", "objective")),
    "sst2": SampledTexts(dataset="sst2_sentences", classes=("negative", "positive")),
}


def make(name: str, pool: str, home: Path, *, labels: int = LABELS) -> Path:
    """The task's folder under ``home``, written where it is not there yet: train, validation and
    test Parquet files with ``text`` and ``label``.

    ``pool`` is ``alone``, ``pool`` (the rest of the training texts with a null label) or
    ``oracle`` (with their labels). The first ``labels`` texts of each class in a seeded order are
    labelled. Validation is the dataset's own, or the next training texts. Raises ``UserError``
    where the dataset is not at hand.
    """
    folder = home / f"{name}_{pool}"
    if (folder / "test.parquet").is_file():
        return folder
    source = SOURCES[name]
    origin = existing_shared("text", source.dataset)
    names = source.classes or _listed_classes(origin / "README.md")
    splits = {
        split: _table(origin / f"{split}.parquet", names)
        for split in ("train", "validation", "test")
        if (origin / f"{split}.parquet").is_file()
    }
    parts = _cut(splits["train"], labels, own="validation" in splits)
    train, held = splits["train"], splits["train"].take(parts["validation"])
    if "validation" in splits:
        rows = np.random.default_rng(SEED).permutation(len(splits["validation"]))[:VALIDATION]
        held = splits["validation"].take(np.sort(rows))
    rest = parts["rest"][:0] if pool == "alone" else parts["rest"]
    known = len(parts["labelled"]) + (len(rest) if pool == ORACLE else 0)
    chosen = train.take(np.concatenate([parts["labelled"], rest]))
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "train.parquet", _unlabelled_from(chosen, known))
    held = held if len(rest) else held.slice(0, ALONE_VALIDATION)
    _write(folder / "validation.parquet", held)
    _write(folder / "test.parquet", splits["test"])
    return folder


def _listed_classes(readme: Path) -> tuple[str, ...]:
    """The names behind ``Classes (label order):`` of a dataset's README."""
    start = "Classes (label order): "
    lines = readme.read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(start))
    return tuple(line.removeprefix(start).rstrip(".").split(", "))


def _table(path: Path, names: tuple[str, ...]) -> pa.Table:
    """``text`` and ``label`` (a class name) of a file of ../shared/text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    labels = [names[label] for label in table.column("label").to_pylist()]
    return pa.table({"text": table.column("text").cast(pa.string()), "label": labels})


def _cut(train: pa.Table, labels: int, *, own: bool) -> dict[str, Rows]:
    """Rows of ``labelled`` (the first of each class in a seeded order), ``validation`` (none where
    the dataset has its ``own``) and the ``rest``.
    """
    import pandas as pd

    order = np.random.default_rng(SEED).permutation(len(train))
    drawn = pd.Series(np.asarray(train.column("label").to_pylist())[order])
    place = drawn.groupby(drawn).cumcount().to_numpy()  # of each text within its class
    labelled, others = order[place < labels], order[place >= labels]
    count = 0 if own else VALIDATION
    return {"labelled": labelled, "validation": others[:count], "rest": others[count:]}


def _unlabelled_from(table: pa.Table, known: int) -> pa.Table:
    """``table`` whose rows from ``known`` on lose their label."""
    import pyarrow as pa

    labels = table.column("label").to_pylist()
    labels = labels[:known] + [None] * (len(labels) - known)
    return pa.table({"text": table.column("text"), "label": pa.array(labels, pa.string())})


def _write(path: Path, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    with replacing(path) as partial:
        pq.write_table(table, partial)
