"""The listing passes over the Hub: every public model, or what changed since, into the catalogue."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from zoo.catalogue import Catalogue, utc_now
from zoo.command import clean
from zoo.errors import UserError
from zoo.progress import Progress
from zoo.sources.client import Client
from zoo.sources.ledger import Ledger
from zoo.sources.pager import Page, Refused, first_url, pages
from zoo.sources.rows import Rows, read

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
    started: str = ""  # the Hub's clock at the first page, UTC
    since: str = ""  # our clock, UTC: what a full pass has not touched since then is gone
    cursor: str | None = None
    listed: bool = False  # the last page is saved, only the end of the pass is not
    pages: int = 0
    rows: int = 0
    faults: int = 0
    appeared: int = 0
    changed: int = 0
    newly_gated: int = 0
    removed: int = 0

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
    state = _State(ledger.catalogue, key)
    watermark = state.watermark()
    kind = "update" if update and watermark else "full"
    job = state.begun(kind) or Pass(kind=kind, since=utc_now().isoformat())
    if watermark is None or kind == "full":
        watermark = dt.datetime.min
    start = first_url(client.endpoint, sort="createdAt" if kind == "full" else "lastModified", filters=scope.filters,
                      pipeline_tag=scope.pipeline_tag)
    with progress.over("listing", total=None, done=job.rows) as bar:
        for page in () if job.listed else _pages(client, job, start):
            _write(ledger, state, job, page, watermark, scope.limit)
            bar.at(job.rows, total=scope.limit or page.total or state.known_total(kind), quota=client.quota.left("api"))
            if job.listed:
                break
    _finish(ledger, state, job, scope)
    return job


def _pages(client: Client, job: Pass, start: str) -> Iterator[Page]:
    """The pages from where the pass was cut; from the start where the Hub does not know that place any more."""
    try:
        yield from pages(client, job.cursor or start)
    except Refused:
        if job.cursor is None:
            raise
        yield from pages(client, start)


def _write(ledger: Ledger, state: _State, job: Pass, page: Page, watermark: dt.datetime, limit: int | None) -> None:
    """Save one page, and whether it is the last."""
    now = utc_now()
    if not job.started:
        job.started = (_date(page.date) or now).isoformat()
    given = page.rows if limit is None else page.rows[: max(0, limit - job.rows)]
    rows = read(given, now=now)
    oldest = [time for time in rows.columns["last_modified"] if time is not None][-_TAIL:]
    job.listed = page.next is None or (job.kind == "update" and bool(oldest) and max(oldest) < watermark)
    with ledger.catalogue.transaction():
        if rows:
            _count(job, rows, ledger.replace(rows.table(), ordered=job.kind == "full"))
        ledger.note_faults([(fault.id, fault.error, fault.raw) for fault in rows.faults])
        job.pages, job.rows, job.faults = job.pages + 1, job.rows + len(rows), job.faults + len(rows.faults)
        job.cursor = page.next
        job.listed = job.listed or (limit is not None and job.rows >= limit)
        state.save(job)


def _count(job: Pass, rows: Rows, before: dict[str, tuple[str | None, str | None]]) -> None:
    columns = rows.columns
    for model, sha, gated in zip(columns["id"], columns["sha"], columns["gated"], strict=True):
        old = before.get(model)
        if old is None:
            job.appeared += 1
        else:
            job.changed += sha != old[0]
            job.newly_gated += gated is not None and old[1] is None


def _finish(ledger: Ledger, state: _State, job: Pass, scope: Scope) -> None:
    with ledger.catalogue.transaction():
        ledger.drop_duplicates()
        if job.kind == "full" and scope.whole:
            unseen = f"source = 'hub' AND removed_at IS NULL AND indexed_at < TIMESTAMP '{job.since}'"
            job.removed = ledger.catalogue.mark(unseen, {"removed_at": utc_now(), "loadable": False, "not_loadable_reason": GONE})
        state.end(job)


class _State:
    """What the catalogue remembers of one scope: the pass at work, the watermark, the size of the last full pass."""

    def __init__(self, catalogue: Catalogue, key: str) -> None:
        self.catalogue, self.key = catalogue, key

    def begun(self, kind: str) -> Pass | None:
        """The pass that was cut, if it was of this kind."""
        saved = self._read("pass")
        try:
            job = Pass(**saved) if isinstance(saved, dict) else None
        except TypeError:
            return None
        return job if job is not None and job.kind == kind and (job.cursor or job.listed) else None

    def save(self, job: Pass) -> None:
        self.catalogue.set_state(f"{self.key} pass", json.dumps(asdict(job)))

    def end(self, job: Pass) -> None:
        self.catalogue.set_state(f"{self.key} pass", None)
        self.catalogue.set_state(f"{self.key} watermark", job.started)
        self.catalogue.set_state(f"{self.key} last", json.dumps({**asdict(job), "ended": utc_now().isoformat()}))
        if job.kind == "full":
            self.catalogue.set_state(f"{self.key} total", str(job.rows))

    def watermark(self) -> dt.datetime | None:
        """Everything modified before then is in the catalogue."""
        text = self.catalogue.state(f"{self.key} watermark")
        return dt.datetime.fromisoformat(text) - _MARGIN if text else None

    def known_total(self, kind: str) -> int | None:
        text = self.catalogue.state(f"{self.key} total") if kind == "full" else None
        return int(text) if text and text.isdecimal() else None

    def _read(self, name: str) -> Any:
        text = self.catalogue.state(f"{self.key} {name}")
        return json.loads(text) if text else None


def _date(header: str | None) -> dt.datetime | None:
    """The server's clock in UTC, where it tells it."""
    try:
        found = parsedate_to_datetime(header) if header else None
    except (ValueError, TypeError):
        return None
    return None if found is None else found.astimezone(dt.UTC).replace(tzinfo=None)


def check_scope(filters: Sequence[str], pipeline_tag: str | None, limit: int | None) -> Scope:
    """The scope of a command's options. Raises ``UserError`` for a limit that is none."""
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: a number of models, 1 or more, is expected")
    return Scope(filters=tuple(filters), pipeline_tag=clean(pipeline_tag) if pipeline_tag else None, limit=limit)


