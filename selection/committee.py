"""The few teachers that teach best together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from selection.evidence import Evidence, Floats, Ints
from selection.scores import transport

LEAST_GAIN = 0.01  # nats a sample that a teacher must add
# mean total variation distance of two teachers' answers, below which they count as the same
NEAR_DUPLICATE = 0.05


@dataclass(frozen=True, eq=False)
class TeacherBenefit:
    """What a teacher knows of n labelled samples, each left out of its own class.

    benefit  (n,) float64 >= 0, in nats beyond the class's frequency
    answers  (n, C) float64, rows of the simplex
    labels   (n,) int64 into ``classes``
    classes  names of the C classes that the probe has
    """

    benefit: Floats
    answers: Floats
    labels: Ints
    classes: tuple[str, ...]


@dataclass(frozen=True)
class CommitteeMember:
    """One teacher of a committee and what it adds.

    model     its id
    gain      nats of log likelihood a probe sample
    alone     share of the probe that it gets right by itself
    together  share that it gets right averaged with the members before it
    classes   those of the task that it knows best among the members, the best known first
    """

    model: str
    gain: float
    alone: float | None = None
    together: float | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RejectedTeacher:
    """A teacher that was not chosen.

    ``twin`` is the member that it nearly duplicates, ``why`` a sentence.
    """

    model: str
    gain: float
    twin: str | None
    why: str


@dataclass(frozen=True)
class Committee:
    """The teachers that teach best together, and why they and no others.

    Attributes
    ----------
    members : tuple of CommitteeMember
        In the order they were chosen; may be empty.
    covered : float
        Their joint benefit, in nats a probe sample.
    passed : tuple of RejectedTeacher
        The other teachers, most promising first.
    uncovered : tuple of str
        Classes of which no member knows more than their frequency.
    sentence : str
        How it came out, in words.
    images : int
        Samples that it was chosen on.
    """

    members: tuple[CommitteeMember, ...]
    covered: float
    passed: tuple[RejectedTeacher, ...] = ()
    uncovered: tuple[str, ...] = ()
    sentence: str = ""
    images: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        """The members' ids."""
        return tuple(member.model for member in self.members)

    def reasons(self, most: int = 12) -> dict[str, Any]:
        """The facts as ``ranking.json`` holds them; of the rejected teachers the first ``most``."""
        members = [asdict(member) | {"classes": list(member.classes)} for member in self.members]
        return {
            "sentence": self.sentence,
            "images": self.images,
            "members": members,
            "passed": [asdict(teacher) for teacher in self.passed[:most]],
            "uncovered": list(self.uncovered),
        }


class JointGain(NamedTuple):
    """What a committee's averaged answers gain by one more teacher, in nats a sample."""

    mean: float
    standard_error: float


def benefit_of(evidence: Evidence) -> TeacherBenefit:
    """How much a teacher knows of each labelled sample beyond its class's frequency.

    b_t(x) = max(0, log p_t(y|x) - log prior(y)) (methods.md section 5, our reading of
    DiverseDistill, arXiv 2402.14035). p_t follows from transport costs
    (`scores.transport.log_probabilities`), so a teacher's mean benefit is the default score but
    for the zero; that choice is ours.
    """
    log_probs, data = transport.log_probabilities(evidence)  # (n, C)
    labels = data.labels
    gain = data.of_true_class(log_probs) - np.log(data.prior[labels])
    present = np.unique(evidence.labelled().labels)
    return TeacherBenefit(
        benefit=np.maximum(0.0, gain),
        answers=np.exp(log_probs),
        labels=labels,
        classes=tuple(evidence.classes[label] for label in present),
    )


def select_committee(
    teachers: Mapping[str, TeacherBenefit],
    *,
    size: int,
    costs: Mapping[str, float] | None = None,
    lead: str | None = None,
) -> Committee:
    """Select a committee, with the facts that explain it.

    Parameters
    ----------
    teachers : mapping of str to TeacherBenefit
        By model id, all on the same samples.
    size : int
        Members at most.
    costs : mapping of str to float, optional
        Nats a sample that a teacher must add at least.
    lead : str, optional
        The first of a ranking, which may join first.

    Returns
    -------
    Committee
        See ``select_members`` for the rule; it may be empty.
    """
    if not teachers:
        return Committee((), 0.0, sentence="none: no model could be read")
    benefits = {name: teacher.benefit for name, teacher in teachers.items()}
    answers = {name: teacher.answers for name, teacher in teachers.items()}
    chosen = select_members(
        benefits,
        size=size,
        costs=costs,
        answers=answers,
        lead=lead,
    )
    first = next(iter(teachers.values()))
    labels = first.labels
    classes = np.array(first.classes, dtype=object)  # (C,)
    by_class = _benefit_by_class(chosen.models, benefits, labels, len(classes))  # (k, C)
    best_member = _best_member(by_class)  # (C,)
    members = []
    for place, member in enumerate(chosen.members):
        known = np.flatnonzero(best_member == place)
        order = np.argsort(-by_class[place, known], kind="stable")
        joined = [answers[name] for name in chosen.models[: place + 1]]
        explained = replace(
            member,
            alone=_accuracy(answers[member.model], labels),
            together=_accuracy(np.mean(joined, axis=0), labels),
            classes=tuple(classes[known[order]]),
        )
        members.append(explained)
    return Committee(
        members=tuple(members),
        covered=chosen.covered,
        passed=_rejected(chosen, benefits, answers, size),
        uncovered=tuple(classes[best_member < 0]),
        sentence=_sentence(len(members), benefits, size, len(labels)),
        images=len(labels),
    )


def select_members(
    benefits: Mapping[str, Floats],
    *,
    size: int,
    least: float = LEAST_GAIN,
    costs: Mapping[str, float] | None = None,
    answers: Mapping[str, Floats] | None = None,
    lead: str | None = None,
) -> Committee:
    """Greedy facility location over (n,) ``benefits`` on the same samples, without explanations.

    F(S) = mean_n max_{t in S} b_t(x_n), F(empty) = 0, at most ``size`` teachers. ``lead``, the
    first of a ranking, may join first (ours: one sample that a teacher gets very wrong counts in a
    ranking, and not in F). Ties go to the name that sorts first. The maximum over teachers picks by
    the label, so noise alone gains a little; hence a teacher may join only if the averaged answers
    of all members, log mean_t exp b_t(x), gain ``least`` nats a sample (its own ``costs`` where
    that is more), and more than the standard error of that gain (ours). A copy of a member adds
    nothing to F and never joins; nor, where ``answers`` (n, C) are given, does one whose answers
    are within ``NEAR_DUPLICATE`` of a member's.
    """
    members: list[CommitteeMember] = []
    while len(members) < size:
        names = [member.model for member in members]
        chosen = [benefits[name] for name in names]
        gains = {}
        for name in benefits.keys() - names:
            if not _near_duplicate(name, names, answers):
                gains[name] = _gain(chosen, benefits[name])
        for name in sorted(gains, key=lambda name: (name != lead, -gains[name], name)):
            price = max(least, (costs or {}).get(name, 0.0))
            joint = _joint_gain(chosen, benefits[name])
            if gains[name] >= price and joint.mean > max(price, joint.standard_error):
                members.append(CommitteeMember(name, gains[name]))
                break
        else:  # none adds enough
            break
    if not members:
        return Committee((), 0.0)
    covered = np.max([benefits[member.model] for member in members], axis=0)  # (n,)
    return Committee(tuple(members), float(covered.mean()))


def _benefit_by_class(
    members: Sequence[str],
    benefits: Mapping[str, Floats],
    labels: Ints,
    classes: int,
) -> Floats:
    """(k, C) mean benefit of each member on each class."""
    counts = np.bincount(labels, minlength=classes)
    sums = [np.bincount(labels, benefits[name], classes) for name in members]
    return np.array(sums).reshape(-1, classes) / counts


def _best_member(by_class: Floats) -> Ints:
    """(C,) which member knows a class best, or -1 where none knows it."""
    if not len(by_class):
        return np.full(by_class.shape[1], -1)
    best: Ints = by_class.argmax(axis=0)
    best[by_class.max(axis=0) < LEAST_GAIN] = -1
    return best


def _rejected(
    committee: Committee,
    benefits: Mapping[str, Floats],
    answers: Mapping[str, Floats],
    size: int,
) -> tuple[RejectedTeacher, ...]:
    """The teachers that are not in the committee, most promising first."""
    chosen = [benefits[name] for name in committee.models]
    means = {name: float(benefits[name].mean()) for name in benefits.keys() - committee.models}
    rejected = []
    for name in sorted(means, key=lambda name: (-means[name], name)):
        twin = _near_duplicate(name, committee.models, answers)
        gain = _gain(chosen, benefits[name])
        if twin:
            why = f"its answers are those of {twin}"
        elif len(committee.members) >= size:
            why = f"the committee is full; it would add {gain:.3f} nats"
        else:
            why = _reason_to_reject(_joint_gain(chosen, benefits[name]))
        rejected.append(RejectedTeacher(name, gain, twin, why))
    return tuple(rejected)


def _reason_to_reject(joint: JointGain) -> str:
    if joint.mean < -joint.standard_error:
        return f"it would make the joint answers worse, by {-joint.mean:.3f} nats"
    if joint.mean <= joint.standard_error:
        return (
            f"it would change the joint answers by {joint.mean:+.3f} nats, no more than chance"
            f" (standard error {joint.standard_error:.3f})"
        )
    return f"it would improve the joint answers by {joint.mean:.3f} nats only"


def _sentence(
    members: int,
    benefits: Mapping[str, Floats],
    size: int,
    samples: int,
) -> str:
    if not members:
        best = max(float(values.mean()) for values in benefits.values())
        return (
            "none: no model tells these classes better than their frequencies do (the best by"
            f" {best:.3f} nats a sample, of {samples}); training without a teacher is the"
            " right choice then"
        )
    if members < min(size, len(benefits)):
        return (
            f"{members} of at most {size}: no other model adds more than chance to what these know"
        )
    return f"{members}, as many as asked for; each adds to what the others know"


def _near_duplicate(
    name: str,
    members: Sequence[str],
    answers: Mapping[str, Floats] | None,
) -> str | None:
    """The member whose answers are almost those of ``name``."""
    if not answers or not members:
        return None
    distances = {}
    for member in members:
        differences = np.abs(answers[name] - answers[member]).sum(axis=1)  # (n,)
        distances[member] = float(differences.mean()) / 2
    nearest = min(distances, key=distances.__getitem__)
    return nearest if distances[nearest] < NEAR_DUPLICATE else None


def _accuracy(answers: Floats, labels: Ints) -> float:
    return float((answers.argmax(axis=1) == labels).mean())


def _gain(chosen: Sequence[Floats], benefit: Floats) -> float:
    """What a teacher's ``benefit`` (n,) adds to F, in nats a sample."""
    covered = np.max(chosen, axis=0) if chosen else 0.0
    return float(np.maximum(benefit - covered, 0.0).mean())


def _joint_gain(chosen: Sequence[Floats], benefit: Floats) -> JointGain:
    """What a teacher's ``benefit`` (n,) adds to the benefit of the averaged answers."""
    before = _averaged(chosen) if chosen else np.zeros_like(benefit)
    gain = _averaged([*chosen, benefit]) - before  # (n,)
    standard_error = gain.std(ddof=1) / np.sqrt(len(gain))
    return JointGain(float(gain.mean()), float(standard_error))


def _averaged(benefits: Sequence[Floats]) -> Floats:
    """(n,) benefit of the teachers' averaged answers."""
    likelihoods = np.exp(benefits)  # (t, n)
    return np.asarray(np.log(likelihoods.mean(axis=0)))
