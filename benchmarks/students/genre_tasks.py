"""Films of one genre for the student, films of all genres for its teacher, as in Talking Models.

Zhao et al. 2023 (arXiv 2310.03188) train a student on one genre of MovieLens whose teacher knows
all of them. Both tasks here have the same splits, those of the whole task, so that no pair that a
student is tested on is known to its teacher.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from selection.task import Split

GENRE = "Drama"
TEACHER = "towers-64"
SPLITS = ("train", "validation", "test")


def genre_tasks(data: Path, home: Path) -> tuple[Path, Path]:
    """The folders of the whole task and of the films of ``GENRE``, written where they are missing.

    ``data`` holds ``ratings.parquet`` and ``items.parquet`` with a column ``genres``.
    """
    import pandas as pd

    from selection.task import Task

    whole, part = home / "all_genres", home / GENRE.lower()
    if (part / "items.parquet").exists():
        return whole, part
    task = Task.open(data, duplicates=False)
    items = pd.read_parquet(data / "items.parquet")
    of_genre = items["genres"].fillna("").str.split("|").map(lambda names: GENRE in names)
    kept = set(items.loc[of_genre, "item"].astype(str))
    for folder in (whole, part):
        folder.mkdir(parents=True, exist_ok=True)
        for name in SPLITS:
            frame = frame_of(getattr(task, name))
            if folder == part:
                frame = frame[frame["item"].isin(kept)]
            frame.to_parquet(folder / f"{name}.parquet", index=False)
    items.to_parquet(whole / "items.parquet", index=False)
    items[of_genre].to_parquet(part / "items.parquet", index=False)
    return whole, part


def frame_of(split: Split) -> pd.DataFrame:
    """The pairs of a split of ratings as a table of user, item and rating."""
    import pandas as pd

    from selection.kinds.ratings.table import pairs, table_of

    table, (users, items) = table_of(split), pairs(split)
    return pd.DataFrame(
        {
            "user": [table.user_ids[user] for user in users],
            "item": [table.item_ids[item] for item in items],
            "rating": np.asarray(table.values)[split.labels],
        }
    )


def train_teacher(whole: Path, home: Path) -> Path:
    """The exported recommender that was trained plainly on all genres."""
    from distill.experiment import prepare
    from distill.options import Options
    from distill.training.trainer import train

    options = Options(task=str(whole), student=TEACHER, method="plain")
    run = train(prepare(options, offline=True), options, home / "runs" / "all_genres")
    return run.student
