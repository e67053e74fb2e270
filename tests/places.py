"""Where the project and its data lie."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TEACHER_ZOO_SHARED") or ROOT.parent / "shared")


def flipped(content: bytes, bit: int) -> bytes:
    """``content`` with one bit turned over."""
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << (bit % 8)
    return bytes(damaged)
