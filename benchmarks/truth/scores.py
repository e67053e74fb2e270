"""What every score says of every teacher on the labelled images of every task: the very images that
the student learns from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.record import append_rows
from benchmarks.truth.targets import Target
from selection.evidence import Evidence
from selection.recall.names import NameEncoder
from selection.scores.registry import SCORES
from selection.scores.score import NotApplicable, Score

if TYPE_CHECKING:
    from benchmarks.truth.teachers import Answers, Entry

SCORED = "truth_scores.jsonl"
CURVE = (
    "transport_images_relative",
    "linear_probe",
    "knn",
    "logme",
)  # also measured on fewer images, as NAME@IMAGES-A-CLASS
FEWER = (3, 5, 10)
Values = dict[
    tuple[str, int, str], dict[str, float]
]  # (task, seed, teacher) -> score -> value, NaN where it does not apply


def evidence(
    entry: Entry, target: Target, answers: Answers, *, seed: int, encoder: NameEncoder
) -> Evidence:
    """The teacher's answers on the labelled images of ``target`` under ``seed``, as a ranking would
    see them.
    """
    features, logits = answers.of(entry.card, target)
    rows = np.flatnonzero(target.labelled(seed).reshape(-1))
    probabilities = None
    if logits is not None:
        shifted = np.exp(logits[rows] - logits[rows].max(axis=1, keepdims=True))
        probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    classes = tuple(name.replace("_", " ") for name in target.classes)
    named = (
        entry.card.labels
        if logits is not None and len(entry.card.labels or ()) == logits.shape[1]
        else None
    )
    return Evidence(
        features=features[rows],
        labels=rows // target.pool,
        classes=classes,
        probabilities=probabilities,
        teacher_classes=named,
        class_embeddings=encoder.encode(classes),
        teacher_embeddings=encoder.encode(named) if named else None,
    )


def measure(
    path: Path,
    target: Target,
    entries: Sequence[Entry],
    answers: Answers,
    *,
    seed: int,
    scores: Mapping[str, Score] = SCORES,
) -> int:
    """Add to ``path`` what is missing of ``scores`` for the teachers of one task; returns how many
    values were computed.
    """
    known, encoder = read_scores(path), NameEncoder.table()
    able = [entry for entry in entries if not entry.knows(target)]
    have = {entry.card.id: known.get((target.name, seed, entry.card.id), {}) for entry in able}
    names = [
        *scores,
        *(
            f"{name}@{few}"
            for name in CURVE
            if name in scores
            for few in FEWER
            if few < target.labels
        ),
    ]
    missing = [name for name in names if any(name not in values for values in have.values())]
    lacking = [entry for entry in able if any(name not in have[entry.card.id] for name in missing)]
    if not lacking:
        return 0
    values: dict[str, list[float | None]] = {name: [] for name in missing}
    for entry in lacking:
        seen = evidence(entry, target, answers, seed=seed, encoder=encoder)
        for name in missing:
            plain, _, few = name.partition("@")
            values[name].append(_value(scores[plain], few_of(seen, int(few)) if few else seen))
    teachers = [entry.card.id for entry in lacking]
    append_rows(path, [{"task": target.name, "seed": seed, "teachers": teachers, "values": values}])
    return len(teachers) * len(missing)


def few_of(seen: Evidence, images: int) -> Evidence:
    """The first ``images`` samples of each class."""
    rows = np.concatenate(
        [np.flatnonzero(seen.labels == label)[:images] for label in np.unique(seen.labels)]
    )
    return seen.at(np.sort(rows))


def _value(score: Score, seen: Evidence) -> float | None:
    try:
        return float(f"{score.value(seen):.5g}")
    except NotApplicable:
        return None


def read_scores(path: Path) -> Values:
    """All values of ``path``; torn lines are passed over, and what was measured later counts."""
    found: Values = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        for m, teacher in enumerate(row["teachers"]):
            values = {
                name: math.nan if column[m] is None else column[m]
                for name, column in row["values"].items()
            }
            found.setdefault((row["task"], row["seed"], teacher), {}).update(values)
    return found
