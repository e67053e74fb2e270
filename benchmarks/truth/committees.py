"""Committees held to the truth: the chosen one against the best by single score, against chance and
against the best alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.truth.scores import evidence
from benchmarks.truth.targets import Target
from selection.committee import benefit_of, select_committee
from selection.evidence import Evidence
from selection.recall.names import NameEncoder
from selection.scores.registry import resolve

if TYPE_CHECKING:
    from benchmarks.truth.table import Bench
    from benchmarks.truth.teachers import Entry

RULES = ("committee of 3", "best 3 by score", "random 3", "committee of 2", "committee of 4")


def sets(
    target: Target, seen: Mapping[str, Evidence], *, seed: int, score: str = "transport"
) -> dict[str, tuple[str, ...]]:
    """The members that each rule chooses among the teachers of ``seen``; a committee may be smaller
    than its size.
    """
    rule = resolve(score)
    order = sorted(seen, key=lambda name: (-rule.value(seen[name]), name))
    known = {name: benefit_of(one) for name, one in seen.items()}
    rng = np.random.default_rng((seed, zlib.crc32(target.name.encode())))
    chosen = {
        f"committee of {size}": select_committee(known, size=size, lead=order[0]).models
        for size in (2, 3, 4)
    }
    return chosen | {
        "best 3 by score": tuple(order[:3]),
        "random 3": tuple(sorted(rng.choice(sorted(seen), 3, replace=False))),
    }


def fill(
    bench: Bench,
    target: Target,
    entries: Sequence[Entry],
    *,
    seed: int,
    rules: Sequence[str] = RULES,
) -> int:
    """Train the students of the sets that ``rules`` choose for one task, where they are missing;
    returns how many.
    """
    able = {entry.card.id: entry for entry in entries if not entry.knows(target)}
    encoder = NameEncoder.table()
    seen = {
        name: evidence(entry, target, bench.answers, seed=seed, encoder=encoder)
        for name, entry in able.items()
    }
    chosen = sets(target, seen, seed=seed)
    return sum(
        bench.committee(
            target, [able[name] for name in chosen[rule]], protocol="pool", seed=seed, rule=rule
        )
        for rule in rules
        if chosen[rule]
    )
