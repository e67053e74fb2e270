"""The tasks of the benchmark of recommenders: shuffled texts, and one genre of all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.students.genre_tasks import genre_tasks
from benchmarks.students.recommenders import BLOCKS, shuffled
from selection.kinds.ratings.table import pairs, table_of
from selection.task import Task
from tests.ratings_setting import items_frame, ratings_frame


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    ratings_frame().to_parquet(folder / "ratings.parquet", index=False)
    items = items_frame().assign(genres=lambda f: f["genres"].str.replace("opera", "Drama"))
    items.to_parquet(folder / "items.parquet", index=False)
    return folder


def test_shuffled_items_have_all_texts_and_not_their_own(data: Path, tmp_path: Path) -> None:
    folder = shuffled(data, tmp_path / "mixed")
    before, after = (pd.read_parquet(place / "items.parquet") for place in (data, folder))
    assert after["item"].tolist() == before["item"].tolist()
    assert sorted(after["title"]) == sorted(before["title"])
    assert (after["title"] == before["title"]).mean() < 0.2
    same = [pd.read_parquet(place / "ratings.parquet") for place in (data, folder)]
    pd.testing.assert_frame_equal(*same)
    times = (folder / "items.parquet").stat().st_mtime_ns
    assert shuffled(data, folder) == folder  # made once
    assert (folder / "items.parquet").stat().st_mtime_ns == times


def known(task: Task, name: str) -> set[tuple[str, str]]:
    split = getattr(task, name)
    table, found = table_of(split), pairs(split)
    return {(table.user_ids[user], table.item_ids[item]) for user, item in zip(*found, strict=True)}


def test_the_teacher_of_all_genres_is_trained_on_no_pair_the_student_is_tested_on(
    data: Path, tmp_path: Path
) -> None:
    whole, part = (Task.open(folder) for folder in genre_tasks(data, tmp_path / "work"))
    for name in ("train", "validation", "test"):
        assert known(part, name) < known(whole, name), name
    assert not known(part, "test") & known(whole, "train")
    genres = pd.read_parquet(data / "items.parquet").set_index("item")["genres"]
    assert all("Drama" in genres[int(item)] for _, item in known(part, "train"))
    cut = Task.open(data)
    assert known(whole, "test") == known(cut, "test")


def test_blocks_have_names_that_tell_them_apart() -> None:
    first, *_, last = BLOCKS
    assert first.name == last.name == "towers-32_by_ease_text"  # controls of the first
    others = [block.name for block in BLOCKS[:-1]]
    assert len(set(others)) == len(others)
