"""Ground costs: what it costs to carry a class of the teacher to a class of the task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.prepared import Prepared, prepare, standard
from selection.scores.score import NotApplicable

SPACES = ("names", "prototypes", "classifier")


@dataclass(frozen=True, eq=False)
class Ground:
    """The two label spaces as points of one space, in which costs are squared distances: M_ij =
    |teacher_i - task_j|^2.

    N labelled samples, C classes present in their labels, C_t classes of the teacher, E the width
    of the space.

    teacher   (C_t, E)  the teacher's classes
    task      (C, E)    the task's classes
    left_out  (N, E)    the true class of each sample, placed without that sample (the same as ``task[label]`` where the
                        place does not depend on the probe), so that no sample helps its own label
    answers   (N, C_t)  the teacher's answers, or ``None`` where each sample is a class of its own (no head; C_t = N)
    """  # noqa: E501

    teacher: Floats
    task: Floats
    left_out: Floats
    answers: Floats | None
    ready: Prepared

    def costs(self) -> Floats:
        """(N, C) transport cost W(p(x_n), e_j; M) of each answer to each class, the true one
        without sample n.

        Against a one-hot target the plan is unique and W = sum_i p_i M_ij; expanding the square,
        that is sum_i p_i |a_i|^2 - 2 b_j . sum_i p_i a_i + |b_j|^2, and no (C_t, C) cost is needed.
        """
        spent = np.einsum("ie,ie->i", self.teacher, self.teacher)
        carried = self.teacher  # (N, E)
        if self.answers is not None:
            spent, carried = self.answers @ spent, self.answers @ self.teacher
        found: Floats = (
            spent[:, None] - 2 * carried @ self.task.T + np.einsum("je,je->j", self.task, self.task)
        )
        own = (
            spent
            - 2 * np.einsum("ne,ne->n", carried, self.left_out)
            + np.square(self.left_out).sum(axis=1)
        )
        found[np.arange(len(found)), self.ready.labels] = own
        bounded: Floats = np.maximum(found, 0)
        return bounded

    def cost(self) -> Floats:
        """(C_t, C) ground cost M; a sample's part in a row's cost to its own class is read with
        that class left out.

        Row i is the mean over samples, weighted by p_i(x_n), of the distance from a_i to the
        classes as they are without sample n.
        """
        answers = (
            np.eye(len(self.ready.labels), dtype=np.float32)
            if self.answers is None
            else self.answers
        )
        whole = distances(self.teacher, self.task)  # (C_t, C)
        mass = np.maximum(answers.sum(axis=0), 1e-12)[:, None]
        own = answers.T * distances(self.teacher, self.left_out)  # (C_t, N)
        share = (
            answers.T @ self.ready.one_hot / mass
        )  # (C_t, C) of a teacher's class in each of the task's
        found: Floats = whole * (1 - share) + own @ self.ready.one_hot / mass
        return found

    def mean_answer(self) -> Floats:
        """(C_t,) float64 the teacher's mean answer on the probe, of sum 1."""
        n = len(self.ready.labels)
        mean = (
            np.full(n, 1 / n)
            if self.answers is None
            else self.answers.mean(axis=0, dtype=np.float64)
        )
        share: Floats = mean / mean.sum()
        return share


def distances(points: Floats, others: Floats) -> Floats:
    """(n, m) squared Euclidean distances of two sets of points (n, E), (m, E), at least 0."""
    gaps = (
        np.square(points).sum(axis=1)[:, None]
        - 2 * points @ others.T
        + np.square(others).sum(axis=1)
    )
    bounded: Floats = np.maximum(gaps, 0)
    return bounded


def ground(evidence: Evidence, space: str) -> Ground:
    """The label spaces of ``evidence`` in one of ``SPACES``.

    ``NotApplicable`` where the teacher lacks names, a head or a classifier; ``ValueError`` as
    ``Evidence.check``.
    """
    build = {"names": _names, "prototypes": _prototypes, "classifier": _classifier}
    return build[space](evidence, prepare(evidence))


def _names(evidence: Evidence, ready: Prepared) -> Ground:
    """M_ij = 1 - cos of the two names' embeddings; depends on no image."""
    answers = ready.head()
    if evidence.class_embeddings is None or evidence.teacher_embeddings is None:
        raise NotApplicable("the names of the teacher's classes are unknown")
    present = np.unique(evidence.labels[evidence.labels >= 0])
    task = _unit(evidence.class_embeddings)[present]
    return Ground(_unit(evidence.teacher_embeddings), task, task[ready.labels], answers, ready)


def _prototypes(evidence: Evidence, ready: Prepared) -> Ground:
    """M_ij = mean of 1 - cos between the images that the teacher calls i (as far as it does) and
    the mean of class j.

    So M_ij = 1 - mu_i . nu_j with the soft prototype mu_i of images of norm 1, in the teacher's own
    centred features. What a prototype lacks of norm 1, because its images differ, is put on one
    more axis, which makes M a squared distance.
    """
    images = _unit(ready.features)
    task, left_out = (
        np.pad(_unit(means), ((0, 0), (0, 1))) for means in class_means(images, ready)
    )
    answers, prototypes = ready.probabilities, images
    if answers is not None:
        prototypes = answers.T @ images / np.maximum(answers.sum(axis=0), 1e-12)[:, None]
    lack = np.sqrt(np.maximum(0.5 - np.square(prototypes).sum(axis=1), 0))
    return Ground(np.column_stack([prototypes, lack]), task, left_out, answers, ready)


def _classifier(evidence: Evidence, ready: Prepared) -> Ground:
    """M_ij = 1 - cos of a row of the teacher's last layer and a class mean, both centred.

    Rows are known up to a shift that all share (the softmax does not see it), so their mean is
    taken off.
    """
    answers = ready.head()
    if evidence.classifier_weights is None:
        raise NotApplicable("the weights of the teacher's classifier are unknown")
    if evidence.classifier_weights.shape != (answers.shape[1], ready.features.shape[1]):
        raise NotApplicable(
            f"the classifier's weights {evidence.classifier_weights.shape} are not one row of the"
            f" features' width for each answer {(answers.shape[1], ready.features.shape[1])}"
        )
    task, left_out = class_means(ready.features, ready)
    return Ground(
        _unit(standard(evidence.classifier_weights)), _unit(task), _unit(left_out), answers, ready
    )


def class_means(places: Floats, ready: Prepared) -> tuple[Floats, Floats]:
    """(C, E) means of the classes, and (N, E) each sample's class mean without that sample.

    A class of one sample has no mean without it: the mean of all others stands in.
    """
    counts = ready.counts.astype(np.float32)[:, None]
    sums = ready.one_hot.T @ places
    alone = counts[ready.labels] == 1
    rest = (places.sum(axis=0) - places) / (len(places) - 1)
    left_out = (sums[ready.labels] - places) / np.maximum(counts[ready.labels] - 1, 1)
    return sums / counts, np.where(alone, rest, left_out)


def _unit(points: Floats) -> Floats:
    """Rows of norm 1/sqrt(2), so that their squared distance is 1 - cos; a zero row stays at the
    origin.
    """
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    scaled: Floats = (points / np.maximum(norms, 1e-12) * np.sqrt(0.5)).astype(np.float32)
    return scaled
