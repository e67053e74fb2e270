"""All that one teacher says of one probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from selection.probe import Probe

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class StoredOutputs:
    """The outputs of one teacher on a probe, all float32.

    features            (N, D), pooled, before the head
    logits              (N, C_t), or None where the teacher has no head
    classifier_weights  (C_t, D), or None; ``classifier_bias`` (C_t,), or None
    seconds             what it took to compute them
    rows                (n,) int64, the places in the probe that ``features`` (n, D) are of, where
                        they were joined; None: all N
    """

    features: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32] | None = None
    classifier_weights: npt.NDArray[np.float32] | None = None
    classifier_bias: npt.NDArray[np.float32] | None = None
    seconds: float = 0.0
    rows: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """All that one teacher says of one probe: what every score reads.

    N probe samples, C classes of the task, C_t of the teacher, D its feature width, E the width of
    a name's embedding.

    Parameters
    ----------
    features : ndarray, shape (N, D), float32
        Pooled features before the head.
    labels : ndarray, shape (N,), int64
        In [0, C), or -1 for an unlabelled sample.
    classes : tuple of str
        The task's C class names.
    probabilities : ndarray, shape (N, C_t), float32, optional
        The teacher's answers, rows that sum to 1; None if it has no head.
    teacher_classes : tuple of str, optional
        The teacher's C_t class names; None if unknown.
    class_embeddings : ndarray, shape (C, E), float32, optional
        Unit rows: the embeddings of the task's names.
    teacher_embeddings : ndarray, shape (C_t, E), float32, optional
        Unit rows: the embeddings of the teacher's names.
    classifier_weights : ndarray, shape (C_t, D), optional
        The teacher's last layer.
    classifier_bias : ndarray, shape (C_t,), optional
        Its bias.
    rows : ndarray, shape (N,), int64, optional
        The places of the samples in the probe; None: its first N.
    """

    features: Floats
    labels: Ints
    classes: tuple[str, ...]
    probabilities: Floats | None = None
    teacher_classes: tuple[str, ...] | None = None
    class_embeddings: Floats | None = None
    teacher_embeddings: Floats | None = None
    classifier_weights: Floats | None = None
    classifier_bias: Floats | None = None
    rows: Ints | None = None

    @classmethod
    def of(
        cls,
        stored: StoredOutputs,
        probe: Probe,
        *,
        names: Sequence[str] | None,
        embed: Callable[[Sequence[str]], Floats],
    ) -> Evidence:
        """The evidence in a teacher's stored outputs on a probe.

        Parameters
        ----------
        stored : StoredOutputs
            Features, logits and classifier; the logits become probabilities.
        probe : Probe
            The samples that the outputs are of.
        names : sequence of str, optional
            The teacher's class names; left out unless there is one for each of its logits.
        embed : callable
            Class names to their embeddings (n, E), unit rows.
        """
        from scipy.special import softmax

        probabilities: Floats | None = None
        rows, logits = stored.rows, stored.logits
        if logits is not None and logits.shape[1] > 0:
            probabilities = softmax(logits if rows is None else logits[rows], axis=1)  # (N, C_t)
        width = 0 if probabilities is None else probabilities.shape[1]
        teacher_classes = tuple(names) if names and len(names) == width else None
        return cls(
            features=stored.features,
            labels=probe.labels if rows is None else probe.labels[rows],
            classes=tuple(probe.classes),
            probabilities=probabilities,
            teacher_classes=teacher_classes,
            class_embeddings=embed(probe.classes),
            teacher_embeddings=embed(teacher_classes) if teacher_classes else None,
            classifier_weights=stored.classifier_weights,
            classifier_bias=stored.classifier_bias,
            rows=rows,
        )

    def at(self, rows: Ints) -> Evidence:
        """The same teacher on the samples ``rows`` (n,) of the probe."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(
            self,
            features=self.features[rows],
            labels=self.labels[rows],
            probabilities=probabilities,
            rows=self.places[rows],
        )

    @property
    def places(self) -> Ints:
        """(N,) the places of the samples in the probe."""
        return np.arange(len(self.labels)) if self.rows is None else self.rows

    def beginning(self, size: int) -> Evidence:
        """The same teacher on those of the samples that are among the probe's first ``size``."""
        rows = np.flatnonzero(self.places < size)
        return self if len(rows) == len(self.labels) else self.at(rows)

    def labelled(self) -> Evidence:
        """The same teacher on the labelled samples only."""
        rows = np.flatnonzero(self.labels >= 0)
        return self if len(rows) == len(self.labels) else self.at(rows)

    def check(self) -> None:
        """Refuse evidence that no score can be computed on.

        Raises
        ------
        ValueError
            If fewer than two classes are present, there are fewer than two labelled samples a
            class, or a value is NaN or infinite; the message holds the numbers.
        """
        labels = self.labels[self.labels >= 0]
        present = len(np.unique(labels))
        if present < 2:
            raise ValueError(
                f"a score needs at least two classes with labels, the probe has {present}"
            )
        if len(labels) < 2 * present:
            raise ValueError(
                f"{len(labels)} labelled samples for {present} classes: at least {2 * present} are"
                " needed"
            )
        for name in ("features", "probabilities"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                bad = int((~np.isfinite(values)).any(axis=1).sum())
                raise ValueError(f"{name} of {bad} of {len(values)} samples are NaN or infinite")
