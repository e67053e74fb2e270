"""The small zoo of texts: its teachers, the packaged task ``requests``, what makes both."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.build import make_requests, make_text_zoo
from benchmarks.build.clinc150 import DOMAINS, LabelledTexts, read_clinc150
from benchmarks.build.opinions import CLASSES, made_opinions
from benchmarks.build.text_recipes import HOME, TEXT_RECIPES
from benchmarks.build.zoo_recipes import RECIPES
from selection.duplicates.wordings import find_copies
from selection.rank import Settings, rank
from selection.sources.texts.requests import FILE
from selection.task import Task
from tests.places import ROOT, SHARED
from tests.tiny_texts import save_text, tiny_text
from zoo.card import ModelCard
from zoo.errors import UserError
from zoo.sources.folder import cards, small_zoo
from zoo.teacher import Teacher

CLINC150 = SHARED / "text" / "clinc150"
needs_clinc150 = pytest.mark.skipif(
    not CLINC150.is_dir(), reason="CLINC150 lies in ../shared, which is not here"
)


def text_cards() -> dict[str, ModelCard]:
    found = {card.id: card for card in cards(small_zoo(), source="small")}
    return {name: card for name, card in found.items() if card.modality == "text"}


TEACHERS = text_cards()
FILES = {"config.json", "model.safetensors", "README.md", "tokenizer.json", "tokenizer_config.json"}

# --- the teachers


def test_every_recipe_is_in_the_package_and_all_are_under_two_megabytes() -> None:
    assert set(TEACHERS) == set(TEXT_RECIPES)
    assert len(TEACHERS) >= 6
    files = [path for name in TEACHERS for path in (small_zoo() / name).iterdir()]
    assert {path.name for path in files} == FILES
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert len({card.model_type for card in TEACHERS.values()}) == 3


@pytest.mark.journey
@pytest.mark.parametrize("name", sorted(TEXT_RECIPES))
def test_each_text_teacher_answers(name: str) -> None:
    card, recipe = TEACHERS[name], TEXT_RECIPES[name]
    teacher = Teacher.load(card)
    outputs = teacher.outputs(["turn the lights off", "", "a " * 1_000, "\N{PILE OF POO}"])
    assert outputs.features.shape == (4, recipe.width)
    assert np.isfinite(outputs.features).all()
    assert len(np.unique(outputs.features.round(3), axis=0)) == 4
    if recipe.imitates:
        assert (outputs.logits, teacher.labels) == (None, None)
        return
    assert outputs.logits is not None and teacher.labels is not None
    assert outputs.logits.shape == (4, len(teacher.labels))
    assert np.isfinite(outputs.logits).all()


@pytest.mark.parametrize("name", sorted(TEXT_RECIPES))
def test_each_card_says_what_the_text_teacher_is(name: str) -> None:
    card, recipe = TEACHERS[name], TEXT_RECIPES[name]
    config = json.loads((small_zoo() / name / "config.json").read_text())
    assert (card.license, card.library_name, card.languages) == (
        "apache-2.0",
        "transformers",
        ("en",),
    )
    assert (card.loadable, card.max_length, card.not_loadable_reason) == (True, 40, None)
    if recipe.imitates:
        assert (card.num_classes, card.labels) == (0, None)
        assert config["explained"] > 0.5
        return
    assert (
        card.labels
        == tuple(dict.fromkeys(name.replace("_", " ") for name in recipe.classes.values()))
        or card.labels == CLASSES
    )
    count = config["test_texts"]
    assert card.accuracy is not None
    assert config["accuracy_se"] == pytest.approx(
        (card.accuracy * (1 - card.accuracy) / count) ** 0.5, abs=1e-4
    )
    assert card.accuracy > 2 / len(card.labels or ())


def test_cards_and_notice_name_where_the_texts_are_from() -> None:
    assert "CC BY 3.0" in (notice := (ROOT / "NOTICE").read_text())
    assert "Larson" in notice and "requests.csv" in notice
    for name, recipe in TEXT_RECIPES.items():
        readme = (small_zoo() / name / "README.md").read_text()
        config = json.loads((small_zoo() / name / "config.json").read_text())
        figure = 100 * config["explained" if recipe.imitates else "accuracy"]
        assert f"Measured: {figure:.1f} %" in readme
        assert ("MiniLM" in readme) == recipe.imitates
        assert ("CC BY 3.0" in readme) == bool(recipe.domains)
        assert ("clinc_oos" in TEACHERS[name].datasets) == bool(recipe.domains)


def test_no_teacher_learned_a_class_of_the_packaged_task() -> None:
    task = {name.replace(" ", "_") for name in Task.open("requests").classes}
    assert task < set(DOMAINS[HOME])
    for name, recipe in TEXT_RECIPES.items():
        assert recipe.imitates or not task & set(recipe.classes), name
        assert not task & {label.replace(" ", "_") for label in TEACHERS[name].labels or ()}, name


@needs_clinc150
@pytest.mark.journey
def test_the_measured_accuracy_of_a_text_teacher_comes_out_again() -> None:
    name = "bert_banking"
    test = make_text_zoo.texts_of(TEXT_RECIPES[name], CLINC150.parent, "test")
    logits = Teacher.load(TEACHERS[name]).outputs(list(test.texts), batch_size=256).logits
    assert logits is not None
    assert (logits.argmax(1) == np.asarray(test.labels)).mean() == pytest.approx(
        TEACHERS[name].accuracy, abs=2.5 / len(test.labels)
    )


# --- the task


def test_the_packaged_task_has_labels_in_three_splits_and_a_pool() -> None:
    task = Task.open("requests")
    assert task.kind.name == "text"
    assert task.unlabelled is not None
    assert len(task.classes) == 12
    sizes = [len(split) for split in (task.train, task.validation, task.test, task.unlabelled)]
    assert sizes == [120, 238, 359, 1069]
    assert set(Counter(task.train.labels.tolist()).values()) == {10}
    assert set(task.unlabelled.labels.tolist()) == {-1}
    assert task.warnings == []
    splits = {"a": task.train, "b": task.validation, "c": task.test, "d": task.unlabelled}
    assert all((groups < 0).all() for groups in find_copies(splits).groups.values())


def test_a_built_in_task_has_its_own_kind() -> None:
    assert Task.open("requests", kind="text").digest == Task.open("requests").digest
    assert Task.open("digits", kind="image").kind.name == "image"
    with pytest.raises(UserError, match="'requests' holds texts; leave out --kind image"):
        Task.open("requests", kind="image")
    with pytest.raises(UserError, match="did you mean 'requests'"):
        Task.open("request")


@needs_clinc150
def test_the_packaged_task_is_written_again_alike(tmp_path: Path) -> None:
    out = tmp_path / "requests.csv"
    assert make_requests.main(["--data", str(CLINC150), "--out", str(out)]) == 0
    assert out.read_bytes() == FILE.read_bytes()


def test_the_command_of_the_task_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_requests.main(["--data", str(tmp_path), "--out", str(tmp_path / "r.csv")]) == 2
    assert "expected the folder of CLINC150" in capsys.readouterr().err


# --- the texts that teachers learn from


def test_the_domains_are_a_partition_of_150_intents() -> None:
    names = [name for intents in DOMAINS.values() for name in intents]
    assert [len(intents) for intents in DOMAINS.values()] == [15] * 10
    assert len(set(names)) == 150


@needs_clinc150
def test_the_domains_name_the_intents_of_clinc150() -> None:
    assert set(read_clinc150(CLINC150, "test").classes) == {
        name for intents in DOMAINS.values() for name in intents
    }


def test_renaming_leaves_out_other_classes() -> None:
    texts = LabelledTexts(["x", "y", "z"], [2, 0, 1], ("a", "b", "c"))
    assert texts.renamed({"c": "n", "a": "m"}) == LabelledTexts(["x", "y"], [0, 1], ("n", "m"))


def test_opinions_are_made_alike_and_differ_between_the_splits() -> None:
    train, test = made_opinions("train", 400), made_opinions("test", 200)
    assert train == made_opinions("train", 400)
    assert len(set(train.texts)) == 400
    assert not set(train.texts) & set(test.texts)
    assert min(Counter(train.labels).values()) > 100
    words = {word.strip(",") for text in train.texts for word in text.split()}
    assert "camera" not in words and "kettle" in words
    assert all(
        train.labels[row] == CLASSES.index("negative")
        for row, text in enumerate(train.texts)
        if "is broken" in text and "not" not in text
    )


# --- the command


@pytest.fixture
def made_clinc150(tmp_path: Path) -> Path:
    """A made-up CLINC150 in which each intent has one word of its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = sorted(name for intents in DOMAINS.values() for name in intents)
    features = {"label": {"_type": "ClassLabel", "names": names}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    folder = tmp_path / "text" / "clinc150"
    folder.mkdir(parents=True)
    for split, count in (("train", 6), ("test", 2)):
        labels = np.repeat(np.arange(len(names)), count)
        texts = [f"please {names[label]} now {place} {split}" for place, label in enumerate(labels)]
        table = pa.table({"text": texts, "label": labels})
        pq.write_table(table.replace_schema_metadata(metadata), folder / f"{split}.parquet")
    return folder.parent


@pytest.mark.journey
def test_the_command_trains_measures_and_goes_on_where_it_was(
    made_clinc150: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(made_clinc150), "--models", "*_kitchen", "--steps", "12"]
    assert make_text_zoo.main([*arguments, "--out", str(tmp_path / "a")]) == 0
    (card,) = cards(tmp_path / "a")
    assert (card.id, card.loadable, card.num_classes) == ("roberta_kitchen", True, 30)
    assert card.labels is not None and card.labels[0] == "food last"
    content = {name: (tmp_path / "a" / card.id / name).read_bytes() for name in FILES}
    capsys.readouterr()
    assert make_text_zoo.main([*arguments, "--out", str(tmp_path / "a")]) == 0
    assert "there already" in capsys.readouterr().out
    assert make_text_zoo.main([*arguments, "--out", str(tmp_path / "b")]) == 0
    for name, first in content.items():
        assert (tmp_path / "b" / card.id / name).read_bytes() == first, name


@pytest.mark.journey
def test_an_encoder_is_imitated_without_labels(
    made_clinc150: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", str(made_clinc150), "--models", "bert_sentences", "--steps", "12"]
    out = ["--out", str(tmp_path / "out")]
    assert make_text_zoo.main([*arguments, *out]) == 2
    assert "give its folder with --encoder" in capsys.readouterr().err
    encoder = save_text(tiny_text("Bert"), tmp_path / "encoder").location
    assert make_text_zoo.main([*arguments, *out, "--encoder", str(encoder)]) == 0
    assert "% of the vectors' variance of 300" in capsys.readouterr().out
    (card,) = cards(tmp_path / "out")
    assert (card.loadable, card.num_classes, card.labels) == (True, 0, None)


def test_wrong_input_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert make_text_zoo.main(["--data", str(tmp_path), *out]) == 2
    assert "expected the folder of CLINC150" in capsys.readouterr().err
    assert make_text_zoo.main(["--data", str(tmp_path), "--models", "nothing", *out]) == 2
    assert "no model matches" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_packaged_file_is_plain() -> None:
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["split", "text", "label"]
    assert FILE.stat().st_size < 110_000


# --- the whole way, on a fresh machine


@pytest.mark.journey
def test_requests_are_ranked_learned_and_answered_with_an_empty_home_offline(
    tmp_path: Path,
) -> None:
    from tests.test_journeys import call

    ranked = call(tmp_path, "selection.rank", *["--task", "requests", "--out", "r.json"])
    ranking = json.loads((tmp_path / "r.json").read_text())
    assert {row["model"] for row in ranking["rows"]} == set(TEXT_RECIPES)
    assert ranking["rows"][0]["model"] == "bert_sentences"
    assert ranking["catalogue"] == "small zoo"
    assert "transport" in ranked
    quick = [
        "--task",
        "requests",
        "--ranking",
        "r.json",
        "--out",
        "run",
        "--epochs",
        "1",
        "--no-control",
    ]
    call(tmp_path, "distill.train", *quick, "--device", "cpu")
    request = "please turn the lights off in the kitchen"
    printed = call(
        tmp_path, "distill.predict", "run/student", request, "--top", "3", "--format", "json"
    )
    answer = json.loads(printed)
    assert len(answer["classes"]) == 3
    assert {name for name, _ in answer["classes"]} <= set(Task.open("requests").classes)


@pytest.mark.journey
def test_images_are_ranked_by_the_image_teachers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path))
    ranking = rank("digits", Settings(probe_size=40))
    assert not {row.model for row in ranking.rows} & set(TEXT_RECIPES)
    assert len(ranking.rows) == len(RECIPES)
