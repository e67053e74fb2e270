"""The doctor: what it finds, and that what it mends is mended."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.hub_server import Hub
from zoo.card import ModelCard
from zoo.catalogue import Catalogue, utc_now
from zoo.crawl import main as crawl_command
from zoo.doctor import examine, main
from zoo.errors import UserError
from zoo.loading.client import Client
from zoo.query import main as query_command
from zoo.sources.details import Details
from zoo.sources.hub import crawl, fetch_details
from zoo.sources.ledger import Ledger
from zoo.terminal.progress import Progress

pytestmark = pytest.mark.journey


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


# --- damage


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A catalogue of 400 models without the Hub."""
    path = tmp_path / "my zoo" / "c.duckdb"
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert(
            ModelCard(
                id=f"org/m{i:03}",
                source="hub",
                sha=f"{i:040x}",
                license="mit" if i % 2 else "apache-2.0",
                labels=(f"cat {i}", f"dog {i}"),
                params_total=i * 7_919,
                indexed_at=utc_now(),
                detail_state="done",
            )
            for i in range(400)
        )
        catalogue.publish()
    return path


def damage(snapshot: Path, name: str) -> None:
    """Overwrite the middle of one column."""
    import pyarrow.parquet as pq

    group = pq.ParquetFile(snapshot).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    [column] = [each for each in columns if each.path_in_schema.split(".")[0] == name]
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(snapshot.read_bytes())
    middle = start + column.total_compressed_size // 2
    content[middle : middle + 16] = bytes(16)
    snapshot.write_bytes(content)


@pytest.mark.parametrize("name", ["id", "labels", "params_total", "license"])
def test_a_snapshot_damaged_in_one_column_is_found_named_and_published_anew(
    small: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(small.with_suffix(".parquet"), name)
    options = ["--catalogue", str(small), "--columns", name]
    status = query_command(options)
    shown = capsys.readouterr()
    if status:  # where the bytes make no sense at all; others are another value
        assert "cannot be read" in shown.err
        assert f"python -m zoo.doctor --catalogue '{small}' mends it" in shown.err
        assert len(shown.err.splitlines()) == 1
    mended = examine(small).mended
    assert len(mended) == 1
    assert mended[0].startswith("the snapshot was damaged in ")
    assert name in mended[0]
    assert examine(small).mended == []
    assert query_command(options) == 0


def test_a_single_value_that_differs_from_the_database_is_found(small: Path) -> None:
    snapshot = small.with_suffix(".parquet")
    table = pq.read_table(snapshot)
    metadata = table.schema.metadata
    totals = table["params_total"].to_pylist()
    totals[7] += 1
    table = table.set_column(
        table.schema.get_field_index("params_total"), "params_total", pa.array(totals)
    )
    pq.write_table(table.replace_schema_metadata(metadata), snapshot)
    assert "damaged in params_total;" in examine(small).mended[0]


def test_a_snapshot_without_a_column_is_said_so_and_published_anew(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot = small.with_suffix(".parquet")
    table = pq.read_table(snapshot)
    pq.write_table(table.drop_columns(["labels"]), snapshot)
    assert query_command(["--catalogue", str(small)]) == 2
    error = capsys.readouterr().err
    assert "lacks the column labels" in error
    assert f"python -m zoo.doctor --catalogue '{small}'" in error
    assert examine(small).mended == ["the snapshot was without a column; it is published anew"]
    assert query_command(["--catalogue", str(small)]) == 0


@pytest.mark.parametrize("place", [0, 9, "blocks", "all", "missing"])
def test_a_damaged_database_is_made_anew_from_a_sound_snapshot(
    small: Path, place: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Catalogue.open(small) as catalogue:
        before = catalogue.models(sort="id")
    content = bytearray(small.read_bytes())
    if place == "missing":
        small.unlink()
    else:
        start = {"all": 0, "blocks": 3 * 4_096}.get(str(place), place)
        assert isinstance(start, int)
        end = start + 64 if isinstance(place, int) else len(content)
        content[start:end] = b"\xa5" * (end - start)
        small.write_bytes(content)
        assert (
            crawl_command(["--source", "small", "--catalogue", str(small)]) != 0 or place == 5_000
        )
        capsys.readouterr()
    assert main(["--catalogue", str(small)]) == 0
    shown = capsys.readouterr().out
    assert "made anew from its snapshot" in shown
    assert (small.parent / "c.duckdb.damaged").exists() == (place != "missing")
    with Catalogue.open(small) as catalogue:
        after = catalogue.models(where="source = 'hub'", sort="id")
    assert after.astype(str).equals(before.astype(str))
    with Catalogue.open(small, write=True) as catalogue:
        assert Ledger(catalogue).wanted().num_rows == 0  # the details are known
        details = catalogue.connection.execute("SELECT count(*) FROM details").fetchall()
    assert details == [(400,)]


def test_database_and_snapshot_damaged_is_a_fault_that_stays(small: Path) -> None:
    small.write_bytes(b"nonsense" * 500)
    damage(small.with_suffix(".parquet"), "labels")
    damage(small.with_suffix(".parquet"), "id")
    try:
        broken = examine(small).broken
    except UserError as error:
        broken = [str(error)]
    assert len(broken) == 1
    assert "damaged" in broken[0]
    assert small.read_bytes() == b"nonsense" * 500
