"""Which models of a ranking are too close to call: the groups that tables show as letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from selection.evidence import Evidence
from selection.ranking import Row
from selection.scores.interval import score_difference
from selection.scores.score import Score


def undecided_pairs(
    score: Score,
    evidence: Mapping[str, Evidence],
    order: Sequence[str],
    left: Callable[[], float],
) -> dict[tuple[str, str], bool]:
    """Whether the difference of (leader of a group, other model) could be chance.

    Both models are resampled on the same samples, see ``score_difference``. ``order`` is best
    first. Pairs that the time ``left`` does not allow to compare are missing.
    """
    undecided: dict[tuple[str, str], bool] = {}
    leader = ""
    for name in order:
        if leader and left() <= 0:
            break
        if leader:
            difference = score_difference(
                score,
                evidence[leader],
                evidence[name],
                rng=np.random.default_rng(0),
            )
            undecided[leader, name] = not difference.decided
        if not leader or not undecided[leader, name]:
            leader = name
    return undecided


def grouped(rows: Sequence[Row], undecided: Mapping[tuple[str, str], bool]) -> list[Row]:
    """Number the groups of models that are too close to call, 1 the best.

    ``rows`` are in order. The best model that is in no group yet leads the next group. A following
    model joins it while ``undecided[leader, model]`` holds; for a pair that was not compared, while
    the two intervals overlap. A model that was evaluated on fewer samples than the first is in no
    group.
    """
    numbered: list[Row] = []
    leader: Row | None = None
    number = 0
    for row in rows:
        if row.value is None or row.probe_size != rows[0].probe_size:
            numbered.append(row)
            continue
        if leader is None or not undecided.get((leader.model, row.model), _overlap(leader, row)):
            leader, number = row, number + 1
        numbered.append(replace(row, group=number))
    return numbered


def _overlap(a: Row, b: Row) -> bool:
    """Whether the intervals of two ranked rows share a point."""
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    return a.low <= b.high and b.low <= a.high
