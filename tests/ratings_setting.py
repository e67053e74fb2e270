"""A small world for tests of ratings: made-up users, items with genres, and tastes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

GENRES = ("comedy", "western", "opera", "cookery")
USERS, ITEMS = 24, 40


def ratings_frame(*, share: float = 0.5, seed: int = 0) -> pd.DataFrame:
    """Columns user, item, rating (1 to 5) and timestamp; users like one genre of four."""
    rng = np.random.default_rng(seed)
    user, item = np.nonzero(rng.random((USERS, ITEMS)) < share)
    liked = (user % len(GENRES)) == (item % len(GENRES))
    rating = np.clip(2 + 2 * liked + rng.integers(-1, 2, len(user)), 1, 5)
    time = rng.permutation(len(user)) + 1_000_000
    columns = {"user": user + 1, "item": item + 1, "rating": rating, "timestamp": time}
    return pd.DataFrame(columns)


def items_frame() -> pd.DataFrame:
    """Columns item, title, genres and year of 40 made-up items."""
    return pd.DataFrame(
        {
            "item": np.arange(ITEMS) + 1,
            "title": [f"The {GENRES[i % 4]} of number {i}" for i in range(ITEMS)],
            "genres": [f"{GENRES[i % 4]}|play" for i in range(ITEMS)],
            "year": [1950 + i for i in range(ITEMS)],
        }
    )


def write_ratings(
    folder: Path,
    ratings: pd.DataFrame | None = None,
    items: pd.DataFrame | None = None,
) -> Path:
    """``ratings.csv`` and ``items.csv`` in ``folder``, those made up here by default."""
    folder.mkdir(parents=True, exist_ok=True)
    (ratings_frame() if ratings is None else ratings).to_csv(folder / "ratings.csv", index=False)
    (items_frame() if items is None else items).to_csv(folder / "items.csv", index=False)
    return folder
