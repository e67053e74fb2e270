"""What student and teachers cost: counted by hand, timed by a clock that the test winds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distill.student.cost import (
    BATCH,
    cost_heads,
    cost_lines,
    cost_notes,
    cost_rows,
    latency,
    measure_costs,
    measured,
    multiply_adds,
    student_cost,
)
from distill.student.image_student import export
from tests.distill_setting import student, write_teacher
from zoo.card import ModelCard
from zoo.sources import folder as folder_zoo

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_convolution_is_counted_as_by_hand() -> None:
    """Out channels x in channels x kernel x positions, with stride, padding and groups."""
    image = torch.zeros(1, 3, 10, 12)
    same = nn.Conv2d(3, 8, 3, padding=1)
    assert multiply_adds(same, image) == 8 * 3 * 9 * 10 * 12
    halved = nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=False)
    assert multiply_adds(halved, image) == 8 * 3 * 25 * 5 * 6
    depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)
    assert multiply_adds(depthwise, image) == 3 * 9 * 10 * 12


def test_a_layer_and_attention_are_counted_as_by_hand() -> None:
    assert multiply_adds(nn.Linear(20, 7), torch.zeros(1, 20)) == 20 * 7

    def attention(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)

    # 2 heads of 5 tokens and 16 values: the products of queries and keys, and with the values
    assert multiply_adds(attention, torch.zeros(1, 2, 5, 16)) == 2 * (2 * 5 * 5 * 16)


def test_a_batch_costs_its_images() -> None:
    layer = nn.Conv2d(3, 4, 1, bias=False)
    assert multiply_adds(layer, torch.zeros(2, 3, 4, 4)) == 2 * 4 * 3 * 16


class Wound:
    """A clock that a pass moves on by the next of ``steps`` seconds, the last one again."""

    def __init__(self, *steps: float) -> None:
        self.now, self.steps, self.passes = 0.0, list(steps), 0

    def __call__(self) -> float:
        return self.now

    def forward(self, batch: torch.Tensor) -> None:
        self.now += self.steps[min(self.passes, len(self.steps) - 1)]
        self.passes += 1


def test_latency_is_the_median_without_the_first_pass() -> None:
    clock = Wound(0.3, 0.010, 0.020, 0.090, 0.030, 0.150)
    timed = latency(clock.forward, torch.zeros(1, 1), seconds=0.7, clock=clock)
    # another pass like the last would end after 0.75 seconds
    assert (timed.repeats, clock.passes) == (5, 6)
    quartiles = (timed.low, timed.median, timed.high)
    assert quartiles == pytest.approx((20.0, 30.0, 90.0))


def test_a_slow_network_is_timed_by_one_pass() -> None:
    clock = Wound(9.0)
    timed = latency(clock.forward, torch.zeros(4, 1), seconds=3, clock=clock)
    assert (timed.samples, timed.median, timed.low, timed.high) == (4, 9000.0, 9000.0, 9000.0)
    assert (timed.repeats, clock.passes) == (1, 1)


def test_a_fast_network_is_timed_fifty_times() -> None:
    clock = Wound(0.001)
    timed = latency(clock.forward, torch.zeros(1, 1), seconds=3, clock=clock)
    assert (timed.repeats, timed.median) == (50, pytest.approx(1.0))


def test_no_batch_is_timed_that_would_take_too_long(tmp_path: Path) -> None:
    clock, network = Wound(0.5), nn.Conv2d(3, 2, 1)
    weights = tmp_path / "w"
    weights.write_bytes(bytes(1_500_000))

    def forward(images: torch.Tensor) -> torch.Tensor:
        clock.forward(images)
        return torch.as_tensor(network(images))

    image = torch.zeros(1, 3, 4, 6)
    cost = measured("slow", network, forward, image, files=[weights], clock=clock)
    assert cost.batch is None and cost.single is not None
    assert cost.single.median == pytest.approx(500)
    assert (cost.parameters, cost.megabytes, cost.size) == (3 * 2 + 2, 1.5, (4, 6))
    assert cost.multiply_adds == 2 * 3 * 24
    assert clock.now < 10


@pytest.mark.journey
def test_student_and_teachers_stand_beside_each_other(tmp_path: Path) -> None:
    pupil = student()
    export(pupil, tmp_path / "student")
    here = folder_zoo.card(write_teacher(tmp_path / "zoo" / "here"))
    gone = ModelCard(id="org/gone", source="hub", sha="0" * 40)
    cost = measure_costs(tmp_path / "student", [here, gone], device="cpu")
    parameters = sum(p.numel() for p in pupil.network.parameters())
    assert cost["student"]["parameters"] == parameters
    file = tmp_path / "student" / "model.safetensors"
    assert cost["student"]["megabytes"] == file.stat().st_size / 1e6
    assert cost["student"]["size"] == (32, 32)
    assert cost["threads"] == 1
    first, second = cost["teachers"]
    assert first["parameters"] > 0 and first["reason"] is None
    assert first["single"]["samples"] == 1 and first["batch"]["samples"] == BATCH
    assert second["parameters"] is None
    assert second["reason"] == "its weights are not on this machine"
    assert [row[0] for row in cost_rows(cost)] == ["the student", "here", "org/gone"]
    assert cost_rows(cost)[2][1:] == ["-"] * (len(cost_heads(cost)) - 1)
    assert "org/gone was not measured: its weights are not on this machine." in cost_notes(cost)


def test_the_student_costs_what_its_network_does(tmp_path: Path) -> None:
    pupil = student()
    export(pupil, tmp_path)
    expected = multiply_adds(pupil.network.eval(), torch.zeros(1, 3, 32, 32))
    assert student_cost(tmp_path, device="cpu").multiply_adds == expected > 10**6


def test_the_terminal_shows_a_table_of_eighty_columns() -> None:
    single = {"samples": 1, "median": 1.234, "low": 1.1, "high": 1.5, "repeats": 50}
    entry: dict[str, Any] = {
        "model": "test_efficientnet",
        "parameters": 100_352,
        "megabytes": 0.418,
        "multiply_adds": 2_290_000,
        "size": [32, 32],
        "single": single,
        "batch": single | {"samples": 32, "median": 20.0},
        "reason": None,
    }
    teacher = entry | {"model": "org/teacher", "single": single | {"median": 1234.5}, "batch": None}
    cost = {"device": "cpu", "threads": 2, "student": entry, "teachers": [teacher]}
    lines = "\n".join(cost_lines(cost, width=80)).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].split() == ["the", "student", "100k", "0.418", "2.29M", "1.23", "20"]
    assert lines[2].split() == ["org/teacher", "100k", "0.418", "2.29M", "1,234", "-"]
    text = " ".join(lines)
    assert "2 threads" in text
    assert "The slowest teacher takes 1,000 times as long." in text
    assert "org/teacher is too slow to time 32 images in 10 s." in text
    assert "one multiplication and one addition" in text
