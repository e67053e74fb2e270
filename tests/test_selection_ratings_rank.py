"""Rankings of tasks of ratings: probes of pairs and items, built-in teachers, words and pages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from selection.kinds.ratings.table import pairs, shown_digest, table_of
from selection.probe import Probe
from selection.probing.prober import beginning
from selection.rank import main, rank
from selection.report.class_table import class_table
from selection.settings import Settings
from selection.task import Task
from tests.ratings_setting import items_frame, ratings_frame, write_ratings
from tests.tiny_texts import save_text, tiny_text
from zoo.catalogue import Catalogue
from zoo.errors import UserError
from zoo.home import feature_folder

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_ratings(tmp_path / "plays")


def test_a_probe_asks_about_every_item_once(folder: Path) -> None:
    task = Task.open(folder)
    probe = Probe.draw(task, size=60)

    assert probe.labelled == 60 < probe.size
    table = table_of(task.train)
    assert {shown_digest(text) for text in table.texts} == set(probe.digests)
    alone = [name for name, label in zip(probe.names, probe.labels, strict=True) if label < 0]
    assert len(set(alone)) == len(alone) == probe.size - 60
    assert all(name.startswith("item ") for name in alone)
    assert sum(probe.class_counts) == 60


def test_the_beginning_of_a_probe_holds_as_many_pairs_as_were_asked_for(folder: Path) -> None:
    probe = Probe.draw(Task.open(folder), size=60)

    for labelled in (1, 16, 59):
        length = probe.length_of(labelled)
        assert beginning(probe, length).labelled == labelled
        assert probe.labels[length - 1] >= 0  # no longer than it has to be
    assert probe.length_of(60) == probe.length_of(500) == probe.size
    images = Probe.draw(Task.open("digits"), size=40)
    assert [images.length_of(size) for size in (16, 40, 64)] == [16, 40, 40]


def test_ease_is_ranked_where_no_model_reads_texts(folder: Path) -> None:
    ranking = rank(folder, Settings(probe_size=100, where="coalesce(modality, 'image') = 'image'"))

    (row,) = ranking.rows
    assert (row.model, row.source, row.error) == ("ease", "built-in", None)
    assert row.low is not None and row.value is not None and row.high is not None
    assert row.low <= row.value <= row.high and row.probe_size == ranking.probe["size"] == 100
    assert ranking.committee == ("ease",) and ranking.split["kind"] == "ratings"
    assert row.expected is None  # the accuracy of a student was measured on images alone
    by_name = rank(folder, Settings(probe_size=100, models=("ea*",)))
    assert by_name.rows[0].value == row.value


def test_rounds_of_a_budget_count_pairs(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    unseen = items_frame().assign(item=lambda frame: frame["item"] + 100)
    items = pd.concat(
        [items_frame(), *(unseen.assign(item=unseen.item + 100 * i) for i in range(5))]
    )
    write_ratings(folder, ratings_frame(share=0.9), items)
    out = tmp_path / "ranking.json"
    arguments = ["--task", str(folder), "--models", "ease", "--budget", "10m", "--out", str(out)]
    assert main([*arguments, "--probe-size", "200"]) == 0

    ranking = json.loads(out.read_text())
    sizes = [done["images"] for done in ranking["candidates"]["rounds"]]
    assert sizes[-1] == 200 == ranking["rows"][0]["probe_size"] and len(sizes) > 1
    assert ranking["committee_reasons"]["images"] == sizes[0]  # too few models for a later one
    printed = capsys.readouterr()
    assert f"round 1 of {len(sizes)}: 1 models, {sizes[0]} pairs" in printed.err
    assert " items" in printed.err
    assert "% of 200 pairs named rightly by the pairs" in printed.out
    assert "--student" not in printed.out and "expect" not in printed.out.lower()
    assert "zoo.crawl" not in printed.out


def test_the_task_is_counted_in_users_and_items(folder: Path) -> None:
    line = class_table(Task.open(folder)).splitlines()[0]
    assert line.startswith("plays: 24 users, 40 items, 5 classes, ") and "pairs each" in line


def test_the_page_shows_items_with_their_users(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "ranking.html"
    assert main(["--task", str(folder), "--models", "ease", "--report", str(page)]) == 0

    text = page.read_text()
    assert "<blockquote>The comedy of number" in text
    assert "user 1, item" in text or "user 2" in text
    assert "What they see in my pairs" in text and "From their classes to mine" not in text
    assert "<td>built-in</td>" in text.replace(' class="words"', "")


def test_without_a_catalogue_models_of_texts_are_what_to_crawl(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--task", str(folder), "--offline"]) == 0
    assert "zoo.crawl --pipeline-tag sentence-similarity" in capsys.readouterr().out


def test_ease_is_no_teacher_of_other_tasks() -> None:
    with pytest.raises(UserError, match="no model 'ease'"):
        rank("digits", Settings(models=("ease",)))


def test_ratings_of_the_hub_are_refused() -> None:
    with pytest.raises(UserError, match="tasks of ratings are not read from the Hub"):
        Task.open("hf:org/name", kind="ratings")


@pytest.mark.journey
def test_a_model_of_texts_is_asked_once_about_an_item(folder: Path, tmp_path: Path) -> None:
    card = save_text(tiny_text("Bert"), tmp_path / "models" / "tiny")
    with Catalogue.open(tmp_path / "c.duckdb", write=True) as catalogue:
        catalogue.upsert([card])
        catalogue.publish()
    settings = Settings(catalogue=tmp_path / "c.duckdb", probe_size=100, device="cpu")
    ranking = rank(folder, settings)

    assert {row.model for row in ranking.rows} == {"ease", "tiny"}
    assert all(row.error is None and row.probe_size == 100 for row in ranking.rows)
    shards = [load_file(path) for path in feature_folder().glob("*/rows-*.safetensors")]
    assert sum(len(shard["features"]) for shard in shards) == 40  # items, and not 100 pairs
    again = rank(folder, settings)
    assert [row.value for row in again.rows] == [row.value for row in ranking.rows]


def test_items_of_one_wording_have_one_digest(folder: Path) -> None:
    split = Task.open(folder).train
    items = pairs(split).items
    keys = {split.fingerprint(split.raw(row))[:16] for row in np.flatnonzero(items == items[0])}
    assert len(keys) == 1
