"""The doctor: what it finds, and that what it mends is mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hub_server import Hub
from zoo.card import ModelCard
from zoo.catalogue import Catalogue, utc_now
from zoo.doctor import examine, main
from zoo.loading.client import Client
from zoo.sources.details import Details
from zoo.sources.hub import crawl, fetch_details
from zoo.sources.ledger import Ledger
from zoo.terminal.progress import Progress


def card(name: str, sha: str = "a" * 40) -> ModelCard:
    return ModelCard(id=name, source="hub", sha=sha, indexed_at=utc_now(), family=name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Hub(700) as hub, Catalogue.open(tmp_path / "c.duckdb", write=True) as catalogue:
        crawl(catalogue, client=Client(hub.url, token=False), progress=Progress.silent())
    return tmp_path / "c.duckdb"


@pytest.mark.journey
def test_a_fresh_crawl_is_sound_and_needs_no_mending(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = examine(path)
    assert (found.mended, found.broken, found.advice) == ([], [], [])
    assert any(fact.startswith("hub: 700 models") for fact in found.facts)
    assert any(
        fact.startswith("full listing: ended") and fact.endswith("700 rows") for fact in found.facts
    )
    assert main(["--catalogue", str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verdict: sound"


@pytest.mark.journey
def test_what_a_killed_process_left_is_mended_once(path: Path) -> None:
    with Catalogue.open(path, write=True) as catalogue:
        db = catalogue.connection
        db.execute(
            "INSERT INTO models BY NAME SELECT * REPLACE (indexed_at + INTERVAL 1 HOUR AS"
            " indexed_at) FROM models LIMIT 3"
        )
        db.execute(
            "UPDATE models SET detail_state = NULL, labels = NULL WHERE library_name = 'timm'"
        )
        Ledger(catalogue).save_details([("no/body", "b" * 40, Details({}, {"config.json": "{}"}))])
        (path.parent / ".c.parquet.1.part").write_bytes(b"half")
    mended = " | ".join(examine(path).mended)
    for part in (
        "3 rows stood there twice",
        "details of",
        "rows of details",
        "rows of configs",
        ".c.parquet.1.part",
        "anew",
    ):
        assert part in mended
    assert examine(path).mended == []
    with Catalogue.open(path) as catalogue:
        assert catalogue.count() == 700
        assert (
            catalogue.count(
                "library_name = 'timm' AND gated IS NULL AND sha IS NOT NULL AND detail_state IS"
                " NULL"
            )
            == 0
        )


@pytest.mark.journey
def test_a_damaged_snapshot_is_published_anew(path: Path) -> None:
    path.with_suffix(".parquet").write_bytes(b"PAR1 nonsense")
    assert "published anew" in examine(path).mended[0]
    with Catalogue.open(path) as catalogue:
        assert catalogue.count() == 700


@pytest.mark.journey
def test_what_is_left_to_do_is_said(tmp_path: Path) -> None:
    path = tmp_path / "c.duckdb"
    with Hub(700) as hub, Catalogue.open(path, write=True) as catalogue:
        crawl(
            catalogue,
            client=Client(hub.url, token=False),
            details="none",
            progress=Progress.silent(),
        )
        open_ = Ledger(catalogue).wanted().num_rows
    assert any(f"{open_} candidates have no details yet" in line for line in examine(path).advice)
    with Hub(700) as hub, Catalogue.open(path, write=True) as catalogue:
        fetch_details(Ledger(catalogue), Client(hub.url, token=False))
    found = examine(path)
    assert found.advice == []
    assert any("were not in their rows yet" in line for line in found.mended)


@pytest.mark.journey
def test_while_another_process_writes_only_the_snapshot_is_examined(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.errors import CatalogueLocked

    real = Catalogue.open

    def locked(given: Path | None = None, *, write: bool = False) -> Catalogue:
        if write:
            raise CatalogueLocked("any wording", holder="process 7 (python)")
        return real(given)

    monkeypatch.setattr(Catalogue, "open", locked)
    found = examine(path)
    assert (
        "process 7 (python) is writing the catalogue: only its snapshot is examined" in found.facts
    )


def test_a_foreign_file_beside_no_catalogue_is_not_taken_for_one(tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"picture": ["beach.jpg"]}).to_parquet(tmp_path / "photos.parquet")
    before = (tmp_path / "photos.parquet").read_bytes()
    assert main(["--catalogue", str(tmp_path / "photos.duckdb")]) == 2
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("photos.parquet", before)
    ]


def test_no_catalogue_is_said_with_the_way_to_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--catalogue", str(tmp_path / "none.duckdb")]) == 2
    assert "python -m zoo.crawl" in capsys.readouterr().err
