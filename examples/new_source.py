"""A new source of models: a CSV file that names repositories of the Hub. Copy and change it.

python examples/new_source.py models.csv      # columns: repository, license
python -m zoo.query --where "source = 'csv'"
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from zoo.card import ModelCard
from zoo.crawl import SOURCES, CrawlOptions, crawl
from zoo.terminal.command import printable

FILE = Path("models.csv")


def cards() -> Iterator[ModelCard]:
    """One card for each line; what is not known stays None."""
    with FILE.open(newline="") as lines:
        for row in csv.DictReader(lines):
            repository = printable(row["repository"], 200)  # a line of a file is hostile input
            yield ModelCard(
                id=repository,
                source="csv",
                location=repository,
                author=repository.partition("/")[0],
                license=printable(row.get("license") or "", 100) or None,
                loadable=None if "/" in repository else False,
                not_loadable_reason=None if "/" in repository else "expected ORGANISATION/NAME",
            )


if __name__ == "__main__":
    FILE = Path(sys.argv[1])
    SOURCES["csv"] = __name__
    crawl(CrawlOptions(source="csv"))
