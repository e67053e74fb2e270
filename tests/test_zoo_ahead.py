"""Work done ahead: in order, and let go of when nobody waits for it any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from tests.places import ROOT
from zoo.loading.inputs.ahead import in_order


def test_results_come_in_order_whatever_ends_first() -> None:
    gates = [threading.Event() for _ in range(4)]

    def work(place: int) -> int:
        if place < 3:
            assert gates[place + 1].wait(10)  # the next one ends before this one
        gates[place].set()
        return place

    assert list(in_order(work, range(4), ahead=4, workers=4)) == [0, 1, 2, 3]


def test_closed_early_it_waits_for_nothing() -> None:
    download, begun = threading.Event(), threading.Event()

    def work(place: int) -> int:
        if place:
            begun.set()
            assert download.wait(10)
        return place

    results = in_order(work, range(3), ahead=2, workers=1)
    assert next(results) == 0
    assert begun.wait(10)
    results.close()  # type: ignore[attr-defined]
    assert not download.is_set()
    download.set()


def test_a_second_interrupt_ends_the_process_at_once_and_in_silence() -> None:
    """The first one says what is kept; a thread still at work holds the process up."""
    code = """
import sys, threading, time
from zoo.terminal.command import run

def work() -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("working", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    sys.argv = ["x"]
    raise SystemExit(run(work, name="zoo.doctor"))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("error: stopped; what was finished is kept")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT
        assert process.stderr.read() == ""
