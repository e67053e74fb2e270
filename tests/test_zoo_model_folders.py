"""Model folders as people have them: layouts, configs of several ages, formats, damaged weights."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selection.probing.evaluator import are_equal
from selection.rank import rank
from selection.settings import Settings
from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.crawl import main as crawl
from zoo.errors import TeacherError, UserError
from zoo.loading.checkpoint.architecture import TimmName, default_cfg, timm_name
from zoo.loading.checkpoint.names import network_names
from zoo.loading.inputs.preprocessing import preprocessing_of
from zoo.sources import folder
from zoo.teacher import Teacher

pytestmark = pytest.mark.journey

NAMES = ["cat", "rose", "car"]
PIPELINE = {
    "input_size": [3, 160, 160],
    "mean": [0.4, 0.5, 0.6],
    "std": [0.2, 0.25, 0.3],
    "interpolation": "bilinear",
    "crop_pct": 0.9,
}
BASE: dict[str, Any] = {
    "architecture": "test_vit",
    "num_classes": 3,
    "num_features": 64,
    "label_names": NAMES,
    "pretrained_cfg": {**PIPELINE, "num_classes": 3, "classifier": "head"},
}
Config = dict[str, Any]
Tensors = dict[str, torch.Tensor]


@cache
def network(**arguments: Any) -> Any:
    import timm

    torch.manual_seed(0)
    return timm.create_model("test_vit", **{"num_classes": 3, **arguments}).eval()


def tensors(**arguments: Any) -> Tensors:
    return {name: t.clone() for name, t in network(**arguments).state_dict().items()}


def save(path: Path, config: object = BASE, weights: Tensors | None = None) -> Path:
    path.mkdir(parents=True)
    save_file(tensors() if weights is None else weights, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


def changed(**values: Any) -> Config:
    """``BASE`` with ``values``; ``None`` takes a key away."""
    config = {**copy.deepcopy(BASE), **values}
    return {key: value for key, value in config.items() if value is not None}


def logits(card: ModelCard, images: torch.Tensor) -> torch.Tensor:
    """The logits of the loaded model for normalised images."""
    answer = Teacher.load(card).forward(images).logits
    assert answer is not None
    return answer


def images(side: int = 160) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def same_as_plain(card: ModelCard, *, atol: float = 1e-5, **arguments: Any) -> bool:
    with torch.no_grad():
        plain = network(**arguments)(images())
    return bool(torch.allclose(logits(card, images()), plain, atol=atol))


# --- layouts


def cached(hub: Path, repository: str, snapshots: dict[str, Config], *, main: str | None) -> Path:
    """A repository as the Hub's cache keeps it: snapshots of links into blobs."""
    home = hub / ("models--" + repository.replace("/", "--"))
    (home / "blobs").mkdir(parents=True)
    for sha, config in snapshots.items():
        made = save(hub / "made", config)
        (home / "snapshots" / sha).mkdir(parents=True)
        for file in made.iterdir():
            blob = f"{sha[:6]}{file.suffix}"
            shutil.move(file, home / "blobs" / blob)
            (home / "snapshots" / sha / file.name).symlink_to(f"../../blobs/{blob}")
        made.rmdir()
    if main is not None:
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(main)
    return home


OLD, NEW = "0" * 40, "f" * 40


@pytest.mark.parametrize("main", [OLD, NEW])
def test_the_hubs_cache_is_read_at_the_snapshot_of_main(tmp_path: Path, main: str) -> None:
    hub = tmp_path / "hub"
    two = {OLD: changed(label_names=["a", "b", "c"]), NEW: changed(label_names=["d", "e", "f"])}
    home = cached(hub, "me/tiny", two, main=main)
    (hub / "datasets--me--data" / "snapshots" / OLD).mkdir(parents=True)
    (hub / ".locks").mkdir()
    [card] = folder.cards(hub)
    assert (card.id, card.location) == ("me/tiny", str(home / "snapshots" / main))
    assert card.labels == (("a", "b", "c") if main == OLD else ("d", "e", "f"))
    assert same_as_plain(card)


@pytest.mark.parametrize("source", ["", "hub", "hub/models--me--tiny", "snapshot"])
def test_a_cache_is_found_from_every_height(tmp_path: Path, source: str) -> None:
    home = cached(tmp_path / "hub", "me/tiny", {OLD: BASE}, main=OLD)
    root = home / "snapshots" / OLD if source == "snapshot" else tmp_path / source
    [card] = folder.cards(root)
    assert (card.id, card.loadable, card.labels) == ("me/tiny", True, tuple(NAMES))
    # what a later command does, which knows the location alone
    again = folder.card(Path(card.location or ""), model=card.id)
    assert again == card


@pytest.mark.parametrize("main", [None, "", "../../../elsewhere", "1" * 40])
def test_without_a_known_main_it_is_the_newest_snapshot(tmp_path: Path, main: str | None) -> None:
    home = cached(tmp_path / "hub", "gpt2", {OLD: BASE, NEW: BASE}, main=main)
    os.utime(home / "snapshots" / NEW, (1, 1))
    [card] = folder.cards(tmp_path / "hub")
    assert (card.id, card.location) == ("gpt2", str(home / "snapshots" / OLD))


def test_same_config_and_weights_have_the_same_revision_in_a_cache_and_outside(
    tmp_path: Path,
) -> None:
    home = cached(tmp_path / "hub", "me/tiny", {OLD: BASE}, main=OLD)
    plain = save(tmp_path / "plain")
    assert folder.card(home / "snapshots" / OLD).sha == folder.card(plain).sha


def test_a_link_that_leaves_the_cache_is_refused_and_not_read(tmp_path: Path) -> None:
    home = cached(tmp_path / "hub", "me/tiny", {OLD: BASE}, main=OLD)
    secret = save(tmp_path / "outside")
    link = home / "snapshots" / OLD / "model.safetensors"
    link.unlink()
    link.symlink_to(secret / "model.safetensors")
    for root in (tmp_path / "hub", home, home / "snapshots" / OLD):
        [card] = folder.cards(root)
        assert card.loadable is False
        assert "model.safetensors is a link to outside of" in (card.not_loadable_reason or "")


def test_a_blob_that_is_gone_is_said(tmp_path: Path) -> None:
    home = cached(tmp_path / "hub", "me/tiny", {OLD: BASE}, main=OLD)
    (home / "blobs" / "000000.safetensors").unlink()
    [card] = folder.cards(tmp_path / "hub")
    assert "the download is not complete" in (card.not_loadable_reason or "")


def found(root: Path) -> dict[str, str]:
    return {
        card.id: str(Path(card.location or "").relative_to(root.resolve()))
        for card in folder.cards(root)
    }


def test_organisations_and_a_mixed_tree(tmp_path: Path) -> None:
    for name in ("me/tiny", "you/tiny", "plain", "you/.hidden"):
        save(tmp_path / name)
    cached(tmp_path, "org/name", {OLD: BASE}, main=OLD)
    assert found(tmp_path) == {
        "tiny": "me/tiny",
        "org/name": f"models--org--name/snapshots/{OLD}",
        "plain": "plain",
        "tiny-2": "you/tiny",
    }
    assert all(card.loadable for card in folder.cards(tmp_path))


def test_a_download_into_a_folder_has_its_own_cache_in_it(tmp_path: Path) -> None:
    made = save(tmp_path / "tiny")
    (made / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (made / ".cache" / "huggingface" / "download" / "config.json").write_text("{}")
    assert found(tmp_path) == {"tiny": "tiny"}
    assert found(made) == {"tiny": "."}


def run_folder(path: Path) -> Path:
    """A folder of ``distill.train``: its config.json is no model's, its checkpoint no teacher."""
    save(path / "student")
    save(path / "checkpoint")
    (path / "checkpoint" / "config.json").unlink()
    (path / "config.json").write_text(json.dumps({"task": "digits"}))
    (path / "metrics.jsonl").write_text("{}\n")
    return path


def test_a_run_folder_is_its_student(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "runs" / "one")
    assert found(run) == {"student": "student"}
    assert found(run / "student") == {"student": "."}
    run_folder(tmp_path / "runs" / "two")
    assert found(tmp_path / "runs") == {"student": "one/student", "student-2": "two/student"}


def test_outputs_of_a_trainer_are_the_model_or_its_checkpoints(tmp_path: Path) -> None:
    for name in ("out/checkpoint-500", "out/checkpoint-1000"):
        (save(tmp_path / name) / "optimizer.pt").write_bytes(b"x")
    (tmp_path / "out" / "training_args.bin").write_bytes(b"x")
    (tmp_path / "out" / "config.json").write_text(json.dumps(BASE))  # no weights beside it
    both = {"checkpoint-1000": "checkpoint-1000", "checkpoint-500": "checkpoint-500"}
    assert found(tmp_path / "out") == both
    shutil.copy(tmp_path / "out/checkpoint-500/model.safetensors", tmp_path / "out")
    assert found(tmp_path / "out") == {"out": "."}


def test_half_a_model_is_a_row_of_its_own(tmp_path: Path) -> None:
    made = save(tmp_path / "net")
    (made / "model.safetensors").unlink()
    (made / "onnx").mkdir()
    (made / "onnx" / "model.onnx").write_bytes(b"x")
    assert found(tmp_path) == {"net": "net"}


def test_links_between_folders_end(tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    save(root / "me" / "tiny")
    save(tmp_path / "outside")
    (root / "me" / "up").symlink_to("..")
    (root / "self").symlink_to("self")
    (root / "again").symlink_to("me/tiny")
    (root / "away").symlink_to(tmp_path / "outside")
    cards = {card.id: card for card in folder.cards(root)}
    assert cards.keys() == {"again", "away", "tiny"}
    assert (cards["again"].loadable, cards["tiny"].loadable) == (True, True)
    assert "the folder is a link to outside of" in (cards["away"].not_loadable_reason or "")
    assert cards["away"].labels is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_file_that_links_to_itself_is_its_models_fault(tmp_path: Path, name: str) -> None:
    made = save(tmp_path / "zoo" / "bad")
    save(tmp_path / "zoo" / "good")
    (made / name).unlink(missing_ok=True)
    (made / name).symlink_to(name)
    bad, good = folder.cards(tmp_path / "zoo")
    assert good.loadable
    assert bad.loadable is (name == "README.md")


def test_an_index_that_links_outside_is_not_read(tmp_path: Path) -> None:
    made = save(tmp_path / "zoo" / "m")
    (made / "model.safetensors").unlink()
    (tmp_path / "index.json").write_text('{"weight_map": {"a": "secret.safetensors"}}')
    (made / "model.safetensors.index.json").symlink_to(tmp_path / "index.json")
    reason = next(folder.cards(tmp_path / "zoo")).not_loadable_reason or ""
    assert "model.safetensors.index.json is a link to outside" in reason
    assert "secret" not in reason


def crawled(root: Path, catalogue: Path) -> dict[str, str]:
    """Crawl ``root`` as a user does; the ids of the catalogue with where they lie."""
    assert crawl(["--source", str(root), "--catalogue", str(catalogue)]) == 0
    with Catalogue.open(catalogue) as opened:
        return {card.id: str(card.location) for card in opened.cards()}


def test_ids_of_a_cache_stay_and_leave_those_of_the_hub_alone(tmp_path: Path) -> None:
    home = cached(tmp_path / "hub", "me/tiny", {OLD: BASE, NEW: BASE}, main=OLD)
    catalogue = tmp_path / "catalogue.duckdb"
    listed = ModelCard(id="me/other", source="hub", location="me/other")
    with Catalogue.open(catalogue, write=True) as opened:
        opened.upsert([listed, ModelCard(id="me/tiny", source="hub", location="me/tiny")])
        opened.publish()
    old = {"me/other": "me/other", "me/tiny": "me/tiny"}
    first = {**old, "me/tiny-2": str(home / "snapshots" / OLD)}
    assert crawled(tmp_path / "hub", catalogue) == first
    assert crawled(tmp_path / "hub", catalogue) == first
    (home / "refs" / "main").write_text(NEW)
    second = {**old, "me/tiny-2": str(home / "snapshots" / NEW)}
    assert crawled(tmp_path / "hub", catalogue) == second


def test_ids_of_a_tree_stay_where_one_of_the_same_name_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("zoo/me/tiny", "zoo/you/tiny"):
        save(tmp_path / name)
    catalogue, root = tmp_path / "catalogue.duckdb", tmp_path / "zoo"
    both = {"tiny": str(root / "me/tiny"), "tiny-2": str(root / "you/tiny")}
    assert crawled(root, catalogue) == both
    assert "tiny-2 is you/tiny: another model is called tiny\n" in capsys.readouterr().out
    shutil.rmtree(root / "me")
    assert crawled(root, catalogue) == {"tiny-2": both["tiny-2"]}


def test_a_folder_without_models_says_how_one_looks(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no model in .*: it has 1 sub-folders.*NAME/config.json"):
        list(folder.cards(tmp_path))


# --- timm's configs of several ages


@pytest.mark.parametrize(
    ("config", "mean"),
    [
        (BASE, 0.4),
        (changed(pretrained_cfg=None), 0.5),  # timm's own
        (changed(pretrained_cfg={"input_size": [3, 160, 160], "classifier": "head"}), 0.5),
        (changed(pretrained_cfg=None, **PIPELINE), 0.4),
        (changed(pretrained_cfg=None, mean=[0.1] * 3), 0.1),
        (changed(pretrained_cfg={"mean": [0.1] * 3, "std": None}), 0.1),
        (changed(architecture="test_vit.r160_in1k"), 0.4),
        (changed(architecture="hf-hub:timm/test_vit.r160_in1k"), 0.4),
        (changed(architecture="hf_hub:timm/test_vit"), 0.4),
        (changed(architecture="timm/test_vit.r160_in1k", pretrained_cfg=None), 0.5),
        (changed(model_args={"img_size": 160, "num_classes": 3}), 0.4),
        (changed(model_args={"dynamic_img_size": True, "in_chans": 3}), 0.4),
        (changed(model_args={"img_size": 160}, pretrained_cfg=None), 0.5),
        (changed(model_args={"num_classes": 3}, num_classes=None), 0.4),
        (changed(num_classes=None, pretrained_cfg=None), 0.5),
    ],
    ids=str,
)
def test_configs_of_several_ages_load_the_same_network(
    tmp_path: Path, config: Config, mean: float
) -> None:
    card = folder.card(save(tmp_path / "m", config))
    assert (card.loadable, card.architecture, card.num_classes) == (True, "test_vit", 3)
    assert (card.labels, card.input_size) == (tuple(NAMES), 160)
    assert (card.mean or ())[0] == pytest.approx(mean)
    preprocessing = preprocessing_of(card)
    assert preprocessing.input_size == (160, 160)
    assert preprocessing.mean[0] == pytest.approx(mean)
    assert same_as_plain(card)


def test_what_a_config_leaves_open_is_timms_own_setting(tmp_path: Path) -> None:
    own = default_cfg(TimmName("test_vit"))
    preprocessing = preprocessing_of(
        folder.card(save(tmp_path / "m", changed(pretrained_cfg={"std": [0.1, 0.2, 0.3]})))
    )
    assert preprocessing.std == (0.1, 0.2, 0.3)
    assert preprocessing.mean == own["mean"] == (0.5, 0.5, 0.5)
    assert preprocessing.crop_pct == own["crop_pct"] == 0.95
    assert preprocessing.interpolation == own["interpolation"] == "bicubic"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("vit_tiny_patch16_224_in21k", TimmName("vit_tiny_patch16_224", "augreg_in21k")),
        ("tf_efficientnet_b0_ns", TimmName("tf_efficientnet_b0", "ns_jft_in1k")),
        ("resnet50.a1_in1k", TimmName("resnet50", "a1_in1k")),
        ("hf-hub:timm/resnet50", TimmName("resnet50")),
        ("my_net.tag", TimmName("my_net", "tag")),
    ],
)
def test_names_of_architectures(old: str, new: TimmName) -> None:
    assert timm_name(old) == new


def test_a_renamed_architecture_loads_without_a_warning_under_its_present_name(
    tmp_path: Path,
) -> None:
    import timm

    torch.manual_seed(0)
    arguments = {"embed_dim": 24, "depth": 1, "num_heads": 2, "img_size": 32}
    module = timm.create_model("vit_tiny_patch16_224", num_classes=3, **arguments).eval()
    config = {
        "architecture": "vit_tiny_patch16_224_in21k",
        "num_classes": 3,
        "model_args": arguments,
    }
    card = folder.card(save(tmp_path / "m", config, module.state_dict()))
    assert (card.architecture, card.input_size) == ("vit_tiny_patch16_224", 32)
    with torch.no_grad():
        plain = module(images(32))
    assert torch.allclose(logits(card, images(32)), plain, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (changed(architecture="my_vit"), "knows no architecture 'my_vit'"),
        (changed(model_args={"in_chans": 1}), "takes 1 channels, only colour images"),
        (
            changed(pretrained_cfg={**PIPELINE, "input_size": [1, 160, 160]}),
            "only colour images are fed",
        ),
        (changed(in_chans=1), "takes 1 channels"),
        (changed(num_classes=10), "config.json says 10 classes, the head in the weights has 3"),
    ],
)
def test_what_a_config_asks_for_in_vain(tmp_path: Path, config: Config, reason: str) -> None:
    card = folder.card(save(tmp_path / "m", config))
    assert card.loadable is False
    assert reason in (card.not_loadable_reason or "")


def test_two_numbers_of_classes_are_a_contradiction(tmp_path: Path) -> None:
    card = folder.card(save(tmp_path / "m", changed(model_args={"num_classes": 7})))
    with pytest.raises(TeacherError, match="differ about num_classes"):
        Teacher.load(card)


def test_other_pooling_among_the_arguments(tmp_path: Path) -> None:
    weights = tensors(global_pool="avg")
    card = folder.card(save(tmp_path / "m", changed(model_args={"global_pool": "avg"}), weights))
    assert same_as_plain(card, global_pool="avg")


def test_the_wrapper_of_transformers(tmp_path: Path) -> None:
    config = {
        "architecture": "test_vit",
        "architectures": ["TimmWrapperForImageClassification"],
        "model_type": "timm_wrapper",
        "model_args": {"global_pool": "avg"},
        "do_pooling": True,
        "label2id": {"car": 2, "cat": 0, "rose": 1},
    }
    weights = {f"timm_model.{name}": t for name, t in tensors(global_pool="avg").items()}
    card = folder.card(save(tmp_path / "m", config, weights))
    assert (card.loadable, card.labels, card.input_size) == (True, tuple(NAMES), 160)
    assert same_as_plain(card, global_pool="avg")


def test_the_wrapper_without_a_head(tmp_path: Path) -> None:
    config = {
        "architecture": "test_vit",
        "architectures": ["TimmWrapperModel"],
        "model_type": "timm_wrapper",
        "num_classes": 2,
        "label_names": ["LABEL_0", "LABEL_1"],
    }
    weights = {f"timm_model.{name}": t for name, t in tensors(num_classes=0).items()}
    card = folder.card(save(tmp_path / "m", config, weights))
    assert (card.loadable, card.num_classes, card.labels) == (True, 0, None)
    assert Teacher.load(card).forward(images()).logits is None


@pytest.mark.parametrize("file", ["config.json", "README.md"])
def test_a_byte_order_mark_does_not_matter(tmp_path: Path, file: str) -> None:
    made = save(tmp_path / "m")
    (made / "README.md").write_text("---\nlicense: mit\n---\n")
    (made / file).write_bytes(b"\xef\xbb\xbf" + (made / file).read_bytes())
    card = folder.card(made)
    assert (card.loadable, card.license, card.labels) == (True, "mit", tuple(NAMES))
    assert same_as_plain(card)


def test_a_number_that_is_none_in_json(tmp_path: Path) -> None:
    made = save(tmp_path / "m", changed(loss=float("nan")))
    assert "NaN" in (made / "config.json").read_text()
    assert same_as_plain(folder.card(made))


# --- labels


@pytest.mark.parametrize(
    ("config", "labels", "fault"),
    [
        ({"label_names": {"2": "car", "0": "cat", "1": "rose"}}, NAMES, None),
        ({"label_names": None, "id2label": NAMES}, NAMES, None),
        ({"label_names": None, "label2id": {"car": 2, "cat": 0, "rose": 1}}, NAMES, None),
        ({"label_names": [1, 2, 3]}, ["1", "2", "3"], None),
        ({"label_names": ["a", "b"]}, None, "the config names 2 labels for 3 classes"),
        ({"label_names": list("abcd")}, None, "the config names 4 labels for 3 classes"),
        ({"label_names": ["cat", None, "car"]}, None, "a label is not a text"),
        ({"label_names": ["cat"] * 3}, None, "all 3 labels are 'cat'"),
        (
            {
                "label_names": ["n01440764", "n01443537", "n01484850"],
                "label_descriptions": {
                    "n01440764": "tench",
                    "n01443537": "goldfish",
                    "n01484850": "great white shark",
                },
            },
            ["tench", "goldfish", "great white shark"],
            None,
        ),
    ],
)
def test_labels(
    tmp_path: Path, config: Config, labels: list[str] | None, fault: str | None
) -> None:
    card = folder.card(save(tmp_path / "m", changed(**config)))
    assert card.labels == (None if labels is None else tuple(labels))
    assert (card.loadable, card.num_classes) == (True, 3)
    assert (card.detail_error or "").startswith(fault or "")
    assert bool(card.detail_error) is bool(fault)


@pytest.mark.parametrize(
    ("config", "readme", "name", "inferred"),
    [
        ({}, "", "net", False),
        ({"architecture": "test_vit.r160_in1k"}, "", "net", True),
        ({"pretrained_cfg": {"tag": "r160_in1k", "classifier": "head"}}, "", "net", True),
        ({}, "datasets: [imagenet-1k]", "net", True),
        ({}, "", "net-imagenet", True),
        ({"architecture": "test_vit.r160_in1k"}, "datasets: [dishes]", "net", False),
        ({"architecture": "test_vit.r160_in1k"}, "tags: [food]", "net", False),
        ({"architecture": "test_vit.r160_in1k"}, "", "dishes-1000", False),
        ({"architecture": "test_vit.r160_in1k"}, "base_model: timm/test_vit.r160_in1k", "n", False),
        ({"architecture": "test_vit.r160_in1k", "label_names": ["soup"]}, "", "net", False),
    ],
)
def test_a_thousand_classes_are_imagenets_only_where_something_says_so(
    tmp_path: Path, config: Config, readme: str, name: str, inferred: bool
) -> None:
    plain = {"architecture": "test_vit", "num_classes": 1000}
    made = save(tmp_path / name, {**plain, **config}, tensors(num_classes=1000))
    (made / "README.md").write_text(f"---\n{readme}\n---\n")
    card = folder.card(made)
    assert card.num_classes == 1000
    assert card.label_source == ("inferred:imagenet-1k" if inferred else None)
    assert (card.labels is not None) is inferred


# --- weights


def prefixed(*prefixes: str) -> Tensors:
    return {"".join(prefixes) + name: tensor for name, tensor in tensors().items()}


@pytest.mark.parametrize(
    "weights",
    [
        prefixed("module."),
        prefixed("model."),
        prefixed("_orig_mod."),
        prefixed("backbone."),
        prefixed("model.", "_orig_mod.", "module."),
        {name.replace("blocks.", "blocks._orig_mod."): t for name, t in tensors().items()},
        {**prefixed("module."), "n_averaged": torch.tensor(3)},
    ],
    ids=["module", "model", "compile", "backbone", "several", "inside", "averaged"],
)
def test_wrappers_are_taken_off_the_names(tmp_path: Path, weights: Tensors) -> None:
    card = folder.card(save(tmp_path / "m", BASE, weights))
    assert (card.num_classes, card.feature_dim) == (3, 64)
    assert same_as_plain(card)


@pytest.mark.parametrize(
    "weights",
    [
        {**prefixed("model."), "criterion.weight": torch.zeros(3)},
        {**prefixed("student."), **prefixed("teacher.")},
        prefixed("mine."),
    ],
    ids=["part", "two", "unknown"],
)
def test_other_names_are_refused(tmp_path: Path, weights: Tensors) -> None:
    with pytest.raises(TeacherError, match="is missing from the weights"):
        Teacher.load(folder.card(save(tmp_path / "m", BASE, weights)))


def test_a_wrapper_that_the_network_has_itself_stays() -> None:
    assert network_names(["model.a", "model.b"], ["model.a", "model.c"]) == {
        "model.a": "model.a",
        "model.b": "model.b",
    }
    assert network_names(["module.model.a"], ["model.a"]) == {"module.model.a": "model.a"}
    with pytest.raises(TeacherError, match="the same name"):
        network_names(["a._orig_mod.b", "a.b"], ["a.c"])


def cast(dtype: torch.dtype, factor: float = 1) -> Tensors:
    return {name: (tensor * factor).to(dtype) for name, tensor in tensors().items()}


@pytest.mark.parametrize(
    ("dtype", "atol"),
    [
        (torch.float64, 1e-5),
        (torch.bfloat16, 0.05),
        (torch.float16, 0.01),
        (torch.float8_e4m3fn, 0.5),
    ],
)
def test_half_and_quarter_precision_are_numbers(
    tmp_path: Path, dtype: torch.dtype, atol: float
) -> None:
    assert same_as_plain(folder.card(save(tmp_path / "m", BASE, cast(dtype))), atol=atol)


def with_scales(dtype: torch.dtype, last: str) -> Tensors:
    weights = tensors()
    names = [name for name in weights if name.endswith("fc1.weight")]
    for name in names:
        weights[name] = weights[name].to(dtype)
        weights[name.rpartition(".")[0] + "." + last] = torch.ones(1)
    return weights


@pytest.mark.parametrize(
    ("weights", "config", "reason"),
    [
        (cast(torch.int8, 100), BASE, "quantised int8 weights without scales"),
        (cast(torch.uint8, 100), BASE, "quantised uint8 weights without scales"),
        (with_scales(torch.int8, "SCB"), BASE, "quantised int8 weights with scales"),
        (
            with_scales(torch.int8, "SCB"),
            changed(quantization_config={"quant_method": "bitsandbytes"}),
            "quantised int8 weights with scales (bitsandbytes)",
        ),
        (
            with_scales(torch.float8_e4m3fn, "weight_scale"),
            BASE,
            "quantised fp8 weights with scales",
        ),
    ],
    ids=["int8", "uint8", "scales", "method", "fp8"],
)
def test_quantised_weights_are_refused_at_once(
    tmp_path: Path, weights: Tensors, config: Config, reason: str
) -> None:
    card = folder.card(save(tmp_path / "m", config, weights))
    assert card.loadable is False
    assert (card.not_loadable_reason or "").startswith(reason)
    with pytest.raises(TeacherError, match="quantised"):
        Teacher.load(card)


def only(name: str, factor: float) -> Tensors:
    return {n: t * factor if n.endswith(name) else t for n, t in tensors().items()}


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (only("head.weight", float("nan")), "holds NaN or infinite values"),
        (only("head.bias", float("inf")), "holds NaN or infinite values"),
        (only("fc1.weight", 1e18), "holds values up to"),
        (cast(torch.float32, 1e30), "holds values up to"),
    ],
    ids=["nan", "inf", "overflow", "all"],
)
def test_damaged_weights_say_so(tmp_path: Path, weights: Tensors, reason: str) -> None:
    with pytest.raises(TeacherError, match=reason):
        Teacher.load(folder.card(save(tmp_path / "m", BASE, weights)))


@pytest.mark.parametrize(
    ("features", "dead"),
    [
        (np.zeros((4, 3)), True),
        (np.full((4, 3), 2.5), True),
        (np.full((4, 3), 1e-30) * np.arange(4)[:, None], True),
        (1e3 + 1e-5 * np.arange(12).reshape(4, 3), True),
        (1 + 1e-4 * np.arange(12).reshape(4, 3), False),
        (1e-9 * np.arange(12).reshape(4, 3), False),
    ],
)
def test_which_features_are_equal(features: Any, dead: bool) -> None:
    assert are_equal(features) is dead


def test_dead_models_are_rows_with_their_reason(tmp_path: Path) -> None:
    save(tmp_path / "zoo" / "sound")
    save(tmp_path / "zoo" / "zeros", BASE, cast(torch.float32, 0))
    save(tmp_path / "zoo" / "dead", BASE, only("norm.weight", 0))
    save(tmp_path / "zoo" / "nan", BASE, only("head.weight", float("nan")))
    catalogue = tmp_path / "catalogue.duckdb"
    with Catalogue.open(catalogue, write=True) as opened:
        opened.upsert(folder.cards(tmp_path / "zoo"))
        opened.publish()
    ranking = rank("digits", Settings(probe_size=20, catalogue=catalogue, offline=True))
    errors = {row.model: row.error for row in ranking.rows}
    assert errors == {
        "sound": None,
        "zeros": "features are the same for every image",
        "dead": "features are the same for every image",
        "nan": "tensor 'head.weight' holds NaN or infinite values",
    }
    assert ranking.rows[0].model == "sound"
    assert all(row.value is None for row in ranking.rows[1:])


# --- files of other libraries


def files(*names: str, config: bool = True) -> Callable[[Path], None]:
    def change(made: Path) -> None:
        (made / "model.safetensors").unlink()
        if not config:
            (made / "config.json").unlink()
        for name in names:
            (made / name).write_bytes(b"x")

    return change


def onnx_folder(made: Path) -> None:
    (made / "model.safetensors").rename(made / "model.onnx")
    (made / "onnx").mkdir()
    (made / "model.onnx").rename(made / "onnx" / "model.onnx")


def content(value: bytes) -> Callable[[Path], None]:
    def change(made: Path) -> None:
        (made / "model.safetensors").write_bytes(value)

    return change


def config_pointer(made: Path) -> None:
    (made / "config.json").write_bytes(LFS)


def incomplete_shards(made: Path) -> None:
    files()(made)
    index = {"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}
    (made / "model.safetensors.index.json").write_text(json.dumps(index))
    (made / "1.safetensors").write_bytes(b"x")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 123456\n"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (content(LFS), "Git LFS pointer, not the weights: run git lfs pull"),
        (config_pointer, "config.json is a Git LFS pointer: run git lfs pull"),
        (content(b"PK\x03\x04" + b"\0" * 90), "a PyTorch pickle"),
        (content(b"\x80\x02}q\x00." + b"\0" * 90), "a pickle, which is never loaded"),
        (content(b"<!DOCTYPE html><html>" + b" " * 90), "an HTML page: the download failed"),
        (content(b"\x89HDF\r\n\x1a\n" + b"\0" * 90), "an HDF5 file"),
        (content(b"GGUF" + b"\0" * 90), "a GGUF file"),
        (incomplete_shards, "1 of 2 shards are missing, the first is 2.safetensors"),
        (files("model-00001-of-00002.safetensors"), "no model.safetensors.index.json beside"),
        (files("pytorch_model.safetensors"), "only pytorch_model.safetensors: rename it"),
        (files("pytorch_model.bin", "training_args.bin"), "only pytorch_model.bin: loading a"),
        (files("epoch=3.ckpt"), "only epoch=3.ckpt (Lightning saves so): loading a pickle"),
        (files("best.pt", config=False), "only best.pt: loading a pickle"),
        (files("adapter_model.safetensors", "adapter_config.json"), "only an adapter"),
        (files("adapter_model.bin", "adapter_config.json", config=False), "only an adapter"),
        (
            files("open_clip_config.json", "open_clip_model.safetensors", config=False),
            "an OpenCLIP model",
        ),
        (files("model_index.json", config=False), "a diffusers pipeline"),
        (files("tf_model.h5"), "only tf_model.h5 (Keras)"),
        (files("model.keras", config=False), "only model.keras (Keras)"),
        (files("saved_model.pb", config=False), "only saved_model.pb (TensorFlow)"),
        (files("model.ckpt.index", "model.ckpt.data-00000-of-00001"), "(TensorFlow)"),
        (files("flax_model.msgpack"), "only flax_model.msgpack (Flax)"),
        (files("model.onnx"), "only model.onnx (ONNX)"),
        (onnx_folder, "only onnx/model.onnx (ONNX): save the model as safetensors"),
        (files("model_best.pth.tar"), "only model_best.pth.tar: loading a pickle"),
        (files("model.gguf", config=False), "only model.gguf (GGUF)"),
        (files("model.tflite"), "only model.tflite (TensorFlow Lite)"),
        (files("openvino_model.xml", "openvino_model.onnx"), "only openvino_model.onnx (ONNX)"),
        (files("optimizer.pt", "training_args.bin"), "no model.safetensors and no other weights"),
    ],
)
def test_other_formats_are_refused_by_their_name(
    tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    change(save(tmp_path / "zoo" / "m"))
    save(tmp_path / "zoo" / "sound")
    bad, good = folder.cards(tmp_path / "zoo")
    assert (bad.loadable, good.loadable) == (False, True)
    assert reason in (bad.not_loadable_reason or "")


def test_shards_with_their_index(tmp_path: Path) -> None:
    made = save(tmp_path / "m")
    weights = sorted(tensors().items())
    (made / "model.safetensors").unlink()
    weight_map = {}
    for i, part in enumerate((dict(weights[::2]), dict(weights[1::2]))):
        name = f"model-{i + 1:05}-of-00002.safetensors"
        save_file(part, made / name)
        weight_map |= dict.fromkeys(part, name)
    (made / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same_as_plain(folder.card(made))


# --- transformers' configs


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    """A tiny ViT as ``save_pretrained`` leaves it, and its logits for ``images(64)``."""
    transformers = pytest.importorskip("transformers")
    path = tmp_path_factory.mktemp("vit") / "vit"
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(path)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 64, "width": 64}}
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    with torch.no_grad():
        return path, model(images(64)).logits


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        ({}, NAMES),
        ({"id2label": NAMES}, NAMES),
        ({"id2label": {"2": "car", "0": "cat", "1": "rose"}, "label2id": None}, NAMES),
        ({"id2label": None}, NAMES),
        ({"id2label": {str(i): str(i) * 2 for i in range(4)}, "label2id": None}, None),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": None}, None),
        ({"num_labels": 10}, NAMES),
        ({"loss": float("nan")}, NAMES),
    ],
    ids=["plain", "list", "unsorted", "label2id", "more", "fewer", "num_labels", "nan"],
)
def test_transformers_configs_load_the_same_network(
    tmp_path: Path, vit: tuple[Path, torch.Tensor], change: Config, labels: list[str] | None
) -> None:
    plain, expected = vit
    made = tmp_path / "m"
    shutil.copytree(plain, made)
    config = {**json.loads((made / "config.json").read_text()), **change}
    config = {key: value for key, value in config.items() if value is not None}
    (made / "config.json").write_text(json.dumps(config))
    card = folder.card(made)
    assert (card.loadable, card.num_classes) == (True, 3)
    assert card.labels == (None if labels is None else tuple(labels))
    assert bool(card.detail_error) is (labels is None or "num_labels" in change)
    assert torch.allclose(logits(card, images(64)), expected, atol=1e-5)


def test_transformers_weights_lose_their_wrappers_too(
    tmp_path: Path, vit: tuple[Path, torch.Tensor]
) -> None:
    made = tmp_path / "m"
    shutil.copytree(vit[0], made)
    weights = load_file(made / "model.safetensors")
    save_file({f"module.{n}": t for n, t in weights.items()}, made / "model.safetensors")
    assert torch.allclose(logits(folder.card(made), images(64)), vit[1], atol=1e-5)


def test_transformers_int8_weights_are_refused(
    tmp_path: Path, vit: tuple[Path, torch.Tensor]
) -> None:
    made = tmp_path / "m"
    shutil.copytree(vit[0], made)
    weights = load_file(made / "model.safetensors")
    save_file({n: (t * 127).to(torch.int8) for n, t in weights.items()}, made / "model.safetensors")
    card = folder.card(made)
    assert (card.not_loadable_reason or "").startswith("quantised int8 weights without scales")
