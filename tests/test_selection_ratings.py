"""Tasks of ratings: from files of all kinds to splits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from selection.kinds.ratings.reading.splits import UnratedPairs, last_of_users
from selection.kinds.ratings.table import RatingsTable, pairs, shown_digest, table_of
from selection.task import Task
from tests.ratings_setting import items_frame, ratings_frame, write_ratings
from zoo.errors import UserError


def _frame_of(task: Task, name: str) -> pd.DataFrame:
    """The ids and values of one split, as a user would write them."""
    split = getattr(task, name)
    table, (users, items) = table_of(split), pairs(split)
    return pd.DataFrame(
        {
            "user": [table.user_ids[user] for user in users],
            "item": [table.item_ids[item] for item in items],
            "rating": np.array([*table.values, np.nan])[split.labels],
        }
    )


def _said(task: Task, words: str) -> list[str]:
    return [sentence for sentence in task.warnings if words in sentence]


def test_a_folder_of_ratings_and_items_is_a_task_of_ratings(tmp_path: Path) -> None:
    task = Task.open(write_ratings(tmp_path / "plays"))

    assert (task.kind.name, task.name) == ("ratings", "plays")
    assert task.classes == ("1", "2", "3", "4", "5")
    table = table_of(task.train)
    assert table.values == (1.0, 2.0, 3.0, 4.0, 5.0) and not table.implicit
    assert table.item_ids[:3] == ("1", "2", "3") and len(table.user_ids) == 24
    assert table.texts[1] == "The western of number 1 (1951). western, play"
    assert table.titles[1] == "The western of number 1"
    user, item = (int(places[0]) for places in pairs(task.train))
    assert task.train.name(0) == f"user {table.user_ids[user]}, item {table.item_ids[item]}"
    assert task.train.sample(0) == table.texts[item]
    assert task.cut == () and task.warnings == []


def test_every_rating_is_in_one_split_with_its_value(tmp_path: Path) -> None:
    task = Task.open(write_ratings(tmp_path))

    read = pd.concat([_frame_of(task, name) for name in ("train", "validation", "test")])
    read = read.astype(float).sort_values(["user", "item"]).to_numpy()
    written = ratings_frame().sort_values(["user", "item"])[["user", "item", "rating"]].to_numpy()
    np.testing.assert_array_equal(read, written)


def test_a_user_is_tested_on_what_it_rated_last(tmp_path: Path) -> None:
    frame = ratings_frame()
    task = Task.open(write_ratings(tmp_path))

    time = {(user, item): t for user, item, _, t in frame.itertuples(index=False)}
    spans: dict[str, dict[int, list[int]]] = {}
    for name in ("train", "validation", "test"):
        for row in _frame_of(task, name).itertuples():
            user = int(row.user)
            spans.setdefault(name, {}).setdefault(user, []).append(time[user, int(row.item)])
    for user, count in frame.user.value_counts().items():
        share = max(1, round(0.1 * count))
        assert len(spans["test"][user]) == len(spans["validation"][user]) == share
        assert max(spans["train"][user]) < min(spans["validation"][user])
        assert max(spans["validation"][user]) < min(spans["test"][user])


def test_splits_of_few_ratings_and_without_times() -> None:
    users = np.repeat([0, 1, 2], [4, 5, 30])
    splits = last_of_users(users, np.arange(39.0), ("test", "validation"), 0)

    assert splits.tolist() == (
        ["train"] * 7 + ["validation", "test"] + ["train"] * 24 + ["validation"] * 3 + ["test"] * 3
    )
    drawn = last_of_users(users, None, ("test", "validation"), 0)
    assert sorted(drawn.tolist()) == sorted(splits.tolist())
    assert drawn.tolist() != splits.tolist()
    assert drawn.tolist() == last_of_users(users, None, ("test", "validation"), 0).tolist()
    assert set(last_of_users(users, None, ("validation",), 0)) == {"train", "validation"}


def test_users_of_few_ratings_are_for_training_and_said(tmp_path: Path) -> None:
    frame = ratings_frame()
    few = frame[(frame.user != 3) | (frame.groupby("user").cumcount() < 4)]
    task = Task.open(write_ratings(tmp_path, few.drop(columns="timestamp")))

    assert "3" not in {*_frame_of(task, "test").user, *_frame_of(task, "validation").user}
    assert _said(task, "1 of 24 users have fewer than 5 ratings")
    assert _said(task, "without a column of times")


def test_the_pool_is_of_pairs_that_nobody_rated(tmp_path: Path) -> None:
    frame = ratings_frame(share=0.3)
    frame = frame[frame.item != 40]
    task = Task.open(write_ratings(tmp_path, frame))

    assert task.unlabelled is not None
    pool = _frame_of(task, "unlabelled")
    assert len(pool) == len(task.train) and (task.unlabelled.labels == -1).all()
    keys = list(zip(pool.user.astype(int), pool.item.astype(int), strict=True))
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set(zip(frame.user, frame.item, strict=True))
    assert 40 not in {item for _, item in keys}  # without a rating it is not drawn


def test_popular_items_are_drawn_more_often() -> None:
    rng = np.random.default_rng(0)
    unrated = UnratedPairs(np.sqrt([0.0, 100.0, 25.0]), np.array([4], np.int64), rng)
    users = np.arange(2_000)
    items = unrated.of(users)

    assert items[1] == 2  # 1 * 3 + 1 is taken
    share = (items == 1).mean()
    assert 0.63 < share < 0.70 and not (items == 0).any()  # 10 of 15
    assert set(unrated.of(users).tolist()) <= {1, 2, -1}
    assert set(unrated.of(users).tolist()) == {-1}  # all pairs are drawn


def test_rows_without_a_rating_are_pool(tmp_path: Path) -> None:
    frame = ratings_frame().astype({"rating": float})
    empty = frame.index[::45]
    frame.loc[empty, "rating"] = np.nan
    task = Task.open(write_ratings(tmp_path, frame))

    pool = _frame_of(task, "unlabelled").astype({"user": int, "item": int})
    first = list(zip(pool.user, pool.item, strict=True))[: len(empty)]
    assert first == list(zip(frame.user[empty], frame.item[empty], strict=True))


def test_ids_are_floats_in_one_file_and_integers_in_the_other(tmp_path: Path) -> None:
    ratings = ratings_frame().astype({"user": float, "item": float, "rating": np.float32})
    ratings.to_parquet(tmp_path / "ratings.parquet")
    items_frame().to_json(tmp_path / "items.jsonl", orient="records", lines=True)
    task = Task.open(tmp_path)

    table = table_of(task.train)
    assert table.user_ids == tuple(str(user) for user in range(1, 25))
    assert table.texts[39] == "The cookery of number 39 (1989). cookery, play"
    written = Task.open(write_ratings(tmp_path / "csv"))
    assert table_of(written.train).key == table.key
    assert written.digest == task.digest


def test_ids_are_kept_as_they_are_written(tmp_path: Path) -> None:
    frame = ratings_frame().astype({"user": str, "item": str})
    frame["user"] = "u" + frame.user
    frame.loc[frame.item == "7", "item"] = "7.0"
    frame.loc[frame.item == "8", "item"] = "B008.0"
    task = Task.open(write_ratings(tmp_path, frame, items_frame().astype({"item": str})))

    table = table_of(task.train)
    assert table.user_ids[:2] == ("u1", "u10")
    assert {"7.0", "B008.0"} <= set(table.item_ids)  # not all of the column are numbers
    assert _said(task, "2 items of")


@pytest.mark.parametrize(
    "names",
    [
        ("userId", "movieId", "rating", "timestamp"),
        ("reviewerID", "asin", "overall", "unixReviewTime"),
        ("user_id", "parent_asin", "Score", "Date"),
        ("User-ID", "ISBN", "Book-Rating", "time"),
        ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
    ],
)
def test_columns_by_other_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    frame = ratings_frame().set_axis(list(names), axis=1)
    frame.to_csv(tmp_path / "reviews.tsv", sep="\t", index=False)
    items_frame().rename(columns={"item": names[1]}).to_csv(tmp_path / "movies.csv", index=False)
    task = Task.open(tmp_path / "reviews.tsv")

    plain = Task.open(write_ratings(tmp_path / "plain"))
    assert task.digest == plain.digest
    assert Task.open(tmp_path, kind="ratings").digest == plain.digest


def test_an_older_files_column_asin_gives_way_to_parent_asin(tmp_path: Path) -> None:
    frame = ratings_frame().rename(columns={"item": "parent_asin"}).assign(asin="x")
    frame = frame.assign(text="I liked it", title="Good")
    frame.to_json(tmp_path / "Toys.jsonl", orient="records", lines=True)
    items_frame().rename(columns={"item": "parent_asin"}).to_json(
        tmp_path / "meta.json", orient="records", lines=True
    )
    task = Task.open(tmp_path / "Toys.jsonl")
    assert task.kind.name == "ratings"
    assert task.digest == Task.open(write_ratings(tmp_path / "plain")).digest


@pytest.mark.parametrize(("name", "mark"), [("u.data", "\t"), ("ratings.dat", "::")])
def test_files_of_movielens_without_a_first_row(tmp_path: Path, name: str, mark: str) -> None:
    rows = ratings_frame().astype(str).to_numpy()
    (tmp_path / name).write_text("".join(f"{mark.join(row)}\n" for row in rows))
    items_frame().to_csv(tmp_path / "items.csv", index=False)
    plain = Task.open(write_ratings(tmp_path / "plain"))
    assert Task.open(tmp_path / name).digest == plain.digest


def test_more_than_ten_values_are_quantiles(tmp_path: Path) -> None:
    frame = ratings_frame()
    frame["rating"] = np.random.default_rng(1).normal(50, 10, len(frame)).round(2)
    task = Task.open(write_ratings(tmp_path, frame))

    assert len(task.classes) == 10
    low, _, high = task.classes[3].partition(" to ")
    values = _frame_of(task, "train").rating
    of_class = frame.rating[(frame.rating >= float(low)) & (frame.rating <= float(high))]
    assert float(low) < table_of(task.train).values[3] < float(high)
    assert abs(of_class.mean() - table_of(task.train).values[3]) < 0.5
    assert np.ptp(np.bincount(task.train.labels)) <= 3
    assert list(table_of(task.train).values) == sorted(set(values))


def test_a_rare_value_counts_as_its_neighbour(tmp_path: Path) -> None:
    frame = ratings_frame().astype({"rating": float})
    frame["rating"] /= 2
    frame.loc[frame.timestamp.idxmin(), "rating"] = 7.0  # the first of its user: for training
    task = Task.open(write_ratings(tmp_path, frame))

    assert task.classes == ("0.5", "1", "1.5", "2", "2.5")
    assert table_of(task.train).values == (0.5, 1.0, 1.5, 2.0, 2.5)
    assert len(task.train) + len(task.validation) + len(task.test) == len(frame)
    assert _said(task, "fewer than two training pairs count as their neighbours: 7 as 2.5")


def test_implicit_feedback_gets_pairs_that_were_not_chosen(tmp_path: Path) -> None:
    frame = ratings_frame(share=0.3)
    folder = write_ratings(tmp_path, frame.drop(columns="rating"))
    task = Task.open(folder)

    assert task.classes == ("not chosen", "chosen") and table_of(task.train).implicit
    seen = set(zip(frame.user, frame.item, strict=True))
    drawn: list[tuple[int, int]] = []
    for name in ("train", "validation", "test", "unlabelled"):
        split = _frame_of(task, name).astype({"user": int, "item": int})
        keys = list(zip(split.user, split.item, strict=True))
        labels = getattr(task, name).labels
        chosen = [key for key, label in zip(keys, labels, strict=True) if label == 1]
        others = [key for key, label in zip(keys, labels, strict=True) if label != 1]
        assert set(chosen) <= seen and not set(others) & seen
        assert name == "unlabelled" or len(chosen) == len(others)
        drawn += others
    assert len(set(drawn)) == len(drawn)


def test_the_last_of_a_pair_that_occurs_again_counts(tmp_path: Path) -> None:
    frame = ratings_frame()
    first = frame.iloc[0]
    again = pd.DataFrame([first, first]).assign(
        rating=[5, 1], timestamp=[first.timestamp + 10**7, 5]
    )
    task = Task.open(write_ratings(tmp_path, pd.concat([frame, again])))

    everything = pd.concat([_frame_of(task, name) for name in ("train", "validation", "test")])
    mine = everything[
        (everything.user == str(first.user)) & (everything.item == str(first["item"]))
    ]
    assert mine.rating.tolist() == [5.0]
    assert _said(task, "2 ratings of") and _said(task, "the last one counts")


def test_rows_without_ids_are_left_out_and_said(tmp_path: Path) -> None:
    frame = ratings_frame().astype({"user": float, "item": float})
    frame.loc[:2, "user"] = np.nan
    frame.loc[3, "item"] = np.nan
    task = Task.open(write_ratings(tmp_path, frame))

    assert len(task.train) + len(task.validation) + len(task.test) == len(frame) - 4
    assert _said(task, "3 rows without user and 1 rows without item")
    assert "nan" not in table_of(task.train).user_ids


def test_dates_are_times(tmp_path: Path) -> None:
    frame = ratings_frame()
    days = frame.timestamp - 1_000_000
    stamps = pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D")
    plain = Task.open(write_ratings(tmp_path / "plain"))
    for name, written in (
        ("iso", stamps.dt.strftime("%Y-%m-%d")),
        ("european", stamps.dt.strftime("%d/%m/%Y")),
        ("words", stamps.dt.strftime("%B %d, %Y")),
    ):
        task = Task.open(write_ratings(tmp_path / name, frame.assign(timestamp=written)))
        assert task.digest == plain.digest, name
    folder = tmp_path / "parquet"
    folder.mkdir()
    frame.assign(timestamp=stamps).to_parquet(folder / "ratings.parquet")
    items_frame().to_csv(folder / "items.csv")
    assert Task.open(folder).digest == plain.digest


def test_ratings_without_a_time_count_as_the_first(tmp_path: Path) -> None:
    frame = ratings_frame().astype({"timestamp": float})
    last = frame.loc[frame[frame.user == 1].timestamp.idxmax()]
    frame.loc[last.name, "timestamp"] = np.nan
    task = Task.open(write_ratings(tmp_path, frame))

    train = _frame_of(task, "train")
    assert ((train.user == "1") & (train.item == str(int(last["item"])))).any()
    assert _said(task, "1 ratings of") and _said(task, "have no time and count as the first")


def test_items_without_a_row_without_a_text_and_named_again(tmp_path: Path) -> None:
    items = items_frame()
    items.loc[items.item == 5, ["title", "genres", "year"]] = None
    again = items[items.item == 6].assign(title="Another name")
    items = pd.concat([items[items.item != 4], again])
    items.loc[len(items)] = [99, "Unseen", "opera", 2001]
    task = Task.open(write_ratings(tmp_path, items=items))

    table = table_of(task.train)
    assert table.item_ids[-1] == "99" and table.texts[-1] == "Unseen (2001). opera"
    assert (table.texts[3], table.titles[3], table.shown(3)) == ("", "4", "4")
    assert table.texts[5].startswith("The western of number 5")
    assert _said(task, "1 item of") and _said(task, "has no row in items.csv")
    assert _said(task, "has no text in items.csv")
    assert _said(task, "1 rows of items.csv list an item again: its first row counts")


def test_ready_splits_are_kept(tmp_path: Path) -> None:
    frame = ratings_frame()
    frame[frame.user != 2].iloc[:300].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[300:400].to_csv(tmp_path / "valid.csv", index=False)
    pd.concat([frame.iloc[400:], frame.iloc[:2]]).to_csv(tmp_path / "test.csv", index=False)
    items_frame().to_csv(tmp_path / "items.csv", index=False)
    task = Task.open(tmp_path)

    trained = frame[frame.user != 2].iloc[:300]
    assert len(task.train) == len(trained)
    written = set(zip(frame.user[400:], frame.item[400:], strict=True))
    read = _frame_of(task, "test").astype({"user": int, "item": int})
    overlap = set(zip(trained.user, trained.item, strict=True)) | set(
        zip(frame.user[300:400], frame.item[300:400], strict=True)
    )
    assert set(zip(read.user, read.item, strict=True)) == written - overlap
    assert _said(task, "test pairs also stand in train or validation and are not used")
    assert _said(task, "have a user or an item without training ratings")


def test_a_ready_test_split_without_validation(tmp_path: Path) -> None:
    frame = ratings_frame()
    frame.iloc[:400].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[400:].to_csv(tmp_path / "test.csv", index=False)
    task = Task.open(tmp_path)

    assert len(task.test) == len(frame) - 400
    assert len(task.train) + len(task.validation) == 400 and len(task.validation) > 10
    assert _said(task, "no items.csv")


def test_a_file_called_ratings_is_the_task_and_others_are_named(tmp_path: Path) -> None:
    folder = write_ratings(tmp_path / "both")
    frame = ratings_frame()
    frame.iloc[:300].to_parquet(folder / "train.parquet")
    frame.iloc[300:].to_parquet(folder / "test.parquet")
    task = Task.open(folder)

    assert task.digest == Task.open(write_ratings(tmp_path / "plain")).digest
    assert _said(task, "its splits are cut here; test.parquet, train.parquet beside it are")


def test_other_tables_are_no_ratings(tmp_path: Path) -> None:
    texts = pd.DataFrame(
        {"user": range(40), "item": range(40), "text": ["good one", "bad one"] * 20}
    ).assign(label=["yes", "no"] * 20)
    texts.to_csv(tmp_path / "posts.csv", index=False)
    assert Task.open(tmp_path / "posts.csv").kind.name == "text"
    reviews = texts.drop(columns="item")
    reviews.to_csv(tmp_path / "reviews.csv", index=False)
    assert Task.open(tmp_path / "reviews.csv").kind.name == "text"
    chosen = Task.open(tmp_path / "posts.csv", text_column="text", label_column="label")
    assert chosen.kind.name == "text"


def test_the_column_of_ratings_can_be_named(tmp_path: Path) -> None:
    frame = ratings_frame().rename(columns={"rating": "mark"}).assign(rating=1)
    task = Task.open(write_ratings(tmp_path, frame), label_column="mark")
    assert task.digest == Task.open(write_ratings(tmp_path / "plain")).digest
    (tmp_path / "ratings.csv").rename(tmp_path / "marks.csv")
    assert Task.open(tmp_path / "marks.csv", label_column="mark").digest == task.digest
    reviews = frame.assign(text="some words").drop(columns="rating")
    reviews.to_csv(tmp_path / "reviews.csv", index=False)
    opened = Task.open(tmp_path / "reviews.csv", label_column="mark")
    assert opened.kind.name == "text"
    with pytest.raises(UserError, match=r"--label-column stars: .* has no such column"):
        Task.open(tmp_path / "plain", label_column="stars")


_FRAME = ratings_frame()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_FRAME[_FRAME.user == 1], "holds ratings of 1 user; at least two users are needed"),
        (_FRAME[_FRAME.item == 1], "holds ratings of 1 item; at least two items are needed"),
        (_FRAME.assign(rating=4), "all ratings are 4, one class"),
        (_FRAME.assign(timestamp="noon"), "the time 'noon' (row 1) is neither a number nor a date"),
        (_FRAME.drop(columns="user"), "has no column of users (it has: item, rating, timestamp)"),
        (_FRAME.drop(columns="item"), "has no column of items (it has: user, rating, timestamp)"),
        (_FRAME.assign(rating=np.inf), "ratings are infinite (row 1)"),
        (_FRAME.assign(rating="good"), "ratings are no numbers (row 1: 'good')"),
        (_FRAME.assign(rating=""), "no row has a rating"),
        (_FRAME.assign(user=np.nan), "holds ratings of no users"),
        (_FRAME.iloc[:0], "holds no ratings"),
        (_FRAME[_FRAME.groupby("user").cumcount() < 4], "has 5 or more training ratings"),
        (_FRAME.assign(item=_FRAME.item + 1000), "their ids must be written alike"),
    ],
)
def test_ratings_that_cannot_be_used(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    folder = write_ratings(tmp_path, frame)
    with pytest.raises(UserError) as refused:
        Task.open(folder)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_negative_ratings_are_ratings(tmp_path: Path) -> None:
    task = Task.open(write_ratings(tmp_path, _FRAME.assign(rating=_FRAME.rating - 3)))
    assert task.classes == ("-2", "-1", "0", "1", "2")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\0\0\0", "is no text file"),
        (b"1,2,3,4\n1,3,4,5\n", "has no first row that names its columns"),
        (b'user,item,rating\n"1,2,3\n', "is no readable table"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_files_that_are_no_tables(
    tmp_path: Path, content: bytes, message: str, whole: bool
) -> None:
    (tmp_path / "ratings.csv").write_bytes(content)
    with pytest.raises(UserError) as refused:
        Task.open(tmp_path if whole else tmp_path / "ratings.csv")
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_items_without_a_column_of_items(tmp_path: Path) -> None:
    write_ratings(tmp_path, items=items_frame().rename(columns={"item": "number"}))
    with pytest.raises(UserError, match=r"no column of items \(it has: number, title"):
        Task.open(tmp_path)


def test_a_pool_of_ones_own_is_refused(tmp_path: Path) -> None:
    folder = write_ratings(tmp_path)
    with pytest.raises(UserError, match="pairs that nobody rated are drawn"):
        Task.open(folder, unlabelled=folder / "ratings.csv")


def test_the_kind_can_be_forced(tmp_path: Path) -> None:
    frame = _FRAME.drop(columns=["rating", "timestamp"]).assign(description="some words")
    frame.to_csv(tmp_path / "log.csv", index=False)
    items_frame().to_csv(tmp_path / "items.csv", index=False)
    with pytest.raises(UserError, match=r"no pairs that are known here; expected ratings\.csv"):
        Task.open(tmp_path / "items.csv", kind="ratings")


def test_equal_texts_have_one_key(tmp_path: Path) -> None:
    split = Task.open(write_ratings(tmp_path)).train
    items = pairs(split).items
    first, second = np.flatnonzero(items == items[0])[:2].tolist()
    other = int(np.flatnonzero(items != items[0])[0])
    key = split.fingerprint(split.raw(first))
    assert key == split.fingerprint(split.raw(second)) != split.fingerprint(split.raw(other))
    assert key[:16] == shown_digest(split.sample(first))


def test_the_table_tells_titles_where_items_have_no_text() -> None:
    table = RatingsTable(("1",), ("7", "8"), ("", "A text"), ("Seven", "Eight"), (1.0, 2.0))
    assert [table.shown(item) for item in (0, 1)] == ["Seven", "A text"]


def test_the_files_of_movielens_as_they_are_unpacked(tmp_path: Path) -> None:
    """``u.data`` and ``u.item`` of the 100k, ``ratings.dat`` and ``movies.dat`` of the 1M."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir(), large.mkdir()
    rows, items = ratings_frame().astype(str).to_numpy().tolist(), items_frame()
    (small / "u.data").write_text("".join("\t".join(row) + "\n" for row in rows))
    (small / "u1.base").write_text("\t".join(rows[0]) + "\n")
    lines = [
        f"{row.item}|{row.title} ({row.year})|01-Jan-1995||http://x|0|1|0\n"
        for row in items.itertuples()
    ]
    (small / "u.item").write_text("".join(lines), encoding="latin-1")
    (small / "u.user").write_text("1|24|M|technician|85711\n")
    (large / "ratings.dat").write_text("".join("::".join(row) + "\n" for row in rows))
    lines = [f"{row.item}::{row.title} ({row.year})::{row.genres}\n" for row in items.itertuples()]
    (large / "movies.dat").write_text("".join(lines), encoding="latin-1")
    (large / "users.dat").write_text("1::F::1::10::48067\n")

    plain = Task.open(write_ratings(tmp_path / "plain"))
    for folder, text in ((small, ""), (large, ". western, play")):
        task = Task.open(folder)
        assert task.warnings == [] and len(task.test) == len(plain.test)
        assert table_of(task.train).texts[1] == f"The western of number 1 (1951){text}"


def test_items_are_told_by_their_column_where_one_file_has_it(tmp_path: Path) -> None:
    frame = ratings_frame().set_axis(["User-ID", "ISBN", "Book-Rating", "time"], axis=1)
    frame.to_csv(tmp_path / "BX-Book-Ratings.csv", sep=";", index=False, quoting=1)
    books = items_frame().rename(columns={"item": "ISBN", "title": "Book-Title"})
    books.to_csv(tmp_path / "BX-Books.csv", sep=";", index=False, quoting=1)
    (tmp_path / "BX-Users.csv").write_text('"User-ID";"Location"\n"1";"Bonn"\n')
    task = Task.open(tmp_path)
    assert task.digest == Task.open(write_ratings(tmp_path / "plain")).digest


def test_rows_with_more_cells_than_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("user,item,rating\n1,2,3,9\n1,3,4\n2,3,4\n")
    with pytest.raises(UserError, match="rows with more cells than its first row names"):
        Task.open(tmp_path)
