"""Committees held to the truth: the chosen one against the best by single score, against chance and
against the best alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.truth.scores import target_evidence
from benchmarks.truth.targets import Target
from selection.committee import benefit_of, select_committee
from selection.evidence import Evidence
from selection.recall.names import NameEncoder
from selection.scores.registry import resolve

if TYPE_CHECKING:
    from benchmarks.truth.table import TableFiller
    from benchmarks.truth.teachers import TableTeacher

SIZES = {"committee of 3": 3, "committee of 2": 2, "committee of 4": 4}
RULES = ("committee of 3", "best 3 by score", "random 3", "committee of 2", "committee of 4")


def members_by_rule(
    target: Target, evidence: Mapping[str, Evidence], *, seed: int
) -> dict[str, tuple[str, ...]]:
    """The members that each rule chooses among the teachers of ``evidence``; a committee may be
    smaller than its size.
    """
    score = resolve()
    order = sorted(evidence, key=lambda name: (-score.value(evidence[name]), name))
    benefits = {name: benefit_of(each) for name, each in evidence.items()}
    rng = np.random.default_rng((seed, zlib.crc32(target.name.encode())))
    return {
        **{
            rule: select_committee(benefits, size=size, lead=order[0]).models
            for rule, size in SIZES.items()
        },
        "best 3 by score": tuple(order[:3]),
        "random 3": tuple(sorted(rng.choice(sorted(evidence), 3, replace=False))),
    }


def fill(
    filler: TableFiller,
    target: Target,
    teachers: Sequence[TableTeacher],
    *,
    seed: int,
) -> int:
    """Train the students of the committees that ``RULES`` choose for one task, where they are
    missing; returns how many.
    """
    allowed = {each.card.id: each for each in teachers if not each.trained_on(target)}
    encoder = NameEncoder.table()
    evidence = {
        name: target_evidence(
            each,
            target,
            filler.outputs,
            seed=seed,
            encoder=encoder,
        )
        for name, each in allowed.items()
    }
    members = members_by_rule(target, evidence, seed=seed)
    return sum(
        filler.fill_committee(
            target,
            [allowed[name] for name in members[rule]],
            seed=seed,
            rule=rule,
        )
        for rule in RULES
        if members[rule]
    )
