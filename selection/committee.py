"""The few teachers that teach best together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from selection.evidence import Evidence, Floats, Ints
from selection.scores import transport

LEAST = 0.01  # nats a sample that a teacher must add
# mean total variation distance of two teachers' answers, below which they count as the same
TWIN = 0.05


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What a teacher knows of n labelled samples, each left out of its class.

    ``benefit`` (n,) float64 >= 0, in nats beyond the class's frequency; ``answers`` (n, C) float64
    rows of the simplex; ``labels`` (n,) int64 into ``classes``, the C names of the classes that the
    probe has.
    """

    benefit: Floats
    answers: Floats
    labels: Ints
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """One teacher of a committee and what it adds: ``gain`` is in nats of log likelihood a probe
    sample.

    ``alone`` and ``together`` are shares of the probe that the teacher gets right by itself, and
    averaged with the members before it; ``classes`` are those of the task that it knows best among
    the members, the best known first.
    """

    model: str
    gain: float
    alone: float | None = None
    together: float | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Passed:
    """A teacher that was not chosen. ``twin`` is the member whose answers are (almost) its own,
    ``why`` a sentence.
    """

    model: str
    gain: float
    twin: str | None
    why: str


@dataclass(frozen=True)
class Committee:
    """``members`` in the order they were chosen; ``covered`` is their joint benefit, in nats a
    probe sample.

    ``passed`` are the others, most promising first; ``uncovered`` the classes of which no member
    knows more than their frequency; ``sentence`` says in words how it came out; ``images`` counts
    the samples that it was read on.
    """

    members: tuple[Member, ...]
    covered: float
    passed: tuple[Passed, ...] = ()
    uncovered: tuple[str, ...] = ()
    sentence: str = ""
    images: int = 0

    @property
    def models(self) -> tuple[str, ...]:
        """The members' ids."""
        return tuple(member.model for member in self.members)

    def reasons(self, most: int = 12) -> dict[str, Any]:
        """The facts as ``ranking.json`` holds them; of those passed over the first ``most``."""
        listed = [{**asdict(member), "classes": list(member.classes)} for member in self.members]
        passed = [asdict(one) for one in self.passed[:most]]
        facts = {"members": listed, "passed": passed, "uncovered": list(self.uncovered)}
        return {"sentence": self.sentence, "images": self.images, **facts}


def knowledge(evidence: Evidence) -> Knowledge:
    """How much this teacher knows of each labelled sample beyond its class's frequency.

    b_t(x) = max(0, log p_t(y|x) - log prior(y)) (methods.md section 5, our reading of
    DiverseDistill, arXiv 2402.14035). p_t follows from transport costs
    (``scores.transport.answers``), so a teacher's mean benefit is the default score but for the
    zero; that choice is ours.
    """
    said, ready = transport.answers(evidence)
    gained = said[np.arange(len(said)), ready.labels] - np.log(ready.prior[ready.labels])
    present = np.unique(evidence.labelled().labels)
    return Knowledge(
        np.maximum(0.0, gained),
        np.exp(said),
        ready.labels,
        tuple(evidence.classes[i] for i in present),
    )


def choose(
    benefits: Mapping[str, Floats],
    *,
    size: int,
    least: float = LEAST,
    costs: Mapping[str, float] | None = None,
    answers: Mapping[str, Floats] | None = None,
    lead: str | None = None,
) -> Committee:
    """Greedy facility location: F(S) = mean_n max_{t in S} b_t(x_n), F(empty) = 0, at most ``size``
    teachers.

    ``benefits`` maps a model to its (n,) benefits on the same samples. ``lead``, the first of a
    ranking, is asked to join first (ours: one sample that a teacher gets very wrong counts in a
    ranking, and not in F). Ties go to the name that sorts first. The maximum over teachers picks by
    the label, so noise alone gains a little; hence a teacher may join only if the averaged answers
    of all members, log mean_t exp b_t(x), gain ``least`` nats a sample (its own ``costs`` where
    that is more), and more than the standard error of that gain (ours). A copy of a member adds
    nothing to F and never joins; nor, where ``answers`` (n, C) are given, does one whose answers
    are within ``TWIN`` of a member's. The committee may be empty.
    """
    members: list[Member] = []
    prices = costs or {}
    while len(members) < size:
        chosen = [benefits[member.model] for member in members]
        gains = {name: _gain(chosen, benefits[name]) for name in benefits}
        names = [member.model for member in members]
        open_to = [
            name for name in benefits if name not in names and not _twin(name, names, answers)
        ]
        order = sorted(open_to, key=lambda name: (name != lead, -gains[name], name))
        name = next(
            (
                name
                for name in order
                if _adds(chosen, benefits[name], max(least, prices.get(name, 0.0)))
            ),
            None,
        )
        if name is None:
            break
        members.append(Member(name, gains[name]))
    covered = (
        float(np.max([benefits[member.model] for member in members], axis=0).mean())
        if members
        else 0.0
    )
    return Committee(tuple(members), covered)


def choose_explained(
    known: Mapping[str, Knowledge],
    *,
    size: int,
    costs: Mapping[str, float] | None = None,
    lead: str | None = None,
) -> Committee:
    """The committee that ``choose`` finds among ``known`` teachers (of the same samples), with the
    facts that explain it.
    """
    benefits = {name: one.benefit for name, one in known.items()}
    answers = {name: one.answers for name, one in known.items()}
    found = choose(benefits, size=size, costs=costs, answers=answers, lead=lead)
    if not known:
        return Committee((), 0.0, sentence="none: no model could be read")
    labels, classes = next(iter(known.values())).labels, next(iter(known.values())).classes
    shares, owner = _by_class(found.models, benefits, labels, len(classes))
    members = []
    for place, member in enumerate(found.members):
        mine = sorted(np.flatnonzero(owner == place), key=lambda c: (-shares[place, c], c))
        average = np.mean([answers[name] for name in found.models[: place + 1]], axis=0)
        members.append(
            Member(
                member.model,
                member.gain,
                _right(answers[member.model], labels),
                _right(average, labels),
                tuple(classes[c] for c in mine),
            )
        )
    passed = _passed(found, benefits, answers, size)
    uncovered = tuple(name for name, one in zip(classes, owner, strict=True) if one < 0)
    sentence = _sentence(members, benefits, size, len(labels))
    return Committee(
        tuple(members),
        found.covered,
        passed,
        uncovered if members else classes,
        sentence,
        len(labels),
    )


def _by_class(
    members: Sequence[str], benefits: Mapping[str, Floats], labels: Ints, classes: int
) -> tuple[Floats, Ints]:
    """(k, C) mean benefit of each member on each class, and (C,) which member knows a class best,
    or -1 where none does.
    """
    counts = np.bincount(labels, minlength=classes)
    shares = np.array(
        [np.bincount(labels, benefits[name], classes) / counts for name in members]
    ).reshape(-1, classes)
    if not members:
        return shares, np.full(classes, -1)
    return shares, np.where(shares.max(axis=0) >= LEAST, shares.argmax(axis=0), -1)


def _passed(
    found: Committee, benefits: Mapping[str, Floats], answers: Mapping[str, Floats], size: int
) -> tuple[Passed, ...]:
    chosen = [benefits[name] for name in found.models]
    rest = sorted(
        (name for name in benefits if name not in found.models),
        key=lambda name: (-float(benefits[name].mean()), name),
    )
    done = []
    for name in rest:
        twin, gain = _twin(name, found.models, answers), _gain(chosen, benefits[name])
        joint, error = _joint(chosen, benefits[name])
        if twin:
            why = f"its answers are those of {twin}"
        elif len(found.members) >= size:
            why = f"the committee is full; it would add {gain:.3f} nats"
        elif joint < -error:
            why = f"it would make the joint answers worse, by {-joint:.3f} nats"
        elif joint <= error:
            why = (
                f"it would change the joint answers by {joint:+.3f} nats, no more than chance"
                f" (standard error {error:.3f})"
            )
        else:
            why = f"it would improve the joint answers by {joint:.3f} nats only"
        done.append(Passed(name, gain, twin, why))
    return tuple(done)


def _sentence(
    members: Sequence[Member], benefits: Mapping[str, Floats], size: int, samples: int
) -> str:
    if not members:
        best = max(float(values.mean()) for values in benefits.values())
        return (
            "none: no model tells these classes better than their frequencies do (the best by"
            f" {best:.3f} nats a sample on {samples} images); training without a teacher is the"
            " right choice then"
        )
    if len(members) < min(size, len(benefits)):
        return (
            f"{len(members)} of at most {size}: no other model adds more than chance to what these"
            " know"
        )
    return f"{len(members)}, as many as asked for; each adds to what the others know"


def _twin(name: str, members: Sequence[str], answers: Mapping[str, Floats] | None) -> str | None:
    """The member whose answers are almost those of ``name``."""
    if not answers:
        return None
    apart = {
        member: float(np.abs(answers[name] - answers[member]).sum(axis=1).mean()) / 2
        for member in members
    }
    nearest = min(apart, key=lambda member: apart[member], default=None)
    return nearest if nearest is not None and apart[nearest] < TWIN else None


def _right(answers: Floats, labels: Ints) -> float:
    return float((answers.argmax(axis=1) == labels).mean())


def _gain(chosen: Sequence[Floats], benefit: Floats) -> float:
    """What ``benefit`` adds to F, in nats a sample."""
    return float(np.maximum(benefit - (np.max(chosen, axis=0) if chosen else 0.0), 0.0).mean())


def _adds(chosen: Sequence[Floats], benefit: Floats, least: float) -> bool:
    """Whether the averaged answers of the committee get better, beyond doubt and worth the trouble,
    with this teacher.
    """
    joint, error = _joint(chosen, benefit)
    return _gain(chosen, benefit) >= least and joint > max(least, error)


def _joint(chosen: Sequence[Floats], benefit: Floats) -> tuple[float, float]:
    """What the averaged answers of the committee gain with this teacher, in nats a sample, and its
    standard error.
    """
    before = _together(chosen) if chosen else np.zeros_like(benefit)
    gain = _together([*chosen, benefit]) - before  # (n,)
    return float(gain.mean()), float(gain.std(ddof=1) / np.sqrt(len(gain)))


def _together(benefits: Sequence[Floats]) -> Floats:
    return np.asarray(np.log(np.mean(np.exp(benefits), axis=0)))
