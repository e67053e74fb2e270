"""The tasks of the distillation benchmark: few labelled images of a real dataset, alone or with the
rest unlabelled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.shared import existing_shared
from zoo.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

Rows = npt.NDArray[np.int64]
SEED = 0
ALONE_VALIDATION = 200  # an epoch of few images takes a second: it must not be spent on validation


@dataclass(frozen=True, kw_only=True)
class SampledDataset:
    """``labels`` labelled images a class of ``classes`` classes (drawn by seed; None: all) of a
    dataset of ../shared, and ``validation`` further training images that only choices of settings
    may look at.
    """

    dataset: str
    labels: int
    validation: int
    classes: int | None = None


SOURCES = {
    "flowers": SampledDataset(dataset="tf_flowers", labels=25, validation=500),
    "cifar100": SampledDataset(
        dataset="cifar100",
        labels=25,
        validation=1000,
        classes=20,
    ),
    "fashion": SampledDataset(dataset="fashion_mnist", labels=10, validation=1000),
}
# the labelled images alone; with the rest of the training images as unlabelled
POOLS = ("alone", "pool")


def make(name: str, pool: str, home: Path) -> Path:
    """The task's folder under ``home``, written where it is not there yet: train, validation and
    test Parquet files.

    An unlabelled image has a null label. Raises ``UserError`` where the dataset is not at hand.
    """
    folder = home / f"{name}_{pool}"
    if (folder / "test.parquet").is_file():
        return folder
    source = SOURCES[name]
    origin = existing_shared("datasets", source.dataset)
    import pyarrow.parquet as pq

    names = (origin / "labels.txt").read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(SEED)
    kept = np.sort(rng.permutation(len(names))[: source.classes])
    train, test = (
        rows_of_classes(pq.read_table(origin / f"{split}.parquet"), kept)
        for split in ("train", "test")
    )
    parts = _cut(train.column("label").to_numpy(), source, rng)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [names[i] for i in kept]
    rest = parts["rest"] if pool == "pool" else parts["rest"][:0]
    write_split(
        folder / "train.parquet",
        train.take(np.concatenate([parts["labelled"], rest])),
        chosen,
        known=len(parts["labelled"]),
    )
    held = parts["validation"] if pool == "pool" else parts["validation"][:ALONE_VALIDATION]
    write_split(folder / "validation.parquet", train.take(held), chosen)
    write_split(folder / "test.parquet", test, chosen)
    return folder


def rows_of_classes(table: pa.Table, kept: Rows) -> pa.Table:
    """The rows of the classes ``kept``, renumbered in their order."""
    import pyarrow as pa

    labels = table.column("label").to_numpy()
    rows = np.flatnonzero(np.isin(labels, kept))
    image = table.column("image").take(pa.array(rows))
    return pa.table(
        {"image": image, "label": pa.array(np.searchsorted(kept, labels[rows]), pa.int64())}
    )


def _cut(labels: Rows, source: SampledDataset, rng: np.random.Generator) -> dict[str, Rows]:
    """Rows of ``labelled`` (the first of each class in a seeded order), ``validation`` and the
    ``rest``.
    """
    import pandas as pd

    order = rng.permutation(len(labels))
    drawn = pd.Series(labels[order])
    place = drawn.groupby(drawn).cumcount().to_numpy()  # of each image within its class
    labelled, others = order[place < source.labels], order[place >= source.labels]
    return {
        "labelled": labelled,
        "validation": others[: source.validation],
        "rest": others[source.validation :],
    }


def write_split(
    path: Path,
    table: pa.Table,
    names: list[str],
    *,
    known: int | None = None,
) -> None:
    """Write ``table`` with the ``datasets`` library's note on its columns; rows from ``known`` on
    lose their label.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = table.column("label").to_pylist()
    if known is not None:
        labels = labels[:known] + [None] * (len(labels) - known)
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    done = pa.table(
        {"image": table.column("image"), "label": pa.array(labels, pa.int64())}
    ).replace_schema_metadata(note)
    with replacing(path) as partial:
        pq.write_table(done, partial, row_group_size=500)
