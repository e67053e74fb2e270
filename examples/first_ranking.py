"""Rank the packaged teachers for a task and look at the answer as a pandas table.

python examples/first_ranking.py [TASK]      # default: digits
"""

from __future__ import annotations

import sys
from pathlib import Path

from selection.rank import Settings, rank


def main(task: str = "digits", out: Path = Path("ranking.json")) -> None:
    """Rank with two further scores, print the table and the committee, and save the ranking."""
    ranking = rank(task, Settings(also=("linear_probe", "logme"), top=2))
    table = ranking.to_frame()
    print(table[["model", "value", "low", "high", "seconds"]].to_string(index=False))
    print("committee:", *ranking.committee)
    ranking.save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
