"""The Hub's model listing, page by page: every page once, whatever the server or the line does on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from zoo.errors import Unavailable
from zoo.sources.client import Answer, Client, Cut, TooLarge
from zoo.sources.rows import EXPAND

PAGE_ROWS = 1_000
_PAGE_CAP = 200_000_000  # bytes; a page of 1,000 rows without card data is about 1 MB
_EMPTY_PAGES = 50  # in a row, before they are taken for an endless loop


class Refused(Unavailable):
    """The Hub answers, but not to this address or not to this user."""


@dataclass(frozen=True)
class Page:
    """``rows`` as they came (any JSON values); ``next`` is the address to go on from, ``None`` at the end; ``date`` is the
    server's clock and ``total`` the size of the listing, where it tells them."""

    rows: list[Any]
    next: str | None
    date: str | None
    total: int | None


def first_url(endpoint: str, *, sort: str, filters: Sequence[str] = (), pipeline_tag: str | None = None) -> str:
    """The address of the first page. ``sort`` is ``createdAt`` (nothing moves under a crawl) or ``lastModified``."""
    query = [("limit", str(PAGE_ROWS)), ("sort", sort), ("direction", "-1"), *(("filter", name) for name in filters)]
    if pipeline_tag:
        query.append(("pipeline_tag", pipeline_tag))
    return f"{endpoint}/api/models?{urlencode(query + [('expand', name) for name in EXPAND])}"


def pages(client: Client, url: str) -> Iterator[Page]:
    """The pages from ``url`` on, in order.

    Properties that the server refuses to expand (HTTP 400) are dropped one by one. A page whose link leads back to a
    page already seen is asked for again; ``Unavailable`` where it stays so, or the server stops answering; ``Refused``
    where it does not want to.
    """
    from huggingface_hub.errors import BadRequestError, HfHubHTTPError

    seen, empty, refused = {url}, 0, list[str]()

    def read(answer: Answer) -> Page:
        rows = parse(answer.body)
        if not isinstance(rows, list):
            raise Cut(f"a page is a list, {type(rows).__name__} came")
        following = client.rebase(answer.next) if answer.next else None
        if following in seen:
            raise Cut("its link to the next page leads back to a page already read")
        total = answer.headers.get("x-total-count", "")
        return Page(rows, following, answer.headers.get("date"), int(total) if total.isdecimal() else None)

    while True:
        try:
            page: Page = client.get(without(url, refused), kind="api", cap=_PAGE_CAP, check=read).value
        except BadRequestError as error:
            refused.append(_refused(url, refused, str(error)))
            continue
        except HfHubHTTPError as error:
            raise Refused(f"the Hub refuses the listing (HTTP {error.response.status_code}); is the token of this machine still "
                          "valid? `hf auth login` renews it, `hf auth logout` goes on without") from None
        except TooLarge as error:
            raise Unavailable(f"a page of the listing is not what the Hub sends: {error}") from None
        yield page
        if page.next is None:
            return
        empty = 0 if page.rows else empty + 1
        if empty > _EMPTY_PAGES:
            raise Unavailable(f"the Hub sent {empty} empty pages in a row, each with a link to the next")
        url = page.next
        seen.add(url)


def parse(body: bytes) -> Any:
    """JSON from a stranger; ``Cut`` where it is none. Numbers of thousands of digits become ``None``, broken UTF-8 a
    replacement character: one bad row must not cost the other 999."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise Cut(f"the page is not whole JSON ({error})") from None
    except RecursionError:
        raise Cut("the page is nested too deeply") from None
    except ValueError:
        pass
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_int=lambda digits: int(digits) if len(digits) < 40 else None)
    except (ValueError, RecursionError) as error:
        raise Cut(f"the page is not whole JSON ({error})") from None


def without(url: str, refused: Sequence[str]) -> str:
    """``url`` without the refused properties."""
    if not refused:
        return url
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name != "expand" or value not in refused]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def _refused(url: str, refused: Sequence[str], message: str) -> str:
    """Which property to drop: the one that the message names, else the last, which is needed the least."""
    asked = [value for name, value in parse_qsl(urlsplit(url).query) if name == "expand" and value not in refused]
    if not asked:
        raise Refused(f"the Hub refuses the listing: {message.strip()[:300]}")
    named = [name for name in asked if f'"{name}"' in message or f"'{name}'" in message]
    return named[0] if len(named) == 1 else asked[-1]
