"""Budgets are read strictly, and estimates of seconds learn from what was measured."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from selection.probing.budget import Budget, CostModel
from selection.settings import Settings, parse_gigabytes, parse_seconds
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
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["0", "0s", "-1", "5x", "", "m", "1h30", "inf", "nan", "5 minutes"]
)
def test_what_is_no_time_is_the_users_error(text: str) -> None:
    with pytest.raises(UserError, match="expected a time such as"):
        parse_seconds(text)


def test_gigabytes_may_be_none_but_not_less() -> None:
    assert parse_gigabytes("0") == 0
    assert parse_gigabytes("1.5") == 1.5e9
    for wrong in ("-1", "nan", "inf", "much"):
        with pytest.raises(UserError, match="expected gigabytes"):
            parse_gigabytes(wrong)


def test_what_is_left_falls_by_what_is_kept_back_and_is_infinite_without_a_bound() -> None:
    now = time.monotonic()
    assert Budget(start=now - 100).left() == math.inf
    assert Budget(1000, start=now, compare=400).left() == pytest.approx(600, abs=100)
    assert Budget(1000, start=now - 2000).left() < 0


def test_a_measured_model_is_estimated_by_its_own_rate_and_others_by_the_median() -> None:
    costs = CostModel()
    small, large = card("small", params=1_000_000), card("large", params=100_000_000)
    assert costs.run_seconds(large, 500) > costs.run_seconds(small, 500) > 0
    before = costs.run_seconds(large, 500)
    costs.record_run(
        small, 100, 1000.0
    )  # the first is slow because everything is cold: it alone moves no other estimate
    assert costs.run_seconds(large, 500) == before
    assert costs.run_seconds(small, 100) >= 1000
    for name in "abc":
        costs.record_run(card(name), 100, 100.0)
    assert costs.run_seconds(large, 500) > 5 * before


def test_downloads_are_paid_and_an_unknown_size_never_fits_a_limit() -> None:
    budget = Budget(download=20e6)
    assert budget.pay_download(15_000_000)
    assert budget.download == 5e6
    assert not budget.pay_download(6_000_000)
    assert not budget.pay_download(None)
    assert budget.pay_download(0)
    assert budget.download == 5e6
    assert Budget().pay_download(None)
    assert Budget(download=0).pay_download(0)


def test_a_download_is_what_is_not_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: card.id == "here")
    costs = CostModel()
    assert costs.download_bytes(card("there", source="hub")) == 14_000_000
    assert costs.download_bytes(card("here", source="hub")) == 0
    assert costs.download_bytes(card("folder")) == 0
    four_a_parameter = card("timm", source="timm", params=900_000, weight_bytes=None)
    assert costs.download_bytes(four_a_parameter) == 4_636_000
    assert costs.download_bytes(card("?", source="hub", params=None, weight_bytes=None)) is None


def test_a_measured_download_changes_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: False)
    costs = CostModel()
    first, second = card("a", source="hub"), card("b", source="hub")
    before = costs.load_seconds(second)
    costs.record_load(first, 140.0)
    assert costs.load_seconds(second) > before + 100
    assert costs.load_seconds(first) < 2  # it is here now


def test_a_small_download_measures_no_bandwidth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.loading.download.is_local", lambda card: False)
    costs = CostModel()
    large = card("large", source="hub")
    before = costs.load_seconds(large)
    costs.record_load(card("tiny", source="hub", weight_bytes=400_000), 2.0)  # latency
    assert costs.load_seconds(large) == before


def test_a_budget_keeps_back_what_follows_the_probing() -> None:
    settings = Settings(budget=60.0)
    library = Budget.of(settings)
    assert 50 < library.left() < library.left_to_compare() < 60
    plain, page = (Budget.of_command(settings, report=report) for report in (False, True))
    assert page.left() < plain.left() < library.left()
    assert Budget.of(Settings()).left() == math.inf
    assert not Budget.of(Settings(download=5.0)).limited


def test_a_busy_machine_needs_longer_to_end() -> None:
    budget = Budget.of_command(Settings(budget=60.0), report=True)
    idle = budget.left()
    budget.measure_slowdown(2.0, 2.0)
    assert budget.left() == pytest.approx(idle, abs=1.0)
    budget.measure_slowdown(8.0, 2.0)
    assert budget.left() < idle - 5
    budget.measure_slowdown(1.0, 4.0)  # many threads
    assert budget.left() == pytest.approx(idle, abs=1.0)


def test_a_text_costs_what_as_many_patches_of_an_image_do() -> None:
    costs = CostModel()

    def seconds(*, input_size: int | None = None, max_length: int | None = None) -> float:
        model = replace(card(), input_size=input_size, max_length=max_length)
        return costs.run_seconds(model, 1_000) - costs.run_seconds(model, 0)

    image = seconds(input_size=224)
    assert seconds(max_length=512) == pytest.approx(image * 128 / 196)  # most texts are shorter
    assert seconds(max_length=64) == pytest.approx(image * 64 / 196)
