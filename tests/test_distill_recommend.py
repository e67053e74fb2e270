"""An exported student of ratings: its lists for users, its ratings of pairs, and its files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.kinds.registry import training_kind
from distill.options import Options
from distill.predict import main, predict, recommend
from distill.student.recommender import Recommender
from distill.student.towers_student import TowersStudent
from selection.kinds.ratings.table import pairs, table_of
from selection.task import Task
from tests.ratings_setting import ITEMS, ratings_frame, write_ratings
from zoo.errors import UserError

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return Task.open(str(write_ratings(tmp_path_factory.mktemp("recommend") / "plays")))


@pytest.fixture(scope="module")
def student(task: Task) -> TowersStudent:
    """Of random weights, all of them; its biases of items are wide enough to change the order."""
    options = Options(task=task.name, student="towers-8", method="plain")
    spec = training_kind(task).set_up(options, task).spec
    student = spec.create(task.classes, seed=0)
    assert isinstance(student, TowersStudent)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in student.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    return student


@pytest.fixture(scope="module")
def run(task: Task, student: TowersStudent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    student.export(folder / "student", task=task)
    return folder


def by_hand(task: Task, student: TowersStudent, user: str, top: int) -> list[tuple[str, float]]:
    """Ids and scores of the best items that the user has in no split, one by one."""
    table, network = table_of(task.train), student.network
    place = table.user_ids.index(user)
    splits = (task.train, task.validation, task.test)
    had = {
        int(item)
        for split in splits
        for of_user, item in zip(*pairs(split), strict=True)
        if of_user == place
    }
    scored = []
    for item in range(ITEMS):
        product = network.user_vectors[place] * network.item_vectors[item]
        if item not in had:
            scored.append(
                (table.item_ids[item], float((product.sum() + network.item_bias[item]).detach()))
            )
    return sorted(scored, key=lambda each: -each[1])[:top]


def test_the_first_items_are_those_of_brute_force_without_what_the_user_had(
    task: Task, student: TowersStudent, run: Path
) -> None:
    users = table_of(task.train).user_ids
    found = recommend(run, users, top=10)
    for user in users:
        listed = [each for each in found if each.user == user]
        expected = by_hand(task, student, user, 10)
        assert [each.item for each in listed] == [item for item, _ in expected]
        assert [each.score for each in listed] == pytest.approx(
            [score for _, score in expected], abs=1e-4
        )
        assert [each.place for each in listed] == list(range(1, len(listed) + 1))
    titles = {each.item: each.title for each in found}
    assert titles["7"].startswith("The opera of number 6")


def test_ratings_of_pairs_are_the_means_of_the_students_probabilities(
    task: Task, student: TowersStudent, run: Path, tmp_path: Path
) -> None:
    frame = ratings_frame().head(20)[["item", "user"]]
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    answers = list(predict(run, tmp_path / "pairs.csv", top=2))
    table = table_of(task.train)
    places = [
        [table.user_ids.index(str(user)), table.item_ids.index(str(item))]
        for item, user in frame.itertuples(index=False)
    ]
    probabilities = student.logits(torch.tensor(places)).softmax(dim=1)
    expected = probabilities @ torch.tensor(table.values)
    assert [answer.rating for answer in answers] == pytest.approx(expected.tolist(), abs=1e-4)
    assert [answer.classes[0][0] for answer in answers] == [
        task.classes[place] for place in probabilities.argmax(dim=1)
    ]
    assert answers[0].sample == f"{frame.user.iloc[0]},{frame.item.iloc[0]}"


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_lists_are_written_in_every_form(run: Path, form: str, capsys: Shown) -> None:
    words = [str(run), "--user", "3", "--user", "5", "--user", "3", "--top", "4"]
    assert main([*words, "--format", form]) == 0
    text = capsys.readouterr().out
    found = recommend(run, ["3", "5"], top=4)
    if form == "json":
        objects = [json.loads(line) for line in text.splitlines()]
        assert [entry["user"] for entry in objects] == ["3", "5"]
        items = [item["item"] for entry in objects for item in entry["items"]]
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert list(rows[0]) == ["user", "place", "item", "title", "score", "rating"]
        items = [row["item"] for row in rows]
    else:
        head, *lines = text.splitlines()
        assert head.split() == ["user", "place", "item", "title", "score", "rating"]
        items = [line.split()[2] for line in lines]
    assert items == [each.item for each in found]
    assert len(items) == 8


def test_the_table_of_one_user_has_ten_items_and_no_column_of_users(
    run: Path, capsys: Shown
) -> None:
    assert main([str(run), "--user", "3"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["place", "item", "title", "score", "rating"]
    assert len(lines) == 10


def test_a_file_of_pairs_is_written_with_ratings(run: Path, capsys: Shown) -> None:
    assert main([str(run), "1,2", "1,none", "--format", "csv"]) == 0
    row, unknown = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert 1 <= float(row["rating"]) <= 5
    assert unknown["error"] == "the student knows no item none" and not unknown["rating"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--user", "2x"], "--user 2x: no such user among the 24 of the student; near: 2, "),
        (["--user", "3", "1,2"], "it takes no samples beside it, and got 1,2"),
        (["--user", "3", "--user", "zzz"], "--user zzz: no such user"),
        ([], "nothing to predict: give samples, or --user"),
        (["photo.jpg"], "give --user USER for the items to recommend"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    run: Path, words: list[str], message: str, capsys: Shown
) -> None:
    assert main([str(run), *words]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_student_of_images_recommends_nothing(tmp_path: Path) -> None:
    from distill.student.image_student import export
    from tests.distill_setting import student as of_images

    export(of_images(), tmp_path / "student")
    with pytest.raises(UserError, match=r"for students of ratings, and .* is one of images"):
        recommend(tmp_path, "3")


def test_a_user_who_has_had_everything_gets_nothing(
    task: Task, student: TowersStudent, tmp_path: Path, capsys: Shown
) -> None:
    import pandas as pd

    student.export(tmp_path / "student", task=task)
    file = tmp_path / "student" / "users.parquet"
    users = pd.read_parquet(file)
    users["seen"] = [np.arange(ITEMS), *users["seen"].tolist()[1:]]
    users.to_parquet(file, index=False)
    first = users["user"].iloc[0]
    assert main([str(tmp_path), "--user", first]) == 0
    assert f"user {first} has had every item" in capsys.readouterr().err


def test_the_files_open_without_this_package(task: Task, run: Path) -> None:
    import pandas as pd
    from safetensors.torch import load_file

    tables = load_file(run / "student" / "model.safetensors")
    scores = tables["user_vectors"] @ tables["item_vectors"].T + tables["item_bias"]
    users = pd.read_parquet(run / "student" / "users.parquet")
    items = pd.read_parquet(run / "student" / "items.parquet")
    scores[0, users["seen"].iloc[0].tolist()] = -torch.inf
    best = recommend(run, users["user"].iloc[0], top=1)[0]
    assert items["item"].iloc[int(scores[0].argmax())] == best.item
    assert list(items["title"]) == list(table_of(task.train).titles)


@pytest.mark.parametrize("damage", ["users.parquet", "model.safetensors", "width", "fewer users"])
def test_a_damaged_student_is_one_line(
    task: Task, student: TowersStudent, tmp_path: Path, damage: str, capsys: Shown
) -> None:
    import pandas as pd

    student.export(tmp_path / "student", task=task)
    config = tmp_path / "student" / "config.json"
    if damage == "width":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"width": 9}))
    elif damage == "fewer users":
        users = pd.read_parquet(tmp_path / "student" / "users.parquet")
        users.head(3).to_parquet(tmp_path / "student" / "users.parquet", index=False)
    else:
        (tmp_path / "student" / damage).write_bytes(b"nothing")
    assert main([str(tmp_path), "--user", "3"]) == 2
    error = capsys.readouterr().err
    assert "cannot be opened" in error and error.count("\n") == 1


@pytest.mark.journey
def test_the_onnx_file_gives_the_students_logits(
    task: Task, student: TowersStudent, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    student.export(tmp_path / "student", task=task)
    file = training_kind(task).write_onnx(tmp_path / "student")
    places = torch.tensor([[0, 0], [3, 7], [23, 39], [5, 5], [1, 2]])
    session = onnxruntime.InferenceSession(str(file))
    found = session.run(None, {"pairs": places.numpy()})[0]
    np.testing.assert_allclose(found, student.logits(places).numpy(), atol=1e-4)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["label_names"]) == list(task.classes)
    assert json.loads(facts["values"]) == list(Recommender.open(tmp_path / "student").values)
