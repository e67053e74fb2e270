"""Budgets are read strictly, estimates learn, and what is at work when time is up is left
behind.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import types
from collections.abc import Iterator

import pytest

from selection.probing.budget import Budget, Costs, bytes_of, seconds_of, until
from selection.probing.prober import Answer, pay
from zoo.card import ModelCard
from zoo.errors import UserError


def card(
    name: str = "m",
    *,
    source: str = "folder",
    params: int | None = 3_500_000,
    weight_bytes: int | None = 14_000_000,
) -> ModelCard:
    return ModelCard(
        id=name,
        source=source,
        location=name,
        params_total=params,
        weight_bytes=weight_bytes,
        input_size=224,
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("2h", 7200), ("5", 300), (" 1.5M ", 90)]
)
def test_a_time_is_read_in_seconds_and_a_bare_number_is_minutes(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["0", "0s", "-1", "5x", "", "m", "1h30", "inf", "nan", "5 minutes"]
)
def test_what_is_no_time_is_the_users_error(text: str) -> None:
    with pytest.raises(UserError, match="expected a time such as"):
        seconds_of(text)


def test_gigabytes_may_be_none_but_not_less() -> None:
    assert bytes_of(0) == 0
    assert bytes_of(1.5) == 1.5e9
    for wrong in (-1, math.nan, math.inf):
        with pytest.raises(UserError, match="--budget-gb"):
            bytes_of(wrong)


def test_what_is_left_falls_by_the_reserve_and_is_infinite_without_a_bound() -> None:
    now = time.monotonic()
    assert Budget(begin=now - 100).left() == math.inf
    assert Budget(1000, begin=now, reserve=400).left() == pytest.approx(600, abs=100)
    assert Budget(1000, begin=now - 2000).left() < 0


def test_a_measured_model_is_estimated_by_its_own_rate_and_others_by_the_median() -> None:
    costs = Costs(started=True)
    small, large = card("small", params=1_000_000), card("large", params=100_000_000)
    assert costs.running(large, 500) > costs.running(small, 500) > 0
    before = costs.running(large, 500)
    costs.ran(
        small, 100, 1000.0
    )  # the first is slow because everything is cold: it alone moves no other estimate
    assert costs.running(large, 500) == before
    assert costs.running(small, 100) >= 1000
    for name in "abc":
        costs.ran(card(name), 100, 100.0)
    assert costs.running(large, 500) > 5 * before


def test_downloads_are_paid_once_and_an_unknown_size_never_fits_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: card.id == "here")
    bound, costs = Budget(download=20e6), Costs()
    assert pay(bound, costs, card("there", source="hub", weight_bytes=15_000_000)) is None
    assert bound.download == 5e6
    assert pay(bound, costs, card("more", source="hub", weight_bytes=6_000_000)) == "budget_gb"
    assert (
        pay(bound, costs, card("four-a-scalar", source="timm", params=1_300_000, weight_bytes=None))
        == "budget_gb"
    )
    assert (
        pay(bound, costs, card("unknown", source="hub", params=None, weight_bytes=None))
        == "budget_gb"
    )
    assert pay(bound, costs, card("here", source="hub")) is None
    assert pay(bound, costs, card("folder")) is None
    assert bound.download == 5e6
    assert (
        pay(bound, costs, card("small", source="timm", params=900_000, weight_bytes=None)) is None
    )
    assert bound.download == 5e6 - 4.636e6
    assert (
        pay(Budget(), costs, card("unknown", source="hub", params=None, weight_bytes=None)) is None
    )


def test_a_learnt_download_changes_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: False)
    costs = Costs(started=True)
    first, second = card("a", source="hub"), card("b", source="hub")
    before = costs.loading(second)
    costs.fetched(first, 14_000_000, 140.0)
    assert costs.loading(second) > before + 100
    assert costs.loading(first) < 2


def test_starting_torch_is_paid_once_and_not_by_every_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    costs = Costs()
    assert costs.starting() > 1
    assert (
        costs.loading(card("tiny", params=100_000)) < 1
    )  # a budget of 20 s gives a fifth of it to one model at most
    monkeypatch.setitem(sys.modules, "timm", types.ModuleType("timm"))
    assert costs.starting() == 0


def test_answers_come_until_time_is_up_and_the_rest_is_left_behind() -> None:
    release, stopped = threading.Event(), threading.Event()

    def slow() -> Iterator[Answer]:
        yield Answer(card("first"), None, "done")
        release.wait(30)
        yield Answer(card("late"), None, "done")

    left = iter([10.0, 0.0])
    try:
        found = list(until(slow(), lambda: next(left), stopped.set))
        assert [answer.card.id for answer in found] == ["first"]
        assert stopped.is_set()
    finally:
        release.set()


def test_an_error_of_the_thread_is_raised_where_the_answers_are_read() -> None:
    def broken() -> Iterator[Answer]:
        yield Answer(card(), None, "done")
        raise UserError("no such device")

    with pytest.raises(UserError, match="no such device"):
        list(until(broken(), lambda: 10.0, lambda: None))
