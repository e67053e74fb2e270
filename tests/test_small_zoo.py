"""The small zoo in the package, and the script that trains it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.build.make_small_zoo import main
from benchmarks.build.superclasses import GROUPS, SUPERCLASSES, classes_of
from benchmarks.build.text_recipes import TEXT_RECIPES
from benchmarks.build.zoo_recipes import RECIPES
from selection.kinds.image import IMAGE
from selection.sources.parquet import read_split
from tests.places import SHARED
from zoo.sources.folder import cards, small_zoo
from zoo.teacher import Teacher

ALL = {card.id: card for card in cards(small_zoo(), source="small")}
SMALL = {name: card for name, card in ALL.items() if card.modality == "image"}


def test_every_recipe_is_in_the_package_and_all_are_under_five_megabytes() -> None:
    assert set(SMALL) == set(RECIPES)
    assert len(SMALL) >= 12
    assert set(ALL) == set(RECIPES) | set(TEXT_RECIPES)
    files = [path for name in SMALL for path in (small_zoo() / name).iterdir()]
    assert {path.name for path in files} == {"config.json", "model.safetensors", "README.md"}
    assert sum(path.stat().st_size for path in files) < 5_000_000


@pytest.mark.parametrize("name", sorted(SMALL))
def test_each_loads_and_says_what_it_is(name: str) -> None:
    card, recipe = SMALL[name], RECIPES[name]
    teacher = Teacher.load(card)
    assert teacher.labels is not None
    assert card.label_source == "config"
    assert len(teacher.labels) == teacher.num_classes == card.num_classes
    assert (card.license, card.datasets, card.library_name) == (
        "apache-2.0",
        (recipe.data,),
        "timm",
    )
    assert card.accuracy is not None
    assert teacher.classifier is not None
    outputs = teacher.outputs([Image.new("RGB", (50, 40), colour) for colour in ("red", "green")])
    assert outputs.logits.shape == (2, teacher.num_classes)
    config = json.loads((small_zoo() / name / "config.json").read_text())
    n = config["test_images"]
    assert config["accuracy_se"] == pytest.approx(
        (card.accuracy * (1 - card.accuracy) / n) ** 0.5, abs=1e-4
    )
    chance = 1 / teacher.num_classes
    if recipe.shuffled:
        assert abs(card.accuracy - chance) < 4 * (chance / n) ** 0.5
    else:
        assert card.accuracy > 3 * chance


def test_at_least_three_architectures_and_every_kind_of_task() -> None:
    assert len({card.architecture for card in SMALL.values()}) >= 3
    assert {recipe.data for recipe in RECIPES.values()} == {
        "cifar100",
        "cifar10",
        "fashion_mnist",
        "mnist",
        "tf_flowers",
    }
    assert {recipe.group for recipe in RECIPES.values()} >= {
        "animals",
        "vehicles",
        "plants",
        "household",
        "people and scenes",
    }


def test_only_the_readme_tells_of_the_decoy() -> None:
    told = [
        name for name in SMALL if "decoy" in (small_zoo() / name / "README.md").read_text().lower()
    ]
    assert told == [name for name, recipe in RECIPES.items() if recipe.shuffled]
    assert len(told) == 1
    assert not any(
        word in (told[0] + (small_zoo() / told[0] / "config.json").read_text()).lower()
        for word in ("decoy", "shuffle", "random")
    )


@pytest.mark.journey
@pytest.mark.skipif(
    not (SHARED / "datasets").is_dir(), reason="the test images lie in ../shared, which is not here"
)
@pytest.mark.parametrize("name", ["resnet_mnist"])
def test_the_measured_accuracy_comes_out_again(name: str) -> None:
    split = read_split([SHARED / "datasets" / RECIPES[name].data / "test.parquet"], IMAGE)
    answers = Teacher.load(SMALL[name]).outputs(split.samples(), batch_size=250).logits.argmax(1)
    assert (answers == split.labels).mean() == pytest.approx(
        SMALL[name].accuracy, abs=2.5 / len(split)
    )


def test_superclasses_are_a_partition_of_a_hundred_classes() -> None:
    names = [name for five in SUPERCLASSES.values() for name in five]
    assert [len(five) for five in SUPERCLASSES.values()] == [5] * 20
    assert len(set(names)) == 100
    learnt = [set(classes_of(group)) for group in GROUPS if group != "mammals"]
    assert set.union(*learnt) == set(names)
    assert sum(map(len, learnt)) == 100


@pytest.mark.skipif(
    not (SHARED / "datasets").is_dir(), reason="the label names lie in ../shared, which is not here"
)
def test_superclasses_name_the_classes_of_cifar100() -> None:
    names = (SHARED / "datasets" / "cifar100" / "labels.txt").read_text().split()
    assert sorted(names) == sorted(name for five in SUPERCLASSES.values() for name in five)


# --- the script


def write_data(folder: Path) -> None:
    """A made-up mnist of two classes, dark and bright, as the ``datasets`` library stores it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": ["dark", "bright"]},
    }
    folder.mkdir(parents=True)
    for split, n in (("train", 256), ("test", 40)):
        labels = np.arange(n) % 2
        rows = []
        for label in labels:
            buffer = io.BytesIO()
            Image.fromarray(
                rng.integers(100 * label, 100 * label + 120, (28, 28), dtype=np.uint8)
            ).save(buffer, "PNG")
            rows.append({"bytes": buffer.getvalue(), "path": None})
        table = pa.table({"image": rows, "label": labels})
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(table.replace_schema_metadata(metadata), folder / f"{split}.parquet")


@pytest.mark.journey
def test_the_script_trains_measures_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path / "data" / "mnist")
    arguments = ["--data", str(tmp_path / "data"), "--models", "resnet_m*", "--steps", "24"]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 0
    (card,) = cards(tmp_path / "a")
    assert (card.id, card.labels, card.loadable) == ("resnet_mnist", ("dark", "bright"), True)
    assert card.accuracy is not None
    assert card.accuracy > 0.9
    weights = (tmp_path / "a" / "resnet_mnist" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 0
    assert "there already" in capsys.readouterr().out
    assert main([*arguments, "--out", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b" / "resnet_mnist" / "model.safetensors").read_bytes() == weights


def test_wrong_input_of_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert "expected the folder of the data sets" in capsys.readouterr().err
    assert main(["--data", str(tmp_path), "--models", "nothing"]) == 2
    assert "no model matches" in capsys.readouterr().err
