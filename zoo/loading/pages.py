"""The pages of a listing of the Hub's models, each once, whatever the server or the line does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from zoo.errors import Unavailable
from zoo.loading.client import Client, DamagedResponse, HubResponse, TooLarge, parse

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

PAGE_ROWS = 1_000
_PAGE_CAP = 32_000_000  # bytes; a page of 1,000 rows without card data is about 1 MB
_MOST_ROWS = 20 * PAGE_ROWS  # of a page, whatever limit was asked for
_EMPTY_PAGES = 50  # in a row, before they are taken for an endless loop
_EXPIRED = (400, 404, 410, 422)  # HTTP status of a cursor that the Hub no longer knows
_FORBIDDEN_TRIES = 4  # of a page after the first that is refused with HTTP 403


class Refused(Unavailable):
    """The Hub answers, but not to this address or not to this user."""


class CursorExpired(Refused):
    """The Hub no longer knows the place in the listing: it has to be listed from the start."""


@dataclass(frozen=True)
class Page:
    """``rows`` are any JSON values; ``next`` is the address of the next page, ``None`` at the end;
    ``date`` is the server's clock, where it tells it.
    """

    rows: list[Any]
    next: str | None
    date: dt.datetime | None


def pages(client: Client, url: str, *, resumed: bool = False) -> Iterator[Page]:
    """The pages from ``url`` on, in order; ``resumed``: it is the cursor of an earlier run.

    Properties that the server refuses to expand (HTTP 400) are dropped one by one. A page whose
    link leads back to an earlier page is requested again; ``Unavailable`` where it stays so, or
    the server stops answering; ``CursorExpired`` where it does not know a later page any more,
    ``Refused`` where it does not want to answer.
    """
    seen, empty, refused = {url}, 0, list[str]()
    while True:
        later = resumed or len(seen) > 1
        page = _page(client, url, seen, refused, later=later)
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


def _page(
    client: Client,
    url: str,
    seen: Container[str],
    refused: list[str],
    *,
    later: bool,
) -> Page:
    """One page; what the server refuses to expand is added to ``refused``."""
    from huggingface_hub.errors import HfHubHTTPError

    def read(response: HubResponse) -> Page:
        rows = parse(response.body)
        if not isinstance(rows, list):
            raise DamagedResponse(f"a page is a list, {type(rows).__name__} came")
        if len(rows) > _MOST_ROWS:
            raise TooLarge(f"{len(rows):,} rows came, {PAGE_ROWS:,} were asked for")
        following = client.rebase(response.next, response.url) if response.next else None
        if following in seen:
            raise DamagedResponse("its link to the next page leads back to a page already read")
        return Page(rows, following, _date(response.headers.get("date")))

    forbidden = 0
    while True:
        address = without(url, refused)
        try:
            page: Page = client.get(
                address,
                kind="api",
                cap=_PAGE_CAP,
                check=read,
            ).value
            return page
        except HfHubHTTPError as error:
            status = error.response.status_code
            named = _refused_property(address, str(error), sure=later) if status == 400 else None
            if named is not None:
                refused.append(named)
                continue
            forbidden += status == 403
            if later and status == 403 and forbidden < _FORBIDDEN_TRIES:
                pause = client.wait * 4**forbidden
                client.pauses.wait(pause, "before the Hub is asked again (HTTP 403)")
                continue
            raise _refusal(error, later=later) from None
        except TooLarge as error:
            raise Unavailable(f"a page of the listing is not what the Hub sends: {error}") from None


def _refusal(error: HfHubHTTPError, *, later: bool) -> Refused:
    """What an answer with a status from 400 on means for the listing."""
    status = error.response.status_code
    if later and status in _EXPIRED:
        return CursorExpired(f"the Hub no longer knows this place in the listing (HTTP {status})")
    if status == 400:
        return Refused(f"the Hub refuses the listing: {str(error).strip()[:300]}")
    kept = "; what was listed is kept, and the same command goes on there" if later else ""
    return Refused(
        f"the Hub refuses the listing (HTTP {status}){kept}; is the token of this machine still"
        " valid? `hf auth login` renews it, `hf auth logout` goes on without"
    )


def without(url: str, refused: Sequence[str]) -> str:
    """``url`` without the refused properties."""
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query)
        if name != "expand" or value not in refused
    ]
    return urlunsplit(parts._replace(query=urlencode(kept))) if refused else url


def _refused_property(url: str, message: str, *, sure: bool) -> str | None:
    """The property to drop: the one that ``message`` names, else the last and least needed.

    ``None`` where there is none, or where ``sure`` asks for a name: the properties of a later page
    were accepted before, so its refusal is about something else.
    """
    expanded = [value for name, value in parse_qsl(urlsplit(url).query) if name == "expand"]
    named = [name for name in expanded if f'"{name}"' in message or f"'{name}'" in message]
    if len(named) == 1:
        return named[0]
    return expanded[-1] if expanded and not sure else None


def _date(header: str | None) -> dt.datetime | None:
    """The server's clock in UTC, where it tells it."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(header or "").astimezone(dt.UTC).replace(tzinfo=None)
    except (ValueError, TypeError, OverflowError):
        return None
