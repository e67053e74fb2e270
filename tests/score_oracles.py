"""Slow, obvious versions of the scores: loops, full matrices and libraries, straight from the
papers.
"""

from __future__ import annotations

import numpy as np

from selection.evidence import Evidence, Floats


def centred(evidence: Evidence) -> Floats:
    """Features of mean zero and mean squared row norm 1, float64."""
    values = np.asarray(evidence.features, dtype=np.float64)
    values = values - values.mean(axis=0)
    return values / np.sqrt((values**2).sum() / len(values))


def knn(evidence: Evidence, k: int = 5) -> float:
    """Assumes no equal distances."""
    x, y = centred(evidence), evidence.labels
    total = 0.0
    for n in range(len(x)):
        cosines = [
            (x[n] @ x[m] / np.linalg.norm(x[n]) / np.linalg.norm(x[m]), m)
            for m in range(len(x))
            if m != n
        ]
        votes = [int(y[m]) for _, m in sorted(cosines, reverse=True)[:k]]
        counts = {c: votes.count(c) for c in votes}
        winners = [c for c in counts if counts[c] == max(counts.values())]
        total += (y[n] in winners) / len(winners)
    return total / len(x)


def linear_probe(evidence: Evidence, strengths: tuple[float, ...]) -> float:
    """Refits a ridge regression with intercept for every left-out sample."""
    x, y = centred(evidence), evidence.labels
    targets = np.eye(y.max() + 1)[y]
    best, least = 0.0, np.inf
    for strength in strengths:
        answers = np.empty_like(targets)
        for n in range(len(x)):
            rest = np.arange(len(x)) != n
            mean_x, mean_t = x[rest].mean(axis=0), targets[rest].mean(axis=0)
            a = x[rest] - mean_x
            weights = np.linalg.solve(
                a.T @ a + strength * np.eye(x.shape[1]), a.T @ (targets[rest] - mean_t)
            )
            answers[n] = (x[n] - mean_x) @ weights + mean_t
        error = ((answers - targets) ** 2).sum(axis=1).mean()
        if error < least:
            best, least = float((answers.argmax(axis=1) == y).mean()), error
    return best


def logme(evidence: Evidence) -> float:
    """The evidence of each class, at the precisions that a general optimiser finds."""
    from scipy.optimize import minimize

    x = np.asarray(evidence.features, dtype=np.float64)
    x = x / np.abs(x).max()
    n, d = x.shape

    def minus(log: Floats, target: Floats) -> float:
        alpha, beta = np.exp(log)
        precision = alpha * np.eye(d) + beta * x.T @ x
        m = beta * np.linalg.solve(precision, x.T @ target)
        found = (
            d * np.log(alpha)
            + n * np.log(beta)
            - np.linalg.slogdet(precision)[1]
            - n * np.log(2 * np.pi)
        )
        return float(-(found - beta * ((x @ m - target) ** 2).sum() - alpha * m @ m) / (2 * n))

    labels = range(evidence.labels.max() + 1)
    targets = [(evidence.labels == c).astype(float) for c in labels]

    def best(target: Floats) -> float:
        starts = [(0.0, 0.0), (3.0, 2.0), (6.0, 2.0)]
        return max(
            -minimize(minus, start, args=(target,), method="Nelder-Mead").fun for start in starts
        )

    return float(np.mean([best(target) for target in targets]))


def hscore(evidence: Evidence) -> float:
    from sklearn.covariance import ledoit_wolf

    x, y = centred(evidence), evidence.labels
    covariance, shrinkage = ledoit_wolf(x, assume_centered=True)
    means = np.array([x[y == c].mean(axis=0) for c in range(y.max() + 1)])[y]
    return float(
        np.trace(np.linalg.pinv(covariance) @ ((1 - shrinkage) * means.T @ means / len(x)))
    )


def leep(answers: Floats, y: np.ndarray) -> float:
    n, z = answers.shape
    joint = np.zeros((y.max() + 1, z))
    for i in range(n):
        joint[y[i]] += answers[i] / n
    given = joint / joint.sum(axis=0)
    return float(
        np.mean([np.log(sum(given[y[i], k] * answers[i, k] for k in range(z))) for i in range(n)])
    )


def nce(evidence: Evidence) -> float:
    assert evidence.probabilities is not None
    z, y = evidence.probabilities.argmax(axis=1), evidence.labels
    total = 0.0
    for a in set(z.tolist()):
        for b in set(y.tolist()):
            both = ((z == a) & (y == b)).mean()
            if both:
                total += both * np.log(both / (z == a).mean())
    return float(total)


def parc(evidence: Evidence) -> float:
    from scipy.stats import spearmanr

    above = np.triu_indices(len(evidence.labels), 1)
    one = 1 - np.corrcoef(centred(evidence))[above]
    two = 1 - np.corrcoef(np.eye(evidence.labels.max() + 1)[evidence.labels])[above]
    return float(100 * spearmanr(one, two).statistic)


def transrate(evidence: Evidence, distortion: float = 1e-4) -> float:
    x, y = centred(evidence), evidence.labels

    def rate(z: Floats) -> float:
        return float(np.linalg.slogdet(np.eye(z.shape[1]) + z.T @ z / (len(z) * distortion))[1] / 2)

    return rate(x) - sum((y == c).mean() * rate(x[y == c]) for c in range(y.max() + 1))


def gbc(evidence: Evidence, dimensions: int = 64) -> float:
    from sklearn.decomposition import PCA

    x, y = centred(evidence), evidence.labels
    x = PCA(min(dimensions, len(x) - 1, x.shape[1])).fit_transform(x)
    d, total = x.shape[1], 0.0
    groups = [x[y == c] for c in range(y.max() + 1)]
    fits = [(g.mean(axis=0), np.eye(d) * ((g - g.mean(axis=0)) ** 2).mean()) for g in groups]
    for i, (m, s) in enumerate(fits):
        for j, (n, t) in enumerate(fits):
            if i != j:
                mixed = (s + t) / 2
                logs = [np.linalg.slogdet(a)[1] for a in (mixed, s, t)]
                distance = (m - n) @ np.linalg.solve(mixed, m - n) / 8 + (
                    logs[0] - (logs[1] + logs[2]) / 2
                ) / 2
                total -= np.exp(-distance)
    return float(total)


def whitened(evidence: Evidence) -> Floats:
    """Unit rows of X (X^T X + I)^(-1/2), by the eigenvectors of the scatter matrix."""
    x = centred(evidence)
    eigenvalues, axes = np.linalg.eigh(x.T @ x)
    z = x @ axes / np.sqrt(np.maximum(eigenvalues, 0) + 1)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def unit(points: Floats) -> Floats:
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def class_means_without(x: Floats, y: np.ndarray, n: int) -> Floats:
    """(C, E) means of the classes over all samples but n."""
    rest = np.arange(len(x)) != n
    return np.array([x[rest & (y == c)].mean(axis=0) for c in range(y.max() + 1)])


def ground_cost(evidence: Evidence, space: str, n: int) -> Floats:
    """(C_t, C) ground cost as sample n sees it, its own class placed without it; ``images``: (C_t +
    N, C).
    """
    y, p = evidence.labels, np.asarray(evidence.probabilities, dtype=np.float64)
    if space == "names":
        return 1 - np.asarray(evidence.teacher_embeddings) @ np.asarray(evidence.class_embeddings).T
    x = {
        "classifier": centred(evidence),
        "prototypes": unit(centred(evidence)),
        "images": whitened(evidence),
    }[space]
    whole = np.array([x[y == c].mean(axis=0) for c in range(y.max() + 1)])
    whole[y[n]] = class_means_without(x, y, n)[y[n]]
    if space == "classifier":
        rows = np.asarray(evidence.classifier_weights, dtype=np.float64)
        return 1 - unit(rows - rows.mean(axis=0)) @ unit(whole).T
    seen = 1 - x @ unit(whole).T  # (N, C)
    called = (p.T @ seen) / p.sum(axis=0)[:, None]
    return np.concatenate([called, seen]) if space == "images" else called


def answer(evidence: Evidence, space: str, n: int) -> Floats:
    """The teacher's answer on sample n over its classes; ``images``: a quarter there, the rest on
    image n.
    """
    p = np.asarray(evidence.probabilities, dtype=np.float64)[n]
    return (
        np.concatenate([0.25 * p, 0.75 * np.eye(len(evidence.labels))[n]])
        if space == "images"
        else p
    )


def sfda(evidence: Evidence) -> float:
    """In the space of the features, with the inverse of the shrunk scatter within the classes."""
    x, y = centred(evidence), evidence.labels
    n, c = len(x), y.max() + 1
    prior = np.bincount(y) / n

    def within(z: Floats) -> Floats:
        return (
            sum(
                (z[y == k] - z[y == k].mean(axis=0)).T @ (z[y == k] - z[y == k].mean(axis=0))
                for k in range(c)
            )
            / n
        )

    def posterior(z: Floats, shrinkage: float, read: Floats) -> Floats:
        scatter = within(z)
        shrunk = (1 - shrinkage) * scatter + shrinkage * np.trace(scatter) / n * np.eye(z.shape[1])
        means = np.array([z[y == k].mean(axis=0) for k in range(c)])
        rows = np.linalg.solve(shrunk, means.T).T
        logs = read @ rows.T - (means * rows).sum(axis=1) / 2 + np.log(prior)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    shrinkage = max(float(np.exp(-5 * np.linalg.eigvalsh(within(x)).max())), 1e-10)
    sure = posterior(x, shrinkage, x)[np.arange(n), y][:, None]
    others = np.array([x[y != k].mean(axis=0) for k in range(c)])[y]
    challenged = sure * x + (1 - sure) * others
    return float(np.log(posterior(challenged, shrinkage, x)[np.arange(n), y]).mean())


def otce(evidence: Evidence) -> float:
    import ot

    assert evidence.probabilities is not None
    x, y, p = (
        centred(evidence),
        evidence.labels,
        np.asarray(evidence.probabilities, dtype=np.float64),
    )
    points = p.T @ x / p.sum(axis=0)[:, None]
    cost = ot.dist(points, x)
    mass = p.mean(axis=0) / p.mean() / p.shape[1]
    plan = ot.sinkhorn(
        mass / mass.sum(),
        np.full(len(x), 1 / len(x)),
        cost,
        0.05 * cost.max(),
        numItermax=50,
        warn=False,
    )
    total = 0.0
    for k in range(y.max() + 1):
        joint = plan[:, y == k].sum(axis=1)
        total += float((joint * np.log(joint / plan.sum(axis=1))).sum())
    return total
