"""An exported recommender as a teacher: what its vectors say of a task's users and items.

Shapes: U users, I items, L listed items, D the width of a vector, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from selection.kinds.ratings.affinities import Affinities
from selection.kinds.ratings.history import History
from selection.kinds.ratings.table import RatingsTable
from zoo.errors import TeacherError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

LEAST_KNOWN = 0.5  # share of a task's users, and of its items, that a teacher must know
USERS_AT_ONCE = 64


class Vectors(NamedTuple):
    """The arrays of `distill.student.towers.Towers`, a row for each of a task's users and items.

    The vector of one that the recommender does not know is 0, and so are its biases.
    """

    user_vectors: Floats  # (U, D)
    item_vectors: Floats  # (L, D)
    item_bias: Floats  # (L,)
    rating_user_bias: Floats  # (U,)
    rating_item_bias: Floats  # (L,)
    rating_weights: Floats  # (D,)
    class_bias: Floats  # (C,)
    standardised: Floats  # (C,)
    values: Floats  # (C,)


def affinities_of(folder: Path, table: RatingsTable, history: History) -> Affinities:
    """What the recommender in ``folder`` says: its relevances, and for the residuals by how much
    the ratings that it expects are above the mean and both biases.

    Users and items are matched by their ids. It was trained on pairs of its own, so a pair that it
    was trained on is not left out. ``TeacherError`` where it cannot be read, or knows fewer than
    half of the users or of the items.
    """
    try:
        vectors = _vectors(folder, table, history.listed)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise TeacherError(f"it cannot be read: {type(error).__name__}: {error}") from error
    if not all(np.isfinite(array).all() for array in vectors):
        raise TeacherError("its weights are not finite")
    relevance = vectors.user_vectors @ vectors.item_vectors.T + vectors.item_bias
    residual = np.zeros_like(relevance)
    if not table.implicit:
        for start in range(0, len(relevance), USERS_AT_ONCE):
            users = slice(start, start + USERS_AT_ONCE)
            biases = history.item_bias[history.listed] + history.user_bias[users, None]
            residual[users] = _expected(vectors, users) - history.mean - biases
    return Affinities(history, relevance, residual)


def _expected(vectors: Vectors, users: slice) -> Floats:
    """(b, L) the ratings that it expects."""
    rating = (vectors.user_vectors[users] * vectors.rating_weights) @ vectors.item_vectors.T
    rating = rating + vectors.rating_user_bias[users, None] + vectors.rating_item_bias
    logits = rating[..., None] * vectors.standardised + vectors.class_bias  # (b, L, C)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    expected: Floats = (shares @ vectors.values) / shares.sum(axis=-1)
    return expected


def _vectors(folder: Path, table: RatingsTable, listed: Ints) -> Vectors:
    import pandas as pd
    from safetensors.numpy import load_file

    from zoo.files import load_json

    arrays = load_file(folder / "model.safetensors")
    users = pd.read_parquet(folder / "users.parquet", columns=["user"])["user"]
    items = pd.read_parquet(folder / "items.parquet", columns=["item"])["item"]
    if len(users) != len(arrays["user_vectors"]) or len(items) != len(arrays["item_vectors"]):
        raise ValueError("its names and vectors differ in number")
    config = load_json(folder / "config.json")
    if not isinstance(config, dict):
        raise TypeError("config.json holds no object")
    user = _rows(table.user_ids, list(users), "users")
    item = _rows([table.item_ids[place] for place in listed], list(items), "items")

    def of(name: str, rows: Ints) -> Floats:
        array = np.asarray(arrays[name], dtype=np.float32)
        known = (rows >= 0).reshape(-1, *[1] * (array.ndim - 1))
        found: Floats = array[rows.clip(min=0)] * known
        return found

    return Vectors(
        user_vectors=of("user_vectors", user),
        item_vectors=of("item_vectors", item),
        item_bias=of("item_bias", item),
        rating_user_bias=of("rating_user_bias", user),
        rating_item_bias=of("rating_item_bias", item),
        rating_weights=arrays["rating_weights"],
        class_bias=arrays["class_bias"],
        standardised=arrays["values"],
        values=np.asarray(config["values"], dtype=np.float32),
    )


def _rows(wanted: Sequence[str], known: Sequence[str], nouns: str) -> Ints:
    """(n,) the row of each id, -1 where there is none."""
    places = {name: place for place, name in enumerate(known)}
    rows = np.array([places.get(name, -1) for name in wanted], dtype=np.int64)
    count = int((rows >= 0).sum())
    if count < LEAST_KNOWN * len(rows):
        raise TeacherError(
            f"it knows {count:,} of the {len(rows):,} {nouns}: a recommender teaches its own"
            f" {nouns}, which have the ids that it was trained with"
        )
    return rows
