"""The listing passes over the Hub: every public model, or what changed since, into the
catalogue.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from zoo.catalogue import Catalogue, utc_now
from zoo.errors import Unavailable
from zoo.loading.client import Client, DamagedResponse, HubResponse, TooLarge, parse
from zoo.sources.ledger import Ledger
from zoo.sources.rows import EXPAND, read
from zoo.terminal.progress import Progress

PAGE_ROWS = 1_000
_PAGE_CAP = 200_000_000  # bytes; a page of 1,000 rows without card data is about 1 MB
_EMPTY_PAGES = 50  # in a row, before they are taken for an endless loop
_MARGIN = dt.timedelta(
    minutes=10
)  # between the clocks of the Hub's machines, and its search index behind them
_RESUMABLE = dt.timedelta(days=7)  # an older listing is made anew before its details
# rows at the end of a page that must all be older than the watermark: one odd time must not end an
# update
_OLDEST_ROWS = 10
GONE = "no longer on the Hub"


class Refused(Unavailable):
    """The Hub answers, but not to this address or not to this user."""


@dataclass(frozen=True)
class Page:
    """``rows`` as they came (any JSON values); ``next`` is the address to go on from, ``None`` at
    the end; ``date`` is the server's clock and ``total`` the size of the listing, where it tells
    them.
    """

    rows: list[Any]
    next: str | None
    date: dt.datetime | None
    total: int | None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which part of the Hub is listed; the whole of it by default."""

    filters: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    limit: int | None = None

    @property
    def whole(self) -> bool:
        """Whether a model that is not listed is not there."""
        return not self.filters and self.pipeline_tag is None and self.limit is None

    def key(self, endpoint: str) -> str:
        """Under which name the catalogue keeps the state of this listing."""
        return "hub " + json.dumps([endpoint, self.pipeline_tag, *sorted(self.filters), self.limit])


@dataclass
class Pass:
    """What a listing pass has done so far. It is saved with every page, so a pass that was cut goes
    on counting.
    """

    kind: str = "full"
    started: str = ""  # the Hub's clock at the first page, UTC; an update goes back to there
    since: str = ""  # our clock, UTC: what a full pass has not touched since then is gone
    ended: str = ""
    cursor: str | None = None
    listed: bool = False  # the last page is saved, only the end of the pass is not
    pages: int = 0
    rows: int = 0
    faults: int = 0
    appeared: int = 0
    changed: int = 0
    newly_gated: int = 0
    removed: int = 0
    total: int | None = None  # rows of the last full pass
    details_pending: bool = False  # the details pass that follows has not ended

    def sentence(self) -> str:
        """The outcome for people."""
        parts = [
            f"{self.rows:,} rows on {self.pages:,} pages",
            f"{self.appeared:,} new",
            f"{self.changed:,} changed",
            f"{self.newly_gated:,} newly gated",
            f"{self.removed:,} gone",
        ]
        odd = f"; {self.faults:,} rows were odd (zoo.doctor lists them)" if self.faults else ""
        return f"{self.kind} listing: {', '.join(parts)}{odd}"


def list_models(
    ledger: Ledger,
    client: Client,
    scope: Scope,
    *,
    update: bool = False,
    progress: Progress | None = None,
) -> Pass:
    """Bring the catalogue up to the Hub's listing of ``scope``; raises ``Unavailable`` where the
    Hub stops answering.

    A full pass goes in order of creation, so nothing moves under it; it goes on from the last page
    of a pass that was cut. ``update`` goes from the last modified back to where the last completed
    pass began; without one it is a full pass. Everything is saved page by page, the page and the
    way on in one transaction.
    """
    key, catalogue = scope.key(client.endpoint), ledger.catalogue
    last, job = _saved(catalogue, f"{key} last"), _saved(catalogue, f"{key} pass")
    kind = "update" if update and last else "full"
    if job is None or job.kind != kind:
        job = Pass(kind=kind, since=utc_now().isoformat(), total=last.total if last else None)
    since = (
        dt.datetime.fromisoformat(last.started) - _MARGIN
        if kind == "update" and last
        else dt.datetime.min
    )
    listing = _Listing(ledger, client, scope, key, job, since)
    shown = progress or Progress.default()
    with shown.over("listing", unit="rows", done=job.rows) as meter:
        for page in () if job.listed else listing.pages():
            listing.write(page)
            known = job.total if kind == "full" else None
            meter.at(
                job.rows,
                total=scope.limit or page.total or known,
                extra=client.quota.left_text("api"),
            )
            if job.listed:
                break
    listing.finish()
    return job


def listing_before_details(
    ledger: Ledger, client: Client, scope: Scope, *, update: bool
) -> Pass | None:
    """The last listing of this kind, if the details pass after it was cut within a week."""
    last = _saved(ledger.catalogue, f"{scope.key(client.endpoint)} last")
    if last is None or not last.details_pending or (last.kind == "update") != update:
        return None
    age = utc_now() - dt.datetime.fromisoformat(last.ended)
    return last if age < _RESUMABLE else None


def details_ended(ledger: Ledger, client: Client, scope: Scope) -> None:
    """Note that the details pass after the last listing has ended: the next crawl lists again."""
    name = f"{scope.key(client.endpoint)} last"
    last = _saved(ledger.catalogue, name)
    if last is not None:
        _save(ledger.catalogue, name, replace(last, details_pending=False))


class _Listing(NamedTuple):
    """A pass at work; an update ends where everything was last modified before ``watermark``."""

    ledger: Ledger
    client: Client
    scope: Scope
    key: str
    job: Pass
    watermark: dt.datetime

    def pages(self) -> Iterator[Page]:
        """The pages from where the pass was cut; from the start where the Hub does not know that
        place any more.
        """
        start = first_url(
            self.client.endpoint,
            sort="createdAt" if self.job.kind == "full" else "lastModified",
            filters=self.scope.filters,
            pipeline_tag=self.scope.pipeline_tag,
        )
        try:
            yield from pages(self.client, self.job.cursor or start)
        except Refused:
            if self.job.cursor is None:
                raise
            yield from pages(self.client, start)

    def write(self, page: Page) -> None:
        """Save one page, and whether it is the last."""
        job, limit, now = self.job, self.scope.limit, utc_now()
        job.started = job.started or (page.date or now).isoformat()
        readable = read(
            page.rows if limit is None else page.rows[: max(0, limit - job.rows)], now=now
        )
        oldest = [
            row["last_modified"] for row in readable.rows if row["last_modified"] is not None
        ][-_OLDEST_ROWS:]
        with self.ledger.catalogue.transaction():
            if readable.rows:
                before = self.ledger.replace(readable.rows, ordered=job.kind == "full")
                job.appeared += len(readable.rows) - before.known
                job.changed, job.newly_gated = (
                    job.changed + before.changed,
                    job.newly_gated + before.gated,
                )
            self.ledger.note_faults(readable.faults)
            job.pages, job.rows, job.faults = (
                job.pages + 1,
                job.rows + len(readable.rows),
                job.faults + len(readable.faults),
            )
            job.cursor = page.next
            job.listed = (
                page.next is None
                or (job.kind == "update" and bool(oldest) and max(oldest) < self.watermark)
                or (limit is not None and job.rows >= limit)
            )
            _save(self.ledger.catalogue, f"{self.key} pass", job)

    def finish(self) -> None:
        """What only a whole pass can tell."""
        job, catalogue = self.job, self.ledger.catalogue
        with catalogue.transaction():
            self.ledger.drop_duplicates()
            if job.kind == "full" and self.scope.whole:
                unseen = (
                    "source = 'hub' AND removed_at IS NULL AND indexed_at < TIMESTAMP"
                    f" '{job.since}'"
                )
                job.removed = catalogue.update(
                    unseen,
                    {"removed_at": utc_now(), "loadable": False, "not_loadable_reason": GONE},
                )
            job.ended = utc_now().isoformat()
            if job.kind == "full":
                job.total = job.rows
            job.details_pending = True
            _save(catalogue, f"{self.key} last", job)
            catalogue.set_state(f"{self.key} pass", None)


def _saved(catalogue: Catalogue, name: str) -> Pass | None:
    text = catalogue.state(name)
    return Pass(**json.loads(text)) if text else None


def _save(catalogue: Catalogue, name: str, job: Pass) -> None:
    catalogue.set_state(name, json.dumps(asdict(job)))


def _date(header: str | None) -> dt.datetime | None:
    """The server's clock in UTC, where it tells it."""
    try:
        return (
            parsedate_to_datetime(header).astimezone(dt.UTC).replace(tzinfo=None)
            if header
            else None
        )
    except (ValueError, TypeError):
        return None


# --- pages: every one once, whatever the server or the line does on the way


def first_url(
    endpoint: str, *, sort: str, filters: Sequence[str] = (), pipeline_tag: str | None = None
) -> str:
    """The address of the first page. ``sort`` is ``createdAt`` (nothing moves under a crawl) or
    ``lastModified``.
    """
    query = [
        ("limit", str(PAGE_ROWS)),
        ("sort", sort),
        ("direction", "-1"),
        *(("filter", name) for name in filters),
    ]
    if pipeline_tag:
        query.append(("pipeline_tag", pipeline_tag))
    return f"{endpoint}/api/models?{urlencode(query + [('expand', name) for name in EXPAND])}"


def pages(client: Client, url: str) -> Iterator[Page]:
    """The pages from ``url`` on, in order.

    Properties that the server refuses to expand (HTTP 400) are dropped one by one. A page whose
    link leads back to a page already seen is asked for again; ``Unavailable`` where it stays so, or
    the server stops answering; ``Refused`` where it does not want to.
    """
    from huggingface_hub.errors import BadRequestError, HfHubHTTPError

    seen, empty, refused = {url}, 0, list[str]()

    def read(answer: HubResponse) -> Page:
        rows = parse(answer.body)
        if not isinstance(rows, list):
            raise DamagedResponse(f"a page is a list, {type(rows).__name__} came")
        following = client.rebase(answer.next) if answer.next else None
        if following in seen:
            raise DamagedResponse("its link to the next page leads back to a page already read")
        total = answer.headers.get("x-total-count", "")
        return Page(
            rows,
            following,
            _date(answer.headers.get("date")),
            int(total) if total.isdecimal() else None,
        )

    while True:
        try:
            page: Page = client.get(
                without(url, refused), kind="api", cap=_PAGE_CAP, check=read
            ).value
        except BadRequestError as error:
            refused.append(_refused(url, refused, str(error)))
            continue
        except HfHubHTTPError as error:
            raise Refused(
                f"the Hub refuses the listing (HTTP {error.response.status_code}); is the token of"
                " this machine still valid? `hf auth login` renews it, `hf auth logout` goes on"
                " without"
            ) from None
        except TooLarge as error:
            raise Unavailable(f"a page of the listing is not what the Hub sends: {error}") from None
        yield page
        if page.next is None:
            return
        empty = 0 if page.rows else empty + 1
        if empty > _EMPTY_PAGES:
            raise Unavailable(
                f"the Hub sent {empty} empty pages in a row, each with a link to the next"
            )
        url = page.next
        seen.add(url)


def without(url: str, refused: Sequence[str]) -> str:
    """``url`` without the refused properties."""
    if not refused:
        return url
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query)
        if name != "expand" or value not in refused
    ]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def _refused(url: str, refused: Sequence[str], message: str) -> str:
    """Which property to drop: the one that the message names, else the last, which is needed the
    least.
    """
    asked = [
        value
        for name, value in parse_qsl(urlsplit(url).query)
        if name == "expand" and value not in refused
    ]
    if not asked:
        raise Refused(f"the Hub refuses the listing: {message.strip()[:300]}")
    named = [name for name in asked if f'"{name}"' in message or f"'{name}'" in message]
    return named[0] if len(named) == 1 else asked[-1]
