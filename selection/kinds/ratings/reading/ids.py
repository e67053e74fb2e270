"""Ids of users and items: one way to write each, whatever the type of its column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Ints = npt.NDArray[np.int64]
_MISSING = {"", "nan", "null", "none", "<na>", "inf", "-inf"}


class Coded(NamedTuple):
    """(n,) places among ``ids``, -1 where the id is missing."""

    codes: Ints
    ids: tuple[str, ...]


def coded(values: pd.Series) -> Coded:
    """The ids of a column, sorted: as numbers where all are, else as texts.

    ``42.0`` is ``42`` where all ids of the column are whole numbers.
    """
    import pandas as pd

    raw, uniques = pd.factorize(values)
    texts = [str(value).strip() for value in uniques.tolist()]
    known = [text for text in texts if text.lower() not in _MISSING]
    if all(re.fullmatch(r"-?\d+(\.0*)?", text) for text in known):
        texts = [text.partition(".")[0] for text in texts]
    present = [text for text in texts if text.lower() not in _MISSING]
    ids = in_order(dict.fromkeys(present))
    place = {name: code for code, name in enumerate(ids)}
    table = np.array([*(place.get(text, -1) for text in texts), -1], dtype=np.int64)
    return Coded(table[raw], ids)


def in_order(ids: dict[str, None]) -> tuple[str, ...]:
    """Ids by number where all are whole numbers, else by their letters."""
    if all(re.fullmatch(r"-?\d{1,18}", name) for name in ids):
        return tuple(sorted(ids, key=lambda name: (int(name), name)))
    return tuple(sorted(ids))
