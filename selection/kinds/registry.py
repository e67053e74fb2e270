"""The kinds of tasks by name."""

from __future__ import annotations

from selection.kinds.image import IMAGE
from selection.kinds.kind import Kind
from selection.kinds.ratings.kind import RATINGS
from selection.kinds.text import TEXT

# in the order in which a folder or file is tried: a table of reviews with users and items is one of
# ratings; images refuse what they do not know
KINDS: dict[str, Kind] = {kind.name: kind for kind in (RATINGS, TEXT, IMAGE)}
