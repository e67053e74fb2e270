"""What every test leaves as it found it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


@pytest.fixture(autouse=True)
def online() -> Iterator[None]:
    """A command run in this process with --offline tells the Hub's libraries so for good; the next
    test starts anew.
    """
    before = {name: os.environ.pop(name, None) for name in OFFLINE}
    yield
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    for module in ("huggingface_hub.constants", "datasets.config"):
        if module in sys.modules and hasattr(sys.modules[module], "HF_HUB_OFFLINE"):
            sys.modules[module].HF_HUB_OFFLINE = False  # type: ignore[attr-defined]
