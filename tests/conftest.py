"""What every test leaves as it found it, and the tiers: fast is what has no other mark."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# what a command in this process may set, and the width of somebody's terminal
UNSET = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "COLUMNS")
OTHER_TIERS = ("journey", "slow", "gpu")

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a shell starts in the background ignores Ctrl-C, and what nohup starts a terminal that goes;
# so would the processes of tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
hypothesis.settings.register_profile("here", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("here")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test ``fast`` that belongs to no other tier."""
    for item in items:
        if not any(item.get_closest_marker(tier) for tier in OTHER_TIERS):
            item.add_marker(pytest.mark.fast)


@pytest.fixture(autouse=True, scope="session")
def home_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tool keeps goes to a folder of this run, where a test names none."""
    before = os.environ.get("TEACHER_ZOO_HOME")
    os.environ["TEACHER_ZOO_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    os.environ.pop("TEACHER_ZOO_HOME")
    if before is not None:
        os.environ["TEACHER_ZOO_HOME"] = before


@pytest.fixture(autouse=True)
def online() -> Iterator[None]:
    """A command run in this process with --offline tells the Hub's libraries so for good; the next
    test starts anew.
    """
    before = {name: os.environ.pop(name, None) for name in UNSET}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for module in ("huggingface_hub.constants", "datasets.config"):
        if module in sys.modules and hasattr(sys.modules[module], "HF_HUB_OFFLINE"):
            sys.modules[module].HF_HUB_OFFLINE = False  # type: ignore[attr-defined]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch computes with one thread: the same sums in the same order on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run_images(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every batch that any teacher runs from here on."""
    from zoo.teacher import Teacher

    counts: list[int] = []
    forward = Teacher.forward

    def counted(teacher: Teacher, inputs: Any) -> Any:
        counts.append(len(inputs))
        return forward(teacher, inputs)

    monkeypatch.setattr(Teacher, "forward", counted)
    return counts
