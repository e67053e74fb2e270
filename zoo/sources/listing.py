"""The listing passes over the Hub: every public model, or what changed since, into the catalogue."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime

from zoo.catalogue import Catalogue, utc_now
from zoo.progress import Progress
from zoo.sources.client import Client
from zoo.sources.ledger import Ledger
from zoo.sources.pager import Page, Refused, first_url, pages
from zoo.sources.rows import read

_MARGIN = dt.timedelta(minutes=10)  # between the clocks of the Hub's machines, and its search index behind them
_TAIL = 10  # rows at the end of a page that must all be older than the watermark: one odd time must not end an update
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
    """What a listing pass has done so far. It is saved with every page, so a pass that was cut goes on counting."""

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

    def sentence(self) -> str:
        """The outcome for people."""
        parts = [f"{self.rows:,} rows on {self.pages:,} pages", f"{self.appeared:,} new", f"{self.changed:,} changed",
                 f"{self.newly_gated:,} newly gated", f"{self.removed:,} gone"]
        odd = f"; {self.faults:,} rows were odd (zoo.doctor lists them)" if self.faults else ""
        return f"{self.kind} listing: {', '.join(parts)}{odd}"


def list_models(ledger: Ledger, client: Client, scope: Scope, *, update: bool = False,
                progress: Progress | None = None) -> Pass:
    """Bring the catalogue up to the Hub's listing of ``scope``; raises ``Unavailable`` where the Hub stops answering.

    A full pass goes in order of creation, so nothing moves under it; it goes on from the last page of a pass that was
    cut. ``update`` goes from the last modified back to where the last completed pass began; without one it is a full pass.
    Everything is saved page by page, the page and the way on in one transaction.
    """
    progress = progress or Progress.silent()
    key = scope.key(client.endpoint)
    last = _saved(ledger.catalogue, f"{key} last")
    kind = "update" if update and last else "full"
    job = _saved(ledger.catalogue, f"{key} pass")
    if job is None or job.kind != kind:
        job = Pass(kind=kind, since=utc_now().isoformat(), total=last.total if last else None)
    watermark = dt.datetime.fromisoformat(last.started) - _MARGIN if kind == "update" and last else dt.datetime.min
    start = first_url(client.endpoint, sort="createdAt" if kind == "full" else "lastModified", filters=scope.filters,
                      pipeline_tag=scope.pipeline_tag)
    with progress.over("listing", total=None, done=job.rows) as bar:
        for page in () if job.listed else _pages(client, job, start):
            _write(ledger, key, job, page, watermark, scope.limit)
            known = job.total if kind == "full" else None
            bar.at(job.rows, total=scope.limit or page.total or known, quota=client.quota.left("api"))
            if job.listed:
                break
    _finish(ledger, key, job, scope)
    return job


def _pages(client: Client, job: Pass, start: str) -> Iterator[Page]:
    """The pages from where the pass was cut; from the start where the Hub does not know that place any more."""
    try:
        yield from pages(client, job.cursor or start)
    except Refused:
        if job.cursor is None:
            raise
        yield from pages(client, start)


def _write(ledger: Ledger, key: str, job: Pass, page: Page, watermark: dt.datetime, limit: int | None) -> None:
    """Save one page, and whether it is the last."""
    now = utc_now()
    if not job.started:
        job.started = (_date(page.date) or now).isoformat()
    found = read(page.rows if limit is None else page.rows[: max(0, limit - job.rows)], now=now)
    oldest = [row["last_modified"] for row in found.rows if row["last_modified"] is not None][-_TAIL:]
    with ledger.catalogue.transaction():
        if found.rows:
            before = ledger.replace(found.rows, ordered=job.kind == "full")
            job.appeared += len(found.rows) - before.known
            job.changed, job.newly_gated = job.changed + before.changed, job.newly_gated + before.gated
        ledger.note_faults(found.faults)
        job.pages, job.rows, job.faults = job.pages + 1, job.rows + len(found.rows), job.faults + len(found.faults)
        job.cursor = page.next
        job.listed = (page.next is None or (job.kind == "update" and bool(oldest) and max(oldest) < watermark)
                      or (limit is not None and job.rows >= limit))
        _save(ledger.catalogue, f"{key} pass", job)


def _finish(ledger: Ledger, key: str, job: Pass, scope: Scope) -> None:
    catalogue = ledger.catalogue
    with catalogue.transaction():
        ledger.drop_duplicates()
        if job.kind == "full" and scope.whole:
            unseen = f"source = 'hub' AND removed_at IS NULL AND indexed_at < TIMESTAMP '{job.since}'"
            job.removed = catalogue.mark(unseen, {"removed_at": utc_now(), "loadable": False, "not_loadable_reason": GONE})
        job.ended = utc_now().isoformat()
        if job.kind == "full":
            job.total = job.rows
        _save(catalogue, f"{key} last", job)
        catalogue.set_state(f"{key} pass", None)


def _saved(catalogue: Catalogue, name: str) -> Pass | None:
    text = catalogue.state(name)
    return Pass(**json.loads(text)) if text else None


def _save(catalogue: Catalogue, name: str, job: Pass) -> None:
    catalogue.set_state(name, json.dumps(asdict(job)))


def _date(header: str | None) -> dt.datetime | None:
    """The server's clock in UTC, where it tells it."""
    try:
        return parsedate_to_datetime(header).astimezone(dt.UTC).replace(tzinfo=None) if header else None
    except (ValueError, TypeError):
        return None
