"""The pages of a listing of the Hub's models, each once, whatever the server or the line does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from zoo.errors import Unavailable
from zoo.loading.client import Client, DamagedResponse, HubResponse, TooLarge, parse

PAGE_ROWS = 1_000
_PAGE_CAP = 200_000_000  # bytes; a page of 1,000 rows without card data is about 1 MB
_EMPTY_PAGES = 50  # in a row, before they are taken for an endless loop


class Refused(Unavailable):
    """The Hub answers, but not to this address or not to this user."""


@dataclass(frozen=True)
class Page:
    """``rows`` are any JSON values; ``next`` is the address of the next page, ``None`` at the end;
    ``date`` is the server's clock, where it tells it.
    """

    rows: list[Any]
    next: str | None
    date: dt.datetime | None


def pages(client: Client, url: str) -> Iterator[Page]:
    """The pages from ``url`` on, in order.

    Properties that the server refuses to expand (HTTP 400) are dropped one by one. A page whose
    link leads back to an earlier page is requested again; ``Unavailable`` where it stays so, or
    the server stops answering; ``Refused`` where it does not want to.
    """
    from huggingface_hub.errors import BadRequestError, HfHubHTTPError

    seen, empty, refused = {url}, 0, list[str]()

    def read(response: HubResponse) -> Page:
        rows = parse(response.body)
        if not isinstance(rows, list):
            raise DamagedResponse(f"a page is a list, {type(rows).__name__} came")
        following = client.rebase(response.next) if response.next else None
        if following in seen:
            raise DamagedResponse("its link to the next page leads back to a page already read")
        return Page(rows, following, _date(response.headers.get("date")))

    while True:
        address = without(url, refused)
        try:
            page: Page = client.get(
                address,
                kind="api",
                cap=_PAGE_CAP,
                check=read,
            ).value
        except BadRequestError as error:
            refused.append(_refused_property(address, str(error)))
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
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query)
        if name != "expand" or value not in refused
    ]
    return urlunsplit(parts._replace(query=urlencode(kept))) if refused else url


def _refused_property(url: str, message: str) -> str:
    """The property to drop: the one that ``message`` names, else the last and least needed."""
    expanded = [value for name, value in parse_qsl(urlsplit(url).query) if name == "expand"]
    if not expanded:
        raise Refused(f"the Hub refuses the listing: {message.strip()[:300]}")
    named = [name for name in expanded if f'"{name}"' in message or f"'{name}'" in message]
    return named[0] if len(named) == 1 else expanded[-1]


def _date(header: str | None) -> dt.datetime | None:
    """The server's clock in UTC, where it tells it."""
    try:
        return parsedate_to_datetime(header or "").astimezone(dt.UTC).replace(tzinfo=None)
    except (ValueError, TypeError, OverflowError):
        return None
