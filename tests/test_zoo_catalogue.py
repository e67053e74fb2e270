"""The catalogue: what is written is read, by many while one writes; nothing a user types gets
further.
"""

from __future__ import annotations

import datetime as dt
import errno
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.places import ROOT
from zoo.card import ModelCard
from zoo.catalogue import Catalogue, utc_now
from zoo.errors import CatalogueLocked, UserError
from zoo.sql.columns import COLUMNS
from zoo.sql.faults import open_error

pytestmark = pytest.mark.journey

CARDS = (
    ModelCard(
        id="a/small",
        source="hub",
        license="mit",
        downloads=5,
        params_total=10,
        num_classes=2,
        loadable=True,
        labels=("tench, Tinca tinca", "golden retriever"),
        mean=(0.5, 0.5, 0.5),
        crop_pct=0.9,
        indexed_at=dt.datetime(2026, 1, 2, 3, 4, 5, 6),
    ),
    ModelCard(
        id="a/large",
        source="hub",
        license="apache-2.0",
        downloads=50,
        params_total=1000,
        loadable=False,
    ),
    ModelCard(id="b/unknown", source="timm", license="mit", likes=1),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Catalogue.open(tmp_path / "catalogue.duckdb", write=True) as catalogue:
        catalogue.upsert(CARDS)
        catalogue.publish()
    return tmp_path / "catalogue.duckdb"


@pytest.fixture
def reader(path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(path) as catalogue:
        yield catalogue


def ids(table: pd.DataFrame) -> list[str]:
    return list(table["id"])


# --- round trips and laws

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
cards = st.builds(
    ModelCard,
    id=texts.filter(bool),
    source=st.sampled_from(["hub", "timm"]),
    license=st.none() | texts,
    labels=st.none() | st.lists(texts, min_size=1, max_size=3).map(tuple),
    downloads=st.none() | st.integers(0, 2**60),
    mean=st.none() | st.tuples(*[st.floats(-1, 1)] * 3),
    loadable=st.none() | st.booleans(),
    created_at=st.none() | st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1)),
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(cards, max_size=6))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, given_cards: list[ModelCard]
) -> None:
    path = tmp_path_factory.mktemp("c") / "catalogue.duckdb"
    last = {card.id: card for card in given_cards}
    with Catalogue.open(path, write=True) as catalogue:
        assert catalogue.upsert(given_cards) == len(last)
        catalogue.publish()
        assert catalogue.cards() == sorted(last.values(), key=lambda card: card.id)
    with Catalogue.open(path) as catalogue:
        assert catalogue.cards() == sorted(last.values(), key=lambda card: card.id)


def test_an_upsert_replaces_the_row_of_its_id_and_no_other(path: Path) -> None:
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert([replace(CARDS[1], downloads=51), ModelCard(id="new", source="hub")])
        assert catalogue.count() == 4
        assert {card.id: card.downloads for card in catalogue.cards()} == {
            "a/small": 5,
            "a/large": 51,
            "b/unknown": None,
            "new": None,
        }


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    def fails(catalogue: Catalogue) -> None:
        with catalogue.transaction():
            catalogue.upsert([ModelCard(id="new", source="hub")])
            catalogue.set_state("cursor", "page 2")
            raise ValueError("stop")

    with Catalogue.open(path, write=True) as catalogue:
        catalogue.set_state("cursor", "page 1")
        with pytest.raises(ValueError, match="stop"):
            fails(catalogue)
        assert (catalogue.count(), catalogue.state("cursor")) == (3, "page 1")
        catalogue.set_state("cursor", None)
        assert catalogue.state("cursor") is None


def test_marking_and_removing(path: Path) -> None:
    with Catalogue.open(path, write=True) as catalogue:
        assert (
            catalogue.update("source = 'hub'", {"loadable": True, "not_loadable_reason": None}) == 2
        )
        assert catalogue.count("loadable") == 2
        catalogue.remove(["a/small", "no such"])
        assert [card.id for card in catalogue.cards()] == ["a/large", "b/unknown"]
        with pytest.raises(UserError, match="loadable"):
            catalogue.update("true", {"loadabel": True})


def test_locations(path: Path) -> None:
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert([ModelCard(id="n", source="folder", location="/z/n")])
        assert catalogue.locations("source = 'folder'") == {"n": "/z/n"}
        assert len(catalogue.locations("true")) == 4


# --- questions


def test_where_columns_sort_and_limit(reader: Catalogue) -> None:
    table = reader.models(
        where="license = 'mit' -- of either kind", columns=["params_total", "ID"], sort="id"
    )
    assert list(table.columns) == ["params_total", "id"]
    assert ids(table) == ["a/small", "b/unknown"]
    assert ids(reader.models(limit=1, sort="-id")) == ["b/unknown"]
    assert len(reader.models(limit=0)) == 0
    assert (
        list(reader.models().columns)
        == list(COLUMNS)
        == [field.name for field in fields(ModelCard)]
    )


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("params_total", "slu"),
        ("params_total desc", "lsu"),
        ("-params_total", "lsu"),
        ("downloads", "lsu"),
        ("downloads ASC", "slu"),
        ("-downloads", "lsu"),
        ("license, params_total", "lsu"),
        (" likes , id ", "uls"),
    ],
)
def test_order_is_natural_and_unknown_comes_last(reader: Catalogue, sort: str, order: str) -> None:
    assert "".join(name[2] for name in ids(reader.models(sort=sort))) == order


def test_labels_are_found_exactly_and_by_synonym(reader: Catalogue) -> None:
    found = ["a/small"]
    assert ids(reader.models(where="list_contains(labels, 'golden retriever')")) == found
    assert ids(reader.models(where="has_label(labels, 'Tinca Tinca')")) == found
    assert ids(reader.models(where="has_label(labels, 'golden')")) == []


def test_cards_by_id_and_by_glob(reader: Catalogue) -> None:
    def found(*models: str, where: str | None = None) -> list[str]:
        return [card.id for card in reader.cards(models=models, where=where)]

    assert found("b/unknown", "a/s*") == ["a/small", "b/unknown"]
    assert found("a/*", where="downloads > 5 -- popular") == ["a/large"]
    assert found("a/smal", "x' OR 'a' = 'a") == []
    assert len(reader.cards(limit=2)) == 2


def test_unknown_is_unknown_in_the_table(reader: Catalogue) -> None:
    table = reader.models(sort="id").set_index("id")
    assert pd.isna(table.loc["b/unknown", "params_total"])
    assert table.loc["a/small", "params_total"] == 10
    assert list(table.loc["a/small", "labels"]) == ["tench, Tinca tinca", "golden retriever"]


def test_sql_answers_a_select(reader: Catalogue) -> None:
    table = reader.sql(
        "WITH m AS (SELECT license, count(*) AS n FROM models GROUP BY 1) FROM m ORDER BY n DESC"
    )
    assert list(table["n"]) == [2, 1]


def test_batches_come_with_their_schema_even_when_empty(reader: Catalogue) -> None:
    batches = list(reader.batches("SELECT id, labels FROM models WHERE false"))
    assert batches[0].schema.names == ["id", "labels"]
    assert sum(batch.num_rows for batch in batches) == 0
    assert sum(batch.num_rows for batch in reader.batches("FROM models")) == 3


# --- faults of the user


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"where": "licence = 'mit'"}, "no column 'licence'; did you mean 'license'"),
        ({"where": "models.lables IS NULL"}, "did you mean 'labels'"),
        ({"where": 'license = "apache-2.0"'}, "single quotes"),
        ({"where": "license = = 2"}, "not understood: Parser Error"),
        ({"where": "downloads > 'many'"}, "Conversion Error"),
        ({"where": "foo(id)"}, "foo does not exist"),
        ({"where": "true) UNION ALL (SELECT 1"}, "not understood"),
        ({"where": "true; DROP VIEW models"}, "not understood"),
        ({"sort": "downlods"}, "did you mean 'downloads'"),
        ({"sort": "id; drop"}, "a column is expected"),
        ({"sort": "id down"}, "a column is expected"),
        ({"columns": ["id", "labls"]}, "did you mean 'labels'"),
        ({"limit": -1}, "0 or more"),
    ],
)
def test_a_fault_is_one_line_that_helps(
    reader: Catalogue, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError) as raised:
        reader.models(**arguments)  # type: ignore[arg-type]
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{0}' AS x",
        "COPY models TO '{0}'",
        "COPY models TO '{1}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT 1; SELECT 2",
        "DROP VIEW models",
        "CREATE TABLE x (i INT)",
        "SET enable_external_access = true",
        "",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPORT DATABASE '{0}'",
        "SELECT * FROM read_csv('{0}')",
        "SELECT * FROM read_text('{0}')",
        "SELECT * FROM '{0}'",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('https://example.org/x.parquet')",
        "SELECT * FROM secret_frame",
        "SELECT getenv('HOME')",
        "SELECT * FROM sniff_csv('{0}')",
    ],
)
def test_a_query_reaches_nothing_but_the_table(
    reader: Catalogue, tmp_path: Path, query: str
) -> None:
    secret_frame = pd.DataFrame({"x": [1]})
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError) as raised:
        reader.sql(query.format(secret, reader.snapshot))
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(secret_frame) == 1


# --- files


def test_nothing_there_says_how_to_crawl(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python -m zoo.crawl --source timm"):
        Catalogue.open(tmp_path / "catalogue.duckdb")


def test_the_default_lies_in_the_tools_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))
    with Catalogue.open(write=True) as catalogue:
        assert catalogue.publish() == tmp_path / "home" / "catalogue.parquet"
    assert pd.read_parquet(tmp_path / "home" / "catalogue.parquet").empty


def test_never_published_says_so(tmp_path: Path) -> None:
    Catalogue.open(tmp_path / "c.duckdb", write=True).close()
    with pytest.raises(UserError, match="never published"):
        Catalogue.open(tmp_path / "c.duckdb")


def test_readers_read_while_another_process_writes_and_a_second_writer_is_told_who(
    path: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from zoo.catalogue import Catalogue\nc ="
        f" Catalogue.open(Path({str(path)!r}), write=True); print('open', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with Catalogue.open(path) as catalogue:
            assert catalogue.count() == 3
        with pytest.raises(CatalogueLocked, match=f"process {process.pid} .* is writing"):
            Catalogue.open(path, write=True)
        process.communicate("")
    Catalogue.open(path, write=True).close()


def test_a_reader_sees_the_old_or_the_new_snapshot(path: Path) -> None:
    with Catalogue.open(path) as reader, Catalogue.open(path, write=True) as writer:
        writer.upsert([ModelCard(id="new", source="hub")])
        assert reader.count() == 3
        writer.publish()
        assert reader.count() == 4
    assert [file.name for file in path.parent.iterdir() if "part" in file.name.split(".")] == []


def test_a_failed_publish_leaves_the_old_snapshot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Catalogue.open(path, write=True) as writer:
        writer.upsert([ModelCard(id="new", source="hub")])
        monkeypatch.setattr("os.replace", full)
        with pytest.raises(OSError, match="space"):
            writer.publish()
    with Catalogue.open(path) as reader:
        assert reader.count() == 3
    assert [file.name for file in path.parent.iterdir() if "part" in file.name.split(".")] == []


def test_a_full_disk_is_the_operating_systems_error(path: Path) -> None:
    def fills(catalogue: Catalogue) -> None:
        with catalogue.transaction():
            catalogue.upsert([ModelCard(id="new", source="hub")])
            raise duckdb.IOException('Could not write file "x.wal": No space left on device')

    with Catalogue.open(path, write=True) as catalogue:
        with pytest.raises(OSError, match="No space left") as raised:
            fills(catalogue)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(path))
        assert catalogue.count() == 3


@pytest.mark.parametrize("content", [b"", b"hello" * 5000, b"PAR1" + b"\0" * 100])
def test_a_damaged_file_is_one_sentence(path: Path, content: bytes) -> None:
    path.with_suffix(".parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read.*zoo\.doctor.* mends it|not a catalogue"):
        Catalogue.open(path)
    if content:
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read"):
            Catalogue.open(path, write=True)


def test_a_foreign_file_is_refused_and_not_changed(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as other:
        other.execute("CREATE TABLE sales (i INT)")
    pd.DataFrame({"id": ["x"]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"something else .tables: sales"):
        Catalogue.open(tmp_path / "x.duckdb", write=True)
    with pytest.raises(UserError, match="not a catalogue"):
        Catalogue.open(tmp_path / "x.duckdb")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as other:
        assert other.execute("SHOW TABLES").fetchall() == [("sales",)]


def test_a_path_that_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file, not a folder"):
        Catalogue.open(tmp_path / "file" / "c.duckdb", write=True)
    with pytest.raises(UserError, match="is a folder; give a file") as raised:
        Catalogue.open(tmp_path, write=True)
    assert "remove" not in str(raised.value)


def with_schema_version(path: Path, version: str) -> None:
    """Make the catalogue and its snapshot say that another version wrote them."""
    with duckdb.connect(str(path)) as database:
        database.execute("UPDATE state SET value = ? WHERE key = 'schema_version'", [version])
        database.execute(
            f"COPY models TO '{path.with_suffix('.parquet')}' (FORMAT parquet, KV_METADATA"
            f" {{teacher_zoo_schema: '{version}'}})"
        )


def test_a_newer_schema_is_refused(path: Path) -> None:
    with_schema_version(path, "99")
    for write in (False, True):
        with pytest.raises(UserError, match=r"newer teacher-zoo .schema 99"):
            Catalogue.open(path, write=write)


def test_a_reader_needs_only_the_snapshot(path: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "mine.parquet"
    moved.parent.mkdir()
    path.with_suffix(".parquet").rename(moved)
    with Catalogue.open(moved) as reader:
        assert reader.count() == 3


def test_now_has_no_zone() -> None:
    assert utc_now().tzinfo is None
    assert abs(utc_now() - dt.datetime.now(dt.UTC).replace(tzinfo=None)) < dt.timedelta(minutes=1)


# --- what stands beside a catalogue is the user's


def photos(folder: Path) -> bytes:
    """The user's own table, in a file that the snapshot of `photos.duckdb` would be called."""
    file = folder / "photos.parquet"
    pd.DataFrame({"picture": ["beach.jpg"]}).to_parquet(file)
    return file.read_bytes()


def test_a_foreign_parquet_file_is_refused_before_any_work_and_not_replaced(tmp_path: Path) -> None:
    before = photos(tmp_path)
    with pytest.raises(UserError, match=r"photos\.parquet is not a snapshot of teacher-zoo"):
        Catalogue.open(tmp_path / "photos.duckdb", write=True)
    assert [file.name for file in tmp_path.iterdir()] == ["photos.parquet"]
    assert (tmp_path / "photos.parquet").read_bytes() == before


def test_a_foreign_parquet_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with Catalogue.open(tmp_path / "photos.duckdb", write=True) as catalogue:
        catalogue.upsert(CARDS)
        before = photos(tmp_path)
        with pytest.raises(UserError, match="is not a snapshot of teacher-zoo"):
            catalogue.publish()
    assert (tmp_path / "photos.parquet").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not Parquet at all", None])
def test_what_is_no_parquet_file_is_not_replaced_either(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "photos.parquet"
    if content is None:
        file.mkdir()
        (file / "part-0.parquet").write_bytes(b"x")
    else:
        file.write_bytes(content)
    with pytest.raises(UserError, match="is not a snapshot of teacher-zoo"):
        Catalogue.open(tmp_path / "photos.duckdb", write=True)
    assert [each.name for each in tmp_path.iterdir()] == ["photos.parquet"]
    assert content is None or file.read_bytes() == content


def test_our_own_snapshot_is_replaced_also_where_the_database_is_gone(path: Path) -> None:
    path.unlink()
    with Catalogue.open(path, write=True) as catalogue:
        catalogue.upsert(CARDS[:1])
        catalogue.publish()
    with Catalogue.open(path) as reader:
        assert reader.count() == 1


@pytest.mark.parametrize("name", ["x.parquet", "x.PARQUET", "x.db", "x", "x.v1.csv"])
def test_a_writer_expects_a_duckdb_name(tmp_path: Path, name: str) -> None:
    """`x.db` and `x.v1` would share one snapshot with `x.duckdb`, and a snapshot is read only."""
    with pytest.raises(UserError, match=r"expected a name that ends in \.duckdb"):
        Catalogue.open(tmp_path / name, write=True)
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_given_as_the_catalogue_stays_as_it_is(path: Path) -> None:
    snapshot = path.with_suffix(".parquet")
    before = snapshot.read_bytes()
    with pytest.raises(UserError, match=r"such as .*catalogue\.duckdb"):
        Catalogue.open(snapshot, write=True)
    assert snapshot.read_bytes() == before


def test_a_foreign_database_with_other_schemas_is_not_written_into(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as other:
        other.execute("CREATE SCHEMA shop; CREATE TABLE shop.sales (i INT)")
    with pytest.raises(UserError, match=r"something else .tables: sales"):
        Catalogue.open(tmp_path / "x.duckdb", write=True)


@pytest.mark.parametrize("name", ["c*", "c?", "c[x]", "[ab]/c"])
def test_a_path_that_reads_as_a_glob_names_its_own_file(tmp_path: Path, name: str) -> None:
    for other in ("cx", "a/c", name):
        with Catalogue.open(tmp_path / f"{other}.duckdb", write=True) as catalogue:
            catalogue.upsert([ModelCard(id=other, source="timm")])
            catalogue.publish()
    with Catalogue.open(tmp_path / f"{name}.duckdb") as catalogue:
        assert list(catalogue.models()["id"]) == [name]
    with Catalogue.open(tmp_path / f"{name}.duckdb", write=True) as catalogue:
        catalogue.publish()


def test_a_full_disk_is_not_taken_for_a_damaged_catalogue(tmp_path: Path) -> None:
    full = Exception('IO Error: Could not write file "c.duckdb": No space left on device')
    error = open_error(full, tmp_path / "c.duckdb")
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (errno.ENOSPC, str(tmp_path / "c.duckdb"))


FOLDERS = (
    "a%41b",
    "a#b",
    "a*b",
    "a[b]",
    "a;b",
    "a'b",
    'a"b',
    "a b",
    "\u00fcn\u00ef",
    "new\nline",
    "a{b}c",
    "http:",
    ":memory:",
    "-x",
)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_home_of_any_name_is_written_published_read_and_written_again(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name / "catalogue.duckdb"
    for count in (1, 2):
        with Catalogue.open(path, write=True) as catalogue:
            catalogue.upsert([ModelCard(id=f"m{count}", source="timm")])
            catalogue.publish()
        with Catalogue.open(path) as reader:
            assert reader.count() == count
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert {entry.suffix for entry in path.parent.iterdir()} <= {".duckdb", ".parquet", ".wal"}


@pytest.mark.parametrize("name", ["a?b", "a&b=c?d=e", "a\\b"])
def test_a_home_whose_name_duckdb_misreads_is_refused_before_anything_is_made(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match="TEACHER_ZOO_HOME"):
        Catalogue.open(tmp_path / name / "catalogue.duckdb", write=True)
    assert list(tmp_path.iterdir()) == []


NOTEBOOK = """
import sys, types
ipython = types.ModuleType("IPython")
ipython.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"], sys.modules["ipywidgets"] = ipython, None  # as in a bare notebook
import duckdb
from zoo.catalogue import Catalogue
with duckdb.connect() as connection:
    try:
        connection.execute("SET enable_progress_bar = false")
        print("taken for no notebook")
    except duckdb.Error as error:
        print("ipywidgets" in str(error))
with Catalogue.open(sys.argv[1], write=True) as catalogue:
    catalogue.publish()
with Catalogue.open(sys.argv[1]) as catalogue:
    print(len(catalogue.models()))
"""


def test_a_notebook_without_ipywidgets_reads_and_writes_the_catalogue(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", "3"]
