"""Transport from each image, and from what the teacher calls it, to the classes: the default
relatedness.
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Floats
from selection.scores.prepared import Prepared
from selection.scores.whitened import cosines

ANSWERED = (
    0.25  # the share of the mass that lies on the teacher's classes; the rest stays on the image
)


def costs(ready: Prepared) -> Floats:
    """(N, C) transport cost W(p'(x_n), e_j) of each sample to each class, the true one without
    sample n.

    The teacher's label space is its own classes and, beside them, the images of the probe, each a
    class of its own: p'(x_n) puts ``ANSWERED`` of its mass on the former as the teacher answers and
    the rest on image n. Ground costs are 1 - cos to the mean of class j in whitened features: of
    the image for an image, and for a class of the teacher the mean over the probe weighted by its
    answers. Without a head all mass stays on the image.

    Against a one-hot target the plan is unique and the cost linear in the places, so all follows
    from the (N, N) cosines between samples: W = 1 - m_n . nu_j / |nu_j|, m_n = 3/4 z_n + 1/4 sum_m
    S_nm z_m, S = P diag(1 / P^T 1) P^T.
    """
    products, rows, labels = cosines(ready.features), np.arange(len(ready.labels)), ready.labels
    counts = ready.counts.astype(np.float32)
    averaging = ready.one_hot / counts  # (N, C)
    reach = products @ averaging  # (N, C) of images to class means
    norms = np.sqrt(np.maximum((averaging * reach).sum(axis=0), 1e-8))  # (C,)
    own, itself = reach[rows, labels], np.diagonal(products)
    n_own = counts[labels]
    # Of the true class's mean without the sample: (count nu - z_n) / (count - 1); none is left of a
    # class of one.
    left = np.square(n_own * norms[labels]) - 2 * n_own * own + itself
    if ready.probabilities is not None:
        mass = ready.probabilities.sum(axis=0)
        shares = ready.probabilities / np.sqrt(np.maximum(mass, 1e-12))
        alike = shares @ shares.T  # S
        itself = (1 - ANSWERED) * itself + ANSWERED * np.einsum("nm,nm->n", alike, products)
        reach = (1 - ANSWERED) * reach + ANSWERED * alike @ reach
    found: Floats = 1 - reach / norms
    alone = (n_own == 1) | (left < 1e-6)
    without = (n_own * reach[rows, labels] - itself) / np.sqrt(np.maximum(left, 1e-6))
    found[rows, labels] = np.where(alone, 1, 1 - without)
    return found
