"""What the teachers say together of the items that a user will choose.

Shapes: U users, L listed items (`History.listed`), K teachers, n pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from selection.kinds.ratings.affinities import Affinities
from selection.kinds.ratings.history import History

MOST_ENTRIES = 20_000_000  # pairs times items that the weights are fitted on
SEED = 0


@dataclass(frozen=True, eq=False)
class ListTargets:
    """The distribution over items that the teachers give each user.

    Attributes
    ----------
    logits : (U, L) float16 tensor
    items : (L,) int64 tensor
        The items, ascending.
    weights : tuple of float
        Of the K teachers' relevances, each of standard deviation 1, at least 0.
    popularity : float
        Of the logarithm of one more than an item's count.
    likelihood : float
        Mean log-likelihood of left-out training pairs, nats.
    gain : float
        By how much it is higher than that of the popularity alone, at least 0.
    """

    logits: Tensor
    items: Tensor
    weights: tuple[float, ...]
    popularity: float
    likelihood: float
    gain: float


def list_targets(teachers: Sequence[Affinities], history: History) -> ListTargets:
    """Weigh the teachers' relevances and the popularity so that left-out pairs are likeliest.

    A conditional logit (McFadden 1974): the item of a pair is chosen from all listed items but the
    user's other ones, with logits sum_k w_k z_k + b log(1 + count). The relevances of a pair leave
    the pair itself out, so no held-out pairs are spent. That the teachers are joined before the
    softmax, and not after, is ours.
    """
    relevances = [torch.from_numpy(teacher.relevance) for teacher in teachers]
    spreads = [float(values.std().clamp(min=1e-6)) for values in relevances]
    counts = torch.from_numpy(history.item_counts[history.listed])
    table = _left_out(relevances, spreads, counts, history)
    weights, likelihood = _fit(*table)
    features, others, truth = table
    _, by_popularity = _fit(features[:, :, -1:], others, truth)
    logits = weights[-1] * torch.log1p(counts).expand(history.users, -1)  # (U, L)
    for weight, values, spread in zip(weights, relevances, spreads, strict=False):
        logits = logits + weight / spread * values
    return ListTargets(
        logits=(logits - logits.amax(dim=1, keepdim=True)).clamp(min=-6e4).half(),
        items=torch.from_numpy(history.listed),
        weights=tuple(weights[:-1].tolist()),
        popularity=float(weights[-1]),
        likelihood=likelihood,
        gain=max(0.0, likelihood - by_popularity),
    )


def _left_out(
    relevances: Sequence[Tensor],
    spreads: Sequence[float],
    counts: Tensor,
    history: History,
) -> tuple[Tensor, Tensor, Tensor]:
    """A table of seeded training pairs: features (n, L, K + 1), the other items, the truth."""
    entries = history.observed.tocoo()
    place = history.place[entries.col]
    rows = np.flatnonzero(place >= 0)
    most = max(1, MOST_ENTRIES // max(1, len(counts) * (len(relevances) + 1)))
    if len(rows) > most:
        rows = np.random.default_rng(SEED).choice(rows, most, replace=False)
    users, truth = entries.row[rows], torch.from_numpy(place[rows])
    columns = [
        values[torch.from_numpy(users).long()] / spread
        for values, spread in zip(relevances, spreads, strict=True)
    ]
    popularity = torch.log1p(counts).repeat(len(rows), 1)  # (n, L)
    pair = torch.arange(len(rows))
    popularity[pair, truth] = torch.log(counts[truth].clamp(min=1))  # without the pair itself
    others = torch.from_numpy(history.seen(users)[:, history.listed])
    others[pair, truth] = False
    return torch.stack([*columns, popularity], dim=2), others, truth


def _fit(features: Tensor, others: Tensor, truth: Tensor) -> tuple[Tensor, float]:
    """(K + 1,) weights, those of the teachers at least 0, and the mean log-likelihood."""
    from scipy.optimize import minimize

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        w = torch.tensor(weights, dtype=torch.float32, requires_grad=True)
        logits = (features @ w).masked_fill(others, -1e4)
        value = torch.nn.functional.cross_entropy(logits, truth)
        value.backward()
        assert w.grad is not None
        return value.item(), w.grad.double().numpy()

    count = features.shape[2]
    bounds = [(0.0, None)] * (count - 1) + [(None, None)]
    found = minimize(loss, np.full(count, 0.5), jac=True, method="L-BFGS-B", bounds=bounds)
    return torch.tensor(found.x, dtype=torch.float32), -float(found.fun)
