"""A Parquet file of images and labels, as the ``datasets`` library writes it, in memory."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class ImageTable:
    """``encoded`` image files, ``labels`` (N,) int64 in [0, C), ``classes`` the C names."""

    encoded: list[bytes]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def images(self) -> Iterator[Image.Image]:
        """The images in order, opened but not yet decoded: whoever uses their pixels decodes
        them.
        """
        from PIL import Image

        return (Image.open(io.BytesIO(data)) for data in self.encoded)

    def only(self, classes: Sequence[str]) -> ImageTable:
        """The images of ``classes``, with labels in that order."""
        place = np.full(len(self.classes), -1)
        place[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        rows = np.flatnonzero(place[self.labels] >= 0)
        return ImageTable(
            [self.encoded[int(i)] for i in rows], place[self.labels[rows]], tuple(classes)
        )

    def renamed(self, parent: Mapping[str, str]) -> ImageTable:
        """Every class replaced by its ``parent``; the new classes are in the order of the parents'
        first mention.
        """
        classes = tuple(dict.fromkeys(parent.values()))
        place = np.array([classes.index(parent[name]) for name in self.classes])
        return ImageTable(self.encoded, place[self.labels], classes)


def read_table(path: Path) -> ImageTable:
    """All of ``path``, which has an ``image`` and a ``label`` column and the class names in its
    metadata.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    features: Any = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    return ImageTable(
        [row["bytes"] for row in table["image"].to_pylist()],
        np.asarray(table["label"].to_pylist(), np.int64),
        tuple(features["label"]["names"]),
    )
