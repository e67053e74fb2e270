"""Students of ratings: two towers, their figures, lists, export and recommendations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.data.batch import TeacherOutputs
from distill.data.lists import OBSERVED, TAUGHT, Lists, list_terms
from distill.data.samples import open_samples
from distill.experiment import Experiment, prepare
from distill.kinds.kind import SplitAnswers
from distill.kinds.pair_join import FactorSplit, join_of
from distill.kinds.rating_figures import evaluate, references_of
from distill.kinds.ratings import RATINGS
from distill.kinds.registry import kind_of_export, training_kind
from distill.options import Options
from distill.student.towers import Towers, standardised_values, width_of
from distill.student.towers_student import TowersSpec, TowersStudent
from distill.training.trainer import train
from selection.kinds.ratings.join import OWN_TEACHERS
from selection.kinds.ratings.table import pairs, table_of
from selection.ranking import Ranking, Row
from selection.task import Task
from tests.ratings_setting import write_ratings
from zoo.errors import UserError

VALUES = (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def task(home: Path) -> Task:
    return Task.open(write_ratings(home / "plays"))


def student_of(task: Task, *, seed: int = 0, width: int = 8) -> TowersStudent:
    table = table_of(task.train)
    spec = TowersSpec(
        architecture=f"towers-{width}",
        users=len(table.user_ids),
        items=len(table.item_ids),
        values=table.values,
    )
    return spec.create(task.classes, seed=seed)


def ease_alone(task: Task, folder: Path) -> Path:
    row = Row(model="ease", revision="unknown", source="built-in", location=None, value=0.1)
    ranking = Ranking(
        task=task.name,
        classes=task.classes,
        split={"digest": task.digest, "kind": "ratings"},
        probe={},
        score="transport",
        catalogue="built-in",
        versions={},
        rows=(row,),
        committee=("ease",),
    )
    ranking.save(folder / "ranking.json")
    return folder / "ranking.json"


# --- the network


def test_a_name_of_towers_tells_its_width() -> None:
    assert width_of("towers-32") == 32 and width_of("towers-762") == 762
    for other in ("towers-0", "towers-", "towers-3x2", "resnet18", "towers-12345"):
        assert width_of(other) is None


def test_ratings_rise_with_the_product_and_relevance_is_the_inner_product() -> None:
    torch.manual_seed(0)
    network = Towers(3, 4, 2, VALUES)
    with torch.no_grad():
        network.rating_weights.copy_(torch.tensor([1.0, -2.0]))
        network.item_bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        network.rating_user_bias[1] = 0.5
    u, v = network.user_vectors, network.item_vectors
    relevance = network.relevance(torch.tensor([1]))
    assert torch.allclose(relevance[0], v @ u[1] + network.item_bias)
    some = network.relevance(torch.tensor([1]), torch.tensor([2, 0]))
    assert torch.equal(some, relevance[:, [2, 0]])
    logits = network(torch.tensor([[1, 3]]))
    rating = (u[1] * v[3]) @ network.rating_weights + 0.5
    assert torch.allclose(logits[0], rating * standardised_values(VALUES), atol=1e-6)
    assert standardised_values(VALUES).tolist() == pytest.approx(
        [-(2**0.5), -(0.5**0.5), 0, 0.5**0.5, 2**0.5]
    )


def test_a_student_scores_lists_in_training_alone_and_only_the_listed_items(task: Task) -> None:
    spec = replace(student_of(task).spec, listed=(3, 5, 8))
    student = spec.create(task.classes, seed=1)
    view = torch.tensor([[0, 1], [2, 3]])
    state = student.train()(view)
    assert state.lists is not None and state.lists.shape == (2, 3)
    expected = student.network.relevance(torch.tensor([0, 2]))[:, [3, 5, 8]]
    assert torch.allclose(state.lists, expected)
    assert state.hidden.shape == (2, 16, 1, 1) and state.features.shape == (2, 8)
    assert student.eval()(view).lists is None


def test_another_seed_draws_other_vectors(task: Task) -> None:
    first, again, other = (student_of(task, seed=seed).network.user_vectors for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


# --- lists


def made_lists(*, taught: bool) -> Lists:
    observed = torch.tensor([[True, False, True, False], [False, True, False, False]])
    targets = torch.tensor([[2.0, 0, 1, -1], [0, 3, 0, 0]]).half() if taught else None
    return Lists(targets=targets, observed=observed, place=torch.tensor([0, 1, -1, 2, 3]))


def test_lists_of_a_batch_mask_the_other_observed_items() -> None:
    batch = made_lists(taught=True).at(
        torch.tensor([[0, 0], [0, 4], [0, 2], [1, 1]], dtype=torch.int32)
    )
    assert batch.truth.tolist() == [0, -1, -1, 1]  # not observed; not listed
    assert batch.others.tolist() == [
        [False, False, True, False],
        [True, False, True, False],
        [True, False, True, False],
        [False, False, False, False],
    ]
    assert batch.target is not None and batch.target[3].tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize("trust", [1.0, 0.25])
def test_the_terms_of_lists_by_hand(trust: float) -> None:
    pairs_of_batch = torch.tensor([[0, 0], [0, 4]])
    scores = torch.tensor([[1.0, 2.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    plain = list_terms(scores, made_lists(taught=False).at(pairs_of_batch))
    left = torch.tensor([1.0, 2.0, 0.0])  # without item 2, which the user has too
    chosen = float(torch.logsumexp(left, 0) - 1.0)
    assert list(plain) == ["chosen"] and plain["chosen"].item() == pytest.approx(chosen, abs=1e-3)
    lists = replace(made_lists(taught=True), trust=trust)
    taught = list_terms(scores, lists.at(pairs_of_batch))
    p = torch.softmax(torch.tensor([2.0, 0, 1, -1]), 0)
    log_q = torch.log_softmax(scores.detach(), 1)
    divergence = float(sum((p * (p.log() - log_q[row])).sum() for row in range(2)) / 2)
    assert taught["lists"].item() == pytest.approx(trust * TAUGHT * divergence, rel=1e-3)
    assert taught["chosen"].item() == pytest.approx(OBSERVED * chosen, abs=1e-2)


def test_a_batch_without_observed_pairs_has_no_term() -> None:
    scores = torch.zeros(1, 4, requires_grad=True)
    term = list_terms(scores, made_lists(taught=False).at(torch.tensor([[0, 4]])))["chosen"]
    assert term.item() == 0.0


# --- answers about parts


def test_outputs_of_parts_are_gathered_and_answers_about_samples_are_not() -> None:
    outputs = TeacherOutputs(
        features=torch.arange(6.0).reshape(1, 3, 2),
        probe_logits=torch.arange(8.0).reshape(1, 4, 2),
        places=torch.tensor([2, 0, 0, 1]),
    )
    batch = outputs.at(torch.zeros(2, dtype=torch.int64), torch.tensor([3, 0]))
    assert batch.features is not None and batch.probe_logits is not None
    assert batch.features.tolist() == [[2, 3], [4, 5]]
    assert batch.probe_logits.tolist() == [[6, 7], [0, 1]] and batch.places is None


def test_the_factors_of_a_model_give_its_relevances_back() -> None:
    rng = np.random.default_rng(0)
    relevance = (rng.normal(size=(30, 4)) @ rng.normal(size=(4, 20))).astype(np.float32)
    split = FactorSplit(relevance)
    users, places = torch.tensor([3, 7, 9]), torch.tensor([1, 19, -1])
    state = split.states(users, places)
    assert state.shape == (3, split.channels, 1, 1)
    features = split.upper(split.join(state)).features
    assert features.shape == (3, split.feature_dim)
    assert features.sum(1)[:2].tolist() == pytest.approx(
        [relevance[3, 1], relevance[7, 19]], abs=1e-3
    )
    assert float(features[2].abs().sum()) == 0.0


# --- figures


def test_figures_of_a_split_are_those_of_its_ratings_and_lists(task: Task) -> None:
    student = student_of(task).eval()
    samples = open_samples(
        [task.test],
        RATINGS.packings(task, student.spec).held_out,
        folder=Path(task.name).resolve() / "packed",
    )
    logits = student.logits(torch.from_numpy(np.array(samples.inputs)))
    entry = evaluate(SplitAnswers(task=task, samples=samples, logits=logits, student=student))
    truth = np.asarray(VALUES)[task.test.labels]
    expected = logits.double().softmax(1).numpy() @ np.asarray(VALUES)
    assert entry["rmse"] == pytest.approx(np.sqrt(np.mean((expected - truth) ** 2)))
    assert entry["mae"] == pytest.approx(np.mean(np.abs(expected - truth)))
    assert entry["rmse_low"] < entry["rmse"] < entry["rmse_high"]
    held_out = {(int(u), int(i)) for u, i in zip(*pairs(task.test), strict=True)}
    had = {
        (int(u), int(i))
        for split in (task.train, task.validation)
        for u, i in zip(*pairs(split), strict=True)
    }
    gains = []
    scores = student.network.relevance(torch.arange(24)).detach().numpy()
    for user in sorted({user for user, _ in held_out}):
        order = [i for i in np.argsort(-scores[user]) if (user, int(i)) not in had][:10]
        gain = sum(1 / np.log2(2 + k) for k, i in enumerate(order) if (user, int(i)) in held_out)
        relevant = sum(1 for other, _ in held_out if other == user)
        gains.append(gain / sum(1 / np.log2(2 + k) for k in range(min(10, relevant))))
    assert entry["terms"]["ndcg"] == pytest.approx(gains)
    assert entry["ndcg"] == pytest.approx(np.mean(gains))


def test_references_are_told_by_split(task: Task) -> None:
    found = references_of(task)
    assert list(found) == ["popularity", "item mean", "item-kNN", "EASE"]
    assert "rmse" not in found["popularity"]["test"] and "ndcg" not in found["item mean"]["test"]
    assert found["EASE"]["test"]["ndcg"] > found["popularity"]["test"]["ndcg"]
    assert found["item-kNN"]["validation"]["rmse"] < 1.5
    assert "terms" not in found["EASE"]["test"]


# --- options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"student": "resnet18"}, "expected towers-D"),
        ({"student": "bert-2x64"}, "expected towers-D"),
        ({"student": "towers-8", "size": 32}, "--size"),
        ({"student": "towers-8", "pretrained": True}, "--pretrained"),
        ({"student": "towers-8", "student_args": '{"a": 1}'}, "--student-args"),
    ],
)
def test_what_is_not_for_ratings_is_refused_in_one_line(
    task: Task, home: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        prepare(Options(task=str(home / "plays"), method="plain", **options))


def test_the_default_student_and_batch_are_those_of_the_kind(task: Task, home: Path) -> None:
    experiment = prepare(Options(task=str(home / "plays"), method="plain"))
    assert experiment.training.student.architecture == "towers-32"
    assert experiment.training.schedule.batch_size == 256
    assert experiment.training.class_balance is None
    assert training_kind(task) is RATINGS


# --- whole runs


@pytest.fixture
def runs(task: Task, home: Path) -> Experiment:
    options = Options(
        task=str(home / "plays"),
        student="towers-8",
        ranking=str(ease_alone(task, home)),
        batch_size=64,
        epochs=3,
    )
    return prepare(options, offline=True)


METHODS = ("plain", "probe_kd", "average", "transport", "feature", "talk", "one_way", "committee")


@pytest.mark.journey
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_a_student_of_ratings(
    runs: Experiment, home: Path, method: str
) -> None:
    options = Options(task="plays", student="towers-8", method=method, epochs=3)
    run = train(runs, options, home / method, report=False)
    lines = run.metrics()
    assert len(lines) == 3 and lines[-1]["terms"]["chosen"] < lines[0]["terms"]["chosen"]
    results = run.results()
    assert results["decided_by"] == "ndcg" and 0 <= results["test"]["ndcg"] <= 1
    assert "EASE" in results["references"]
    assert kind_of_export(run.student) is RATINGS


@pytest.mark.journey
def test_a_stopped_run_of_ratings_ends_with_the_same_bits(runs: Experiment, home: Path) -> None:
    from distill.training import loop

    options = Options(task="plays", student="towers-8", method="probe_kd", epochs=3)
    schedule = replace(runs.training.schedule, checkpoint_seconds=-1.0)
    often = replace(runs, training=replace(runs.training, schedule=schedule))
    whole = train(often, options, home / "whole", report=False)

    class Stopped(Exception):
        pass

    save, calls = loop._save, []

    def save_and_stop(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        calls.append(1)
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_save", save_and_stop)
        with pytest.raises(Stopped):
            train(often, options, home / "stopped", report=False)
    assert calls and not (home / "stopped" / "student" / "model.safetensors").exists()
    resumed = train(often, options, home / "stopped", resume=True, report=False)
    for name in ("model.safetensors", "users.parquet", "items.parquet"):
        assert (resumed.student / name).read_bytes() == (whole.student / name).read_bytes()


def test_a_join_is_made_once_a_task(task: Task) -> None:
    assert join_of(task) is join_of(task)
    lists = join_of(task).lists([join_of(task).own(OWN_TEACHERS[0])])
    assert join_of(task).lists([join_of(task).own(OWN_TEACHERS[0])]) is lists
    assert join_of(task).lists([]).targets is None
