from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import benchmarks.docs
import benchmarks.truth.figures
from benchmarks.record import read
from benchmarks.run import RECORDS
from benchmarks.truth.__main__ import main
from benchmarks.truth.candidates import nested_choice, static_prior
from benchmarks.truth.scores import measure_scores, read_scores
from benchmarks.truth.students import (
    HeadLogits,
    LabelledImages,
    StudentRecipe,
    hits,
    student_pixels,
    train,
)
from benchmarks.truth.summary import missing
from benchmarks.truth.table import (
    NONE,
    PROTOCOLS,
    SEEDS,
    Cell,
    TableFiller,
    read_cells,
    read_hits,
    recipe_digest,
)
from benchmarks.truth.targets import POOL, TARGETS, training
from benchmarks.truth.teachers import (
    FURTHER,
    TableTeacher,
    TargetOutputs,
    TeacherFacts,
    add_facts,
    available_teachers,
    read_facts,
)
from benchmarks.truth.truths import Truths, standardise
from selection.probe import Probe
from selection.probing.budget import Budget
from selection.probing.prober import LocalProber, ProbeStore
from selection.probing.store import TeacherStore
from selection.scores.prediction import calibrations
from selection.settings import Settings
from selection.sources.images import as_ppm
from selection.task import Task
from zoo.card import ModelCard
from zoo.home import feature_folder

ANY = {"chosen": lambda name: True}
RECIPE = StudentRecipe(steps=60)


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.journey]


@pytest.fixture(autouse=True)
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> TeacherStore:
    """The store of this file's tests, which no other home is mixed with."""
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(home))
    return TeacherStore(feature_folder())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits (8 x 8, enlarged) in the place of MNIST."""
    folder = tmp_path_factory.mktemp("truth")
    data = load_digits()
    pixels = np.repeat(
        (data.images * 255 / 16).astype(np.uint8).repeat(3, axis=1).repeat(3, axis=2)[..., None],
        3,
        axis=3,
    )
    pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)))
    (folder / "pixels").mkdir()
    for part, rows in (("train", slice(0, 130)), ("test", slice(130, None))):
        np.savez(
            folder / "pixels" / f"mnist-{part}-28.npz",
            **{str(c): pixels[data.target == c][rows] for c in range(10)},
        )
    return folder


@pytest.fixture
def two(home: Path) -> list[TableTeacher]:
    wanted = ("resnet_fashion", "convnext_cifar10", "resnet_mnist")
    return [entry for entry in available_teachers(home) if entry.card.id in wanted]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POOL, "mnist", 80)


def test_the_list_is_what_the_issue_asks_for() -> None:
    assert len(TARGETS) >= 24
    assert len({target.group for target in TARGETS.values()}) >= 8
    assert all(10 <= target.labels <= 50 for target in TARGETS.values())
    assert all(target.pool * len(target.classes) <= 2_000 for target in TARGETS.values())
    for target in TARGETS.values():
        marked = target.labelled(0)
        assert (marked.sum(axis=1) == target.labels).all()
        assert not np.array_equal(marked, target.labelled(1))


def test_no_teacher_may_teach_what_it_was_trained_on(home: Path) -> None:
    by_name = {entry.card.id: entry for entry in available_teachers(home)}
    assert not by_name["resnet_animals"].trained_on(TARGETS["vehicles_25"])
    assert by_name["resnet_animals"].trained_on(TARGETS["sea_25"])
    assert by_name["resnet_animals"].trained_on(TARGETS["mixed_25"])  # reptiles
    assert all(
        by_name["resnet_superclasses"].trained_on(t)
        for t in TARGETS.values()
        if t.dataset == "cifar100"
    )
    assert by_name["resnet_cifar10"].trained_on(TARGETS["cifar10_25"])
    assert not by_name["resnet_mnist"].trained_on(TARGETS["clothes_25"])
    assert len(by_name) + len(FURTHER) >= 30  # ../shared/models make it more than 40


def toy_images(labels: np.ndarray) -> np.ndarray:
    """(200, 32, 32, 3) uint8: dark where the label is 0, bright where it is 1."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 50, (len(labels), 32, 32, 3))
    bright = np.where(labels[:, None, None, None] > 0, 200, 50)
    return (bright + noise).astype(np.uint8)


@pytest.mark.journey
def test_a_student_learns_from_its_teacher_more_than_from_labels() -> None:
    truth = np.arange(200) % 2
    pixels, labels = toy_images(truth), np.where(np.arange(200) < 20, truth, -1)
    images = LabelledImages.of(pixels, labels, classes=("dark", "bright"), flip=False)
    wrong = torch.from_numpy(np.where(truth[:, None] == np.arange(2), -5.0, 5.0)).float()
    answers = HeadLogits(logits=wrong[None], weights=torch.ones(1))  # names the other class
    recipe = StudentRecipe(steps=60)
    assert hits(train(images, answers, recipe, seed=0), pixels, truth).mean() < 0.1
    assert hits(train(images, None, recipe, seed=0), pixels, truth).mean() > 0.9


@pytest.mark.journey
def test_a_student_depends_on_its_seed_and_its_teachers_weights() -> None:
    truth = np.arange(60) % 2
    pixels = toy_images(truth)
    images = LabelledImages.of(pixels, truth, classes=("dark", "bright"), flip=True)
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(2, 60, 2))).float()

    def student(weights: list[float], seed: int = 0) -> torch.Tensor:
        answers = HeadLogits(logits=logits, weights=torch.tensor(weights))
        made = train(images, answers, StudentRecipe(steps=2, batch=16), seed=seed)
        return made.logits(student_pixels(pixels[:8]))

    assert torch.equal(student([1.0, 0.0]), student([1.0, 0.0]))
    assert not torch.equal(student([1.0, 0.0]), student([0.0, 1.0]))
    assert not torch.equal(student([1.0, 0.0]), student([1.0, 0.0], seed=1))


@pytest.mark.journey
def test_a_table_fills_once_and_goes_on_where_it_was_cut(
    home: Path, two: list[TableTeacher], small: None, tmp_path: Path
) -> None:
    target, path = TARGETS["digits_low_25"], tmp_path / "cells.jsonl"
    filler = TableFiller(home, path, RECIPE, TargetOutputs(home))
    assert (
        filler.fill(target, two, protocol="pool", seed=0) == 3
    )  # none and two teachers; the third knows digits
    cells = {cell.teacher: cell for cell in read_cells(path)}
    assert set(cells) == {NONE, "resnet_fashion", "convnext_cifar10"}
    assert all(cell.accuracy > 0.5 for cell in cells.values())  # chance is 0.2
    assert cells[NONE].n > cells[NONE].n_test > 100
    kept = read_hits(home, cells["resnet_fashion"])
    assert kept is not None
    assert kept.mean() == pytest.approx(cells["resnet_fashion"].accuracy, abs=1e-5)
    assert filler.fill(target, two, protocol="pool", seed=0) == 0
    text = path.read_text()
    path.write_text(text[:-40])  # killed while writing the last line
    assert filler.fill(target, two, protocol="pool", seed=0) == 1
    again = {cell.teacher: cell for cell in read_cells(path)}
    assert {name: cell.accuracy for name, cell in again.items()} == {
        name: cell.accuracy for name, cell in cells.items()
    }
    assert (
        TableFiller(home, path, replace(RECIPE, steps=10), TargetOutputs(home)).fill(
            target, two[:1], protocol="pool", seed=0
        )
        == 2
    )
    assert len(read_cells(path, recipe=recipe_digest(RECIPE))) == 3
    assert {cell.recipe for cell in read_cells(path)} == {recipe_digest(RECIPE)}  # the table's


def test_ranking_and_truth_tables_run_a_teacher_on_no_image_twice(
    home: Path,
    two: list[TableTeacher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_images: list[int],
) -> None:
    target = replace(TARGETS["digits_low_25"], classes=("0", "1"))
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path))
    pixels = training(target, home)
    for row, image in enumerate(pixels):
        folder = tmp_path / "task" / f"class {2 * row // len(pixels)}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row}.ppm").write_bytes(as_ppm(image))
    probe = Probe.draw(Task.open(str(tmp_path / "task")), size=20)
    [card] = [entry.card for entry in two if entry.card.id == "resnet_fashion"]
    store = ProbeStore(probe, TeacherStore(feature_folder()), device="cpu")
    prober = LocalProber(store, Settings(device="cpu"), Budget())
    [result] = prober.probe([card], probe.size)
    assert result.outputs is not None
    run_images.clear()
    arrays = TargetOutputs(home).arrays(card, target)
    features = arrays["features"]
    trial = 2  # random images that tell whether a teacher works
    different = {image.tobytes() for image in pixels}
    assert sum(run_images) == trial + len(pixels) - 20
    assert len(features) == len(pixels) == len(different)
    assert "logits" in arrays
    place = {as_ppm(image): row for row, image in enumerate(pixels)}
    rows = [place[as_ppm(np.asarray(image))] for image in probe.samples]
    assert (features[rows] == result.outputs.features).all()


@pytest.mark.journey
def test_a_committee_is_one_more_cell_and_scores_are_kept(
    home: Path, two: list[TableTeacher], small: None, tmp_path: Path
) -> None:
    target, path = TARGETS["digits_low_25"], tmp_path / "cells.jsonl"
    filler = TableFiller(home, path, replace(RECIPE, steps=10), TargetOutputs(home))
    able = [entry for entry in two if not entry.trained_on(target)]
    assert filler.fill_committee(target, able, seed=1, rule="pair") == 1
    assert filler.fill_committee(target, able[::-1], seed=1, rule="pair") == 0
    assert read_cells(path)[0].teacher == "pair: convnext_cifar10 + resnet_fashion"
    scores = tmp_path / "scores.jsonl"
    assert measure_scores(scores, target, two, filler.outputs, seed=0) > 40
    assert measure_scores(scores, target, two, filler.outputs, seed=0) == 0
    values = read_scores(scores)[target.name, 0, "resnet_fashion"]
    assert 0.2 < values["knn"] <= 1.0
    assert values["knn@5"] != values["knn"]
    assert len(scores.read_text().splitlines()) == len(
        [json.loads(line) for line in scores.read_text().splitlines()]
    )


def _truths(seed: int = 0, tasks: int = 12, teachers: int = 10) -> Truths:
    """Synthetic: the oracle is right everywhere, the spy only on the last group, noise nowhere."""
    rng = np.random.default_rng(seed)
    groups = tuple("abcdef"[t // 2] for t in range(tasks))
    truth = rng.uniform(0.3, 0.8, (tasks, 1, teachers))
    noise = rng.normal(size=truth.shape)
    spy = np.where((np.array(groups) == "f")[:, None, None], truth, rng.normal(size=truth.shape))
    cards = [ModelCard(id=f"m{m}", source="small", params_total=10**5 + m) for m in range(teachers)]
    known = tuple(
        TeacherFacts.of(TableTeacher(card=card, trained_classes=frozenset())) for card in cards
    )
    return Truths(
        tasks=tuple(f"t{t}_25" for t in range(tasks)),
        groups=groups,
        seeds=(0,),
        teachers=known,
        truth=truth,
        plain=truth.min(axis=2),
        scores={
            "noise": noise,
            "spy": spy,
            "transport_images_relative": noise,
            "knn": noise,
            "logme": noise,
        },
        cells={},
    )


def test_the_oracle_is_chosen_on_every_fold() -> None:
    truths = _truths()
    rules = {
        "chosen": lambda name: True,
        "blind": lambda name: name != "oracle" and "+" not in name,
    }
    with_oracle = replace(truths, scores={**truths.scores, "oracle": truths.truth})
    nested = nested_choice(with_oracle, rules)
    assert set(nested.choices["chosen"].values()) == {"oracle"}
    assert np.array_equal(nested.tables["chosen"], truths.truth)
    assert "oracle" not in nested.choices["blind"].values()


@pytest.mark.journey
def test_folds_leak_nothing() -> None:
    truths = _truths()
    nested = nested_choice(truths, ANY)
    rows = truths.of_group("f")
    changed = truths.truth.copy()
    changed[rows] = changed[rows][:, :, ::-1]  # another truth of the last group
    again = nested_choice(replace(truths, truth=changed), ANY)
    # A score that is right on the last group alone has gained nothing.
    assert nested.choices["chosen"]["f"] == again.choices["chosen"]["f"]
    for name in ("static_prior", "metadata_ridge", "chosen"):
        assert np.array_equal(nested.tables[name][rows], again.tables[name][rows])
    others = [t for t in range(len(truths.tasks)) if t not in rows]
    before, after = nested.tables["static_prior"], again.tables["static_prior"]
    assert not np.array_equal(before[others], after[others])


def test_the_static_prior_is_the_mean_standardised_truth() -> None:
    truths = _truths()
    gaps = truths.truth.copy()
    gaps[:, :, 0] = np.nan
    prior = static_prior(replace(truths, truth=gaps))
    assert prior[0] == 0.0
    assert prior[1:] == pytest.approx(standardise(gaps[:, 0])[:, 1:].mean(axis=0))


def test_teachers_are_described_once_and_read_back(
    home: Path, two: list[TableTeacher], tmp_path: Path
) -> None:
    path = tmp_path / "teachers.jsonl"
    add_facts(path, two[:1])
    add_facts(path, two)
    found = {one.id: one for one in read_facts(path)}
    assert len(path.read_text().splitlines()) == len(found) == 3
    assert found["resnet_fashion"] == TeacherFacts.of(
        next(entry for entry in two if entry.card.id == "resnet_fashion")
    )
    assert "shoes_10" in found["resnet_fashion"].barred
    assert "digits_10" in found["resnet_mnist"].barred
    assert "digits_10" not in found["resnet_fashion"].barred


def test_the_tables_say_what_they_lack(home: Path, two: list[TableTeacher]) -> None:
    teachers = [TeacherFacts.of(entry) for entry in two]
    wanted = sum(not entry.trained_on(target) for entry in two for target in TARGETS.values())
    able = [(task, one.id) for one in teachers for task in TARGETS if task not in one.barred]
    cell = Cell(
        task="",
        teacher="",
        protocol="",
        seed=0,
        recipe="r",
        accuracy=0.5,
        n=2,
        test_accuracy=0.5,
        n_test=1,
        answers=None,
        seconds=0.0,
    )
    made = [
        replace(cell, task=task, teacher=name, protocol=protocol, seed=seed)
        for protocol in PROTOCOLS
        for seed in SEEDS
        for task, name in able
    ]
    assert (
        missing([], teachers).count(
            f"{wanted} of {wanted} students, in {len({task for task, _ in able})} tasks"
        )
        == 6
    )
    assert missing(made, teachers) == ""
    assert missing(made[1:], teachers) == f"pool, seed 0: 1 of {wanted} students, in 1 tasks"


@pytest.mark.journey
def test_the_committed_tables_give_the_figures_on_any_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TEACHER_ZOO_SHARED", str(tmp_path / "nowhere"))
    found = {record.name: record for record in benchmarks.truth.figures.run(tmp_path)}
    assert "missing of the tables:" in capsys.readouterr().out
    committed = {record.name: record for record in read(RECORDS / "truth.jsonl")}
    same = [name for name in committed if name.startswith(("truth.score.", "truth.stakes."))]
    assert len(same) > 100
    for name in same:  # the figures that the README quotes are those of the tables
        assert found[name].value == pytest.approx(committed[name].value, abs=2e-4)


def test_the_documents_say_what_the_records_say() -> None:
    records = benchmarks.docs.committed()
    for name in benchmarks.docs.DOCUMENTS:
        text = (benchmarks.docs.ROOT / name).read_text(encoding="utf-8")
        assert benchmarks.docs.rewrite(text, records) == text, (
            f"{name} is old; write it anew: python -m benchmarks.docs"
        )
    assert calibrations() == {benchmarks.docs.SCORE: benchmarks.docs.calibrated()}
    assert "<!-- figures: short -->" in (benchmarks.docs.ROOT / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--seeds", "a"], "expected whole numbers separated by commas"),
        (["--tasks", "vehicle_25"], "did you mean 'vehicles_25'"),
        (["--teachers", "resnet_fashio"], "resnet_fashion"),
        (["--protocols", "pools"], "pool"),
        (["--zoo"], "set TEACHER_ZOO_SHARED"),
        (["--teachers", "resnet_fashion", "--no-sets"], "set TEACHER_ZOO_SHARED"),
    ],
)
def test_wrong_input_is_one_line(
    wrong: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_SHARED", str(tmp_path / "nowhere"))
    assert main([*wrong, "--folder", str(tmp_path), "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1


def test_cells_of_one_recipe_are_read_each_once(tmp_path: Path) -> None:
    known = {
        "task": "t",
        "teacher": NONE,
        "protocol": "pool",
        "seed": 0,
        "n": 9,
        "test_accuracy": 0.5,
    }
    known |= {"n_test": 9, "answers": None, "seconds": 1.0, "of_a_newer_version": True}
    cells = [("new", 0.1), ("new", 0.2), ("old", 0.3), ("old", 0.4)]
    rows = [json.dumps(known | {"recipe": name, "accuracy": value}) for name, value in cells]
    path = tmp_path / "cells.jsonl"
    path.write_text("\n".join([*rows, rows[0][:30]]))
    assert [(cell.recipe, cell.accuracy) for cell in read_cells(path)] == [("new", 0.1)]
    assert [cell.accuracy for cell in read_cells(path, recipe="old")] == [0.3]
    assert read_cells(path, recipe="none of these") == []
