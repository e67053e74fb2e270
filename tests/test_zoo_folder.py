"""A folder of models: every model is a card, and whatever is wrong with it is the card's reason."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import weights
from tests.places import SHARED
from zoo.card import ModelCard
from zoo.errors import UserError
from zoo.sources import folder

CONFIG = {
    "architecture": "resnet18",
    "num_classes": 2,
    "label_names": ["cat", "dog"],
    "input_size": [3, 32, 32],
    "classifier": "fc",
}
WEIGHTS = weights({"fc.weight": (2, 8), "fc.bias": (2,)})
README = "---\nlicense: MIT\ndatasets: [pets]\nbase_model: a/b\naccuracy: 0.75\n---\n# A model\n"


def make(
    path: Path,
    *,
    config: object = CONFIG,
    content: bytes | None = WEIGHTS,
    readme: str | None = README,
) -> Path:
    path.mkdir(parents=True)
    if config is not None:
        (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if content is not None:
        (path / "model.safetensors").write_bytes(content)
    if readme is not None:
        (path / "README.md").write_text(readme)
    return path


def test_a_sound_model(tmp_path: Path) -> None:
    made = make(tmp_path / "pets")
    assert folder.card(made) == ModelCard(
        id="pets",
        source="folder",
        location=str(made),
        modality="image",
        library_name="timm",
        architecture="resnet18",
        num_classes=2,
        labels=("cat", "dog"),
        label_source="config",
        input_size=32,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        interpolation="bicubic",
        crop_pct=0.95,
        crop_mode="center",
        feature_dim=8,
        params_total=18,
        custom_code=False,
        sha=hashlib.sha256(json.dumps(CONFIG).encode() + WEIGHTS).hexdigest()[:40],
        weight_format="safetensors",
        weight_bytes=len(WEIGHTS),
        license="mit",
        datasets=("pets",),
        base_model=("a/b",),
        accuracy=0.75,
        loadable=True,
        detail_state="done",
    )


def test_the_revision_changes_with_config_and_weights_and_nothing_else(tmp_path: Path) -> None:
    made = make(tmp_path / "m")
    first = folder.card(made).sha
    (made / "README.md").write_text("other")
    assert folder.card(made).sha == first
    (made / "config.json").write_text(json.dumps({**CONFIG, "num_features": 8}))
    second = folder.card(made).sha
    (made / "model.safetensors").write_bytes(
        weights({"fc.weight": (2, 8), "fc.bias": (2,), "x": (0,)})
    )
    assert len({first, second, folder.card(made).sha}) == 3


def test_cards_of_a_folder_in_order_of_name(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        make(tmp_path / name)
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    assert [card.id for card in folder.cards(tmp_path)] == ["a", "b"]
    assert {card.source for card in folder.cards(tmp_path, "small")} == {"small"}


def test_a_folder_that_is_one_model(tmp_path: Path) -> None:
    made = make(tmp_path / "pets")
    assert list(folder.cards(made)) == [folder.card(made)]


def test_a_taken_id_gets_a_number(tmp_path: Path) -> None:
    made = make(tmp_path / "pets")
    assert [
        (card.id, card.location) for card in folder.cards(tmp_path, taken={"pets", "pets-2"})
    ] == [("pets-3", str(made))]
    make(tmp_path / "pets\x1b[0m")
    make(tmp_path / "pets[0m")
    assert len({card.id for card in folder.cards(tmp_path)}) == 3


def test_shards(tmp_path: Path) -> None:
    made = make(tmp_path / "m", content=None)
    (made / "1.safetensors").write_bytes(weights({"fc.weight": (2, 8)}))
    (made / "2.safetensors").write_bytes(weights({"fc.bias": (2,)}))
    index = {"weight_map": {"fc.weight": "1.safetensors", "fc.bias": "2.safetensors"}}
    (made / "model.safetensors.index.json").write_text(json.dumps(index))
    card = folder.card(made)
    assert (card.loadable, card.params_total, card.feature_dim) == (True, 18, 8)


def pickle_only(made: Path) -> None:
    (made / "model.safetensors").rename(made / "pytorch_model.bin")


def link_out(made: Path) -> None:
    (made / "model.safetensors").rename(made.parent.parent / "outside.safetensors")
    (made / "model.safetensors").symlink_to(made.parent.parent / "outside.safetensors")


def config_link_out(made: Path) -> None:
    (made / "config.json").unlink()
    (made / "config.json").symlink_to("/etc/passwd")


def fifo(made: Path) -> None:
    (made / "config.json").unlink()
    os.mkfifo(made / "config.json")


def index_out(made: Path) -> None:
    (made / "model.safetensors").unlink()
    (made / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../x.safetensors"}})
    )


def config(value: object) -> Callable[[Path], None]:
    def change(made: Path) -> None:
        (made / "config.json").write_bytes(
            value if isinstance(value, bytes) else json.dumps(value).encode()
        )

    return change


def content(value: bytes) -> Callable[[Path], None]:
    def change(made: Path) -> None:
        (made / "model.safetensors").write_bytes(value)

    return change


def only(name: str) -> Callable[[Path], None]:
    def change(made: Path) -> None:
        for path in made.iterdir():
            if path.name != name:
                path.unlink()

    return change


def big_config(made: Path) -> None:
    with (made / "config.json").open("wb") as file:
        file.truncate(33 * 2**20)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (pickle_only, "no safetensors, only pytorch_model.bin: loading a pickle can run any code"),
        (only("config.json"), "no model.safetensors and no other weights"),
        (only("model.safetensors"), "no config.json"),
        (content(WEIGHTS[:-1]), "cut off"),
        (content(b""), "cut off"),
        (content((10 * 10**9).to_bytes(8, "little") + b"{}"), "claims 10,000,000,000 bytes"),
        (content(WEIGHTS.replace(b"[0, 64]", b"[0, 60]")), "wrong about tensor 'fc.weight'"),
        (content(b"PK\x03\x04" + b"\0" * 100), "not a safetensors file"),
        (index_out, "'../../x.safetensors', which is not a plain file name"),
        (link_out, "model.safetensors is a link to outside of"),
        (config_link_out, "config.json is a link to outside of"),
        (fifo, "config.json is not a regular file"),
        (config({**CONFIG, "architecture": "../../x"}), "knows no architecture '../../x'"),
        (config({**CONFIG, "auto_map": {"AutoModel": "m.M"}}), "code of its own"),
        (config([1, 2]), "config.json holds a list"),
        (config('{"a": 1}'.encode("utf-16")), "config.json is UTF-16, not UTF-8: save it as"),
        (config(b"\xff\xfe{}"), "config.json is not UTF-8"),
        (config(b"{"), "config.json is not valid JSON"),
        (config(b"[" * 100_000), "config.json is not valid JSON"),
        (config(b'{"architecture": ' + b"9" * 5000 + b"}"), "config.json is not valid JSON"),
        (big_config, "config.json is larger than 32 MiB"),
    ],
)
def test_a_model_at_fault_is_a_card_with_its_reason(
    tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    harm(make(tmp_path / "zoo" / "pets"))
    make(tmp_path / "zoo" / "sound")
    bad, good = folder.cards(tmp_path / "zoo")
    assert (bad.id, bad.loadable, good.loadable) == ("pets", False, True)
    assert reason in (bad.not_loadable_reason or "")
    assert "\n" not in (bad.not_loadable_reason or "")


def test_what_a_faulty_model_says_of_itself_is_kept(tmp_path: Path) -> None:
    made = make(tmp_path / "m", content=None)
    card = folder.card(made)
    assert (card.labels, card.license, card.detail_state) == (("cat", "dog"), "mit", "failed")
    assert card.sha == hashlib.sha256(json.dumps(CONFIG).encode()).hexdigest()[:40]


def test_a_link_within_the_zoo_is_followed(tmp_path: Path) -> None:
    make(tmp_path / "a")
    made = make(tmp_path / "b", content=None)
    (made / "model.safetensors").symlink_to("../a/model.safetensors")
    assert [card.loadable for card in folder.cards(tmp_path)] == [True, True]


@pytest.mark.parametrize(
    "readme", ["---\n[\n---\n", "\xff", "---\nlicense: !!python/object:os.system x\n---\n"]
)
def test_a_hostile_readme_does_not_matter(tmp_path: Path, readme: str) -> None:
    card = folder.card(make(tmp_path / "m", readme=readme))
    assert (card.loadable, card.license) == (True, None)


def test_a_name_that_is_not_utf8_can_be_stored_but_not_loaded(tmp_path: Path) -> None:
    try:
        made = make(Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff")))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    card = next(folder.cards(tmp_path))
    assert card.loadable is False
    assert "not UTF-8" in (card.not_loadable_reason or "")
    assert (card.id + str(card.location)).encode()
    shutil.rmtree(made)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda path: None, "no folder"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: path.mkdir(), "no sub-folder"),
        (lambda path: (path / "data").mkdir(parents=True), "1 sub-folders, none"),
    ],
)
def test_no_models_is_the_users_error(
    tmp_path: Path, prepare: Callable[[Path], Any], said: str
) -> None:
    prepare(tmp_path / "zoo")
    with pytest.raises(UserError, match=said):
        list(folder.cards(tmp_path / "zoo"))


def test_the_packaged_zoo_is_where_it_says() -> None:
    assert folder.small_zoo().parent.name == "zoo"
    assert all(
        card.loadable and card.license and (card.labels or card.num_classes == 0)
        for card in folder.cards(folder.small_zoo(), "small")
    )


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="the shared models are not here")
def test_real_models() -> None:
    cards = {card.id: card for card in folder.cards(SHARED / "models")}
    assert all(card.loadable for card in cards.values())
    resnet = cards["akamaster__resnet20_cifar10"]
    assert (resnet.license, resnet.num_classes, resnet.feature_dim, resnet.datasets) == (
        "bsd-2-clause",
        10,
        64,
        ("cifar10",),
    )
    birds = cards["google-coral__mobilenetv2_100.qat_inat_bird"]
    assert (birds.num_classes, birds.feature_dim, len(birds.labels or ())) == (965, 1280, 965)
    assert cards["google-teachablemachine__mobilenetv2_035.in1k_features"].labels is None


# --- files that are no files


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_in_a_circle(path: Path) -> None:
    other = path.with_name("other")
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def link_to_a_name_too_long(path: Path) -> None:
    path.symlink_to("x" * 300)


def link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def a_socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as bound:
        before = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is at most 108 bytes
        try:
            bound.bind(path.name)
        finally:
            os.chdir(before)


ODD_FILES: list[Callable[[Path], None]] = [
    link_to_itself,
    link_in_a_circle,
    link_to_a_name_too_long,
    link_to_nowhere,
    a_socket,
    os.mkfifo,
    Path.mkdir,
]


@pytest.mark.parametrize("odd", ODD_FILES, ids=lambda odd: odd.__name__)
@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "model.safetensors.index.json", "README.md"]
)
def test_an_odd_file_is_the_fault_of_its_model_and_the_crawl_goes_on(
    tmp_path: Path, odd: Callable[[Path], None], name: str
) -> None:
    make(tmp_path / "zoo" / "sound")
    model = make(tmp_path / "zoo" / "odd")
    if name.endswith("index.json"):
        (model / "model.safetensors").unlink()
    else:
        (model / name).unlink()
    odd(model / name)
    cards = {card.id: card for card in folder.cards(tmp_path / "zoo")}
    assert cards["sound"].loadable
    assert sorted(cards) == ["odd", "sound"]
    if name == "README.md":
        assert cards["odd"].loadable
    else:
        assert cards["odd"].loadable is False
        assert name.removesuffix(".index.json") in str(cards["odd"].not_loadable_reason)
        assert str(tmp_path) not in str(cards["odd"].not_loadable_reason)


def test_a_file_that_may_not_be_read_or_vanishes_is_a_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("denied", "sound", "vanished"):
        make(tmp_path / name)
    real = Path.open

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.parent.name == "denied" and path.suffix == ".safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        if path.parent.name == "vanished" and path.suffix == ".safetensors":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    reasons = {card.id: card.not_loadable_reason for card in folder.cards(tmp_path)}
    assert reasons == {
        "denied": "model.safetensors cannot be read: Permission denied",
        "sound": None,
        "vanished": "model.safetensors cannot be read: No such file or directory",
    }


def test_a_model_folder_that_is_a_link_to_itself_is_no_model(tmp_path: Path) -> None:
    make(tmp_path / "sound")
    link_to_itself(tmp_path / "loop")
    assert [card.id for card in folder.cards(tmp_path)] == ["sound"]
    with pytest.raises(UserError, match="no folder"):
        list(folder.cards(tmp_path / "loop"))
