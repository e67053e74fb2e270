"""The listing passes over the Hub: every public model, or what changed since."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple
from urllib.parse import urlencode

from zoo.catalogue import Catalogue, utc_now
from zoo.loading.client import Client
from zoo.loading.pages import PAGE_ROWS, CursorExpired, Page, pages
from zoo.sources.ledger import Ledger
from zoo.sources.rows import EXPAND, Row, read
from zoo.terminal.command import in_command, resumable
from zoo.terminal.progress import Progress, note

# between the clocks of the Hub's machines, and its search index behind them
_MARGIN = dt.timedelta(minutes=10)
_RESUMABLE = dt.timedelta(days=7)  # an older listing is made anew before its details
# rows at the end of a page that must all be older than the watermark: one odd time must not end an
# update
_OLDEST_ROWS = 10
GONE = "no longer on the Hub"


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
    number: int = 0  # of the listing; what a full pass has not written under its number is gone
    started: str = ""  # the Hub's clock at the first page, UTC; an update goes back to there
    since: str = ""  # our clock, UTC, when it began
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

    def kept(self) -> str:
        """What a pass that is stopped leaves, for people."""
        return f"{self.rows:,} rows on {self.pages:,} pages of the {self.kind} listing are kept"


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
    kind, watermark = "full", dt.datetime.min
    if update and last:
        kind, watermark = "update", dt.datetime.fromisoformat(last.started) - _MARGIN
    if job is None or job.kind != kind:
        job = Pass(
            kind=kind,
            number=ledger.next_listing(),
            since=utc_now().isoformat(),
            total=last.total if last else None,
        )
    elif not job.number:
        job.number = ledger.adopt_listing(job.since)
    listing = _Listing(ledger, client, scope, key, job, watermark)
    known = scope.limit or (job.total if kind == "full" else None)
    shown = progress or Progress.default()
    with (
        resumable(job.kept),
        shown.over(
            "listing",
            unit="rows",
            total=known,
            done=job.rows,
        ) as meter,
    ):
        for page in () if job.listed else listing.pages():
            listing.write(page)
            meter.at(job.rows, extra=client.quota.left_text("api"))
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
    age = abs(utc_now() - dt.datetime.fromisoformat(last.ended))  # a clock may be set back
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
        """The pages from the saved cursor on; all where the Hub no longer knows the cursor."""
        job = self.job
        sort = "createdAt" if job.kind == "full" else "lastModified"
        start = first_url(self.client.endpoint, sort=sort, scope=self.scope)
        try:
            yield from pages(self.client, job.cursor or start, resumed=job.cursor is not None)
        except CursorExpired as error:
            if in_command():
                note(f"{error}; the listing begins anew")
            job.cursor, job.pages, job.rows, job.faults = None, 0, 0, 0
            yield from pages(self.client, start)

    def write(self, page: Page) -> None:
        """Save one page, and whether it is the last."""
        job, limit, now = self.job, self.scope.limit, utc_now()
        # the earlier of two clocks: what an update lists twice costs a page, what it skips is lost
        job.started = job.started or min(page.date or now, now).isoformat()
        wanted = page.rows if limit is None else page.rows[: max(0, limit - job.rows)]
        rows, faults = read(wanted, now=now)
        with self.ledger.catalogue.transaction():
            if rows:
                before = self.ledger.replace(rows, ordered=job.kind == "full", listing=job.number)
                job.appeared += len(rows) - before.known
                job.changed += before.changed
                job.newly_gated += before.gated
            self.ledger.note_faults(faults)
            job.pages += 1
            job.rows += len(rows)
            job.faults += len(faults)
            job.cursor = page.next
            job.listed = (
                page.next is None
                or (job.kind == "update" and self._is_old(rows))
                or (limit is not None and job.rows >= limit)
            )
            _save(self.ledger.catalogue, f"{self.key} pass", job)

    def _is_old(self, rows: Sequence[Row]) -> bool:
        """Whether the last rows of a page were all modified before the watermark."""
        times = [row["last_modified"] for row in rows if row["last_modified"] is not None]
        return bool(times) and max(times[-_OLDEST_ROWS:]) < self.watermark

    def finish(self) -> None:
        """What only a whole pass can tell."""
        job, catalogue = self.job, self.ledger.catalogue
        with catalogue.transaction():
            self.ledger.drop_duplicates()
            if job.kind == "full" and self.scope.whole:
                gone = {"removed_at": utc_now(), "loadable": False, "not_loadable_reason": GONE}
                job.removed = catalogue.update(
                    "source = 'hub' AND removed_at IS NULL"
                    f" AND listing IS DISTINCT FROM {job.number:d}",
                    gone,
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


def first_url(endpoint: str, *, sort: str, scope: Scope | None = None) -> str:
    """The address of the first page. ``sort`` is ``createdAt`` (nothing moves under a crawl) or
    ``lastModified``.
    """
    scope = scope or Scope()
    query = {
        "limit": PAGE_ROWS,
        "sort": sort,
        "direction": -1,
        "filter": scope.filters,
        "pipeline_tag": scope.pipeline_tag or (),
        "expand": EXPAND,
    }
    return f"{endpoint}/api/models?{urlencode(query, doseq=True)}"
