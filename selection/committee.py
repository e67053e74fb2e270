"""The few teachers that teach best together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from selection.evidence import Evidence, Floats
from selection.scores.linear_probe import leave_one_out
from selection.scores.prepared import prepare

SHARPNESS = (1.0, 2.0, 4.0, 8.0, 16.0)  # inverse temperatures of the softmax over one-hot regressions


@dataclass(frozen=True)
class Member:
    """One teacher of a committee and what it adds: ``gain`` is in nats of log likelihood a probe sample."""

    model: str
    gain: float


@dataclass(frozen=True)
class Committee:
    """``members`` in the order they were chosen; ``covered`` is their joint benefit, in nats a probe sample."""

    members: tuple[Member, ...]
    covered: float

    @property
    def models(self) -> tuple[str, ...]:
        """The members' ids."""
        return tuple(member.model for member in self.members)


def benefit(evidence: Evidence) -> Floats:
    """How much this teacher knows of each labelled sample beyond its class's frequency: (n,) float64, >= 0, in nats.

    b_t(x) = max(0, out-of-fold log p_t(y|x) - log prior(y)) (methods.md section 5, our reading of DiverseDistill,
    arXiv 2402.14035). p_t is a leave-one-out ridge head on the teacher's features, its answers turned into probabilities
    by the softmax whose temperature and ridge strength make the left-out labels likeliest; that choice is ours.
    """
    ready = prepare(evidence)
    rows = np.arange(len(ready.labels))
    known: Floats = np.full(len(rows), -np.inf)
    for answers in leave_one_out(ready.features, ready.one_hot):  # (n, C) a ridge strength
        for sharpness in SHARPNESS:
            likelihood = _log_softmax(sharpness * answers)[rows, ready.labels]  # (n,)
            if likelihood.mean() > known.mean():
                known = likelihood
    return np.asarray(np.maximum(0.0, known - np.log(ready.prior[ready.labels])))


def _log_softmax(values: Floats) -> Floats:
    shifted = values.astype(np.float64) - values.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def choose(benefits: Mapping[str, Floats], *, size: int, least: float = 0.01) -> Committee:
    """Greedy facility location: F(S) = mean_n max_{t in S} b_t(x_n), F(empty) = 0, at most ``size`` teachers.

    ``benefits`` maps a model to its (n,) benefits on the same samples. Ties go to the name that sorts first. The maximum
    over teachers picks by the label, so noise alone gains a little; hence a teacher may join only if the averaged
    answers of all members, log mean_t exp b_t(x), gain ``least`` nats a sample, and more than the standard error of that
    gain (ours). A copy of a member gains nothing and never joins, and the committee may be empty.
    """
    members: list[Member] = []
    chosen: list[Floats] = []
    rest = sorted(benefits)
    while rest and len(members) < size:
        covered = np.max(chosen, axis=0) if chosen else 0.0
        order = sorted(rest, key=lambda name: (-float(np.maximum(benefits[name] - covered, 0.0).mean()), name))
        name = next((name for name in order if _adds(chosen, benefits[name], least)), None)
        if name is None:
            break
        members.append(Member(name, float(np.maximum(benefits[name] - covered, 0.0).mean())))
        chosen.append(benefits[name])
        rest.remove(name)
    return Committee(tuple(members), float(np.max(chosen, axis=0).mean()) if chosen else 0.0)


def _adds(chosen: list[Floats], benefit: Floats, least: float) -> bool:
    """Whether the averaged answers of the committee get better, beyond doubt and worth the trouble, with this teacher."""
    before = _together(chosen) if chosen else np.zeros_like(benefit)
    gain = _together([*chosen, benefit]) - before  # (n,)
    return bool(gain.mean() > max(least, gain.std(ddof=1) / np.sqrt(len(gain))))


def _together(benefits: list[Floats]) -> Floats:
    return np.asarray(np.log(np.mean(np.exp(benefits), axis=0)))
