"""The built-in task ``digits``, small images that come with scikit-learn."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selection.kinds.kind import TaskContent
from selection.sources.split import Part, Rows


def digits() -> TaskContent:
    """The 1,797 gray images of 8 x 8 pixels that come with scikit-learn."""
    table = _digits_table()  # (1797, 65): 64 pixels from 0 to 16, the digit
    pixels, digits = table[:, :64], table[:, 64]
    gray = np.rint(pixels * (255 / 16)).astype(np.uint8)
    part = Part(_Digits(gray), digits.astype(np.int64), tuple("0123456789"))
    return TaskContent({"train": part})


def _digits_table() -> npt.NDArray[np.float64]:
    """Read scikit-learn's file without importing it, which takes seconds."""
    package = importlib.util.find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
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
