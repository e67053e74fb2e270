"""Laws of halving: nothing is asked twice, the bound is kept, the best is kept, an unfinished round
does not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest

from selection.evidence import Evidence
from selection.probing.evaluator import empty_row
from selection.probing.rounds import (
    LARGEST_SHARE,
    Evaluation,
    Halving,
    Round,
    affordable_sizes,
    cheap_first,
    halve,
    shortlist,
    sizes,
    step_sizes,
    survival_threshold,
)
from selection.ranking import Row, in_order
from tests.ranking_setting import row
from zoo.card import ModelCard

ROUNDS = sizes(500, 10)


class Fake:
    """Teachers with known values; an interval narrows with the root of the images; a unit of cost
    is one image.
    """

    def __init__(
        self,
        values: dict[str, float],
        *,
        width: float = 2.0,
        break_in: int = 0,
        failing: Sequence[str] = (),
    ) -> None:
        self.values, self.width, self.break_in, self.failing = values, width, break_in, failing
        self.rounds: list[tuple[int, list[str]]] = []
        self.spent = 0.0
        self.held: dict[str, int] = {}

    def cost(self, card: ModelCard, size: int) -> float:
        return max(0, size - self.held.get(card.id, 0))

    def evaluate(
        self, cards: Sequence[ModelCard], size: int, allowance: float
    ) -> Iterator[Evaluation]:
        self.rounds.append((size, [card.id for card in cards]))
        end = self.spent + allowance
        for card in cards:
            need = self.cost(card, size)
            if self.spent + need > end or (len(self.rounds) == self.break_in and card is cards[-1]):
                yield Evaluation(empty_row(card), skipped="budget")
                continue
            self.spent, self.held[card.id] = self.spent + need, max(size, self.held.get(card.id, 0))
            yield self._one(card, size)

    def _one(self, card: ModelCard, size: int) -> Evaluation:
        if card.id in self.failing:
            return Evaluation(Row(**{**empty_row(card).__dict__, "error": "broken"}))
        value, half = self.values[card.id], self.width / math.sqrt(size)
        known = {"value": value, "low": value - half, "high": value + half, "probe_size": size}
        evidence = Evidence(
            features=np.zeros((size, 1)), labels=np.zeros(size, dtype=np.int64), classes=("a",)
        )
        return Evaluation(Row(**{**empty_row(card).__dict__, **known}), evidence)


def cards(values: dict[str, float]) -> list[ModelCard]:
    return [ModelCard(id=name, source="folder", location=name) for name in values]


def zoo(seed: int, count: int = 40) -> dict[str, float]:
    values = np.random.default_rng(seed).normal(size=count)
    return {f"m{i:02}": float(value) for i, value in enumerate(values)}


def test_rounds_double_from_four_a_class_to_the_whole_probe() -> None:
    assert ROUNDS == [64, 128, 256, 500]
    assert sizes(500, 100) == [400, 500]
    assert sizes(40, 10) == [40]
    assert sizes(64, 2) == [64]
    for probe in (65, 500, 1024):
        found = sizes(probe, 20)
        assert found == sorted(set(found))
        assert found[-1] == probe


def test_a_first_round_is_smaller_where_the_time_does_not_suffice_for_all() -> None:
    values = zoo(0, 20)

    def rounds_for(left: float) -> list[int]:
        return affordable_sizes(cards(values), Fake(values), probe=500, classes=5, left=left)

    assert rounds_for(math.inf) == ROUNDS
    assert rounds_for(1.5 * 64 * 20) == ROUNDS
    assert rounds_for(1.4 * 64 * 20) == [32, *ROUNDS]
    assert rounds_for(1.4 * 32 * 20) == rounds_for(0.0) == [16, 32, *ROUNDS]


def test_no_round_has_fewer_than_three_images_a_class() -> None:
    assert step_sizes(500, 10) == [32, *ROUNDS]
    assert step_sizes(500, 12) == ROUNDS
    assert step_sizes(40, 10) == [40]
    for classes in range(2, 60):
        assert step_sizes(2000, classes)[0] >= max(16, 3 * classes)


@pytest.mark.parametrize("seed", range(5))
def test_bounds_alone_keep_the_best_and_ask_no_image_twice(seed: int) -> None:
    values = zoo(seed)
    evaluator = Fake(values)
    done = halve(cards(values), evaluator, sizes=ROUNDS, keep=4, left=lambda: math.inf)
    best = sorted(values, key=lambda name: -values[name])
    assert in_order(list(done.rows.values()))[0].model == best[0]
    assert set(best[:4]) <= set(
        done.rounds[-1].models
    )  # exact values: the four best can never fall behind
    assert [one.samples for one in done.rounds] == ROUNDS
    models = [set(one.models) for one in done.rounds]
    assert all(later <= earlier for earlier, later in pairwise(models))
    assert evaluator.spent == sum(
        done.rows[name].probe_size or 0 for name in values
    )  # each image once
    assert evaluator.spent < 500 * len(values)
    for name, made in done.rows.items():
        assert (made.dropped is None) == (name in done.rounds[-1].models)
        assert len(done.evidence[name].labels) == made.probe_size


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.3, 0.5])
def test_what_is_spent_never_exceeds_the_budget(share: float) -> None:
    for seed in range(10):
        values = zoo(seed)
        evaluator, bound = Fake(values, width=20.0), share * 500 * len(values)
        done = halve(
            cards(values),
            evaluator,
            sizes=ROUNDS,
            keep=4,
            left=lambda evaluator=evaluator, bound=bound: bound - evaluator.spent,
        )
        assert 0 < evaluator.spent <= bound
        assert len(done.rows) + done.left_out["budget"] == len(values)
        if share >= 0.25:
            assert done.rounds[-1].samples == 500
            assert done.left_out["budget"] == 0


def test_wide_intervals_drop_nobody_without_a_bound() -> None:
    values = zoo(0, 10)
    done = halve(
        cards(values), Fake(values, width=1e6), sizes=ROUNDS, keep=3, left=lambda: math.inf
    )
    assert all(len(one.models) == 10 for one in done.rounds)


def test_a_round_that_is_not_finished_does_not_count() -> None:
    values = zoo(1, 12)
    done = halve(
        cards(values),
        Fake(values, width=20, break_in=3),
        sizes=ROUNDS,
        keep=3,
        left=lambda: math.inf,
    )
    assert [one.samples for one in done.rounds] == [64, 128]
    assert {row.probe_size for row in done.rows.values()} == {128}
    assert {len(one.labels) for one in done.evidence.values()} == {128}
    assert done.note is not None
    assert "round 3 of 4" in done.note


def test_a_first_round_that_is_not_finished_counts_and_says_how_many_were_left_out() -> None:
    values = zoo(1, 12)
    evaluator = Fake(values)
    done = halve(
        cards(values), evaluator, sizes=ROUNDS, keep=3, left=lambda: 64 * 6 - evaluator.spent
    )
    assert done.rounds[0].models
    assert len(done.rows) == 4  # two thirds of six
    assert done.left_out["budget"] == 8


def test_a_shortlist_passes_over_what_the_budget_cannot_pay() -> None:
    class Costly(Fake):
        def cost(self, card: ModelCard, size: int) -> float:
            return 1e6 if card.id in ("m00", "m02", "m09") else super().cost(card, size)

    known = cards(zoo(0, 12))
    chosen, too_costly = shortlist(
        known, Costly(zoo(0, 12)), size=64, most=5, left=64 / LARGEST_SHARE
    )
    assert [card.id for card in chosen] == ["m01", "m03", "m04", "m05", "m06"]
    assert too_costly == 2
    assert shortlist(known, Fake({}), size=64, most=50, left=63 / LARGEST_SHARE) == ([], 12)


def test_large_models_do_not_keep_small_ones_from_being_asked() -> None:
    values = zoo(1, 20)

    class Uneven(Fake):
        def cost(self, card: ModelCard, size: int) -> float:
            return super().cost(card, size) * (20 if int(card.id[1:]) < 8 else 1)

    evaluator = Uneven(values)
    done = halve(
        cards(values), evaluator, sizes=ROUNDS, keep=3, left=lambda: 64 * 120 - evaluator.spent
    )
    order = evaluator.rounds[0][1]
    assert order == [f"m{i:02}" for i in (0, 1, *range(8, 20), *range(2, 8))]
    assert set(order[:14]) <= set(done.rows)  # two large ones, the best guesses, and all small ones
    assert done.left_out["budget"] == 5  # one more large one fitted, of six
    plenty = Uneven(values)
    halve(cards(values), plenty, sizes=ROUNDS, keep=3, left=lambda: math.inf)
    assert plenty.rounds[0][1] == list(values)


def test_failed_models_are_rows_and_go_no_further() -> None:
    values = zoo(2, 8)
    evaluator = Fake(values, failing=("m03",))
    done = halve(cards(values), evaluator, sizes=ROUNDS, keep=8, left=lambda: math.inf)
    assert done.rows["m03"].error == "broken"
    assert "m03" not in evaluator.rounds[1][1]
    assert "m03" not in done.evidence


def test_stored_answers_are_free() -> None:
    values = zoo(3, 10)
    evaluator = Fake(values)
    evaluator.held = dict.fromkeys(values, 500)
    done = halve(cards(values), evaluator, sizes=ROUNDS, keep=10, left=lambda: 0.0)
    assert evaluator.spent == 0
    assert done.rounds[-1] == type(done.rounds[-1])(
        500, tuple(sorted(values, key=lambda name: -values[name]))
    )


def test_the_threshold_is_the_kth_lower_bound() -> None:
    rows = [row(str(low), low, below=0.0) for low in (5.0, 1.0, 3.0)]
    assert survival_threshold(rows, 2) == 3.0
    assert survival_threshold(rows, 3) == -math.inf


def test_a_committee_is_chosen_where_there_still_was_a_choice() -> None:
    values = zoo(4, 12)
    evaluator = Fake(values, width=20)
    done = halve(
        cards(values),
        evaluator,
        sizes=ROUNDS,
        keep=6,
        left=lambda: 0.2 * 500 * 12 - evaluator.spent,
    )
    assert len(done.rounds[-1].models) < 5 <= len(done.committee_round(5).models)
    assert done.committee_round(100) == done.rounds[0]


def test_a_committee_of_two_is_chosen_from_a_round_of_two() -> None:
    halving = Halving(
        rounds=[Round(64, ("a", "b", "c")), Round(128, ("a", "b")), Round(256, ("a",))]
    )
    assert halving.committee_round(1).samples == 256
    assert halving.committee_round(2).samples == 128
    assert halving.committee_round(3).samples == 64


def test_a_model_that_failed_is_a_row_and_not_left_out() -> None:
    halving = Halving()
    (card,) = cards({"a": 0.0})
    failed = Row(**{**empty_row(card).__dict__, "error": "broken"})
    halving.finish_round([Evaluation(failed, skipped="the budget")], 64)
    assert halving.rows["a"].error == "broken"
    assert not halving.left_out


def test_an_only_round_has_the_whole_budget() -> None:
    values = zoo(0, 3)
    evaluator = Fake(values)
    done = halve(cards(values), evaluator, sizes=[40], keep=2, left=lambda: 120 - evaluator.spent)
    assert evaluator.spent == 120
    assert len(done.rounds[0].models) == 3


def test_rounds_end_where_two_models_cannot_be_paid_for() -> None:
    values = zoo(0, 3)
    evaluator = Fake(values)
    left = {0: 3 * 40 * 1.5, 120: 2 * 40 - 1}  # by what is spent
    done = halve(
        cards(values), evaluator, sizes=[40, 80], keep=3, left=lambda: left[int(evaluator.spent)]
    )
    assert [images for images, _ in evaluator.rounds] == [40]
    assert done.note == "the budget ended after round 1 of 2"


def test_a_model_whose_bound_touches_the_threshold_stays() -> None:
    values = {"a": 1.0, "b": 1.0, "c": 0.5}
    done = halve(
        cards(values), Fake(values, width=0.0), sizes=[64, 128], keep=1, left=lambda: math.inf
    )
    assert set(done.rounds[1].models) == {"a", "b"}
    assert done.rows["c"].dropped == "round 1 of 2: at most 0.500, and 1 others at least 1.000"


def test_a_model_that_costs_an_equal_share_is_cheap() -> None:
    class Priced(Fake):
        def cost(self, card: ModelCard, size: int) -> float:
            return self.values[card.id]

    prices = {"a": 30.0, "b": 30.0, "c": 11.0, "d": 10.0}
    order = cheap_first(cards(prices), Priced(prices), 64, 40.0)
    assert [card.id for card in order] == ["a", "b", "d", "c"]
    enough = cheap_first(cards(prices), Priced(prices), 64, 81.0)
    assert [card.id for card in enough] == ["a", "b", "c", "d"]
