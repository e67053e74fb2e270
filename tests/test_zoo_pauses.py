"""Waits: what is said of them, how often, and that a stop ends them."""

from __future__ import annotations

import pytest

from zoo.errors import Unavailable
from zoo.terminal.pauses import Pauses


class Clock:
    """Waits that take no time; ``stop_after`` of them the work is stopped."""

    def __init__(self, *, stop_after: int = 1_000) -> None:
        self.now, self.slept, self.said = 0.0, list[float](), list[str]()
        self.stop_after = stop_after
        self.pauses = Pauses(clock=lambda: self.now, sleep=self.sleep, say=self.said.append)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) == self.stop_after:
            self.pauses.stop()


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(5, "0:05"), (5.1, "0:06"), (61, "1:01"), (3_723, "1:02:03"), (3_600, "1:00:00")],
)
def test_a_wait_of_five_seconds_is_said_rounded_up(seconds: float, left: str) -> None:
    clock = Clock()
    clock.pauses.wait(seconds, "for the Hub")
    assert clock.said[0] == f"waiting {left} for the Hub; Ctrl-C stops, and nothing is lost"
    assert sum(clock.slept) == pytest.approx(seconds)


def test_a_second_line_comes_after_a_minute_and_not_before() -> None:
    clock = Clock()
    clock.pauses.wait(10, "for one")
    clock.now = 59.9
    clock.pauses.wait(10, "for another")
    assert len(clock.said) == 1
    clock.now = 60.0
    clock.pauses.wait(10, "for a third")
    assert [text.split(";")[0] for text in clock.said[1:]] == ["waiting 0:10 for a third"]


def test_a_stop_ends_a_wait_that_has_begun() -> None:
    clock = Clock(stop_after=2)
    with pytest.raises(Unavailable, match="stopped while it waited"):
        clock.pauses.wait(600, "for the Hub")
    assert clock.slept == [60.0, 60.0]
    assert clock.pauses.stopped
