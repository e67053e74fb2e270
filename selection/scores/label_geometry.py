"""The teacher's classes and the task's as points of one space, whose squared distances are the
ground costs of transport.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.probe_data import ProbeData, prepare, standardise
from selection.scores.score import NotApplicable

SPACES = ("names", "prototypes", "classifier")


@dataclass(frozen=True, eq=False)
class LabelGeometry:
    """The two label spaces as points of one space; the ground cost is their squared distance,
    M_ij = |teacher_i - task_j|^2.

    N labelled samples, C classes present in their labels, C_t classes of the teacher, E the
    dimension of the space.

    teacher   (C_t, E) the teacher's classes
    task      (C, E) the task's classes
    left_out  (N, E) the true class of each sample, placed without that sample, so that no sample
              helps its own label; ``task[label]`` if the place does not depend on the probe
    answers   (N, C_t) the teacher's probabilities, or None if it has no head: then each sample is
              a class of its own, C_t = N
    data      the probe that the samples are of
    """

    teacher: Floats
    task: Floats
    left_out: Floats
    answers: Floats | None
    data: ProbeData

    def sample_costs(self) -> Floats:
        """(N, C) transport cost W(p(x_n), e_j; M) of each answer to each class, the true class
        placed without sample n.

        Against a one-hot target the plan is unique and W = sum_i p_i M_ij. Expanding the square,
        that is sum_i p_i |a_i|^2 - 2 b_j . sum_i p_i a_i + |b_j|^2, and no (C_t, C) cost is needed.
        """
        source_norms = _squared_norms(self.teacher)
        mean_place = self.teacher  # (N, E)
        if self.answers is not None:
            source_norms = self.answers @ source_norms  # (N,)
            mean_place = self.answers @ self.teacher
        products = mean_place @ self.task.T
        costs = source_norms[:, None] - 2 * products + _squared_norms(self.task)
        to_left_out = np.einsum("ne,ne->n", mean_place, self.left_out)
        true_costs = source_norms - 2 * to_left_out + _squared_norms(self.left_out)
        costs[np.arange(len(costs)), self.data.labels] = true_costs
        bounded: Floats = np.maximum(costs, 0)
        return bounded

    def true_class_costs(self) -> Floats:
        """(N,) transport cost of each answer to its true class, placed without the sample."""
        return self.data.of_true_class(self.sample_costs())

    def cost_matrix(self) -> Floats:
        """(C_t, C) ground cost M, each sample's share of a row seeing its own class without it.

        Row i is the mean over samples, weighted by p_i(x_n), of the distance from a_i to the
        classes as they are without sample n.
        """
        one_hot = self.data.one_hot
        answers = self.answers
        if answers is None:
            answers = np.eye(len(one_hot), dtype=np.float32)
        mass = np.maximum(answers.sum(axis=0), 1e-12)[:, None]  # (C_t, 1)
        distances = squared_distances(self.teacher, self.task)  # (C_t, C)
        left_out = squared_distances(self.teacher, self.left_out)  # (C_t, N)
        of_left_out = (answers.T * left_out) @ one_hot / mass  # (C_t, C)
        class_shares = answers.T @ one_hot / mass  # (C_t, C) rows sum to 1
        matrix: Floats = distances * (1 - class_shares) + of_left_out
        return matrix

    def mean_answer(self) -> Floats:
        """(C_t,) float64 the teacher's mean answer on the probe, of sum 1."""
        if self.answers is None:
            count = len(self.data.labels)
            return np.full(count, 1 / count)
        mean = self.answers.mean(axis=0, dtype=np.float64)
        shares: Floats = mean / mean.sum()
        return shares


def squared_distances(first: Floats, second: Floats) -> Floats:
    """(n, m) squared Euclidean distances of two sets of points (n, E), (m, E), at least 0."""
    norms = _squared_norms(first)[:, None] + _squared_norms(second)
    bounded: Floats = np.maximum(norms - 2 * first @ second.T, 0)
    return bounded


def _squared_norms(points: Floats) -> Floats:
    """(n,) squared norms of ``points`` (n, E)."""
    norms: Floats = np.square(points).sum(axis=1)
    return norms


def label_geometry(evidence: Evidence, space: str) -> LabelGeometry:
    """The label spaces of ``evidence`` in one of ``SPACES``.

    Raises `NotApplicable` if the teacher lacks names, a head or a classifier, and ``ValueError``
    as `Evidence.check` does.
    """
    build = {"names": _by_names, "prototypes": _by_prototypes, "classifier": _by_classifier}
    return build[space](evidence, prepare(evidence))


def _by_names(evidence: Evidence, data: ProbeData) -> LabelGeometry:
    """M_ij = 1 - cos of the two names' embeddings; depends on no sample."""
    answers = data.head()
    if evidence.class_embeddings is None or evidence.teacher_embeddings is None:
        raise NotApplicable("the names of the teacher's classes are unknown")
    present = np.unique(evidence.labels[evidence.labels >= 0])
    task = _half_unit(evidence.class_embeddings)[present]
    teacher = _half_unit(evidence.teacher_embeddings)
    return LabelGeometry(teacher, task, task[data.labels], answers, data)


def _by_prototypes(evidence: Evidence, data: ProbeData) -> LabelGeometry:
    """M_ij = mean of 1 - cos between the samples that the teacher calls i (weighted by how far it
    does) and the mean of class j.

    So M_ij = 1 - mu_i . nu_j with the soft prototype mu_i of samples of norm 1, in the teacher's
    centred features. What a prototype lacks of norm 1, because its samples differ, is put on one
    more axis, which makes M a squared distance.
    """
    samples = _half_unit(data.features)
    means, left_out = class_means(samples, data)
    more_axis = ((0, 0), (0, 1))
    prototypes = samples
    if data.probabilities is not None:
        mass = np.maximum(data.probabilities.sum(axis=0), 1e-12)
        prototypes = data.probabilities.T @ samples / mass[:, None]
    lack = np.sqrt(np.maximum(0.5 - _squared_norms(prototypes), 0))
    return LabelGeometry(
        teacher=np.column_stack([prototypes, lack]),
        task=np.pad(_half_unit(means), more_axis),
        left_out=np.pad(_half_unit(left_out), more_axis),
        answers=data.probabilities,
        data=data,
    )


def _by_classifier(evidence: Evidence, data: ProbeData) -> LabelGeometry:
    """M_ij = 1 - cos of a row of the teacher's last layer and a class mean, both centred.

    Rows are known up to a shift that all share (the softmax does not see it), so their mean is
    taken off.
    """
    answers = data.head()
    weights = evidence.classifier_weights
    if weights is None:
        raise NotApplicable("the weights of the teacher's classifier are unknown")
    expected = (answers.shape[1], data.features.shape[1])
    if weights.shape != expected:
        raise NotApplicable(
            f"the classifier's weights {weights.shape} are not one row of the features' width for"
            f" each answer {expected}"
        )
    means, left_out = class_means(data.features, data)
    teacher = _half_unit(standardise(weights))
    return LabelGeometry(teacher, _half_unit(means), _half_unit(left_out), answers, data)


def class_means(points: Floats, data: ProbeData) -> tuple[Floats, Floats]:
    """(C, E) means of the classes, and (N, E) each sample's class mean without that sample.

    A class of one sample has no mean without it: the mean of all others stands in.
    """
    counts = data.counts.astype(np.float32)[:, None]  # (C, 1)
    sums = data.one_hot.T @ points
    class_size = counts[data.labels]  # (N, 1)
    others_of_class = np.maximum(class_size - 1, 1)
    left_out = (sums[data.labels] - points) / others_of_class
    others = points.sum(axis=0) - points
    others /= len(points) - 1
    left_out = np.where(class_size == 1, others, left_out)
    return sums / counts, left_out


def _half_unit(points: Floats) -> Floats:
    """Rows of norm 1/sqrt(2), so that their squared distance is 1 - cos; a zero row stays at the
    origin.
    """
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    unit = points / np.maximum(norms, 1e-12)
    half: Floats = unit * np.sqrt(0.5)
    return half.astype(np.float32)
