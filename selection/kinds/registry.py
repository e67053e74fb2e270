"""The kinds of tasks by name."""

from __future__ import annotations

from selection.kinds.image import IMAGE
from selection.kinds.kind import Kind

KINDS: dict[str, Kind] = {kind.name: kind for kind in (IMAGE,)}
