"""What can be guessed of a text model before it is run, whatever the task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

# Ours, fitted on nothing: a larger encoder, one that many use and one that was trained to tell
# sentences apart teach better more often than not.
COEFFICIENTS = {"size": 0.7, "downloads": 0.2, "sentences": 0.5}
_MEDIANS = {"params_total": 110e6, "downloads": 100.0}  # of encoders on the Hub
_SENTENCES = r"sentence-similarity|sentence-transformers|paraphrase|\b(?:e5|bge|gte|minilm|mpnet)\b"


def features(table: pd.DataFrame) -> pd.DataFrame:
    """(n, 3): log10 of the parameters about 100 million, log10 of the downloads, and whether the
    model was trained on sentences; what is unknown counts as the median.
    """
    import pandas as pd

    numbers = {
        name: pd.to_numeric(table[name], errors="coerce").astype(float).fillna(median)
        for name, median in _MEDIANS.items()
    }
    described = table["id"].fillna("").astype(str) + " " + table["pipeline_tag"].fillna("")
    plain = described.str.lower().str.replace("_", "-")
    columns = {
        "size": np.log10(numbers["params_total"].clip(1e6, 1e9)) - 8,
        "downloads": np.log10(1 + numbers["downloads"].clip(lower=0)),
        "sentences": plain.str.contains(_SENTENCES, regex=True).astype(float),
    }
    return pd.DataFrame(columns, index=table.index)


def text_quality(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The guess (n,) for rows with id, pipeline tag, parameters and downloads; higher is better."""
    values = features(table)[list(COEFFICIENTS)].to_numpy(np.float64)
    return np.asarray(values @ np.array(list(COEFFICIENTS.values())))
