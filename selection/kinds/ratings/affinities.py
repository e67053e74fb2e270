"""What one teacher says of every user and item, and the features of pairs that follow.

Shapes: U users, I items, L listed items (`History.listed`), n pairs, m items with features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from selection.kinds.ratings.history import History, Pairs
from selection.kinds.ratings.item_models import cross_fitted_ease, near_items

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

RIDGES = (10.0, 100.0, 1_000.0, 10_000.0, 100_000.0)  # of the item biases that features predict
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Affinities:
    """What one teacher says of users and items, from a training split.

    Attributes
    ----------
    history : History
    relevance : (U, L) float32 array
        How well an item suits a user's history; higher is nearer. Any scale.
    residual : (U, L) float32 array
        By how much a user will rate an item above what both biases say; 0 for implicit feedback.
    item_bias : (I,) float32 array, optional
        Each item's bias as the teacher's features predict it from other items; None: it has none.
    """

    history: History
    relevance: Floats
    residual: Floats
    item_bias: Floats | None = None

    @classmethod
    def of_items(
        cls, features: npt.NDArray[np.floating], known: Ints, history: History
    ) -> Affinities:
        """Of a teacher that knows items alone.

        Parameters
        ----------
        features : (m, D) float array
            What it says of the items ``known``.
        known : (m,) int array
            In [0, I), each once.
        history : History
        """
        place = history.place[known]
        near = near_items(features[place >= 0], place[place >= 0], len(history.listed))
        observed, residuals = _listed(history)
        weight = (observed @ near).toarray()  # (U, L)
        relevance = weight / np.sqrt(np.maximum(history.user_counts, 1))[:, None]
        residual = (residuals @ near).toarray() / (weight + 1)
        return cls(
            history,
            relevance.astype(np.float32),
            residual.astype(np.float32),
            _predicted_bias(features, known, history),
        )

    @classmethod
    def of_ease(cls, history: History) -> Affinities:
        """Of EASE, cross-fitted over users: a teacher that knows this task's users alone."""
        observed, residuals = _listed(history)
        relevance = cross_fitted_ease(observed, _squared_error)
        residual = np.zeros_like(relevance)
        if residuals.data.any():
            residual = cross_fitted_ease(residuals, _squared_error_of_observed)
        return cls(history, relevance, residual)

    def features(self, pairs: Pairs) -> Floats:
        """(n, D) float32 features of ``pairs``; a pair of the training split leaves itself out.

        The biases of item and user, the logarithms of their counts, residual and relevance, and
        where there is one the item's predicted bias.
        """
        facts = self.history.facts(pairs)
        columns = [
            facts.item_bias,
            facts.user_bias,
            np.log1p(facts.item_count),
            np.log1p(facts.user_count),
            self.at(self.residual, pairs),
            self.at(self.relevance, pairs),
        ]
        if self.item_bias is not None:
            columns.append(self.item_bias[pairs.items])
        return np.stack(columns, axis=1).astype(np.float32)

    def at(self, scores: Floats, pairs: Pairs) -> Floats:
        """(n,) the entries of ``scores`` (U, L) at ``pairs``; 0 for items that are not listed."""
        place = self.history.place[pairs.items]
        values: Floats = np.where(place >= 0, scores[pairs.users, place], np.float32(0))
        return values


def _listed(history: History) -> tuple[Any, Any]:
    """Observed pairs and residuals (U, L) of the listed items, sparse."""
    return history.observed[:, history.listed], history.residuals[:, history.listed]


def _squared_error(rows: Any, scores: Floats) -> float:
    """Over all entries."""
    return float(np.square(rows.toarray() - scores, dtype=np.float64).sum())


def _squared_error_of_observed(rows: Any, scores: Floats) -> float:
    """Over the stored entries: an item that was not rated says nothing of its rating."""
    entries = rows.tocoo()
    errors = entries.data - scores[entries.row, entries.col]
    return float(np.square(errors, dtype=np.float64).sum())


def _predicted_bias(features: npt.NDArray[np.floating], known: Ints, history: History) -> Floats:
    """(I,) each item's bias from its features, of a rated item by a ridge of the other folds.

    0 for items without features, and where too few items are rated to learn it.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predicted = np.zeros(history.items, np.float32)
    counts = history.item_counts[known]
    rated = np.flatnonzero(counts > 0)
    if len(rated) < 2 * FOLDS or not history.centred.data.any():
        return predicted
    x = features.astype(np.float64)
    target, weight = history.item_bias[known[rated]], counts[rated]
    model = make_pipeline(StandardScaler(), RidgeCV(RIDGES))
    by_weight = {"ridgecv__sample_weight": weight}
    predicted[known] = model.fit(x[rated], target, **by_weight).predict(x)
    predicted[known[rated]] = cross_val_predict(model, x[rated], target, cv=FOLDS, params=by_weight)
    return predicted
