"""What the site's build writes itself: the option tables, from the options' own classes."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TABLE = re.compile(r"^<!-- options: ([\w.]+):(\w+) -->$", flags=re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each ``<!-- options: module:Class -->`` by the table of that class's options."""
    from zoo.terminal.options import options_table

    def table(match: re.Match[str]) -> str:
        module = importlib.import_module(match[1])
        return options_table(getattr(module, match[2]))

    return TABLE.sub(table, markdown)
