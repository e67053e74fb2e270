"""Which Hub is asked, and which token it may see."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from zoo.errors import UserError

OFFICIAL = "https://huggingface.co"
_PORTS = {"https": 443, "http": 80}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Origin(NamedTuple):
    """Whom an address asks: two addresses with one origin are the same server."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin | None:
    """The origin of an http(s) address; ``None`` for anything else.

    An address with a user's name, a backslash, spaces or control characters has none: programs
    differ about the host that it means.
    """
    if re.search(r"[\s\\\x00-\x20\x7f]", url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if port is None or not parts.hostname or "@" in parts.netloc:
        return None
    return Origin(parts.scheme, parts.hostname.lower(), port)


def endpoint_of(address: str | None) -> str:
    """The address of the Hub without a slash at its end; default: HF_ENDPOINT or the Hub itself.

    Raises ``UserError`` for anything but scheme, host, port and path. A password in it is never
    repeated: the address is printed and kept in the catalogue.
    """
    from huggingface_hub import constants

    name, url = "--endpoint", address
    if url is None:
        name, url = "HF_ENDPOINT", constants.ENDPOINT
    if "@" in url:
        raise UserError(
            f"{name} holds a user name or a password, which would be stored and printed; leave out"
            " what stands before @ and sign in with `hf auth login` (crawl --token sends that"
            " token)"
        )
    if not url.startswith(("https://", "http://")):
        raise UserError(f"{name} {url}: an address that begins with https:// is expected")
    if origin_of(url) is None or "?" in url or "#" in url:
        raise UserError(f"{name} {url}: an address such as https://hub.example is expected")
    return url.rstrip("/")


class Credentials(NamedTuple):
    """``token`` is sent; ``withheld``: this machine has one, which this endpoint does not get."""

    token: str | None
    withheld: bool
    explicit: bool

    @classmethod
    def of(cls, endpoint: str, token: str | bool | None) -> Credentials:
        """The token for ``endpoint``: a text, ``True`` for this machine's, ``False`` for none.

        ``None``: this machine's where the endpoint is huggingface.co or HF_ENDPOINT. Raises
        ``UserError`` for a token that cannot stand in a header, and where there is none to send.
        """
        from huggingface_hub.utils import get_token

        if isinstance(token, str):
            return cls(_sendable(token), withheld=False, explicit=True)
        if token is False:
            return cls(None, withheld=False, explicit=True)
        stored = get_token()
        if token is True:
            if stored is None:
                raise UserError(
                    "--token: this machine has no token of the Hub; `hf auth login` stores one"
                )
            return cls(_sendable(stored), withheld=False, explicit=True)
        if stored is None or not _is_implicit():
            return cls(None, withheld=False, explicit=False)
        if not _is_trusted(endpoint):
            return cls(None, withheld=True, explicit=False)
        return cls(_sendable(stored), withheld=False, explicit=False)

    def sentence(self, endpoint: str) -> str | None:
        """What a user should know of the token; ``None`` where it is as everybody expects."""
        origin = origin_of(endpoint)
        host = origin.host if origin else endpoint
        if self.withheld:
            return (
                f"the Hub's token of this machine is not sent to {host}; --token sends it, where"
                " you trust that address"
            )
        if self.token is None or _is_official(endpoint):
            return None
        clear = origin is not None and origin.scheme == "http" and host not in _LOOPBACK
        return f"the Hub's token is sent to {host}" + (", unencrypted" if clear else "")


def _sendable(token: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise UserError(
            "the Hub's token (HF_TOKEN, or as `hf auth login` stored it) is no token: it is empty,"
            " or holds spaces or characters that are not ASCII; copy it again from"
            " https://huggingface.co/settings/tokens"
        )
    return token


def _is_implicit() -> bool:
    from huggingface_hub import constants

    return not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN


def _is_official(endpoint: str) -> bool:
    origin = origin_of(endpoint)
    if origin is None or origin.scheme != "https":
        return False
    return origin.host == "huggingface.co" or origin.host.endswith(".huggingface.co")


def _is_trusted(endpoint: str) -> bool:
    """Whether the user told all tools of the Hub to ask this address."""
    from huggingface_hub import constants

    configured = origin_of(constants.ENDPOINT)
    return _is_official(endpoint) or (configured is not None and configured == origin_of(endpoint))
