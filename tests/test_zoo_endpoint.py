"""Which server an address asks, and which token it gets."""

from __future__ import annotations

import pytest
from huggingface_hub import constants

from zoo.errors import UserError
from zoo.loading.endpoint import OFFICIAL, Credentials, Origin, endpoint_of, origin_of

MIRROR = "https://mirror.example"
KEPT = "hf_kept"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Hub.Example/a?b", Origin("https", "hub.example", 443)),
        ("http://hub.example", Origin("http", "hub.example", 80)),
        ("http://hub.example:8080/x", Origin("http", "hub.example", 8080)),
        ("https://[::1]:9", Origin("https", "::1", 9)),
        ("ftp://hub.example", None),
        ("https://", None),
        ("https://hub.example:99999", None),
        ("https://me@hub.example", None),
        ("https://hub.example\\@other.example", None),
        ("https://hub.example/ a", None),
        ("https://hub.example/\n", None),
        ("https://hub.example/\x7f", None),
    ],
)
def test_an_address_has_one_origin_or_none(url: str, origin: Origin | None) -> None:
    assert origin_of(url) == origin


def test_an_endpoint_is_a_plain_address_without_a_slash_at_its_end() -> None:
    assert endpoint_of("https://hub.example/mirror//") == "https://hub.example/mirror"
    for wrong, reason in (
        ("https://me:secret@hub.example", "holds a user name or a password"),
        ("hub.example", "begins with https://"),
        ("https://hub.example?x=1", "such as https://hub.example"),
        ("https://hub.example#x", "such as https://hub.example"),
        ("https://hub example", "such as https://hub.example"),
    ):
        with pytest.raises(UserError, match=reason) as caught:
            endpoint_of(wrong)
        assert "secret" not in str(caught.value)


def test_without_an_address_that_of_the_environment_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"{MIRROR}/")
    assert endpoint_of(None) == MIRROR
    monkeypatch.setattr(constants, "ENDPOINT", "mirror.example")
    with pytest.raises(UserError, match=r"^HF_ENDPOINT mirror\.example: "):
        endpoint_of(None)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has a token, and asks the Hub itself."""
    monkeypatch.setattr("huggingface_hub.utils.get_token", lambda: KEPT)
    monkeypatch.setattr(constants, "ENDPOINT", OFFICIAL)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("endpoint", "token"),
    [
        (OFFICIAL, KEPT),
        ("https://datasets.huggingface.co", KEPT),
        ("http://huggingface.co", None),  # everybody on the way could read it
        ("https://nothuggingface.co", None),
        ("https://huggingface.co.example", None),
        (MIRROR, None),
    ],
)
def test_the_token_of_this_machine_goes_to_the_hub_alone(endpoint: str, token: str | None) -> None:
    assert Credentials.of(endpoint, None) == (token, token is None, False)


@pytest.mark.usefixtures("kept")
def test_who_sets_hf_endpoint_trusts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"{MIRROR}:443/hub")
    assert Credentials.of(MIRROR, None).token == KEPT
    assert Credentials.of(f"{MIRROR}:444", None) == (None, True, False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert Credentials.of(MIRROR, None) == (None, False, False)


@pytest.mark.usefixtures("kept")
def test_a_token_that_is_named_is_sent_and_a_broken_one_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Credentials.of(MIRROR, "hf_other") == ("hf_other", False, True)
    assert Credentials.of(MIRROR, True) == (KEPT, False, True)
    assert Credentials.of(OFFICIAL, False) == (None, False, True)
    for broken in ("", "two words", "hf_\u00e4", "line\n"):
        with pytest.raises(UserError, match="is no token"):
            Credentials.of(OFFICIAL, broken)
    monkeypatch.setattr("huggingface_hub.utils.get_token", lambda: None)
    with pytest.raises(UserError, match="this machine has no token of the Hub"):
        Credentials.of(OFFICIAL, True)
    assert Credentials.of(MIRROR, None) == (None, False, False)


@pytest.mark.usefixtures("kept")
def test_where_the_token_goes_is_said_unless_it_is_the_hub() -> None:
    def sentence(endpoint: str, token: str | bool | None) -> str | None:
        return Credentials.of(endpoint, token).sentence(endpoint)

    assert sentence(OFFICIAL, None) is None
    assert sentence(MIRROR, False) is None
    assert sentence(MIRROR, None) == (
        "the Hub's token of this machine is not sent to mirror.example; --token sends it, where"
        " you trust that address"
    )
    assert sentence(MIRROR, True) == "the Hub's token is sent to mirror.example"
    clear = "http://mirror.example:8080"
    assert sentence(clear, True) == "the Hub's token is sent to mirror.example, unencrypted"
    assert sentence("http://localhost:80", True) == "the Hub's token is sent to localhost"
