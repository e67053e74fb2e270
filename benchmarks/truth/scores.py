"""Every score of every teacher on the labelled images of every task: the very images that the
student learns from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.record import append_rows, read_rows
from benchmarks.truth.targets import Target
from selection.evidence import Evidence
from selection.recall.names import NameEncoder
from selection.scores.registry import SCORES
from selection.scores.score import NotApplicable, Score

if TYPE_CHECKING:
    from benchmarks.truth.teachers import TableTeacher, TargetOutputs

SCORED = "truth_scores.jsonl"
# Scores that are also measured on fewer images a class, as NAME@IMAGES; the default comes first.
CURVE = ("transport_images_relative", "linear_probe", "knn", "logme")
FEWER = (3, 5, 10)
# (task, seed, teacher) -> score -> value, NaN where it does not apply
Values = dict[tuple[str, int, str], dict[str, float]]


def target_evidence(
    teacher: TableTeacher,
    target: Target,
    outputs: TargetOutputs,
    *,
    seed: int,
    encoder: NameEncoder,
) -> Evidence:
    """The teacher's outputs on the labelled images of ``target`` under ``seed``, as a ranking would
    see them.
    """
    from scipy.special import softmax

    arrays, card = outputs.arrays(teacher.card, target), teacher.card
    rows = np.flatnonzero(target.labelled(seed).reshape(-1))
    logits, labels = arrays.get("logits"), card.labels
    if logits is None or len(labels or ()) != logits.shape[1]:
        labels = None
    classes = tuple(name.replace("_", " ") for name in target.classes)
    return Evidence(
        features=arrays["features"][rows],
        labels=rows // target.pool,
        classes=classes,
        probabilities=None if logits is None else softmax(logits[rows], axis=1),
        teacher_classes=labels,
        class_embeddings=encoder.encode(classes),
        teacher_embeddings=encoder.encode(labels) if labels else None,
    )


def measure_scores(
    path: Path,
    target: Target,
    teachers: Sequence[TableTeacher],
    outputs: TargetOutputs,
    *,
    seed: int,
) -> int:
    """Add to ``path`` the scores that are missing for the teachers of one task; returns how many
    values were computed.
    """
    known, encoder = read_scores(path), NameEncoder.table()
    allowed = [teacher for teacher in teachers if not teacher.trained_on(target)]
    stored = {each.card.id: known.get((target.name, seed, each.card.id), {}) for each in allowed}
    fewer = [few for few in FEWER if few < target.labels]
    names = [*SCORES, *(f"{name}@{few}" for name in CURVE for few in fewer)]
    missing = [name for name in names if any(name not in values for values in stored.values())]
    lacking = [
        each for each in allowed if any(name not in stored[each.card.id] for name in missing)
    ]
    if not lacking:
        return 0
    values: dict[str, list[float | None]] = {name: [] for name in missing}
    for teacher in lacking:
        evidence = target_evidence(teacher, target, outputs, seed=seed, encoder=encoder)
        for name in missing:
            score, _, few = name.partition("@")
            known_part = first_images(evidence, int(few)) if few else evidence
            values[name].append(_value(SCORES[score], known_part))
    ids = [teacher.card.id for teacher in lacking]
    append_rows(path, [{"task": target.name, "seed": seed, "teachers": ids, "values": values}])
    return len(ids) * len(missing)


def first_images(evidence: Evidence, count: int) -> Evidence:
    """The first ``count`` samples of each class."""
    classes = np.unique(evidence.labels)
    rows = [np.flatnonzero(evidence.labels == label)[:count] for label in classes]
    return evidence.at(np.sort(np.concatenate(rows)))


def _value(score: Score, evidence: Evidence) -> float | None:
    try:
        return float(f"{score.value(evidence):.5g}")
    except NotApplicable:
        return None


def read_scores(path: Path) -> Values:
    """All values of ``path``; the value measured last counts."""
    scores: Values = {}
    for row in read_rows(path):
        for m, teacher in enumerate(row["teachers"]):
            values = scores.setdefault((row["task"], row["seed"], teacher), {})
            for name, column in row["values"].items():
                values[name] = math.nan if column[m] is None else column[m]
    return scores
