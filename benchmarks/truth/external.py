"""The metadata prior on a table of others: 175 real Hub models, each fine-tuned on 12 data sets
(zLizy/transferability_graph).

    python -m benchmarks.run external

The table has no licence: it is read from ``$TEACHER_ZOO_SHARED/oracles`` (default ``../shared``),
for evaluation only, and no part of it is kept here. Every prediction is for a data set and for
models that its fit has not seen; what is chosen (features, strength of the ridge, scale of the
target) is chosen inside, by the same two exclusions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from benchmarks.record import BenchRecord
from benchmarks.shared import shared
from selection.recall.prior import FAMILIES, copies_last, features, size_penalty
from selection.scores.interval import mean_interval
from zoo.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
FOLDS, DRAWS, TOP = 10, 2_000, 5
SIZES = [f"{family}_size" for family in FAMILIES]
CHOICES = [
    (sizes, alpha, target)
    for sizes in (False, True)
    for alpha in (1.0, 10.0, 30.0)
    for target in ("rank", "normal")
]
NESTED = "unseen data set, unseen models, nested"
REFERENCE = {"plain_ridge": (0.0051, 0.542), "static": (0.0041, 0.559)}


def run(out: Path) -> list[BenchRecord]:
    """Measure, and return the records; prints them and the coefficients of a fit on everything."""
    results, models = read(shared("oracles"))
    nested, coefficients = predictions(results, models)
    records = []
    for name, predicted in ({"prior": nested} | baselines(results, models)).items():
        for figure, values in figures(results, models, predicted).items():
            mean = mean_interval(values, draws=DRAWS)
            setting = {
                "models": len(results),
                "data_sets": list(results),
                "each": [round(value, 4) for value in values],
                "protocol": NESTED if name == "prior" else "see benchmarks/truth/external.py",
                "reference": REFERENCE.get(name),
            }
            records.append(
                BenchRecord(
                    name=f"external.{name}.{figure}",
                    value=round(mean.value, 5),
                    low=round(mean.low, 5),
                    high=round(mean.high, 5),
                    unit="accuracy" if "regret" in figure else "weighted tau",
                    setting=setting,
                    spread="95 % bootstrap over data sets",
                    seeds=(0,),
                )
            )
            print(
                f"{name:14} {figure:20} {mean.value:8.4f}  {mean.low:.4f} to {mean.high:.4f}",
                flush=True,
            )
    print("fit on everything:", coefficients)
    return records


def figures(
    results: pd.DataFrame, models: pd.DataFrame, predicted: pd.DataFrame
) -> dict[str, Floats]:
    """Each figure of a prediction by data set, (12,)."""
    regret, tau = measures(results, predicted)
    orders = {data: copies_last(models, predicted[data].to_numpy()) for data in results}
    listed = [regret_of(results[data], order) for data, order in orders.items()]
    return {"regret5": regret, "regret5_copies_last": np.array(listed), "weighted_tau": tau}


def read(oracles: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy (models, data sets), complete rows without food101, and the models as rows of a
    catalogue.
    """
    import pandas as pd

    if not (oracles / "transfergraph_records.csv").is_file():
        raise UserError(
            f"{oracles} holds no transfergraph_records.csv; say where it lies by TEACHER_ZOO_SHARED"
        )
    records = pd.read_csv(oracles / "transfergraph_records.csv")
    records = records[records["finetuned_dataset"] != "food101"]
    results = records.pivot_table(
        index="model", columns="finetuned_dataset", values="test_accuracy"
    ).dropna()
    cards = pd.read_csv(oracles / "transfergraph_models.csv").set_index("model")
    cards = cards.reindex(results.index)
    models = pd.DataFrame(
        {
            "id": results.index,
            "architecture": cards["architectures"],
            "model_type": cards["model_type"],
            "base_model": None,
            "datasets": [(str(name),) for name in cards["dataset"]],
            "params_total": cards["number_of_parameters"],
            "input_size": cards["input_shape"],
            "num_classes": cards["#labels"],
        },
        index=results.index,
    )
    return results, models


# --- the prior


def scaled(results: pd.DataFrame, target: str) -> pd.DataFrame:
    """Results of each data set as ranks in (0, 1), or as the normal scores of these."""
    from scipy.stats import norm

    ranks = results.rank() / (len(results) + 1)
    return ranks if target == "rank" else ranks.apply(norm.ppf)


def predictions(
    results: pd.DataFrame, models: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The prior (models, data sets), each column from the other data sets and each model from fits
    without it; and the coefficients of a fit on all data sets and models.
    """
    table = features(models)
    predicted = results.astype(float).copy()
    for data in results:
        for train, test in _folds(len(results)):
            known = results.drop(columns=data).iloc[train]
            choice = _choose(known, table.iloc[train])
            predicted.loc[results.index[test], data] = _fit(known, table.iloc[train], choice)(
                table.iloc[test]
            )
    predicted = predicted.sub(size_penalty(models), axis=0)
    choice = _choose(results, table)
    names, weights = _weights(results, table, choice)
    return predicted, {"choice": str(choice)} | dict(
        zip(names, np.round(weights, 4).tolist(), strict=True)
    )  # type: ignore[arg-type]


def _choose(results: pd.DataFrame, table: pd.DataFrame) -> tuple[bool, float, str]:
    """The choice whose predictions of unseen models order them best, the mean over the data
    sets.
    """

    def worth(choice: tuple[bool, float, str]) -> float:
        guess = np.zeros(len(results))
        for train, test in _folds(len(results), 5):
            guess[test] = _fit(results.iloc[train], table.iloc[train], choice)(table.iloc[test])
        from scipy.stats import weightedtau

        return float(np.mean([weightedtau(results[data], guess).statistic for data in results]))

    return max(CHOICES, key=worth)


def _fit(
    results: pd.DataFrame, table: pd.DataFrame, choice: tuple[bool, float, str]
) -> Callable[[pd.DataFrame], Floats]:
    names, weights = _weights(results, table, choice)
    return lambda rows: np.asarray(rows[names].to_numpy(float) @ weights)


def _weights(
    results: pd.DataFrame, table: pd.DataFrame, choice: tuple[bool, float, str]
) -> tuple[list[str], Floats]:
    """A ridge on standardised features, as weights of the features themselves, without the
    constant.
    """
    from sklearn.linear_model import Ridge

    sizes, alpha, target = choice
    names = [str(name) for name in table if sizes or name not in SIZES]
    values = table[names].to_numpy(float)
    spread = np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
    model = Ridge(alpha=alpha).fit(
        (values - values.mean(axis=0)) / spread, scaled(results, target).mean(axis=1)
    )
    return names, np.asarray(model.coef_ / spread)


def _folds(
    count: int, folds: int = FOLDS
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    from sklearn.model_selection import KFold

    return list(KFold(min(folds, count), shuffle=True, random_state=0).split(np.arange(count)))


# --- baselines and measures


def baselines(results: pd.DataFrame, models: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Chance; size; a plain ridge on the table's own columns (unseen data set and models); and the
    static prior, which knows each model's other results.
    """
    import pandas as pd
    from sklearn.linear_model import Ridge

    standard = (results - results.mean()) / results.std()
    size = models["params_total"].fillna(0).astype(float)
    raw = pd.DataFrame(
        {
            "size": np.log10(size.clip(1e4)),
            "resolution": models["input_size"].astype(float),
            "classes": np.log10(models["num_classes"].astype(float)),
        }
    )
    raw = raw.join(pd.get_dummies(models["model_type"].fillna("none")).astype(float))
    raw = ((raw - raw.mean()) / raw.std()).fillna(0.0)
    plain = standard.copy()
    for data in results:
        target = standard.drop(columns=data).mean(axis=1)
        for train, test in _folds(len(results)):
            plain.loc[results.index[test], data] = (
                Ridge(10.0).fit(raw.iloc[train], target.iloc[train]).predict(raw.iloc[test])
            )
    rng = np.random.default_rng(0)

    def same(column: Floats) -> pd.DataFrame:
        return pd.DataFrame(dict.fromkeys(results, column), index=results.index)

    return {
        "plain_ridge": plain,
        "static": pd.DataFrame(
            {data: standard.drop(columns=data).mean(axis=1) for data in results}
        ),
        "size": same(np.asarray(size, np.float64)),
        "random": pd.DataFrame(
            rng.random(results.shape), index=results.index, columns=results.columns
        ),
    }


def measures(results: pd.DataFrame, predicted: pd.DataFrame) -> tuple[Floats, Floats]:
    """Regret@5 and scipy's weighted tau of each data set (12,)."""
    from scipy.stats import weightedtau

    regret = [
        regret_of(results[data], np.argsort(-predicted[data].to_numpy(), kind="stable"))
        for data in results
    ]
    tau = [weightedtau(results[data], predicted[data]).statistic for data in results]
    return np.array(regret), np.array(tau)


def regret_of(results: pd.Series, order: Sequence[int] | npt.NDArray[np.int64]) -> float:
    """The accuracy that is lost by taking the best of the first five of ``order``."""
    return float(results.max() - results.to_numpy()[np.asarray(order)[:TOP]].max())
