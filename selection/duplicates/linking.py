"""From pairs of alike samples to groups of copies, which are kept on this machine."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from zoo.files import replacing
from zoo.home import thumbnail_folder

Rows = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def linked_groups(
    contents: Bytes,
    is_readable: npt.NDArray[np.bool_],
    near_pairs: Callable[[Rows], Rows],
) -> Rows:
    """(N,) the group of each sample, numbered from 0 in order of appearance; -1: no other sample.

    Samples of one group have equal ``contents`` (N, 16), or are joined by pairs. ``near_pairs``
    gets the rows of one sample of each content and answers with pairs (P, 2) of places among them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    readable = np.flatnonzero(is_readable)
    groups = np.full(len(contents), -1, dtype=np.int64)
    if len(readable) < 2:
        return groups
    _, first, which = np.unique(contents[readable], axis=0, return_index=True, return_inverse=True)
    unique = readable[first]  # one sample of each content
    pairs = near_pairs(unique)
    ones = np.ones(len(pairs), dtype=np.int8)
    links = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(unique), len(unique)))
    _, component = connected_components(links, directed=False)
    component = component[which.reshape(-1)]  # of each readable sample
    shared = np.bincount(component)[component] > 1
    _, start, number = np.unique(component[shared], return_index=True, return_inverse=True)
    groups[readable[shared]] = np.argsort(np.argsort(start))[number]
    return groups


def kept_groups(key: str, count: int, search: Callable[[], Rows]) -> Rows:
    """The groups (``count``,) of an earlier search of the same ``key``, else those of ``search``,
    which are then kept under ``$TEACHER_ZOO_HOME/duplicates``.
    """
    file = thumbnail_folder() / f"{key}-groups.npz"
    try:
        with np.load(file, allow_pickle=False) as stored:
            groups: Rows = stored["groups"]
            if groups.shape == (count,) and groups.dtype == np.int64:
                return groups
    except DAMAGED:
        pass
    groups = search()
    with suppress(OSError), replacing(file) as partial, partial.open("wb") as out:
        np.savez(out, groups=groups)
    return groups
