"""``python -m zoo.query``: the documented commands as typed, formats that agree, and a table that
fits.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.places import ROOT
from zoo.card import ModelCard
from zoo.catalogue import Catalogue, utc_now
from zoo.crawl import main as crawl
from zoo.query import main
from zoo.sql.columns import COLUMNS

pytestmark = pytest.mark.journey

DOCUMENT = (ROOT / "docs" / "catalogue.md").read_text()
EXAMPLES = re.findall(r"^python -m zoo\.query.*$", DOCUMENT, re.MULTILINE)
CARDS = (
    ModelCard(
        id="org/a",
        source="hub",
        labels=("cat", "dog", "ant", "bee"),
        params_total=3_504_872,
        loadable=True,
        license="mit",
        mean=(0.5, 0.25, 0.125),
        indexed_at=utc_now(),
        downloads=1,
        num_classes=4,
    ),
    ModelCard(
        id="org/b",
        source="hub",
        params_total=410,
        loadable=False,
        downloads=2_000_000,
        not_loadable_reason='only "pickle", line\nbreak',
    ),
    ModelCard(id="org/c\x1b[31m", source="timm", license="[red]x[/red]"),
)


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path))
    monkeypatch.delenv("COLUMNS", raising=False)
    with Catalogue.open(write=True) as opened:
        opened.upsert(CARDS)
        opened.publish()
    return tmp_path / "catalogue.duckdb"


def ask(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(list(words)) == status
    out, err = capsys.readouterr()
    assert (err == "") == (status == 0)
    return err if status else out


# --- the documentation


@pytest.fixture(scope="module")
def documented_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    for source in ("timm", "small"):
        assert crawl(["--source", source, "--catalogue", str(home / "catalogue.duckdb")]) == 0
    return home


def test_there_are_ten_examples_and_more() -> None:
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_documented_commands_find_models(
    documented_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(documented_home))
    words = shlex.split(line)[3:]
    if ">" in words:
        file = tmp_path / words[words.index(">") + 1]
        with file.open("wb") as out:
            command = [sys.executable, "-m", "zoo.query", *words[: words.index(">")]]
            subprocess.run(command, stdout=out, check=True, cwd=ROOT)
        assert len(pd.read_parquet(file)) > 1000
    else:
        assert len(ask(capsys, *words).splitlines()) >= 3


def test_the_documented_python_runs(documented_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(documented_home))
    found = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    names: dict[str, object] = {}
    exec(found[1], names)
    assert all(len(names[name]) for name in ("small", "sizes", "cards"))  # type: ignore[arg-type]


def test_the_documented_columns_are_the_schema() -> None:
    rows = re.findall(r"^\| (\w+) \| ([A-Z]+(?:\[\])?) \| \S.* \|$", DOCUMENT, re.MULTILINE)
    assert dict(rows) == COLUMNS
    assert [name for name, _ in rows] == list(COLUMNS)


# --- formats


def test_csv_json_and_pandas_agree(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--columns",
        "id,labels,mean,params_total,loadable,not_loadable_reason",
        "--sort",
        "id",
    ]
    as_csv = list(csv.DictReader(io.StringIO(ask(capsys, *words, "--format", "csv"))))
    as_json = json.loads(ask(capsys, *words, "--format", "json"))
    assert (
        [row["id"] for row in as_csv]
        == [row["id"] for row in as_json]
        == [card.id for card in CARDS]
    )
    assert as_json[0] == {
        "id": "org/a",
        "labels": ["cat", "dog", "ant", "bee"],
        "mean": [0.5, 0.25, 0.125],
        "params_total": 3504872,
        "loadable": True,
        "not_loadable_reason": None,
    }
    assert json.loads(as_csv[0]["labels"]) == as_json[0]["labels"]
    assert as_csv[1]["not_loadable_reason"] == CARDS[1].not_loadable_reason
    assert (as_csv[2]["params_total"], as_json[2]["params_total"]) == ("", None)


def test_parquet_is_the_whole_table(catalogue: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "zoo.query",
        "--format",
        "parquet",
        "--catalogue",
        str(catalogue),
    ]
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
    table = pd.read_parquet(io.BytesIO(done.stdout))
    assert list(table.columns) == list(COLUMNS)
    assert sorted(table["id"]) == [card.id for card in CARDS]


def test_parquet_is_not_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "> models.parquet" in ask(capsys, "--format", "parquet", status=2)


def test_no_match_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, "--where", "id = 'x'") == "no model meets this\n"
    assert json.loads(ask(capsys, "--where", "id = 'x'", "--format", "json")) == []
    assert ask(
        capsys, "--where", "id = 'x'", "--format", "csv", "--columns", "id"
    ).splitlines() == ["id"]


def test_sql_meets_limit_and_odd_types(capsys: pytest.CaptureFixture[str]) -> None:
    sql = (
        "select source, sum(params_total) as total, count(*) as total from models group by 1 order"
        " by 1"
    )
    assert ask(capsys, "--sql", sql, "--format", "csv").splitlines() == [
        "source,total,total",
        "hub,3505282,2",
        "timm,,1",
    ]
    assert ask(capsys, "--sql", sql, "--format", "csv", "--limit", "1").splitlines()[1:] == [
        "hub,3505282,2"
    ]
    assert json.loads(
        ask(capsys, "--sql", "select sum(downloads) s from models", "--format", "json")
    ) == [{"s": 2000001}]


# --- the table


def test_cells_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ask(capsys, "--sort", "downloads").splitlines()
    assert lines[0].split() == [
        "id",
        "downloads",
        "num_classes",
        "params_total",
        "license",
        "loadable",
        "architecture",
        "labels",
    ]
    assert lines[1].split()[:2] == ["org/b", "2M"]
    assert lines[2].split() == [
        "org/a",
        "1",
        "4",
        "3.5M",
        "mit",
        "yes",
        "-",
        "cat,",
        "dog,",
        "...",
        "2",
        "more",
    ]
    assert lines[-1] == "3 rows"


def test_strangers_text_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    out = ask(capsys)
    assert "\x1b" not in out
    assert "[red]x[/red]" in out


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_a_table_fits_the_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = ask(capsys, "--columns", ",".join(COLUMNS)).splitlines()
    assert max(len(line.rstrip()) for line in lines[:4]) <= columns
    assert lines[1].startswith("org/")
    assert "left out for width: " in " ".join(lines)
    lines = ask(capsys).splitlines()
    assert max(len(line.rstrip()) for line in lines[:4]) <= columns
    assert [line.split()[0] for line in lines[1:4]] == ["org/a", "org/b", "org/c[31m"]


def test_a_table_is_cut_at_fifty_rows_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with Catalogue.open(write=True) as opened:
        opened.upsert(ModelCard(id=f"n{i}", source="hub") for i in range(60))
        opened.publish()
    lines = ask(capsys, "--where", "id like 'n%'").splitlines()
    assert len(lines) == 52
    assert lines[-1] == "50 of 60 rows; --limit shows more"
    assert ask(capsys, "--where", "id like 'n%'", "--limit", "60").splitlines()[-1] == "60 rows"
    assert (
        ask(capsys, "--sql", "from models").splitlines()[-1] == "50 of 63 rows; --limit shows more"
    )


# --- wrong input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "licens = 'mit'"], "no column 'licens'; did you mean 'license'?"),
        (["--columns", "id,labls"], "did you mean 'labels'"),
        (["--sort", "lik"], "did you mean 'likes'"),
        (["--sql", "drop view models"], "one SELECT is expected"),
        (["--sql", "select nope from models"], "no column 'nope'"),
        (["--sql", "select 1", "--where", "true"], "--sql is a whole query"),
        (["--format", "xml"], "no format 'xml' (valid: table, csv, json, parquet)"),
        (["--where", "cast(id as int) = 1", "--format", "csv"], "not understood"),
        (["--limit", "-1"], "--limit"),
        (
            ["--catalogue", "/nowhere/c.duckdb"],
            "no catalogue at /nowhere/c.duckdb; make one, for example: python -m zoo.crawl",
        ),
    ],
)
def test_wrong_input_is_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    err = ask(capsys, *words, status=2)
    assert said in err
    assert err.count("\n") == 1


# --- formulas in CSV


FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_takes_for_a_formula_reaches_csv_as_a_text(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    literal = text.replace("'", "''")
    sql = f"select '{literal}' as a, -1.5 as b, 3 as c, ['{literal}'] as d, null as e"
    rows = list(csv.reader(io.StringIO(ask(capsys, "--sql", sql, "--format", "csv"), newline="")))
    assert rows[0] == list("abcde")
    assert rows[1] == ["'" + text, "-1.5", "3", json.dumps([text], ensure_ascii=False), ""]
    [row] = json.loads(ask(capsys, "--sql", sql, "--format", "json"))
    assert row["a"] == text


def test_the_documented_way_back_gives_the_text_as_it_was(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [line] = re.findall(r"^texts = .*$", DOCUMENT, re.MULTILINE)
    values = ", ".join(f"({json.dumps(text[:1] + 'x')[1:-1]!r})" for text in FORMULAS[:4])
    printed = ask(capsys, "--sql", f"select t from (values {values}) v(t)", "--format", "csv")
    names: dict[str, object] = {"table": pd.read_csv(io.StringIO(printed))}
    exec(line, names)
    texts = names["texts"]
    assert isinstance(texts, pd.DataFrame)
    assert texts["t"].tolist() == ["=x", "+x", "-x", "@x"]


# --- files that are no catalogue, or a damaged one


@pytest.mark.parametrize("name", ["notes.txt", "notes", "catalogue.csv"])
def test_a_text_file_is_no_catalogue(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("buy milk\n")
    error = ask(capsys, "--catalogue", str(tmp_path / name), status=2)
    assert f"{tmp_path / name} is not a catalogue of teacher-zoo" in error
    assert len(error.splitlines()) == 1
