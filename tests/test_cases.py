"""The inputs of ../shared/cases as a practitioner has them: what the commands read of each, or the
word that they refuse it with, what they say of it, and what comes out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from distill.train import main as train
from selection.rank import main as rank
from tests.case_inputs import Counts, Done, Made, run, typed
from zoo.crawl import main as crawl
from zoo.query import main as query

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
SHORT = ("--models", "resnet_mnist", "--score", "knn", "--probe-size", "30", "--offline")
PLAIN = ("--method", "plain", "--student", "test_efficientnet", "--device", "cpu")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("cases"))


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for this file: what a teacher said of an image is not asked again."""
    folder = tmp_path_factory.mktemp("cases-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEACHER_ZOO_HOME", str(folder))
        yield folder


def ranking(task: Path | str, folder: Path, *options: str) -> tuple[Done, dict[str, Any]]:
    """``selection.rank`` and its ranking.json."""
    out = folder / "ranking.json"
    done = run(rank, "--task", task, "--offline", "--out", out, *options)
    return done, json.loads(out.read_text()) if done.status == 0 else {}


class Reading(NamedTuple):
    """What the command prints of an input: images by class in train, validation and test, and what
    its warnings say, all of them, in order.
    """

    counts: Counts
    says: tuple[str, ...] = ()


def each(*counts: int, classes: tuple[str, ...] = FLOWERS) -> Counts:
    """The same numbers of images in train, validation and test for every class."""
    train, validation, test = counts
    return dict.fromkeys(classes, (train, validation, test))


NUMBERS = ("0", "1", "2", "3", "4")
TEN = each(6, 2, 2)  # 10 images a class, cut twice by 20 %
LISTED = r"all duplicates are listed in .*duplicates\.tsv"
DROPPED = (
    r"8 images of .*test/metadata\.csv have two labels and are not used \(da0\.jpg: daisy, dandel",
    r"8 images of .*train/metadata\.csv have two labels and are not used",
    r"dropped 2 classes with fewer than two training images: 'daisy' \(0\), 'dandelion' \(0\)",
)
NO_TEST = (
    r"no test image of 'daisy' \(6 training images\), 'dandelion' .*, 'sunflowers' .*, 'tulips' "
)

READ: dict[str, Reading] = {
    "01-train-plus-eval/data": Reading(each(10, 2, 6), (r"eval/ is used as the test split",)),
    "01-train-plus-eval/data2": Reading(each(10, 2, 6), (r"holdout/ is used as the test split",)),
    "03-metadata-csv/data": Reading(each(6, 2, 8, classes=FLOWERS[2:]), DROPPED),
    "03-metadata-csv/saved": Reading(each(5, 1, 6)),
    "04-parquet-variants/b64": Reading(each(6, 2, 2, classes=NUMBERS)),
    "04-parquet-variants/boollab": Reading({"0": (19, 5, 6), "1": (13, 3, 4)}),
    "04-parquet-variants/floatlab": Reading(each(6, 2, 2, classes=NUMBERS)),
    "04-parquet-variants/neg": Reading(
        each(4, 1, 1, classes=("0", "3")) | each(5, 1, 1, classes=("1", "2", "4"))
    ),
    "04-parquet-variants/onebased": Reading(each(6, 2, 2, classes=("1", "2", "3", "4", "5"))),
    "04-parquet-variants/sorted": Reading(each(6, 2, 2, classes=NUMBERS)),
    "04-parquet-variants/target": Reading(TEN),
    "04-parquet-variants/unlabelled_test": Reading(
        TEN, (r"9 of 9 test images have no label, and are not used; a test split is cut",)
    ),
    "05-twelve-bit-png/bits12": Reading(each(13, 3, 4)),
    "05-twelve-bit-png/bits8": Reading(each(13, 3, 4)),
    "06-duplicates/once": Reading(TEN),
    "06-duplicates/twice": Reading(
        each(14, 2, 4),
        (r"100 of 100 labelled images show only 50 pictures \(daisy/000\.jpg = .*one side", LISTED),
    ),
    "06-duplicates/leak": Reading(
        each(8, 2, 10),
        (r"50 of 50 test images also stand in train \(test/daisy/000\.jpg = train/daisy/", LISTED),
    ),
    "07-shapes-of-tasks/empty": Reading(each(5, 1, 2), (r"class folder 'orchids' holds no image",)),
    "07-shapes-of-tasks/heic": Reading(each(3, 1, 1)),
    "07-shapes-of-tasks/imbalanced": Reading(
        {"defect": (2, 0, 0), "ok": (206, 50, 64)},
        (
            r"320 of 322 labelled images show only 160 pictures",
            LISTED,
            r"unbalanced classes, 103 to 1: .*read balanced accuracy and the accuracy by class",
            r"no validation and no test image of 'defect' \(2 training images\)",
        ),
    ),
    "07-shapes-of-tasks/numeric": Reading(
        each(4, 1, 1, classes=("1", "10", "11", "12", "2", "3", "4", "5", "6", "7", "8", "9"))
    ),
    "07-shapes-of-tasks/one_test": Reading(each(6, 2, 0) | {"roses": (6, 2, 4)}, (NO_TEST,)),
}

SEVERAL = (
    r"has several label columns: 'coarse_label' \(3 classes\), 'fine_label' \(5 classes\); say"
    r" which: --label-column"
)
NOT_THERE = r"none of the {} is there: no file '/nowhere/{}', .*read from the folder of the table"
REFUSED: dict[str, str] = {
    "02-splits-without-classes/data": r"test/ and train/ hold images but no class folders and no"
    r" labels file; expected one sub-folder of images a class, or a metadata\.csv",
    "02-splits-without-classes/single": r"photos/ holds 40 images but no class folders and no",
    "03-metadata-csv/list": NOT_THERE.format(r"9 images of .*train\.txt", r"a0\.jpg"),
    "03-metadata-csv/list/train.txt": NOT_THERE.format(r"9 images of .*train\.txt", r"a0\.jpg"),
    "04-parquet-variants/cifarlike": SEVERAL,
    "04-parquet-variants/twolabels": SEVERAL,
    "04-parquet-variants/listlab": r"holds several labels a sample \(\[0, 1\]\): a multi-label"
    r" task, which is not supported",
    "04-parquet-variants/struct_paths": NOT_THERE.format(r"50 images of .*\)", r"0\.jpg"),
    "07-shapes-of-tasks/constant": r"all 18 .* are equal.*: nothing tells (the|its) classes apart",
}


@pytest.mark.journey
@pytest.mark.parametrize("case", READ)
def test_a_task_is_read_as_what_it_is(made: Made, case: str) -> None:
    done = run(rank, "--task", made.folder(case), *SHORT)
    assert done.status == 0, done.err
    assert done.counts == READ[case].counts
    assert len(done.warnings) == len(READ[case].says), done.warnings
    for pattern, warning in zip(READ[case].says, done.warnings, strict=True):
        assert re.match(pattern, warning), warning
    assert "resnet_mnist" in done.out


@pytest.mark.journey
@pytest.mark.parametrize("case", REFUSED)
def test_a_task_is_refused_in_one_line_by_both_commands(
    made: Made, case: str, tmp_path: Path
) -> None:
    task = made.folder(case)
    for done in (
        run(rank, "--task", task, *SHORT),
        run(train, "--task", task, *PLAIN, "--out", tmp_path / "r"),
    ):
        assert (done.status, done.out) == (2, "")
        assert re.search(f"^error: .*{REFUSED[case]}", done.err.splitlines()[-1]), done.err
        assert sum(line.startswith("error:") for line in done.err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.journey
@pytest.mark.parametrize(
    ("column", "classes"),
    [("coarse_label", ("x", "y", "z")), ("fine_label", FLOWERS)],
)
def test_a_named_label_column_is_read(made: Made, column: str, classes: tuple[str, ...]) -> None:
    task = made.folder("04-parquet-variants/cifarlike")
    done = run(rank, "--task", task, "--label-column", column, *SHORT)
    assert done.status == 0
    assert tuple(done.counts) == classes
    assert sum(sum(row) for row in done.counts.values()) == 50


@pytest.mark.journey
def test_labels_of_rows_without_one_are_unlabelled_images(made: Made) -> None:
    done = run(rank, "--task", made.folder("04-parquet-variants/neg"), *SHORT)
    assert "33 labelled images, 17 without labels" in done.err.splitlines()[0]


@pytest.mark.journey
def test_three_hundred_classes_are_ranked_with_a_probe_of_two_each(made: Made) -> None:
    task = made.folder("07-shapes-of-tasks/classes300")
    done = run(rank, "--task", task, *SHORT)
    assert done.status == 2
    assert "a probe of 30 images for 300 classes; at least 600 are needed" in done.err
    done = run(rank, "--task", task, *SHORT, "--probe-size", "600")
    assert done.status == 0
    assert "300 classes" in done.err


@pytest.mark.journey
def test_twelve_bits_rank_as_eight(made: Made, tmp_path: Path) -> None:
    """The same scores to noise: far less apart than the models are, in the same order."""
    models = "resnet_mnist,efficientnet_flowers,resnet_plants,resnet_cifar10,vit_mnist"
    scores = {}
    for bits in ("bits8", "bits12"):
        task = made.folder(f"05-twelve-bit-png/{bits}")
        done, record = ranking(task, tmp_path, "--models", models)
        assert done.status == 0
        scores[bits] = {row["model"]: row["value"] for row in record["rows"]}
    assert list(scores["bits12"]) == list(scores["bits8"])
    for model, value in scores["bits8"].items():
        assert scores["bits12"][model] == pytest.approx(value, abs=0.01)


@pytest.mark.journey
def test_a_photograph_that_stands_twice_counts_once(made: Made, tmp_path: Path) -> None:
    """Base: the score rises from 0.962 to 1.259 by the copies alone."""
    values = {}
    for name in ("once", "twice"):
        task = made.folder(f"06-duplicates/{name}")
        _, record = ranking(task, tmp_path, "--models", "efficientnet_flowers")
        row = record["rows"][0]
        values[name] = row["value"], row["low"], row["high"]
    assert values["once"][1] <= values["twice"][0] <= values["once"][2]


@pytest.mark.journey
def test_copies_in_two_splits_are_listed_in_a_file(made: Made) -> None:
    done = run(rank, "--task", made.folder("06-duplicates/leak"), *SHORT)
    listed = Path(done.warnings[1].removeprefix("all duplicates are listed in "))
    rows = listed.read_text().splitlines()
    assert sum("test/" in row for row in rows) == 50
    assert sum("train/" in row for row in rows) == 50


@pytest.mark.journey
def test_beside_an_accuracy_that_says_nothing_stands_what_does(made: Made, tmp_path: Path) -> None:
    task = made.folder("07-shapes-of-tasks/imbalanced")
    out = tmp_path / "run"
    done = run(train, "--task", task, *PLAIN, "--epochs", "1", "--size", "32", "--out", out)
    assert done.status == 0, done.err
    assert "no test image of 'defect': the test accuracy says nothing of it" in done.warnings
    lines = done.out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("test: "))
    assert re.search(r"balanced accuracy .*: the mean over 1 of 2 classes", lines[start + 1])
    assert re.search(r"macro-F1 100\.0 % .*: the mean over 1 of 2 classes", lines[start + 2])
    assert lines[start + 3] == "  always saying 'ok': 100.0 %"
    test = json.loads((out / "results.json").read_text())["test"]
    assert (test["commonest"], test["commonest_share"]) == ("ok", 1.0)
    defect, ok = test["classes"]
    assert (defect["name"], defect["samples"], defect["recall"]) == ("defect", 0, None)
    assert ok["recall"]["value"] == test["balanced_accuracy"] == test["accuracy"]


@pytest.mark.journey
def test_heic_without_its_library_says_what_to_install(made: Made, tmp_path: Path) -> None:
    task = made.folder("07-shapes-of-tasks/heic")
    (tmp_path / "pillow_heif.py").write_text("raise ImportError('not installed')")
    done = typed(task.parent, "selection.rank", "--task", "heic", python_path=str(tmp_path))
    assert done.status == 2
    assert "pip install pillow-heif" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


@pytest.mark.journey
def test_as_typed(made: Made) -> None:
    """One input that is read and one that is refused, in a process of their own."""
    task = made.folder("01-train-plus-eval/data")
    done = typed(task.parent, "selection.rank", "--task", "data", *SHORT)
    assert done.status == 0
    assert done.counts == each(10, 2, 6)
    task = made.folder("02-splits-without-classes/data")
    done = typed(task.parent, "distill.train", "--task", "data", *PLAIN)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(r"error: data: test/ and train/ hold images but .*\n", done.err)


CAT = ("tabby cat", "rose", "sports car")
HEADLESS = """
clip clip_vision clip_vision_proj siglip siglip_vision dinov2_backbone dinov3_vit vit_backbone
vit_hybrid_mae
"""
WITH_NAMES = """
beit bf16 bit clip_cls convnext convnextv2 data2vec deit deit_teacher dinov2 efficientnet focalnet
fp16 fp8 hiera id2label_list id2label_unsorted ijepa label2id_only levit mobilenet_v1 mobilenet_v2
mobilevit nan no_processor num_labels_10 poolformer prefixed regnet resnet segformer siglip_cls
swiftformer swin swinv2 timm_wrapper vit zeros
"""
QUANTISED = "quantised int8 weights without scales: save the model in float32"
TRANSFORMERS: dict[str, tuple[str, ...] | str | None] = {  # its labels, or why it is refused
    **dict.fromkeys(WITH_NAMES.split(), CAT),
    **dict.fromkeys(HEADLESS.split()),
    "unicode_labels": ("猫", "rose", "voiture"),
    "four_names": None,  # for three classes
    "pvt": None,  # three names for a head of 1,000 classes: not ImageNet's
    "auto_map": "needs code of its own (auto_map), which is never run",
    "int8": QUANTISED,
    "multilabel": "its head is multi-label (several answers an image), one class an image",
    "no_architectures": "config.json names no architecture",
    "regression": "its head is a regression (one number an image), classes are expected",
    "torch_bin": "no safetensors, only pytorch_model.bin: loading a pickle can run any code",
}
MINE = ("cat", "rose", "car")
SAME_AS_PLAIN = """
plain bom_config dup_labels hf_hub_prefix int_labels label_count label_desc model_args_img nan_json
no_pretrained_cfg null_labels old_flat prefixed with_tag
"""
TIMM: dict[str, tuple[str, ...] | str | None] = {
    **dict.fromkeys([*SAME_AS_PLAIN.split(), "odd name; rm -rf $HOME", "ünïcode 模型"], MINE),
    **dict.fromkeys(("bf16", "fp8", "dynamic", "model_args", "zero", "nan", "huge"), MINE),
    "renamed_arch": MINE,  # known, and its weights are of another size: refused when it is loaded
    **dict.fromkeys(("headless", "dup_labels", "label_count", "null_labels")),
    "int_labels": ("1", "2", "3"),
    "label_desc": ("tench", "goldfish", "great white shark"),
    "gray": "the network takes 1 channels, only colour images are fed",
    "int8": QUANTISED,
    "lfs_pointer": "a Git LFS pointer, not the weights: run git lfs pull in the model's folder",
    "sharded_missing": "1 of 1 shards are missing, the first is model-00001-of-00002.safetensors",
    "unknown_arch": "the installed timm knows no architecture 'my_vit'",
    "wrong_file_name": "no model.safetensors, only pytorch_model.safetensors: rename it if it",
    "wrong_num_classes": "config.json says 10 classes, the head in the weights has 3",
}
ZOOS: dict[str, dict[str, tuple[str, ...] | str | None]] = {
    "20-transformers-families/zoo": TRANSFORMERS,
    "21-model-folders/timmzoo": TIMM,
    "21-model-folders/cache": {"me/tiny": MINE},
    "21-model-folders/nested": {"tiny": MINE, "tiny-2": MINE},
}
SAME = "features are the same for every image"
FAILS = {  # when they are loaded or asked
    "20-transformers-families/zoo": {
        "nan": "tensor 'classifier.weight' holds NaN or infinite values",
        "zeros": SAME,
    },
    "21-model-folders/timmzoo": {
        "huge": "lead to NaN or infinite ones: the weights overflowed in training, or are damaged",
        "nan": "tensor 'head.weight' holds NaN or infinite values",
        "renamed_arch": "tensor 'cls_token' is (1, 1, 64) in the weights, the config asks for (1, ",
        "zero": SAME,
    },
}
TOO_SMALL = ("efficientnet", "mobilenet_v1", "mobilenet_v2", "mobilevit")  # random: often constant


def crawled(made: Made, source: str, home: Path) -> dict[str, dict[str, Any]]:
    """The catalogue's rows of a folder of models, by id."""
    catalogue = home / f"{source.replace('/', '-')}.duckdb"
    folder = made.folder(source)
    done = run(crawl, "--source", folder, "--catalogue", catalogue)
    assert done.status == 0, done.err
    fields = "id,loadable,not_loadable_reason,labels,num_classes,input_size"
    where = ("--catalogue", catalogue, "--columns", fields, "--format", "json", "--limit", "1000")
    rows = json.loads(run(query, *where).out)
    return {row["id"]: row for row in rows}


@pytest.mark.journey
@pytest.mark.parametrize("source", ZOOS)
def test_models_are_loadable_with_their_labels_or_refused(
    made: Made, source: str, home: Path
) -> None:
    rows = crawled(made, source, home)
    assert rows.keys() == ZOOS[source].keys()
    for name, expected in ZOOS[source].items():
        row = rows[name]
        if isinstance(expected, str):
            assert not row["loadable"], name
            assert expected in row["not_loadable_reason"]
            continue
        assert row["loadable"], (name, row["not_loadable_reason"])
        assert row["labels"] == (expected and list(expected)), name
        headless = name in HEADLESS.split() or name == "headless"
        assert row["num_classes"] == (0 if headless else 1000 if name == "pvt" else 3), name
        timm = name == "timm_wrapper" or not source.startswith("20")
        assert row["input_size"] == (160 if timm else 64), name


def check_ranking(
    made: Made, source: str, home: Path, tmp_path: Path, models: list[str]
) -> dict[str, float]:
    """Rank ``models`` of a case on digits: finite scores, or the reason; returns the scores."""
    crawled(made, source, home)
    catalogue = str(home / f"{source.replace('/', '-')}.duckdb")
    chosen = [word for name in models for word in ("--models", name)]
    options = ("--probe-size", "60", "--catalogue", catalogue, *chosen)
    done, record = ranking("digits", tmp_path, *options)
    assert done.status == 0, done.err
    fails = FAILS.get(source, {})
    scores = {}
    for row in record["rows"]:
        name = row["model"]
        expected = fails.get(name) or ZOOS[source][name]
        if isinstance(expected, str):
            assert row["value"] is None
            assert expected in row["error"]
        elif name not in TOO_SMALL or row["error"] != SAME:
            assert row["value"] is not None, (name, row["error"])
            assert math.isfinite(row["value"]) and row["low"] <= row["value"] <= row["high"]
            scores[name] = row["value"]
    assert {row["model"] for row in record["rows"]} == set(models)
    return scores


@pytest.mark.journey
@pytest.mark.parametrize(
    ("source", "models"),
    [
        (
            "20-transformers-families/zoo",
            "clip siglip_vision dinov3_vit timm_wrapper nan zeros",
        ),
        ("21-model-folders/timmzoo", "plain bom_config no_pretrained_cfg lfs_pointer huge zero"),
        ("21-model-folders/cache", "me/tiny"),
    ],
)
def test_models_are_in_a_ranking_or_their_reason_is(
    made: Made, source: str, models: str, home: Path, tmp_path: Path
) -> None:
    check_ranking(made, source, home, tmp_path, models.split())


@pytest.mark.slow
@pytest.mark.parametrize("source", ["20-transformers-families/zoo", "21-model-folders/timmzoo"])
def test_all_models_are_in_a_ranking_or_their_reason_is(
    made: Made, source: str, home: Path, tmp_path: Path
) -> None:
    """What is written in another way, and is the same network, has the same score."""
    scores = check_ranking(made, source, home, tmp_path, list(ZOOS[source]))
    same, first = (
        ("id2label_list id2label_unsorted label2id_only num_labels_10 four_names prefixed", "vit")
        if source.startswith("20")
        else (SAME_AS_PLAIN, "plain")
    )
    for name in same.split():
        assert scores[name] == pytest.approx(scores[first], abs=1e-6), name
