"""Transport cost from the teacher's answers to the true classes."""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import Prepared, prepare
from selection.scores.score import Score


def costs(ready: Prepared) -> Floats:
    """(N, C) transport cost W(p(x_n), e_j; M): what it costs to carry the teacher's answer to each class.

    Against a one-hot target the plan is unique, so W = sum_i p_i M_ij, with M_ij = |mu_i - nu_j|^2 between the soft
    prototypes mu of the teacher's classes and the class means nu. Column y_n of row n uses nu without sample n.
    A teacher without a head has a class for each sample.
    """
    features, labels = ready.features, ready.labels
    counts = ready.counts.astype(np.float32)
    means = ready.one_hot.T @ features / counts[:, None]  # (C, D)
    carried, spent = features, np.einsum("nd,nd->n", features, features)  # (N, D), (N,)
    if ready.probabilities is not None:
        answers = ready.probabilities
        prototypes = answers.T @ features / np.maximum(answers.sum(axis=0), 1e-12)[:, None]  # (C_t, D)
        carried = answers @ prototypes
        spent = answers @ np.einsum("id,id->i", prototypes, prototypes)
    found: Floats = spent[:, None] - 2 * carried @ means.T + np.einsum("jd,jd->j", means, means)
    own = counts[labels][:, None]
    left = (own * means[labels] - features) / np.maximum(own - 1, 1)  # (N, D), class means without the sample
    found[np.arange(len(labels)), labels] = spent - 2 * (carried * left).sum(1) + np.square(left).sum(1)
    return found


def _cost_terms(evidence: Evidence) -> Floats:
    """(N,) minus the cost to the true class."""
    ready = prepare(evidence)
    true: Floats = -costs(ready)[np.arange(len(ready.labels)), ready.labels]
    return true


def _relative_terms(evidence: Evidence) -> Floats:
    """(N,) expected cost of a shuffled label minus the cost to the true class, over the mean of the former."""
    ready = prepare(evidence)
    found = costs(ready)
    shuffled = found @ ready.prior
    gain: Floats = (shuffled - found[np.arange(len(found)), ready.labels]) / max(float(shuffled.mean()), 1e-12)
    return gain


TRANSPORT_PROTOTYPES = Score(
    name="transport_prototypes",
    value=lambda evidence: float(_cost_terms(evidence).mean()),
    terms=_cost_terms,
    needs=("probabilities",),
    source="After Lu et al. 2022, arXiv 2204.11526; the ground cost is ours.",
)
TRANSPORT_PROTOTYPES_RELATIVE = Score(
    name="transport_prototypes_relative",
    value=lambda evidence: float(_relative_terms(evidence).mean()),
    terms=_relative_terms,
    needs=("probabilities",),
    source="After Lu et al. 2022, arXiv 2204.11526; the ground cost and the comparison with shuffled labels are ours.",
)
