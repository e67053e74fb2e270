"""GET requests to the Hub: bounded in bytes and in time, retried and paced."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from zoo.errors import Unavailable
from zoo.loading.endpoint import OFFICIAL, Credentials, endpoint_of, origin_of
from zoo.terminal.pauses import Pauses

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx

    HasEnough = Callable[[bytearray], bool]

_ERROR_BODY = 65_536  # bytes kept of an error page
_DEADLINE = 300.0  # seconds that a whole body may take
_FIRST_TRIES = 3  # until the first response, so that an absent Hub is reported in seconds
_SILENT_SECONDS = 60.0  # for which a Hub that was not there is tried once only
_LONGEST_PAUSE = 3_600  # seconds, whatever a header asks for
# what httpx raises if another thread closed the shared session during or before the request
_CLOSED = (RuntimeError, AttributeError)
_MOST_VALUES = 3_000_000  # of a JSON answer: with 1,000 rows of a listing there are about 100,000
_TRANSIENT = (408, *range(500, 600))  # HTTP status of a fault that may pass


_unreached: dict[str, float] = {}  # endpoint -> when it was last not there (monotonic)


class DamagedResponse(Exception):
    """The body broke off, stalled or was not what was expected; worth another request.

    ``pause`` is the seconds that the server asks to wait before.
    """

    def __init__(self, message: str, *, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class TooLarge(Exception):
    """The body is larger than the caller accepts; another request would not help."""


@dataclass(frozen=True)
class HubResponse:
    """A successful response.

    ``next`` is the absolute URL of the following page, ``headers`` have lower-case names; ``value``
    is what the caller's ``check`` returned for it.
    """

    url: str
    status: int
    body: bytes
    headers: Mapping[str, str]
    next: str | None = None
    value: Any = None


class Quota:
    """The RateLimit windows of the Hub, one per kind of request (``api`` or ``files``); safe in
    threads.

    ``note`` learns from every response, ``wait`` pauses until the window ends when ``reserve``
    requests are left, so that a 429 is never provoked. ``slept`` is the seconds waited so far.
    """

    def __init__(self, *, reserve: int = 2, pauses: Pauses | None = None) -> None:
        self.reserve, self.pauses = reserve, pauses or Pauses()
        self.slept = 0.0
        self._windows: dict[str, tuple[int, float]] = {}  # kind -> (requests left, end of window)
        self._lock = threading.Lock()

    def note(self, kind: str, headers: Mapping[str, str]) -> None:
        """Learn what is left from ``RateLimit``, or how long to pause from ``Retry-After``."""
        from huggingface_hub.utils import parse_ratelimit_headers

        info, pause = parse_ratelimit_headers(headers), _retry_after(headers)
        if info is not None:
            remaining, seconds = info.remaining, float(info.reset_in_seconds)
        elif pause is not None:
            remaining, seconds = 0, pause
        else:
            return
        now = self.pauses.clock()
        ends = now + min(seconds, _LONGEST_PAUSE)
        with self._lock:
            left, old_ends = self._windows.get(kind, (remaining, 0.0))
            if abs(old_ends - ends) < 3 and now < old_ends:
                # A response that was on its way while other requests were sent says that more is
                # left than is: within a window the count only falls.
                remaining = min(left, remaining)
            self._windows[kind] = remaining, ends

    def wait(self, kind: str) -> float:
        """Take one request out of the window of ``kind``, pausing first if it is spent.

        Returns the seconds waited.
        """
        with self._lock:
            left, ends = self._windows.get(kind, (0, 0.0))
            now = self.pauses.clock()
            if now >= ends:
                return 0.0
            if left > self.reserve:
                self._windows[kind] = left - 1, ends
                return 0.0
            pause = ends - now + 0.5  # the header counts whole seconds
            self.slept += pause
        self.pauses.wait(pause, "for the Hub's quota of requests to begin anew")
        return pause

    def left(self, kind: str) -> int | None:
        """Requests left in the present window of ``kind``; ``None`` where no response said so."""
        left, ends = self._windows.get(kind, (0, 0.0))
        return left if self.pauses.clock() < ends else None

    def left_text(self, kind: str) -> str:
        """``431 requests left``, or nothing where that is not known."""
        left = self.left(kind)
        return "" if left is None else f"{left:,} requests left"


class Client:
    """GET requests to one Hub endpoint.

    Transient faults of the server and of the connection, damaged bodies and HTTP 429 are retried,
    ``tries`` times in all. ``timeout`` is the longest silence in seconds, ``wait`` the first pause,
    which doubles up to 30 times itself. ``quota`` paces the requests and holds the ``pauses``,
    which end by ``stop``. After that ``get`` raises ``Unavailable``; a refusal (4xx) raises
    huggingface_hub's own ``HfHubHTTPError`` at once.

    ``token`` is a token, ``True`` for this machine's, ``False`` for none; by default this machine's
    token goes to huggingface.co and to the address in HF_ENDPOINT, and to no other. Raises
    ``UserError`` for an address with a password in it, or a token that cannot be sent.
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
        from huggingface_hub.utils import build_hf_headers

        self.endpoint = endpoint_of(endpoint)
        self.credentials = Credentials.of(self.endpoint, token)
        self.quota = quota or Quota()
        self.pauses = self.quota.pauses
        self.timeout, self.tries, self.wait = timeout, tries, wait
        self._headers = build_hf_headers(
            token=self.credentials.token or False, library_name="teacher-zoo"
        )
        self._reached = False
        import logging

        # A line of log for every retry would break the progress display; the last fault is raised.
        logging.getLogger("huggingface_hub.utils._http").setLevel(logging.ERROR)

    def file_url(
        self,
        repo: str,
        revision: str,
        name: str,
    ) -> str:
        """The address of file ``name`` of ``repo``; every part is quoted, so that nothing in it can
        change the path.
        """
        parts = quote(repo, safe="/"), "resolve", quote(revision, safe=""), quote(name, safe="")
        return "/".join((self.endpoint, *parts))

    def rebase(self, link: str, page: str | None = None) -> str:
        """The address of a ``next`` link on this endpoint; mirrors pass on links to the Hub itself.

        A relative link is resolved against the address of its ``page`` (RFC 8288). Raises
        ``Unavailable`` for a link to any other host, port or scheme, or with a user's name in it.
        """
        url = urljoin(page or f"{self.endpoint}/", link)
        origin = origin_of(url)
        if origin is not None and origin == origin_of(self.endpoint):
            return url
        if origin is not None and origin == origin_of(OFFICIAL):
            parts = urlsplit(url)
            return self.endpoint + urlunsplit(("", "", parts.path, parts.query, ""))
        host = origin.host if origin is not None else url[:100]
        raise Unavailable(f"the next page lies on another host ({host}), which is refused")

    def stop(self) -> None:
        """End all pauses: requests of other threads raise ``Unavailable`` at their next one."""
        self.pauses.stop()

    def get(
        self,
        url: str,
        *,
        kind: str,
        cap: int,
        first: int | None = None,
        enough: HasEnough | None = None,
        check: Callable[[HubResponse], Any] | None = None,
    ) -> HubResponse:
        """GET ``url``; ``kind`` names the quota (``api``, ``files``); at most ``cap`` bytes are
        kept, decoded.

        ``first`` asks for that many leading bytes; a server that ignores it is read only until
        ``enough(body)``. ``check`` may raise ``DamagedResponse``, and the request is sent again;
        what it returns is the response's ``value``.
        """
        # Byte ranges and digests are of the stored bytes; only listings travel compressed.
        headers = self._headers | {"Accept-Encoding": "gzip" if kind == "api" else "identity"}
        if first is not None:
            headers["Range"] = f"bytes=0-{first - 1}"
        fault, patience = DamagedResponse("not asked"), self._patience()
        for attempt in range(self.tries):
            if attempt:
                self._pause(attempt, fault)
            self.quota.wait(kind)
            try:
                response = self._send(url, kind, headers, cap, enough)
                return response if check is None else replace(response, value=check(response))
            except DamagedResponse as error:
                fault = error
            if not self._reached and attempt + 1 >= patience:
                _unreached[self.endpoint] = time.monotonic()
                break
        raise self._unavailable(url, fault)

    def _pause(self, attempt: int, fault: DamagedResponse) -> None:
        """Wait before another try of a request that met ``fault``."""
        backoff = min(self.wait * 2 ** (attempt - 1), 30 * self.wait)
        self.pauses.wait(max(backoff, fault.pause), f"before the Hub is asked again ({fault})")

    def _send(
        self,
        url: str,
        kind: str,
        headers: Mapping[str, str],
        cap: int,
        enough: HasEnough | None,
    ) -> HubResponse:
        """One request; every fault that may pass is a ``DamagedResponse``."""
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import http_stream_backoff, httpx

        try:
            # Retries are ours: huggingface_hub's sleep as long as any header says, and in silence.
            with http_stream_backoff(
                "GET",
                url,
                headers=headers,
                timeout=self.timeout,
                max_retries=0,
                retry_on_exceptions=(httpx.TransportError, *_CLOSED),
                retry_on_status_codes=(),
            ) as response:
                self._reached = True
                self.quota.note(kind, response.headers)
                status = response.status_code
                if status == 429:  # the quota knows how long to wait, in all threads
                    raise DamagedResponse("HTTP 429, too many requests")
                if status in _TRANSIENT:
                    pause = min(_retry_after(response.headers) or 0.0, _LONGEST_PAUSE)
                    raise DamagedResponse(f"HTTP {status}", pause=pause)
                if status >= 400:
                    _raise_refusal(response)
                body = _read(response, cap, enough)
                following = response.links.get("next", {}).get("url")
                return HubResponse(
                    str(response.url), status, body, dict(response.headers), following
                )
        except HfHubHTTPError:  # a refusal, which another request does not change
            raise
        except (httpx.HTTPError, *_CLOSED) as error:
            raise DamagedResponse(f"{type(error).__name__}: {error}") from None

    def _patience(self) -> int:
        """Tries of a request whose connection fails; of many models each asks the Hub anew."""
        since = time.monotonic() - _unreached.get(self.endpoint, -_SILENT_SECONDS)
        return _FIRST_TRIES if since > _SILENT_SECONDS else 1

    def _unavailable(self, url: str, fault: object) -> Unavailable:
        return Unavailable(
            f"{url} cannot be read ({fault}); is the Hub reachable? Run the same command again to"
            " go on"
        )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that ``Retry-After`` asks for, as a number or as a date; ``None`` without it."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())  # by the server's own clock
    except (ValueError, TypeError, OverflowError):
        return None


def _raise_refusal(response: httpx.Response) -> None:
    """Raise huggingface_hub's error for a 4xx, of which only the beginning is read."""
    from huggingface_hub.utils import hf_raise_for_status, httpx

    body = _read(response, _ERROR_BODY, lambda read: len(read) >= _ERROR_BODY)
    headers = {name: value for name, value in response.headers.items() if name.startswith("x-")}
    headers["content-type"] = response.headers.get("content-type", "")
    hf_raise_for_status(
        httpx.Response(
            response.status_code, headers=headers, content=body, request=response.request
        )
    )


def _read(response: httpx.Response, cap: int, enough: HasEnough | None) -> bytes:
    """The decoded body, at most ``cap`` bytes in memory however small it was compressed."""
    from huggingface_hub.utils import httpx

    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise TooLarge(f"the answer is encoded as {encoding[:40]!r}, which was not asked for")
    unfold = zlib.decompressobj(31) if encoding == "gzip" else None
    body, ends = bytearray(), time.monotonic() + _DEADLINE
    try:
        for chunk in response.iter_raw():
            body += unfold.decompress(chunk, cap + 1 - len(body)) if unfold else chunk
            if enough is not None and enough(body):
                return bytes(body)
            if len(body) > cap:
                raise TooLarge(f"the answer is larger than {cap:,} bytes")
            if time.monotonic() > ends:
                raise DamagedResponse(f"the answer took more than {_DEADLINE:.0f} s")
    except (httpx.HTTPError, zlib.error, RuntimeError) as error:
        # converted, or http_stream_backoff would repeat the request while this block still runs
        raise DamagedResponse(f"{type(error).__name__}: {error}") from None
    if unfold is not None and not unfold.eof:
        raise DamagedResponse("the compressed answer broke off")
    return bytes(body)


def parse(body: bytes) -> Any:
    """JSON from a stranger; ``DamagedResponse`` where it is none, ``TooLarge`` where it holds
    millions of values, which as objects take 30 times the memory of the text.

    Numbers of thousands of digits become ``None``, broken UTF-8 a replacement character: one bad
    row must not cost the other 999.
    """
    values = sum(body.count(mark) for mark in b",{[")  # at least as many as there are
    if values > _MOST_VALUES:
        raise TooLarge(f"the answer holds {values:,} values, more than {_MOST_VALUES:,}")
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise DamagedResponse(f"the page is not whole JSON ({error})") from None
    except RecursionError:
        raise DamagedResponse("the page is nested too deeply") from None
    except ValueError:
        pass  # not UTF-8, or a number of thousands of digits
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_int=_short_int)
    except (ValueError, RecursionError) as error:
        raise DamagedResponse(f"the page is not whole JSON ({error})") from None


def _short_int(digits: str) -> int | None:
    return int(digits) if len(digits) < 40 else None
