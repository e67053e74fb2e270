"""Exported recommenders as teachers: their cards, what they say of users and items, rankings and
training.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from distill.experiment import prepare
from distill.kinds.registry import training_kind
from distill.options import Options
from distill.student.cost import teacher_cost
from distill.student.towers_student import TowersStudent
from distill.training.trainer import train
from selection.kinds.ratings.join import ItemJoin
from selection.kinds.ratings.recommender import affinities_of
from selection.kinds.ratings.table import pairs, table_of
from selection.rank import rank
from selection.settings import Settings
from selection.task import Task
from tests.ratings_setting import items_frame, ratings_frame, write_ratings
from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.crawl import main as crawl_main
from zoo.errors import TeacherError, Unavailable
from zoo.sources import folder as folder_source


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def task(home: Path) -> Task:
    return Task.open(str(write_ratings(home / "plays")))


def export(task: Task, folder: Path, *, seed: int = 0) -> TowersStudent:
    """A student of random weights in ``folder``."""
    options = Options(task=task.name, student="towers-8", method="plain")
    student = training_kind(task).set_up(options, task).spec.create(task.classes, seed=seed)
    assert isinstance(student, TowersStudent)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in student.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    student.export(folder, task=task)
    return student


def test_an_exported_student_is_a_model_of_the_catalogue(task: Task, home: Path) -> None:
    export(task, home / "models" / "specialist")
    assert (
        crawl_main(["--source", str(home / "models"), "--catalogue", str(home / "c.duckdb")]) == 0
    )
    with Catalogue.open(home / "c.duckdb") as catalogue:
        (card,) = catalogue.cards()
    assert (card.id, card.modality, card.loadable) == ("specialist", "ratings", True)
    assert (card.architecture, card.feature_dim) == ("towers-8", 8)
    assert card.is_recommender and card.weight_bytes
    assert card.params_total == (24 + 40) * 8 + 40 + 24 + 40 + 8 + 5 + 5  # with the classes' values


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("users.parquet", "no users.parquet, which names what its vectors stand for"),
        ("tensor", "tensor 'rating_weights' is missing from the weights"),
    ],
)
def test_a_recommender_that_lacks_something_says_what(
    task: Task, home: Path, damage: str, reason: str
) -> None:
    from safetensors.numpy import load_file, save_file

    export(task, home / "specialist")
    if damage == "tensor":
        file = home / "specialist" / "model.safetensors"
        tensors = load_file(file)
        del tensors["rating_weights"]
        save_file(tensors, file)
    else:
        (home / "specialist" / damage).unlink()
    card = folder_source.card(home / "specialist")
    assert (card.loadable, card.not_loadable_reason) == (False, reason)


def test_it_says_what_the_student_says(task: Task, home: Path) -> None:
    student = export(task, home / "specialist")
    history = ItemJoin.of(task.train).history
    found = affinities_of(home / "specialist", table_of(task.train), history)
    with torch.no_grad():
        relevance = student.network.relevance(torch.arange(24)).numpy()
    np.testing.assert_allclose(found.relevance, relevance, atol=1e-4)
    of_test = pairs(task.test)
    places = torch.from_numpy(np.stack(of_test, axis=1))
    expected = student.logits(places).softmax(dim=1) @ torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    biases = history.item_bias[of_test.items] + history.user_bias[of_test.users]
    residual = found.at(found.residual, of_test)
    np.testing.assert_allclose(residual + history.mean + biases, expected.numpy(), atol=1e-4)


def test_users_and_items_are_matched_by_their_ids(task: Task, home: Path) -> None:
    """A student that was trained on the same ids in another order, and knows fewer of them."""
    export(task, home / "specialist")
    history, table = ItemJoin.of(task.train).history, table_of(task.train)
    whole = affinities_of(home / "specialist", table, history)
    file = home / "specialist" / "items.parquet"
    items = pd.read_parquet(file)
    items["item"] = ["another", *items["item"][:0:-1]]  # the first is unknown, the others turned
    items.to_parquet(file, index=False)
    turned = affinities_of(home / "specialist", table, history)
    np.testing.assert_allclose(turned.relevance[:, 1:], whole.relevance[:, :0:-1], atol=1e-5)
    assert not turned.relevance[:, 0].any()


def test_a_recommender_of_others_is_refused(task: Task, home: Path) -> None:
    ratings, items = ratings_frame(), items_frame()
    ratings["item"] += 30
    items["item"] += 30
    other = Task.open(str(write_ratings(home / "other", ratings, items)))
    export(other, home / "specialist")
    with pytest.raises(TeacherError, match="it knows 10 of the 40 items"):
        affinities_of(home / "specialist", table_of(task.train), ItemJoin.of(task.train).history)
    crawl_main(["--source", str(home / "specialist"), "--catalogue", str(home / "c.duckdb")])
    ranking = rank(home / "plays", Settings(probe_size=100, catalogue=home / "c.duckdb"))
    errors = {row.model: row.error for row in ranking.rows}
    assert errors["ease"] is None
    assert "it knows 10 of the 40 items" in str(errors["specialist"])


@pytest.mark.parametrize("damage", ["not finite", "fewer names", "no values"])
def test_a_damaged_recommender_is_a_reason(task: Task, home: Path, damage: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder = home / "specialist"
    export(task, folder)
    if damage == "not finite":
        tensors = load_file(folder / "model.safetensors")
        tensors["item_bias"][3] = np.nan
        save_file(tensors, folder / "model.safetensors")
    elif damage == "fewer names":
        pd.read_parquet(folder / "users.parquet").head(20).to_parquet(folder / "users.parquet")
    else:
        config = json.loads((folder / "config.json").read_text())
        del config["values"]
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TeacherError, match=r"its weights are not finite|it cannot be read"):
        affinities_of(folder, table_of(task.train), ItemJoin.of(task.train).history)


@pytest.mark.journey
@pytest.mark.parametrize("method", ["probe_kd", "transport", "feature", "talk", "committee"])
def test_it_is_ranked_and_teaches(task: Task, home: Path, method: str) -> None:
    export(task, home / "specialist")
    crawl_main(["--source", str(home / "specialist"), "--catalogue", str(home / "c.duckdb")])
    settings = Settings(probe_size=200, catalogue=home / "c.duckdb", models=("specialist",), top=1)
    ranking = rank(home / "plays", settings)
    assert [(row.model, row.error) for row in ranking.rows] == [("specialist", None)]
    ranking.save(home / "ranking.json")
    options = Options(
        task=str(home / "plays"),
        student="towers-4",
        ranking=str(home / "ranking.json"),
        method=method,
        epochs=1,
    )
    experiment = prepare(options, catalogue=home / "c.duckdb")
    run = train(experiment, options, home / "run")
    assert [teacher["modality"] for teacher in run.config()["teachers"]] == ["ratings"]
    assert run.results()["test"]["ndcg"] >= 0
    assert run.metrics()[0]["teachers"][0]["model"] == "specialist"


def test_a_recommender_that_was_removed_is_one_sentence(task: Task, home: Path) -> None:
    export(task, home / "specialist")
    card = folder_source.card(home / "specialist")
    (home / "specialist" / "model.safetensors").unlink()
    options = Options(task=str(home / "plays"), student="towers-4")
    experiment = prepare(options, cards=(card,))
    with pytest.raises(Unavailable, match="specialist"):
        experiment.teachers()


def test_other_tasks_are_not_taught_by_recommenders() -> None:
    for modality in (None, "image", "text"):
        assert not ModelCard(id="a", source="hub", modality=modality).is_recommender
    ease = ModelCard(id="ease", source="built-in")
    assert ease.is_recommender
    assert teacher_cost(ease, device="cpu").reason == "it answers without a network"
