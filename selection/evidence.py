"""All that one teacher says of one probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from selection.probe import Probe
    from selection.recall.names import NameEncoder

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class StoredOutputs:
    """The outputs of one teacher on a probe, all float32.

    features            (N, D), pooled, before the head
    logits              (N, C_t), or None where the teacher has no head
    classifier_weights  (C_t, D), or None; ``classifier_bias`` (C_t,), or None
    seconds             what it took to compute them
    """

    features: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32] | None = None
    classifier_weights: npt.NDArray[np.float32] | None = None
    classifier_bias: npt.NDArray[np.float32] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What the scores read. N probe samples, C classes of the task, C_t of the teacher, D its
    feature width, E a word's.

    features             (N, D) float32, pooled, before the head
    labels               (N,) int64 in [0, C), or -1 where a sample is unlabelled
    classes              the task's C class names
    probabilities        (N, C_t) float32, rows sum to 1, or None where the teacher has no head
    teacher_classes      the teacher's C_t class names, or None where unknown
    class_embeddings     (C, E) float32 unit rows, or None; of the task's names
    teacher_embeddings   (C_t, E) float32 unit rows, or None; of the teacher's names
    classifier_weights   (C_t, D) float32 last layer, or None; ``classifier_bias`` (C_t,) or None
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

    @classmethod
    def of(
        cls,
        stored: StoredOutputs,
        probe: Probe,
        *,
        names: Sequence[str] | None,
        encoder: NameEncoder,
    ) -> Evidence:
        """What a teacher's stored answers say of ``probe``: logits become probabilities, class
        names embeddings.

        ``names`` are the teacher's class names; they are left out where their number is not that of
        its logits.
        """
        probabilities: Floats | None = None
        if stored.logits is not None and stored.logits.shape[1] > 0:
            shifted = np.exp(stored.logits - stored.logits.max(axis=1, keepdims=True))  # (N, C_t)
            probabilities = shifted / shifted.sum(axis=1, keepdims=True)
        fit = (
            bool(names) and probabilities is not None and len(names or ()) == probabilities.shape[1]
        )
        theirs = tuple(names) if fit and names else None
        return cls(
            features=stored.features,
            labels=probe.labels,
            classes=tuple(probe.classes),
            probabilities=probabilities,
            teacher_classes=theirs,
            class_embeddings=encoder.encode(probe.classes),
            teacher_embeddings=encoder.encode(theirs) if theirs else None,
            classifier_weights=stored.classifier_weights,
            classifier_bias=stored.classifier_bias,
        )

    def at(self, rows: Ints) -> Evidence:
        """The same teacher on the samples ``rows`` (n,) of the probe."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(
            self,
            features=self.features[rows],
            labels=self.labels[rows],
            probabilities=probabilities,
        )

    def labelled(self) -> Evidence:
        """The same teacher on the labelled samples only."""
        rows = np.flatnonzero(self.labels >= 0)
        return self if len(rows) == len(self.labels) else self.at(rows)

    def check(self) -> None:
        """Raise ``ValueError`` with the numbers in it: fewer than two classes present, NaN or
        infinity, or N < 2C.
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
