"""The crawl of the Hub, against the loopback Hub: every row once, whatever goes wrong."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hub_server import NOT_ROWS, PAGE_FAULTS, Faults, Hub, Repo, client
from tests.places import ROOT
from zoo.catalogue import Catalogue
from zoo.crawl import main as crawl_command
from zoo.errors import Unavailable, UserError
from zoo.loading.client import Client, DamagedResponse, Quota, TooLarge, parse
from zoo.loading.pages import pages, without
from zoo.sources.hub import crawl
from zoo.sources.ledger import Ledger
from zoo.sources.listing import GONE, Scope, first_url, list_models
from zoo.sources.rows import EXPAND, read, read_row
from zoo.sql.columns import COLUMNS
from zoo.sql.tables import arrow_table
from zoo.terminal.pauses import Pauses
from zoo.terminal.progress import Progress

pytestmark = pytest.mark.journey

NOW = dt.datetime(2026, 9, 1)


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "c.duckdb", write=True) as opened:
        yield opened


def listed(catalogue: Catalogue) -> list[str]:
    return list(catalogue.sql("SELECT id FROM models WHERE removed_at IS NULL ORDER BY id")["id"])


def full(catalogue: Catalogue, hub: Hub, **options: Any) -> Any:
    return list_models(Ledger(catalogue), client(hub), Scope(**options))


# --- the law: what exists, each once


@pytest.mark.parametrize("fault", [None, *PAGE_FAULTS])
def test_a_crawl_ends_with_exactly_the_rows_that_exist(
    catalogue: Catalogue, fault: str | None
) -> None:
    faults = Faults(every=2, pages=(fault,), hang=1.3) if fault else Faults()
    with Hub(450, faults=faults, page=100) as hub:
        job = full(catalogue, hub)
        assert listed(catalogue) == sorted(hub.world.ids())
        assert not fault or hub.injected[f"api {fault}"] >= 2
    assert job.appeared == 450
    assert (job.changed, job.removed) == (0, 0)


def test_all_faults_at_once_lose_no_row_and_bad_rows_are_kept_with_their_reason(
    catalogue: Catalogue,
) -> None:
    with Hub(2_900, faults=Faults(every=2, hang=1.3), page=100) as hub:
        full(catalogue, hub)
        assert listed(catalogue) == sorted(hub.world.ids())
        assert {name.split()[1] for name in hub.injected} == set(PAGE_FAULTS)
    faults = catalogue.connection.execute(
        "SELECT id, error, raw FROM faults ORDER BY error"
    ).fetchall()
    without_id = [error for model, error, _ in faults if model is None]
    assert len(without_id) == len(NOT_ROWS)
    assert "the id '../../etc/passwd' is none" in without_id
    odd = {error.split("'")[0].strip() for model, error, _ in faults if model is not None}
    assert odd and all(error.startswith("odd ") for error in odd)


def test_a_killed_crawl_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 at random moments; `pytest -m slow` does it 30 times on 50,000 models."""
    with Hub(6_000, faults=Faults(every=5, hang=1.0), hostile=False, page=100) as hub:
        kills = kill_and_resume(hub, tmp_path, kills=2, seed=3, slowest=2.5)
        with Catalogue.open(tmp_path / "catalogue.duckdb") as catalogue:
            assert (
                catalogue.count()
                == catalogue.sql("SELECT count(DISTINCT id) FROM models").iat[0, 0]
                == 6_000
            )
            assert listed(catalogue) == sorted(hub.world.ids())
    assert kills >= 1


def kill_and_resume(hub: Hub, home: Path, *, kills: int, seed: int, slowest: float) -> int:
    """Start the command, kill it with -9 after a random while, again and again; then let it end.
    Returns the kills.
    """
    environment = os.environ | {
        "TEACHER_ZOO_HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    code = (
        "import sys; from pathlib import Path; from zoo.catalogue import Catalogue; from"
        " zoo.loading.client import Client;from zoo.sources.hub import crawl; from zoo.home import"
        " default_catalogue\nwith Catalogue.open(default_catalogue(), write=True) as c:\n crawl(c,"
        f" details={'None' if kills > 5 else repr('none')}, client=Client(sys.argv[1], token=False,"
        " timeout=1.0, wait=0.02, tries=20))"
    )
    rng, done = random.Random(seed), 0
    for left in range(kills, -1, -1):
        process = subprocess.Popen(
            [sys.executable, "-c", code, hub.url],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, error = process.communicate(timeout=rng.uniform(0.6, slowest) if left else 600)
            assert process.returncode == 0, error.decode()[-2_000:]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done += 1
    return done


@pytest.mark.slow
def test_every_fault_during_a_crawl_of_50_000(catalogue: Catalogue) -> None:
    with Hub(50_000, faults=Faults(every=5, hang=1.3), page=500) as hub:
        for said in crawl(catalogue, client=client(hub), progress=Progress.silent()):
            print(said)
        print(dict(hub.count), dict(hub.injected))
        assert listed(catalogue) == sorted(hub.world.ids())
        assert catalogue.count() == 50_000
        assert {name for name in hub.injected if name.startswith("api")} == {
            f"api {fault}" for fault in PAGE_FAULTS
        }
    assert Ledger(catalogue).wanted().num_rows == 0
    reasons = catalogue.sql(
        "SELECT DISTINCT not_loadable_reason AS reason FROM models WHERE loadable = false"
    )["reason"]
    assert reasons.notna().all()


@pytest.mark.slow
def test_thirty_kills_during_a_crawl_of_50_000(tmp_path: Path) -> None:
    with Hub(50_000, faults=Faults(every=5, hang=1.0), page=500) as hub:
        kills = kill_and_resume(hub, tmp_path, kills=30, seed=0, slowest=6.0)
        with Catalogue.open(tmp_path / "catalogue.duckdb") as catalogue:
            assert listed(catalogue) == sorted(hub.world.ids())
            unknown = catalogue.count(
                "detail_state IS NULL AND gated IS NULL AND library_name = 'timm' AND sha IS NOT"
                " NULL"
            )
    assert unknown == 0
    assert kills >= 20


# --- passes


def test_a_second_pass_resumes_at_the_cursor_and_repeats_no_page(catalogue: Catalogue) -> None:
    with Hub(500, page=100, hostile=False) as hub:
        once = client(hub)
        real, count = once.get, 0

        def dies(url: str, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == 4:
                raise Unavailable("cut")
            return real(url, **options)

        once.get = dies  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            list_models(Ledger(catalogue), once, Scope())
        assert catalogue.count() == 300
        job = full(catalogue, hub)
        assert (job.rows, job.pages, job.appeared) == (500, 5, 500)
        assert max(hub.seen.values()) == 1


def test_a_pass_killed_after_its_last_page_lists_nothing_again(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub(300, page=100, hostile=False) as hub:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "drop_duplicates", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                full(catalogue, hub)
        job = full(catalogue, hub)
        assert (job.rows, hub.count["api"]) == (300, 3)
        assert full(catalogue, hub).rows == 300
        assert hub.count["api"] == 6


def test_a_cursor_that_the_hub_no_longer_knows_starts_the_pass_anew(catalogue: Catalogue) -> None:
    with Hub(300, page=100, hostile=False) as hub:
        limited = client(hub)
        real = limited.get
        limited.get = lambda url, **how: real(
            url if "cursor" not in url else hub.url + "/nowhere", **how
        )  # type: ignore
        with pytest.raises(Unavailable, match="no longer knows this place"):
            list_models(Ledger(catalogue), limited, Scope())
        assert catalogue.count() == 100
        first, count = client(hub), 0

        def forgotten(url: str, **how: Any) -> Any:
            nonlocal count
            count += 1
            return real(hub.url + "/nowhere" if count == 1 else url, **how)

        first.get = forgotten  # type: ignore[method-assign]
        list_models(Ledger(catalogue), first, Scope())
        assert listed(catalogue) == sorted(hub.world.ids())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--endpoint", "huggingface.co"], "begins with https://"),
        (["--limit", "0"], "limit"),
        (["--source", "/no/such/folder"], "no folder"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crawl_command([*options, "--catalogue", str(tmp_path / "c.duckdb")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_offline_asks_nothing(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        crawl(catalogue, endpoint="http://127.0.0.1:9", progress=Progress.silent())


def test_one_odd_time_does_not_end_an_update(catalogue: Catalogue) -> None:
    with Hub(400, page=10, hostile=False) as hub:
        full(catalogue, hub)
        hub.world.change(changed=120)
        hub.world.add(Repo("org/old", {"lastModified": "2001-01-01T00:00:00.000Z"}))
        assert list_models(Ledger(catalogue), client(hub), Scope(), update=True).changed == 120


def test_an_update_fetches_only_what_changed(catalogue: Catalogue) -> None:
    with Hub(20_000, hostile=False) as hub:
        full(catalogue, hub)
        before, pages_before = (
            catalogue.sql("SELECT id, sha FROM models ORDER BY id"),
            hub.count["api"],
        )
        hub.world.change(changed=1_500, appeared=40, vanished=30)
        job = list_models(Ledger(catalogue), client(hub), Scope(), update=True)
        assert (job.kind, job.appeared, job.changed) == ("update", 40, 1_500)
        assert hub.count["api"] - pages_before == 2
        after = catalogue.sql("SELECT id, sha FROM models ORDER BY id")
        assert len(after) == 20_040
        assert len(before.merge(after, on=["id", "sha"])) == 18_500


def test_an_update_without_a_crawl_before_it_is_a_full_pass(catalogue: Catalogue) -> None:
    with Hub(1_500, hostile=False) as hub:
        assert list_models(Ledger(catalogue), client(hub), Scope(), update=True).kind == "full"
        assert catalogue.count() == 1_500


def test_a_full_pass_marks_what_is_gone_and_counts_what_became_gated(catalogue: Catalogue) -> None:
    with Hub(3_000, hostile=False) as hub:
        full(catalogue, hub)
        gated = catalogue.count("gated IS NOT NULL")
        hub.world.change(vanished=7, gated=5)
        job = full(catalogue, hub)
        assert (job.removed, job.newly_gated) == (7, catalogue.count("gated IS NOT NULL") - gated)
        assert job.newly_gated >= 4
        marked = catalogue.sql(
            "SELECT id, loadable, not_loadable_reason FROM models WHERE removed_at IS NOT NULL"
        )
        assert sorted(marked["id"]) == sorted(hub.world.id_of(s) for s in hub.world.vanished)
        assert not marked["loadable"].any()
        assert set(marked["not_loadable_reason"]) == {GONE}
        hub.world.vanished.clear()
        assert full(catalogue, hub).removed == 0
        assert catalogue.count("removed_at IS NOT NULL") == 0


def test_a_pass_over_a_part_marks_nothing_as_gone(catalogue: Catalogue) -> None:
    with Hub(3_000, hostile=False) as hub:
        full(catalogue, hub)
        job = full(catalogue, hub, pipeline_tag="image-classification", filters=("timm",))
        assert 0 < job.rows < 100
        assert catalogue.count("removed_at IS NOT NULL") == 0
        wrong = "pipeline_tag <> 'image-classification' OR library_name <> 'timm'"
        assert (
            catalogue.count(f"indexed_at >= (SELECT max(indexed_at) FROM models) AND ({wrong})")
            == 0
        )


def test_a_limit_is_kept_to_the_row(catalogue: Catalogue) -> None:
    with Hub(3_000) as hub:
        assert full(catalogue, hub, limit=1_234).rows == 1_234
        assert catalogue.count() == 1_234


def test_a_model_made_again_under_its_old_id_is_there_once(catalogue: Catalogue) -> None:
    with Hub(50, page=10, hostile=False) as hub:
        full(catalogue, hub)
        hub.world.add(Repo("org37/model-37", {"createdAt": "2026-10-01T00:00:00.000Z"}))
        hub.world.vanished.add(37)
        full(catalogue, hub)
        assert catalogue.count("id = 'org37/model-37'") == 1
        assert (
            catalogue.sql("SELECT created_at FROM models WHERE id = 'org37/model-37'")
            .iat[0, 0]
            .year
            == 2026
        )
        assert catalogue.count() == 50


def test_refused_properties_are_dropped_one_by_one(catalogue: Catalogue) -> None:
    with Hub(1_200, refused=("baseModels", "config"), hostile=False) as hub:
        full(catalogue, hub)
        assert catalogue.count() == 1_200
        asked = [parse_query(path).count("baseModels") for _, path in hub.seen]
        assert asked == [1, 1, 0, 0]  # refused as it was asked, then config went, then baseModels
    assert first_url("http://h", sort="createdAt").count("expand=") == len(EXPAND)


def parse_query(path: str) -> list[str]:
    from urllib.parse import parse_qsl, urlsplit

    return [value for name, value in parse_qsl(urlsplit(path).query) if name == "expand"]


def test_a_server_that_refuses_everything_is_an_error(catalogue: Catalogue) -> None:
    with Hub(10, refused=EXPAND) as hub:
        hub.refused = ("limit", *EXPAND)
        assert without(first_url(hub.url, sort="createdAt"), EXPAND).count("expand") == 0
        full(catalogue, hub)
        assert catalogue.count() == 10


def test_an_endless_cursor_ends(catalogue: Catalogue) -> None:
    with (
        Hub(300, page=100, faults=Faults(every=1, pages=("empty-page",))) as hub,
        pytest.raises(Unavailable, match="empty pages"),
    ):
        full(catalogue, hub)


def test_a_cursor_that_always_leads_back_ends(catalogue: Catalogue) -> None:
    with (
        Hub(300, page=100, faults=Faults(every=1, pages=("repeated-cursor",))) as hub,
        pytest.raises(Unavailable, match="leads back"),
    ):
        full(catalogue, hub)


def test_a_hub_that_is_not_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pauses, "wait", lambda self, seconds, reason: None)
    assert (
        crawl_command(
            ["--endpoint", "http://127.0.0.1:9", "--catalogue", str(tmp_path / "c.duckdb")]
        )
        == 1
    )
    error = capsys.readouterr().err
    assert "http://127.0.0.1:9" in error
    assert len(error.splitlines()) == 1


def test_readers_see_the_last_snapshot_while_a_pass_runs(tmp_path: Path) -> None:
    with (
        Hub(3_000, hostile=False) as hub,
        Catalogue.open(tmp_path / "c.duckdb", write=True) as writer,
    ):
        crawl(writer, client=client(hub), details="none", progress=Progress.silent())
        hub.world.change(appeared=500)
        full(writer, hub)
        with Catalogue.open(tmp_path / "c.duckdb") as reader:
            assert (reader.count(), writer.count()) == (3_000, 3_500)
        writer.publish()
        with Catalogue.open(tmp_path / "c.duckdb") as reader:
            assert reader.count() == 3_500


# --- lineage


def test_family_is_the_root_of_the_lineage_and_circles_end(catalogue: Catalogue) -> None:
    def of(base: str, relation: str = "") -> dict[str, Any]:
        return {
            "tags": [f"base_model:{base}", *([f"base_model:{relation}:{base}"] if relation else [])]
        }

    repos = (
        Repo("a/root"),
        Repo("a/child", of("a/root", "finetune")),
        Repo("a/grandchild", of("a/child")),
        Repo("a/quant", of("a/grandchild", "quantized")),
        Repo("c/one", of("c/two")),
        Repo("c/two", of("c/one")),
        Repo("c/self", of("c/self")),
        Repo("d/far", of("elsewhere/base")),
    )
    with Hub(repos=repos) as hub:
        crawl(catalogue, client=client(hub), details="none", progress=Progress.silent())
    found = {row.id: (row.family, bool(row.repack)) for row in catalogue.cards()}
    assert found["a/child"] == found["a/grandchild"] == ("a/root", False)
    assert found["a/root"] == ("a/root", False)
    assert found["a/quant"] == ("a/root", True)
    assert found["c/one"][0] in ("c/one", "c/two")
    assert found["d/far"] == ("elsewhere/base", False)


# --- pacing, with a clock of our own


class Clock:
    def __init__(self) -> None:
        self.now, self.slept = 0.0, list[float]()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_crawl_waits_for_the_next_window_before_a_429() -> None:
    clock = Clock()
    quota = Quota(pauses=Pauses(clock=lambda: clock.now, sleep=clock.sleep))
    with Hub(900, quota=6, page=100) as hub:
        for page in pages(client(hub, quota=quota), first_url(hub.url, sort="createdAt")):
            if (
                hub.count["api"] == 4
            ):  # 2 left: the server begins a new window when this one has passed
                hub.quota = 100
            assert page.rows
        assert sum(clock.slept) == 300.5
        assert hub.count["api"] == 9


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40)), min_size=1, max_size=30))
def test_never_more_requests_than_the_window_grants(answers: list[tuple[int, int]]) -> None:
    """Windows of 8 requests in 40 s: whatever order answers come in, a ninth waits."""
    clock = Clock()
    quota = Quota(reserve=0, pauses=Pauses(clock=lambda: clock.now, sleep=clock.sleep))
    sent, window = 0, 0
    for _, pause in answers:
        quota.wait("api")
        if int(clock.now // 40) != window:
            window, sent = int(clock.now // 40), 0
        sent += 1
        assert sent <= 8
        quota.note("api", {"RateLimit": f'"api";r={8 - sent};t={40 - int(clock.now % 40)}'})
        clock.now += pause / 10
    assert quota.left("files") is None


@given(
    st.dictionaries(st.sampled_from(["RateLimit", "ratelimit-policy", "x"]), st.text(max_size=30))
)
def test_no_header_stops_the_pacing(headers: dict[str, str]) -> None:
    quota = Quota(pauses=Pauses(clock=lambda: 0.0, sleep=lambda seconds: None))
    quota.note("api", headers)
    assert quota.wait("api") <= 3_601


# --- the client


def test_the_token_goes_to_the_hub_and_to_no_other_host() -> None:
    repo = Repo("org/weights", {}, {"config.json": b"{}", "model.safetensors": bytes(64)})
    with Hub(repos=(repo,)) as hub:
        holder = Client(hub.url, token="hf_secret", wait=0.01)
        for name in repo.files:
            assert (
                holder.get(holder.file_url(repo.id, repo.sha, name), kind="files", cap=1_000).body
                == repo.files[name]
            )
        assert hub.seen["cdn", f"org/weights/{repo.sha}/model.safetensors"] == 1
        assert hub.tokens == {"Bearer hf_secret"}
        assert hub.leaks == []


@pytest.mark.parametrize(
    "link",
    ["http://evil.example/api/models?cursor=x", "file:///etc/passwd", "http://localhost:1/x"],
)
def test_a_next_page_on_another_host_is_refused(link: str) -> None:
    with pytest.raises(Unavailable, match="another host"):
        Client("http://127.0.0.1:5", token=False).rebase(link)


def test_a_mirror_that_links_to_the_hub_itself_is_followed_on_the_mirror() -> None:
    mirror = Client("https://mirror.example", token=False)
    assert (
        mirror.rebase("https://huggingface.co/api/models?cursor=x")
        == "https://mirror.example/api/models?cursor=x"
    )


@pytest.mark.parametrize("fault", ["503", "504", "reset", "cut", "429-ratelimit"])
def test_a_fault_that_stays_ends_after_a_bounded_number_of_requests(fault: str) -> None:
    with Hub(10, faults=Faults(every=1, pages=(fault,))) as hub:
        with pytest.raises(Unavailable, match="is the Hub reachable"):
            client(hub, tries=5).get(f"{hub.url}/api/models", kind="api", cap=10**6)
        assert 3 <= hub.count["api"] <= 8


def test_a_gzip_bomb_is_not_unfolded() -> None:
    import gzip
    import tracemalloc

    bomb = gzip.compress(bytes(300_000_000), 9)
    with Hub() as hub, _Fixed(hub, bomb, {"Content-Encoding": "gzip"}):
        tracemalloc.start()
        with pytest.raises(TooLarge):
            client(hub).get(f"{hub.url}/api/models", kind="api", cap=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20_000_000


class _Fixed:
    """The Hub answers every request with this body."""

    def __init__(self, hub: Hub, body: bytes, headers: dict[str, str]) -> None:
        self.hub, self.body, self.headers = hub, body, headers

    def __enter__(self) -> None:
        handler = type(
            "Fixed",
            (self.hub.RequestHandlerClass,),
            {"do_GET": lambda h: h.reply(200, self.body, self.headers)},
        )
        self.hub.RequestHandlerClass = handler

    def __exit__(self, *_: object) -> None:
        """Nothing to undo: the Hub ends with the test."""


def test_a_whole_gzip_page_is_read() -> None:
    import gzip

    with Hub() as hub, _Fixed(hub, gzip.compress(b"[1, 2]"), {"Content-Encoding": "gzip"}):
        assert client(hub).get(f"{hub.url}/api/models", kind="api", cap=1_000).body == b"[1, 2]"


def test_a_cut_gzip_page_is_not_taken_for_whole() -> None:
    import gzip

    body = gzip.compress(json.dumps(list(range(2_000))).encode())
    with (
        Hub() as hub,
        _Fixed(hub, body[:-300], {"Content-Encoding": "gzip"}),
        pytest.raises(Unavailable),
    ):
        client(hub, tries=2).get(f"{hub.url}/api/models", kind="api", cap=100_000)


# --- any JSON whatsoever

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
)
JSONS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ROWS = JSONS | st.fixed_dictionaries(
    {"id": st.from_regex(r"[a-z]{1,5}/[a-z]{1,5}", fullmatch=True) | SCALARS},
    optional=dict.fromkeys((*EXPAND, "modelId"), JSONS),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, max_size=6))
def test_any_json_is_a_row_or_a_recorded_fault(page: list[Any]) -> None:
    found = read(page, now=NOW)
    assert len(found.rows) == len({row["id"] for row in found.rows}) <= len(page)
    assert arrow_table(found.rows).num_rows == len(found.rows)
    unreadable = [row for row in page if read_row(row, now=NOW)[0] is None]
    assert len([fault for fault in found.faults if fault.id is None]) == len(unreadable)
    for fault in found.faults:
        assert fault.error.isprintable()
        (fault.error + fault.raw).encode()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ROWS, max_size=6))
def test_any_row_can_be_written(catalogue: Catalogue, page: list[Any]) -> None:
    ledger, found = Ledger(catalogue), read(page, now=NOW)
    if found.rows:
        ledger.replace(found.rows, ordered=True)
    ledger.note_faults(found.faults)
    ledger.drop_duplicates()
    ids = [row["id"] for row in found.rows]
    assert catalogue.count(f"id IN ({', '.join(repr(i) for i in ids) or 'NULL'})") == len(ids)


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_cut(body: bytes) -> None:
    with contextlib.suppress(DamagedResponse):
        parse(body)


def test_one_monstrous_number_does_not_cost_the_page() -> None:
    rows = parse(b'[{"id": "a/b", "likes": ' + b"9" * 5_000 + b'}, {"id": "c/\xff", "likes": 3}]')
    assert rows == [{"id": "a/b", "likes": None}, {"id": "c/\ufffd", "likes": 3}]
    with pytest.raises(DamagedResponse, match="deeply"):
        parse(b"[" * 200_000)


def test_a_row_as_the_hub_sends_it() -> None:
    raw = {
        "id": "timm/resnet18.a1_in1k",
        "author": "timm",
        "sha": "a" * 40,
        "createdAt": "2023-04-05T18:02:50.000Z",
        "lastModified": "2025-01-21T21:13:50.000+02:00",
        "gated": False,
        "likes": 13,
        "downloads": 5_000,
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "safetensors": {"total": 11_699_112},
        "tags": [
            "timm",
            "safetensors",
            "license:apache-2.0",
            "dataset:imagenet-1k",
            "en",
            "base_model:quantized:a/b",
        ],
        "config": {"architectures": ["ResNet"], "model_type": "resnet"},
    }
    row, fault = read_row(raw, now=NOW)
    assert fault is None
    assert row == {
        "id": "timm/resnet18.a1_in1k",
        "source": "hub",
        "location": "timm/resnet18.a1_in1k",
        "author": "timm",
        "sha": "a" * 40,
        "created_at": dt.datetime(2023, 4, 5, 18, 2, 50),
        "last_modified": dt.datetime(2025, 1, 21, 19, 13, 50),
        "indexed_at": NOW,
        "downloads": 5_000,
        "likes": 13,
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": raw["tags"],
        "license": "apache-2.0",
        "gated": None,
        "base_model": ["a/b"],
        "datasets": ["imagenet-1k"],
        "languages": ["en"],
        "model_type": "resnet",
        "architecture": "ResNet",
        "params_total": 11_699_112,
        "weight_format": "safetensors",
        "custom_code": False,
        "loadable": None,
        "not_loadable_reason": None,
        "repack": True,
        "modality": None,  # the config of an image classifier tells nothing else
        "family": "timm/resnet18.a1_in1k",
    }
    assert set(row) <= set(COLUMNS)


def test_unknown_is_null_and_never_zero() -> None:
    row, fault = read_row({"id": "a/b"}, now=NOW)
    assert fault is None
    assert row is not None
    assert [
        row[name] for name in ("downloads", "likes", "params_total", "tags", "license", "sha")
    ] == [None] * 6


def test_hostile_text_is_kept_printable() -> None:
    row, _ = read_row(
        {
            "id": "a/b",
            "tags": ["\x1b[31mred\x1b[0m", "x\u202ey", "\ud800", "'; DROP TABLE models; --"],
        },
        now=NOW,
    )
    assert row is not None
    assert row["tags"] == ["[31mred[0m", "xy", "?", "'; DROP TABLE models; --"]


@pytest.mark.parametrize(
    "name",
    [
        "../../x",
        "a/../b",
        "/etc/passwd",
        "a/b/c",
        "a..b/c",
        "a b",
        "",
        "a\x1b/b",
        "a" * 300,
        "a/b\n",
    ],
)
def test_an_id_that_could_be_a_path_is_none(name: str) -> None:
    values, fault = read_row({"id": name}, now=NOW)
    assert values is None
    assert fault is not None
    assert fault.error.startswith("the id")


def test_every_command_of_the_documentation_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    from zoo.doctor import main as doctor_command

    text = (ROOT / "docs" / "hub.md").read_text()
    commands = [
        shlex.split(line)[2:] for line in text.splitlines() if line.startswith("    python -m ")
    ]
    assert len(commands) >= 6
    monkeypatch.setenv("TEACHER_ZOO_HOME", str(tmp_path))
    with Hub(1_200) as hub:
        for name, *options in commands:
            command = {"zoo.crawl": crawl_command, "zoo.doctor": doctor_command}[name]
            assert (
                command([*options, *(["--endpoint", hub.url] if name == "zoo.crawl" else [])]) == 0
            )
    said = capsys.readouterr().out
    assert "full listing: 1,200 rows" in said
    assert "verdict: sound" in said
