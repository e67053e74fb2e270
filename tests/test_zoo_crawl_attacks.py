"""What hostile Hubs, clocks and signals do to a crawl of the Hub: nothing is lost or believed."""

from __future__ import annotations

import datetime as dt
import json
import os
import shlex
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub_server import Hub, Repo, client
from tests.places import ROOT
from zoo.catalogue import Catalogue
from zoo.crawl import main as crawl_command
from zoo.errors import Unavailable, UserError
from zoo.loading.client import Client, Quota, TooLarge, parse
from zoo.loading.pages import pages
from zoo.sources import ledger as ledger_module
from zoo.sources import listing as listing_module
from zoo.sources.details import Candidate, fetch
from zoo.sources.hub import crawl, fetch_details
from zoo.sources.ledger import Ledger
from zoo.sources.listing import Scope, first_url, list_models, listing_before_details
from zoo.terminal.pauses import Pauses
from zoo.terminal.progress import Progress

pytestmark = pytest.mark.journey

TIMM = {"pipeline_tag": "image-classification", "library_name": "timm", "tags": ["timm"]}


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "c.duckdb", write=True) as opened:
        yield opened


class Clock:
    """The machine's clock as the crawl reads it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = dt.datetime(2026, 11, 27, 12)
        for module in (listing_module, ledger_module):
            monkeypatch.setattr(module, "utc_now", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def cut_after(hub: Hub, catalogue: Catalogue, requests: int, **scope: Any) -> None:
    """A full listing that loses its Hub after so many requests."""
    cut = client(hub)
    real, count = cut.get, 0

    def dies(url: str, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count > requests:
            raise Unavailable("cut")
        return real(url, **options)

    cut.get = dies  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="cut"):
        list_models(Ledger(catalogue), cut, Scope(**scope))


# --- clocks


@pytest.mark.parametrize("hours", [-2, -20_000, 2, 20_000])
def test_a_clock_that_is_set_between_a_cut_and_its_resumption_removes_nothing(
    catalogue: Catalogue, clock: Clock, hours: int
) -> None:
    with Hub(600, page=100, hostile=False) as hub:
        list_models(Ledger(catalogue), client(hub), Scope())
        clock.now += dt.timedelta(hours=1)
        cut_after(hub, catalogue, 2)
        clock.now += dt.timedelta(hours=hours)
        hub.world.vanished.update((599, 3))
        job = list_models(Ledger(catalogue), client(hub), Scope())
    assert job.removed == 1  # model 3 stood on a page that was read before it vanished
    gone = catalogue.sql("SELECT id FROM models WHERE removed_at IS NOT NULL")["id"].tolist()
    assert gone == [f"org{599 % 997:02d}/model-599"]


def test_a_listing_that_an_earlier_version_cut_is_adopted(
    catalogue: Catalogue, clock: Clock
) -> None:
    with Hub(600, page=100, hostile=False) as hub:
        list_models(Ledger(catalogue), client(hub), Scope())
        clock.now += dt.timedelta(hours=1)
        cut_after(hub, catalogue, 2)
        key = f"{Scope().key(hub.url)} pass"
        saved = json.loads(str(catalogue.state(key)))
        del saved["number"]
        catalogue.set_state(key, json.dumps(saved))
        catalogue.connection.execute("ALTER TABLE models DROP COLUMN listing")
        hub.world.vanished.add(599)
        assert list_models(Ledger(catalogue), client(hub), Scope()).removed == 1
        assert catalogue.count("removed_at IS NULL") == 599


def test_of_two_rows_of_a_model_the_later_written_stays_whatever_the_clock_says(
    catalogue: Catalogue, clock: Clock
) -> None:
    with Hub(50, page=10, hostile=False) as hub:
        list_models(Ledger(catalogue), client(hub), Scope())
        hub.world.add(Repo("org37/model-37", {"createdAt": "2026-10-01T00:00:00.000Z"}))
        hub.world.vanished.add(37)
        clock.now -= dt.timedelta(days=400)
        list_models(Ledger(catalogue), client(hub), Scope())
    made = catalogue.sql("SELECT created_at FROM models WHERE id = 'org37/model-37'")
    assert [time.year for time in made["created_at"]] == [2026]


@pytest.mark.parametrize(("days", "goes_on"), [(-3, True), (3, True), (-9, False), (9, False)])
def test_details_go_on_within_a_week_of_either_side(
    catalogue: Catalogue, clock: Clock, days: int, goes_on: bool
) -> None:
    with Hub(30, hostile=False) as hub:
        ledger = Ledger(catalogue)
        list_models(ledger, client(hub), Scope())
        clock.now += dt.timedelta(days=days)
        pending = listing_before_details(ledger, client(hub), Scope(), update=False)
    assert (pending is not None) == goes_on


@pytest.mark.parametrize("year", [1980, 2099])
def test_an_update_misses_nothing_when_the_clock_was_wrong(
    catalogue: Catalogue, clock: Clock, year: int
) -> None:
    clock.now = clock.now.replace(year=year)
    with Hub(300, page=100, hostile=False) as hub:
        list_models(Ledger(catalogue), client(hub), Scope())
        hub.world.change(changed=40)
        assert list_models(Ledger(catalogue), client(hub), Scope(), update=True).changed == 40


# --- links and refusals


@pytest.mark.parametrize(
    ("endpoint", "link", "expected"),
    [
        ("http://h:5", "/api/models?cursor=x", "http://h:5/api/models?cursor=x"),
        ("http://h:5", "?cursor=x", "http://h:5/api/models?cursor=x"),
        ("http://h:5", "models?cursor=x", "http://h:5/api/models?cursor=x"),
        ("http://h:5", "//h:5/api/models?cursor=x", "http://h:5/api/models?cursor=x"),
        ("http://h:5", "http://H:5/x", "http://H:5/x"),
        ("https://h", "https://h:443/x", "https://h:443/x"),
        ("https://m/hub", "https://huggingface.co/api/models?c=x", "https://m/hub/api/models?c=x"),
    ],
)
def test_a_relative_link_is_resolved_as_rfc_8288_says(
    endpoint: str, link: str, expected: str
) -> None:
    page = f"{endpoint}/api/models?limit=1000"
    assert Client(endpoint, token=False).rebase(link, page) == expected


@pytest.mark.parametrize(
    "link",
    [
        "//evil.example/api/models?cursor=x",
        "http://h.evil.example/x",
        "http://h@evil.example/x",
        "https://user:pw@h/x",
        "https://h\\@evil.example/x",
        "https:\\\\evil.example/x",
        "http://h/x",
        "https://h:444/x",
        "https://h:99999/x",
        "ftp://h/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://evil.example\t/x",
        "http://huggingface.co/api/models",
        "https://huggingface.co.evil.example/x",
        "https://huggingface.co@evil.example/x",
    ],
)
def test_a_link_to_another_server_is_refused_however_it_is_written(link: str) -> None:
    with pytest.raises(Unavailable, match="another host"):
        Client("https://h", token=False).rebase(link, "https://h/api/models")


class Answers:
    """The Hub's listing answers its k-th request with ``statuses[k]``, where that is not None."""

    def __init__(
        self, hub: Hub, statuses: list[int | None], headers: dict[str, str] | None = None
    ) -> None:
        self.asked, headers = list[str](), headers or {}
        self.statuses = iter(statuses)
        base: Any = hub.RequestHandlerClass
        answers = self

        class Handler(base):  # type: ignore[misc]
            def listing(self, query: dict[str, list[str]]) -> None:
                answers.asked.append("later" if "cursor" in query else "first")
                status = next(answers.statuses, None)
                if status is None:
                    return super().listing(query)
                return self.reply(status, b"no", headers)

        hub.RequestHandlerClass = Handler


def test_relative_links_are_followed_by_a_crawl(catalogue: Catalogue) -> None:
    with Hub(350, page=100, hostile=False) as hub:
        hub.url, whole = "", hub.url  # its links are /api/models?...
        job = list_models(Ledger(catalogue), Client(whole, token=False, wait=0.01), Scope())
    assert (job.rows, job.pages) == (350, 4)


def test_one_403_in_the_middle_is_asked_again_and_no_page_twice(catalogue: Catalogue) -> None:
    with Hub(500, page=100, hostile=False) as hub:
        answers = Answers(hub, [None, None, 403, 403])
        job = list_models(Ledger(catalogue), client(hub), Scope())
        assert (job.rows, job.pages) == (500, 5)
        assert answers.asked == ["first", *["later"] * 6]


@pytest.mark.parametrize("status", [401, 403, 451])
def test_a_refusal_that_stays_keeps_the_place(catalogue: Catalogue, status: int) -> None:
    with Hub(500, page=100, hostile=False) as hub:
        answers = Answers(hub, [None, None, *[status] * 4])
        with pytest.raises(Unavailable, match=f"HTTP {status}.*goes on there.*hf auth login"):
            list_models(Ledger(catalogue), client(hub), Scope())
        assert catalogue.count() == 200
        answers.statuses = iter(())
        answers.asked.clear()
        assert list_models(Ledger(catalogue), client(hub), Scope()).rows == 500
        assert answers.asked == ["later"] * 3


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_cursor_that_ran_out_begins_the_listing_anew_with_a_limit_that_holds(
    catalogue: Catalogue, status: int
) -> None:
    with Hub(500, page=100, hostile=False) as hub:
        answers = Answers(hub, [None, None, None, status])
        job = list_models(Ledger(catalogue), client(hub), Scope(limit=450))
        assert answers.asked == ["first", *["later"] * 3, "first", *["later"] * 4]
        assert (job.rows, job.pages, catalogue.count()) == (450, 5, 450)


def test_a_token_that_runs_out_is_no_fault_of_the_models(catalogue: Catalogue) -> None:
    repos = tuple(Repo(f"org/m{i}", TIMM, {"config.json": b"{}"}) for i in range(30))
    with Hub(repos=repos) as hub:
        base: Any = hub.RequestHandlerClass
        message = {"X-Error-Message": "Invalid credentials in Authorization header"}
        expired = True

        class Handler(base):  # type: ignore[misc]
            def file(self, *asked: Any) -> None:
                if expired:
                    return self.reply(401, b"", message)
                return super().file(*asked)

        hub.RequestHandlerClass = Handler
        crawl(catalogue, client=client(hub), details="none", progress=Progress.silent())
        with pytest.raises(Unavailable, match=r"HTTP 401.*hf auth login"):
            fetch_details(Ledger(catalogue), client(hub))
        assert Ledger(catalogue).wanted().num_rows == 30
        expired = False
        assert fetch_details(Ledger(catalogue), client(hub)).models == 30


# --- waits


class Waits:
    """Pauses that take no time: what they were and what was said of them."""

    def __init__(self) -> None:
        self.now, self.slept, self.said = 0.0, list[float](), list[str]()
        self.pauses = Pauses(clock=lambda: self.now, sleep=self.sleep, say=self.said.append)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_long_wait_says_why_and_how_long_and_says_so_again() -> None:
    waits = Waits()
    waits.pauses.wait(4.9, "for nothing")
    assert waits.said == []
    waits.pauses.wait(150, "for the Hub")
    assert waits.said == [
        f"waiting {left} for the Hub; Ctrl-C stops, and nothing is lost"
        for left in ("2:30", "1:30", "0:30")
    ]
    assert sum(waits.slept) == 154.9


def test_threads_that_wait_for_the_same_say_it_once() -> None:
    waits = Waits()
    for _ in range(8):
        waits.pauses.wait(30, "for the Hub")
        waits.now -= 30
    assert len(waits.said) == 1


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "900"}, 900.5),
        (429, {"RateLimit": '"api";r=0;t=290'}, 290.5),
        (503, {"Retry-After": "120"}, 120),
        (503, {"Retry-After": "999999999999"}, 3_600),
        (429, {"Retry-After": "9" * 400}, 3_600.5),
        (503, {"Retry-After": "-5"}, 0.01),
        (
            503,
            {
                "Retry-After": "Fri, 27 Nov 2026 12:05:00 GMT",
                "Date": "Fri, 27 Nov 2026 12:00:00 GMT",
            },
            300,
        ),
    ],
)
def test_the_hub_says_how_long_to_wait_and_the_user_hears_of_it(
    catalogue: Catalogue, status: int, headers: dict[str, str], seconds: float
) -> None:
    waits = Waits()
    with Hub(200, page=100, hostile=False) as hub:
        Answers(hub, [None, status], headers)
        asking = client(hub, quota=Quota(pauses=waits.pauses))
        assert list_models(Ledger(catalogue), asking, Scope()).rows == 200
    assert sum(waits.slept) == pytest.approx(seconds, abs=0.02)
    if seconds > 5:
        reason = "quota" if status == 429 else f"HTTP {status}"
        assert reason in waits.said[0]


def test_a_stop_ends_the_waits_of_all_threads() -> None:
    pauses = Pauses()
    pauses.stop()
    with pytest.raises(Unavailable, match="stopped"):
        pauses.wait(3_600, "for the Hub")


@pytest.mark.journey
@pytest.mark.parametrize(
    ("name", "status", "kind", "options", "kept"),
    [
        ("SIGINT", 130, "api", ["--limit", "900"], "300 rows on 3 pages of the full listing"),
        ("SIGTERM", 143, "api", ["--details=none"], "300 rows on 3 pages of the full listing"),
        ("SIGTERM", 143, "files", [], "the listing and the details of 0 models"),
    ],
)
def test_a_stopped_crawl_says_what_is_kept_and_the_command_that_goes_on(
    tmp_path: Path, name: str, status: int, kind: str, options: list[str], kept: str
) -> None:
    repos = tuple(Repo(f"org/m{i}", TIMM, {"config.json": b"{}"}) for i in range(600))
    busy = {"Retry-After": "3000"}
    with Hub(repos=repos, page=100, hostile=False) as hub:
        if kind == "api":
            Answers(hub, [None] * 3 + [429] * 99, busy)
        else:
            hub.RequestHandlerClass = type(
                "Busy",
                (hub.RequestHandlerClass,),
                {"file": lambda handler, *asked: handler.reply(429, b"", busy)},
            )
        process = subprocess.Popen(
            [sys.executable, "-m", "zoo.crawl", "--endpoint", hub.url, *options],
            env=os.environ | {"TEACHER_ZOO_HOME": str(tmp_path), "HF_HOME": str(tmp_path)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        waiting = next(line for line in process.stderr if "waiting" in line)
        process.send_signal(getattr(signal, name))
        _, rest = process.communicate(timeout=60)
    assert "waiting 50:0" in waiting
    assert "for the Hub's quota" in waiting
    assert process.returncode == status, rest
    by = "" if name == "SIGINT" else f" by {name}"
    [line] = rest.splitlines()
    assert line.startswith(f"error: stopped{by}; {kept}")
    command = shlex.join(["python", "-m", "zoo.crawl", "--endpoint", hub.url, *options])
    assert line.endswith(f"to go on: {command}")


# --- sizes


def test_a_page_of_millions_of_empty_rows_is_refused_before_it_becomes_objects() -> None:
    page = b"[" + b"{}," * 9_000_000 + b"{}]"
    error = None
    tracemalloc.start()
    try:
        parse(page)
    except TooLarge as too_large:
        error = str(too_large)
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error == "the answer holds 18,000,002 values, more than 3,000,000"
    assert peak < 1_000_000


@pytest.mark.parametrize("rows", [b"{}", b"0", b"[]", b'""'])
def test_a_page_of_more_rows_than_were_asked_for_is_refused(rows: bytes) -> None:
    page = b"[" + b",".join([rows] * 20_001) + b"]"
    with Hub() as hub:
        hub.RequestHandlerClass = type(
            "Large",
            (hub.RequestHandlerClass,),
            {"do_GET": lambda handler: handler.reply(200, page, {})},
        )
        with pytest.raises(Unavailable, match="20,001 rows came, 1,000 were asked for"):
            list(pages(client(hub), first_url(hub.url, sort="createdAt")))


# --- endpoints and tokens


@pytest.mark.parametrize(
    "endpoint",
    ["https://user:s3cret@h.example", "user:s3cret@h.example", "https://s3cret@h.example/x"],
)
def test_a_password_in_the_endpoint_is_refused_and_never_repeated(
    endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.duckdb"
    assert crawl_command(["--endpoint", endpoint, "--catalogue", str(file)]) == 2
    error = capsys.readouterr().err
    assert "s3cret" not in error
    assert "leave out what stands before @" in error
    assert len(error.splitlines()) == 1
    assert not file.exists()


@pytest.mark.parametrize("endpoint", ["https://", "https://h x", "https://h/?a=1", "https://h:x"])
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(UserError, match=r"such as https://hub\.example"):
        Client(endpoint)


@pytest.mark.parametrize("token", ["hf_ü", "hf_a b", "hf_\u2019x", "hf_a\r\nX-Evil: 1"])
def test_a_token_that_is_none_is_one_line_and_not_printed(
    token: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.utils.get_token", lambda: token)
    with Hub(3) as hub:
        options = ["--endpoint", hub.url, "--token", "--catalogue", str(tmp_path / "c.duckdb")]
        assert crawl_command(options) == 2
        assert not hub.seen
    error = capsys.readouterr().err
    assert "is no token" in error
    assert "hf_" not in error
    assert len(error.splitlines()) == 1


def test_the_stored_token_goes_to_another_endpoint_only_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils.get_token", lambda: "hf_secret")
    with Hub(3, hostile=False) as hub:
        options = ["--endpoint", hub.url, "--catalogue", str(tmp_path / "c.duckdb")]
        assert crawl_command(options) == 0
        assert hub.tokens == set()
        assert "token of this machine is not sent to 127.0.0.1; --token" in capsys.readouterr().err
        assert crawl_command([*options, "--token"]) == 0
        assert hub.tokens == {"Bearer hf_secret"}
        assert "note: the Hub's token is sent to 127.0.0.1\n" in capsys.readouterr().err


def test_the_stored_token_goes_to_the_hub_and_to_hf_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("huggingface_hub.utils.get_token", lambda: "hf_secret")

    def sent(endpoint: str) -> str | None:
        return Client(endpoint).credentials.token

    assert sent("https://huggingface.co") == sent("https://huggingface.co:443/") == "hf_secret"
    assert sent("http://huggingface.co") is sent("https://huggingface.co.evil.example") is None
    assert sent("https://mirror.example") is None
    monkeypatch.setattr(constants, "ENDPOINT", "https://mirror.example")
    assert sent("https://mirror.example") == "hf_secret"
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert sent("https://huggingface.co") is None


def test_token_without_one_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils.get_token", lambda: None)
    with pytest.raises(UserError, match="hf auth login"):
        Client("https://mirror.example", token=True)


def test_an_unreadable_config_of_many_values_is_the_fault_of_its_model() -> None:
    config = b'{"a": [' + b"0," * 3_500_000 + b"0]}"
    repo = Repo("org/model", TIMM, {"config.json": config})
    with Hub(repos=(repo,)) as hub:
        fields = fetch(client(hub), Candidate(id=repo.id, sha=repo.sha)).fields
    assert fields["detail_state"] == "failed"
    assert "more than 3,000,000" in fields["detail_error"]
