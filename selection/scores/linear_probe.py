"""Leave-one-out accuracy of a linear classifier on the features."""

from __future__ import annotations

from selection.evidence import Evidence, Floats
from selection.scores.probe_data import prepare
from selection.scores.score import Score

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # of the ridge, in units of a row's mean squared norm, 1


def terms(evidence: Evidence) -> Floats:
    """(N,) credit of each labelled sample in [0, 1], left out of the fit that judges it; ties share
    the credit.
    """
    data = prepare(evidence)
    answers = leave_one_out(data.features, data.one_hot)
    winners = answers >= answers.max(axis=1, keepdims=True) - 1e-6
    credit: Floats = data.of_true_class(winners) / winners.sum(axis=1)
    return credit


def leave_one_out(features: Floats, targets: Floats) -> Floats:
    """(N, C) answers of ridge regressions with intercept, row n of one fitted without sample n.

    The strength is that of least left-out squared error over all samples and targets.
    """
    from sklearn.linear_model import RidgeCV

    ridge = RidgeCV(STRENGTHS, scoring="neg_mean_squared_error", store_cv_results=True)
    ridge.fit(features, targets)
    chosen = STRENGTHS.index(ridge.alpha_)
    answers: Floats = ridge.cv_results_[..., chosen]
    return answers


LINEAR_PROBE = Score.mean_of(
    terms,
    name="linear_probe",
    meaning=(
        "The share of your samples that a linear classifier on this model's features names rightly,"
        " fitted on the others; higher is better; 0 to 1."
    ),
    source=(
        "Ridge regression onto one-hot labels, leave-one-out in closed form (scikit-learn's"
        " RidgeCV), strength by the least left-out squared error. The choice of ridge in place of"
        " logistic regression is ours, for speed."
    ),
)
