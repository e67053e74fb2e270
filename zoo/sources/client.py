"""One GET from the Hub: bounded in bytes and in time, retried, paced, and with the token for the Hub alone."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from zoo.errors import Unavailable
from zoo.sources.quota import Quota

OFFICIAL = "https://huggingface.co"
_ERROR_BODY = 65_536  # bytes kept of an error page


class Cut(Exception):
    """The answer broke off, stalled or was not what its headers promised; worth another try."""


class TooLarge(Exception):
    """The answer is larger than the caller accepts; another try would not help."""


@dataclass(frozen=True)
class Answer:
    """A successful answer. ``next`` is the absolute URL of the following page, ``headers`` have lower-case names."""

    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]
    next: str | None = None


class Client:
    """GET requests to one Hub endpoint.

    ``timeout`` is the longest silence in seconds, ``deadline`` the longest whole answer. A fault of the server or of
    the line is retried: ``tries`` by status and connection inside (huggingface_hub's backoff, which honours RateLimit
    and Retry-After), and ``rounds`` around it for answers that break off; ``wait`` is the first pause in seconds.
    After that ``get`` raises ``Unavailable``; a refusal (4xx) raises huggingface_hub's own ``HfHubHTTPError`` at once.
    """

    def __init__(self, endpoint: str | None = None, *, token: str | bool | None = None, timeout: float = 20.0,
                 deadline: float = 300.0, tries: int = 4, rounds: int = 6, wait: float = 1.0,
                 quota: Quota | None = None) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers

        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.quota = quota or Quota()
        self.timeout, self.deadline, self.tries, self.rounds, self.wait = timeout, deadline, tries, rounds, wait
        self.requests: Counter[str] = Counter()
        self._headers = build_hf_headers(token=token, library_name="teacher-zoo")
        self._reached = False
        self._lock = threading.Lock()

    def file_url(self, repo: str, revision: str, name: str) -> str:
        """Where ``name`` of ``repo`` lies; every part is quoted, so nothing in them can change the path."""
        return f"{self.endpoint}/{quote(repo, safe='/')}/resolve/{quote(revision, safe='')}/{quote(name, safe='')}"

    def rebase(self, url: str) -> str:
        """A ``next`` link on this endpoint: mirrors pass on links to the Hub itself. Another host is refused."""
        given, own = urlsplit(url), urlsplit(self.endpoint)
        if (given.scheme, given.netloc) == (own.scheme, own.netloc):
            return url
        if f"{given.scheme}://{given.netloc}" == OFFICIAL:
            return self.endpoint + url[len(OFFICIAL):]
        raise Unavailable(f"the next page lies on another host ({given.netloc}), which is not asked")

    def get(self, url: str, *, kind: str, cap: int, first: int | None = None,
            enough: Callable[[bytearray], bool] | None = None, check: Callable[[Answer], None] | None = None) -> Answer:
        """GET ``url``; ``kind`` names the quota (``api``, ``files``); at most ``cap`` bytes are kept, decoded.

        ``first`` asks for that many leading bytes; a server that ignores it is read only until ``enough(body)``.
        ``check`` may raise ``Cut`` on an answer that looks damaged, and it is asked for again.
        """
        headers = dict(self._headers)
        # Byte ranges and digests are of the stored bytes; only listings travel compressed.
        headers["Accept-Encoding"] = "gzip" if kind == "api" else "identity"
        if first is not None:
            headers["Range"] = f"bytes=0-{first - 1}"
        fault: Exception | None = None
        for round_ in range(self.rounds if self._reached else 2):
            if round_:
                time.sleep(min(self.wait * 2 ** (round_ - 1), 30 * self.wait))
            try:
                answer = self._once(url, kind, headers, cap, enough)
                if check is not None:
                    check(answer)
                return answer
            except Cut as error:
                fault = error
        raise Unavailable(f"{url} cannot be read ({fault}); is the Hub reachable? Run the same command again to go on")

    def _once(self, url: str, kind: str, headers: dict[str, str], cap: int,
              enough: Callable[[bytearray], bool] | None) -> Answer:
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import http_stream_backoff, httpx

        self.quota.wait(kind)
        with self._lock:
            self.requests[kind] += 1
        try:
            with http_stream_backoff("GET", url, headers=headers, timeout=httpx.Timeout(self.timeout),
                                     max_retries=self.tries if self._reached else 1, base_wait_time=self.wait,
                                     max_wait_time=8 * self.wait) as response:
                self._reached = True
                self.quota.note(kind, response.headers)
                if response.status_code >= 400:
                    _refuse(response)
                body = self._read(response, cap, enough)
                following = response.links.get("next", {}).get("url")
                return Answer(url, response.status_code, body, dict(response.headers), following)
        except HfHubHTTPError as error:
            status = error.response.status_code if error.response is not None else 500
            if status in (408, 429) or status >= 500:
                raise Cut(f"HTTP {status}") from None
            raise
        except httpx.HTTPError as error:
            raise Cut(f"{type(error).__name__}: {error}") from None
        except RuntimeError as error:  # another thread's connection error closed the shared session
            if "closed" not in str(error):
                raise
            raise Cut(str(error)) from None

    def _read(self, response: Any, cap: int, enough: Callable[[bytearray], bool] | None) -> bytes:
        """The decoded body, never more than ``cap`` bytes of it in memory, whatever the encoding unfolds to."""
        from huggingface_hub.utils import httpx

        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            raise TooLarge(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
        unfold = zlib.decompressobj(31) if encoding == "gzip" else None
        body, ends = bytearray(), time.monotonic() + self.deadline
        try:
            for chunk in response.iter_raw():
                body += unfold.decompress(chunk, cap + 1 - len(body)) if unfold else chunk
                if enough is not None and enough(body):
                    return bytes(body)
                if len(body) > cap:
                    raise TooLarge(f"the answer is larger than {cap:,} bytes")
                if time.monotonic() > ends:
                    raise Cut(f"the answer took more than {self.deadline:.0f} s")
        except (httpx.HTTPError, zlib.error) as error:
            # Turned into a type of our own inside the `with`: the backoff would take it for a fault of its own.
            raise Cut(f"{type(error).__name__}: {error}") from None
        if unfold is not None and not unfold.eof:
            raise Cut("the compressed answer broke off")
        return bytes(body)


def _refuse(response: Any) -> None:
    """Raise huggingface_hub's error for an answer of 400 and more, having read a bounded part of its body."""
    from huggingface_hub.utils import hf_raise_for_status, httpx

    body = bytearray()
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > _ERROR_BODY:
                break
    except httpx.HTTPError:
        pass  # the status line says enough
    kept = {name: value for name, value in response.headers.items()
            if name in ("x-error-code", "x-error-message", "content-type", "ratelimit", "x-request-id")}
    hf_raise_for_status(httpx.Response(response.status_code, headers=kept, content=bytes(body[:_ERROR_BODY]),
                                       request=response.request))
