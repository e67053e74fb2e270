"""Rank the packaged teachers for a task and look at the answer as a pandas table.

python examples/first_ranking.py [TASK]      # default: digits
"""

from __future__ import annotations

import sys

from selection.rank import Settings, rank
from zoo.catalogue import Catalogue


def main(task: str = "digits") -> None:
    ranking = rank(task, Settings(also=("linear_probe",), top=2))
    rows = ranking.to_frame()
    print(rows[["model", "value", "low", "high", "seconds"]].to_string(index=False))
    print("committee:", *ranking.committee)
    ranking.save("ranking.json")

    teachers = rows["model"].head(3).tolist()
    models = Catalogue.open().models() if Catalogue.exists() else None
    if models is not None:
        print(models[models["id"].isin(teachers)][["id", "license", "params_total"]])


if __name__ == "__main__":
    main(*sys.argv[1:])
