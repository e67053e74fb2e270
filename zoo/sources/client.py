"""One GET from the Hub: bounded in bytes and in time, retried, paced, and with the token for the
Hub alone.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from zoo.errors import Unavailable
from zoo.sources.quota import Quota

OFFICIAL = "https://huggingface.co"
_ERROR_BODY = 65_536  # bytes kept of an error page
_DEADLINE = 300.0  # seconds that a whole answer may take
_FIRST_TRIES = 3  # while nothing has been reached: a Hub that is not there is told in seconds


class Cut(Exception):
    """The answer broke off, stalled or was not what its headers promised; worth another try."""


class TooLarge(Exception):
    """The answer is larger than the caller accepts; another try would not help."""


@dataclass(frozen=True)
class Answer:
    """A successful answer. ``next`` is the absolute URL of the following page, ``headers`` have
    lower-case names; ``value`` is what the caller's ``check`` made of it.
    """

    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]
    next: str | None = None
    value: Any = None


class Client:
    """GET requests to one Hub endpoint.

    ``timeout`` is the longest silence in seconds. A fault of the server or of the line is retried,
    ``tries`` requests in all; ``wait`` is the first pause in seconds, doubled up to 30 times, and
    ``quota`` knows what RateLimit and Retry-After ask for. After that ``get`` raises
    ``Unavailable``; a refusal (4xx) raises huggingface_hub's own ``HfHubHTTPError`` at once.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        token: str | bool | None = None,
        timeout: float = 20.0,
        tries: int = 10,
        wait: float = 1.0,
        quota: Quota | None = None,
    ) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers

        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.quota = quota or Quota()
        self.timeout, self.tries, self.wait = timeout, tries, wait
        self._headers = build_hf_headers(token=token, library_name="teacher-zoo")
        self._reached = False

    def file_url(self, repo: str, revision: str, name: str) -> str:
        """Where ``name`` of ``repo`` lies; every part is quoted, so nothing in them can change the
        path.
        """
        return f"{self.endpoint}/{quote(repo, safe='/')}/resolve/{quote(revision, safe='')}/{quote(name, safe='')}"  # noqa: E501

    def rebase(self, url: str) -> str:
        """A ``next`` link on this endpoint: mirrors pass on links to the Hub itself. Another host
        is refused.
        """
        given, own = urlsplit(url), urlsplit(self.endpoint)
        if (given.scheme, given.netloc) == (own.scheme, own.netloc):
            return url
        if f"{given.scheme}://{given.netloc}" == OFFICIAL:
            return self.endpoint + url[len(OFFICIAL) :]
        raise Unavailable(
            f"the next page lies on another host ({given.netloc}), which is not asked"
        )

    def get(
        self,
        url: str,
        *,
        kind: str,
        cap: int,
        first: int | None = None,
        enough: Callable[[bytearray], bool] | None = None,
        check: Callable[[Answer], Any] | None = None,
    ) -> Answer:
        """GET ``url``; ``kind`` names the quota (``api``, ``files``); at most ``cap`` bytes are
        kept, decoded.

        ``first`` asks for that many leading bytes; a server that ignores it is read only until
        ``enough(body)``. ``check`` may raise ``Cut`` on an answer that looks damaged, and it is
        asked for again; what it returns is the answer's ``value``.
        """
        # Byte ranges and digests are of the stored bytes; only listings travel compressed.
        headers = self._headers | {"Accept-Encoding": "gzip" if kind == "api" else "identity"}
        if first is not None:
            headers["Range"] = f"bytes=0-{first - 1}"
        fault: Exception | None = None
        for attempt in range(self.tries):
            if attempt >= _FIRST_TRIES and not self._reached:
                break
            if attempt:
                time.sleep(min(self.wait * 2 ** (attempt - 1), 30 * self.wait))
            self.quota.wait(kind)
            try:
                answer = self._once(url, kind, headers, cap, enough)
                return answer if check is None else replace(answer, value=check(answer))
            except Cut as error:
                fault = error
        raise Unavailable(
            f"{url} cannot be read ({fault}); is the Hub reachable? Run the same command again to"
            " go on"
        )

    def _once(
        self,
        url: str,
        kind: str,
        headers: Mapping[str, str],
        cap: int,
        enough: Callable[[bytearray], bool] | None,
    ) -> Answer:
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import get_session, hf_raise_for_status, httpx

        try:
            with get_session().stream(
                "GET", url, headers=headers, timeout=self.timeout
            ) as response:
                self._reached = True
                self.quota.note(kind, response.headers)
                status = response.status_code
                if status in (408, 429) or status >= 500:
                    raise Cut(f"HTTP {status}")
                if status >= 400:
                    body = _read(response, _ERROR_BODY, lambda read: len(read) >= _ERROR_BODY)
                    told = {
                        name: value
                        for name, value in response.headers.items()
                        if name.startswith("x-")
                    }
                    told["content-type"] = response.headers.get("content-type", "")
                    hf_raise_for_status(
                        httpx.Response(status, headers=told, content=body, request=response.request)
                    )
                body = _read(response, cap, enough)
                return Answer(
                    url,
                    status,
                    body,
                    dict(response.headers),
                    response.links.get("next", {}).get("url"),
                )
        except HfHubHTTPError:
            raise
        except (
            httpx.HTTPError,
            zlib.error,
            RuntimeError,
        ) as error:  # the last: another thread closed the shared session
            raise Cut(f"{type(error).__name__}: {error}") from None


def _read(response: Any, cap: int, enough: Callable[[bytearray], bool] | None) -> bytes:
    """The decoded body, never more than ``cap`` bytes of it in memory, whatever the encoding
    unfolds to.
    """
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise TooLarge(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    unfold = zlib.decompressobj(31) if encoding == "gzip" else None
    body, ends = bytearray(), time.monotonic() + _DEADLINE
    for chunk in response.iter_raw():
        body += unfold.decompress(chunk, cap + 1 - len(body)) if unfold else chunk
        if enough is not None and enough(body):
            return bytes(body)
        if len(body) > cap:
            raise TooLarge(f"the answer is larger than {cap:,} bytes")
        if time.monotonic() > ends:
            raise Cut(f"the answer took more than {_DEADLINE:.0f} s")
    if unfold is not None and not unfold.eof:
        raise Cut("the compressed answer broke off")
    return bytes(body)


def parse(body: bytes) -> Any:
    """JSON from a stranger; ``Cut`` where it is none. Numbers of thousands of digits become
    ``None``, broken UTF-8 a replacement character: one bad row must not cost the other 999.
    """
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise Cut(f"the page is not whole JSON ({error})") from None
    except RecursionError:
        raise Cut("the page is nested too deeply") from None
    except ValueError:
        pass
    try:
        return json.loads(
            body.decode("utf-8", "replace"),
            parse_int=lambda digits: int(digits) if len(digits) < 40 else None,
        )
    except (ValueError, RecursionError) as error:
        raise Cut(f"the page is not whole JSON ({error})") from None
