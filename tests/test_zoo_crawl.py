"""``python -m zoo.crawl`` of folders and of timm: what is added, what goes, and what a user
reads.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.hub_server import weights
from zoo.card import ModelCard
from zoo.catalogue import Catalogue
from zoo.crawl import main
from zoo.sources import timm

pytestmark = pytest.mark.journey

CONFIG = {
    "architecture": "resnet18",
    "num_classes": 2,
    "label_names": ["cat", "dog"],
    "classifier": "fc",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(weights({"fc.weight": (2, 8), "fc.bias": (2,)}))
    return path


def crawl(*words: object) -> int:
    return main([str(word) for word in words])


def ids() -> list[str]:
    with Catalogue.open() as catalogue:
        return [card.id for card in catalogue.cards()]


def test_a_folder_is_added_and_summed_up(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        make(tmp_path / "zoo" / name)
    (tmp_path / "zoo" / "b" / "model.safetensors").rename(
        tmp_path / "zoo" / "b" / "pytorch_model.bin"
    )
    assert crawl("--source", tmp_path / "zoo") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"3 models in {tmp_path / 'zoo'}: 2 loadable, 3 with label names"
    assert lines[1].startswith("  not loadable: b: no safetensors, only pytorch_model.bin")
    assert lines[2] == f"catalogue: {home / 'catalogue.duckdb'} (3 models)"
    assert lines[3].startswith("next: python -m zoo.query")
    with Catalogue.open() as catalogue:
        card = catalogue.cards(models=["a"])[0]
    assert (card.location, card.labels, card.loadable) == (
        str(tmp_path / "zoo" / "a"),
        ("cat", "dog"),
        True,
    )
    assert card.indexed_at is not None


def test_what_vanished_from_a_folder_goes_and_the_rest_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one/a", "one/b", "one/deep/d", "two/c"):
        make(tmp_path / name)
    for root in ("one", "two", "one/deep"):
        crawl("--source", tmp_path / root)
    shutil.rmtree(tmp_path / "one" / "a")
    capsys.readouterr()
    assert crawl("--source", tmp_path / "one") == 0
    assert "; 1 are gone and were removed" in capsys.readouterr().out
    assert ids() == ["b", "c", "d"]


def test_ids_stay_apart_and_stay_the_same(tmp_path: Path) -> None:
    for root in ("one", "two"):
        make(tmp_path / root / "m")
    for root in ("one", "two", "one", "two"):
        crawl("--source", tmp_path / root)
        with Catalogue.open() as catalogue:
            found = {card.id: card.location for card in catalogue.cards()}
    assert found == {"m": str(tmp_path / "one" / "m"), "m-2": str(tmp_path / "two" / "m")}


def test_one_model_of_a_folder_and_then_the_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make(tmp_path / "zoo" / name)
    crawl("--source", tmp_path / "zoo" / "a")
    assert ids() == ["a"]
    crawl("--source", tmp_path / "zoo")
    crawl("--source", tmp_path / "zoo" / "a")
    assert ids() == ["a", "b"]


def test_limit_adds_some_and_removes_none(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        make(tmp_path / "zoo" / name)
    crawl("--source", tmp_path / "zoo", "--limit", 2)
    assert ids() == ["a", "b"]
    crawl("--source", tmp_path / "zoo")
    crawl("--source", tmp_path / "zoo", "--limit", 1)
    assert ids() == ["a", "b", "c"]


def test_another_catalogue(tmp_path: Path, home: Path) -> None:
    make(tmp_path / "zoo" / "a")
    crawl("--source", tmp_path / "zoo", "--catalogue", tmp_path / "my" / "cat.duckdb")
    assert not home.exists()
    with Catalogue.open(tmp_path / "my" / "cat.duckdb") as catalogue:
        assert catalogue.count() == 1


def test_the_packaged_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    assert crawl("--source", "small") == 0
    with Catalogue.open() as catalogue:
        assert catalogue.count() >= 12
        assert catalogue.count("source = 'small' and loadable") == catalogue.count()


def test_timm_leaves_the_hubs_rows_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*names: str) -> None:
        monkeypatch.setattr(
            timm,
            "cards",
            lambda: iter(ModelCard(id=f"timm/{n}", source="timm", loadable=True) for n in names),
        )

    with Catalogue.open(write=True) as catalogue:
        catalogue.upsert(
            [
                ModelCard(id="timm/b", source="hub", downloads=9),
                ModelCard(id="mine", source="folder"),
            ]
        )
    listed("a", "b", "c")
    assert crawl("--source", "timm") == 0
    assert ids() == ["mine", "timm/a", "timm/b", "timm/c"]
    listed("a", "d")
    crawl("--source", "timm")
    assert ids() == ["mine", "timm/a", "timm/b", "timm/d"]
    with Catalogue.open() as catalogue:
        assert catalogue.cards(models=["timm/b"])[0].downloads == 9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "nowhere"], "no folder nowhere; --source is hub, timm, small, or a FOLDER"),
        (["--source", "."], "no model in"),
        (["--source", "timm", "--update"], "--update is for --source hub only"),
        (["--source", "small", "--filter", "timm"], "--filter is for --source hub only"),
        (["--source", "small", "--limit", "0"], "--limit"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_no_catalogue(
    tmp_path: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert crawl(*words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert not home.exists()


def test_terminal_escapes_in_names_are_not_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make(tmp_path / "zoo" / "bad\x1b[31m\u202ename")
    (made / "config.json").write_text(json.dumps({"architecture": "x\x1b]0;title\x07"}))
    assert crawl("--source", tmp_path / "zoo") == 0
    out = capsys.readouterr().out
    assert "not loadable" in out
    assert not set(out) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("name", ["photos.duckdb", "photos.parquet"])
def test_a_crawl_beside_foreign_files_leaves_them_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    import pandas as pd

    file = tmp_path / "photos.parquet"
    pd.DataFrame({"picture": ["beach.jpg"]}).to_parquet(file)
    before = file.read_bytes()
    assert main(["--source", "small", "--catalogue", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "photos.parquet" in error and "--catalogue" in error
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [
        ("photos.parquet", before)
    ]
